"""Every error of the package. Nothing here knows sockets; `rfc3678.refusals` turns an OSError into one.

MulticastError
├── ArgumentError (ValueError)          a wrong argument, whatever the system
│   ├── AddressError                    not an address, or not one that fits here
│   ├── FilterError                     a wrong source list or mode
│   ├── InterfaceError                  not the one that was meant, or one that cannot multicast
│   │   └── NoSuchInterfaceError        there is none of that name, index or address
│   └── ArgumentTypeError (TypeError)   an argument of a wrong type
│       ├── AddressTypeError            ... which is also an AddressError
│       ├── FilterTypeError             ... a FilterError
│       └── InterfaceTypeError          ... an InterfaceError
├── StateError (RuntimeError)           closed, left, joined already, used by two tasks
├── RefusedError (OSError)              the system said no; `errno` is kept
│   ├── LimitError                      a limit of the system; names it, its value, its sysctl
│   ├── InterfaceGoneError              the interface is no longer there
│   ├── NoPermissionError (PermissionError)
│   └── NoRouteError                    no route to the source or group
├── CaptureError                        a file that is no capture, or is broken; says where
├── InconsistentError                   the kernel holds another filter than the library set
├── UnsupportedError                    this platform has no such call
└── MissingExtraError (ImportError)     what an extra brings is not installed
"""

from __future__ import annotations

from typing import Self

__all__ = [
    "AddressError",
    "AddressTypeError",
    "ArgumentError",
    "ArgumentTypeError",
    "CaptureError",
    "FilterError",
    "FilterTypeError",
    "InconsistentError",
    "InterfaceError",
    "InterfaceGoneError",
    "InterfaceTypeError",
    "LimitError",
    "MissingExtraError",
    "MulticastError",
    "NoPermissionError",
    "NoRouteError",
    "NoSuchInterfaceError",
    "RefusedError",
    "StateError",
    "UnsupportedError",
]


class MulticastError(Exception):
    """The root. `detail` says what happened, `hint` what to do about it (may be empty)."""

    detail: str
    hint: str

    def __init__(self, detail: str, hint: str = "") -> None:
        self.detail = detail
        self.hint = hint
        super().__init__(detail, hint)

    def __str__(self) -> str:
        return f"{self.detail}: {self.hint}" if self.hint else self.detail


class ArgumentError(MulticastError, ValueError):
    """An argument is wrong on every system."""


class AddressError(ArgumentError):
    """Not an address, or an address that cannot stand where it was given."""


class FilterError(ArgumentError):
    """A source filter that cannot be, or a change the filter's mode does not know."""


class InterfaceError(ArgumentError):
    """No such interface, several where one is meant, or one that cannot multicast."""


class NoSuchInterfaceError(InterfaceError):
    """There is no interface of that name, index or address: not yet, or not any more."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument has the wrong type."""


class AddressTypeError(AddressError, ArgumentTypeError):
    """Where an address is asked for: neither text nor an `ipaddress` object."""


class FilterTypeError(FilterError, ArgumentTypeError):
    """Where a source filter is asked for: no `SourceFilter`, mode, or iterable of addresses."""


class InterfaceTypeError(InterfaceError, ArgumentTypeError):
    """Where an interface is asked for: no name, index, address or `Interface`."""


class StateError(MulticastError, RuntimeError):
    """The object is closed, left, already joined, or in use by another task."""


class RefusedError(MulticastError, OSError):
    """The system refused a call. `errno` is the system's own, `detail` says which call."""

    def __init__(self, errno: int, detail: str, hint: str = "") -> None:
        OSError.__init__(self, errno, detail)
        self.detail = detail
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.errno, self.detail, self.hint))

    def __str__(self) -> str:
        return MulticastError.__str__(self)


class LimitError(RefusedError):
    """A limit of the system is reached.

    `limit` names it, `value` is its present value (None when it cannot be read), `sysctl` is
    the setting that raises it (None when there is none). Where the system does not let tell
    which of several limits it was, `limit` and the hint name all that it can have been, and
    `value` and `sysctl` are None.
    """

    def __init__(
        self,
        errno: int,
        detail: str,
        hint: str = "",
        *,
        limit: str = "",
        value: int | None = None,
        sysctl: str | None = None,
    ) -> None:
        super().__init__(errno, detail, hint)
        self.limit = limit
        self.value = value
        self.sysctl = sysctl

    def __reduce__(self) -> tuple[object, ...]:
        kept = {"limit": self.limit, "value": self.value, "sysctl": self.sysctl}
        return (type(self), (self.errno, self.detail, self.hint), kept)


class InterfaceGoneError(RefusedError):
    """The interface was deleted, or has lost what the call needs (ENODEV, ENXIO)."""


class NoPermissionError(RefusedError, PermissionError):
    """The process may not do this (EPERM, EACCES)."""


class NoRouteError(RefusedError):
    """There is no route to the address, so no interface follows from it."""


class CaptureError(MulticastError):
    """A file is no capture, or not one that can be read to its end.

    `path` is the file, `offset` the byte in it where that shows (of what is compressed: behind the
    compression).
    """

    def __init__(self, detail: str, hint: str = "", *, path: str = "", offset: int = 0) -> None:
        super().__init__(detail, hint)
        self.path = path
        self.offset = offset

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.detail, self.hint), {"path": self.path, "offset": self.offset})


class InconsistentError(MulticastError):
    """What the kernel reports differs from what the library set; the message holds both."""


class UnsupportedError(MulticastError):
    """The platform, or this event loop, has no such call."""


class MissingExtraError(MulticastError, ImportError):
    """What an extra brings is not installed; the hint has the line that installs it."""

    @classmethod
    def of(cls, package: str, extra: str) -> Self:
        """Return that of a package which an extra brings."""
        return cls(f"{package} is not installed", f"pip install 'aiomcast[{extra}]'")
