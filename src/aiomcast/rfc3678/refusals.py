"""The one border where an OSError becomes an error of this package, its errno kept."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator

from ..errors import (
    InterfaceGoneError,
    LimitError,
    NoPermissionError,
    NoRouteError,
    RefusedError,
)

__all__ = ["Limit", "open_files", "refusal", "refusals", "sysctl_value"]


class Limit:
    """A kernel limit that ENOBUFS can mean: its name and the sysctl that holds it."""

    __slots__ = ("name", "sysctl")

    def __init__(self, name: str, sysctl: str) -> None:
        self.name = name
        self.sysctl = sysctl


def sysctl_value(name: str) -> int | None:
    """Return the present value of a sysctl, None where it cannot be read (other systems, namespaces)."""
    try:
        with open("/proc/sys/" + name.replace(".", "/"), encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def open_files() -> int | None:
    """Return how many files this process may have open (the soft limit), None where unknown."""
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


_PLAIN: dict[int, tuple[type[RefusedError], str]] = {
    errno.ENODEV: (InterfaceGoneError, "look for the interface again, its index may have changed"),
    errno.ENXIO: (InterfaceGoneError, "look for the interface again, its index may have changed"),
    errno.EPERM: (NoPermissionError, "run with the needed privilege or ask for less"),
    errno.EACCES: (NoPermissionError, "ports below 1024 and some options need privilege"),
    errno.ENETUNREACH: (NoRouteError, "name the interface, or add a route"),
    errno.EHOSTUNREACH: (NoRouteError, "name the interface, or add a route"),
    errno.EADDRINUSE: (
        RefusedError,
        "another socket holds this port without SO_REUSEADDR, or this group is joined already",
    ),
    errno.EADDRNOTAVAIL: (
        RefusedError,
        "the address is not this host's, or the kernel has forgotten the membership: leave and join again",
    ),
    errno.ENOMEM: (RefusedError, "the kernel is out of memory for socket options (net.core.optmem_max)"),
}


def refusal(error: OSError, doing: str, limit: Limit | None = None) -> RefusedError:
    """Return what `error` means while `doing` ("joining 232.1.1.1 on eth0").

    `limit` is the limit that ENOBUFS stands for in this call.
    """
    number = error.errno or 0
    detail = f"{doing}: {error.strerror or error}"
    if number in (errno.EMFILE, errno.ENFILE):
        return LimitError(
            number,
            detail,
            "raise the limit of open files (ulimit -n): every membership takes a socket",
            limit="open files",
            value=open_files(),
        )
    if number == errno.ENOBUFS and limit is not None:
        value = sysctl_value(limit.sysctl)
        shown = "unknown here" if value is None else str(value)
        return LimitError(
            number,
            detail,
            f"{limit.name} is limited to {shown}; raise it with sysctl -w {limit.sysctl}=...",
            limit=limit.name,
            value=value,
            sysctl=limit.sysctl,
        )
    kind, hint = _PLAIN.get(number, (RefusedError, ""))
    return kind(number, detail, hint)


@contextlib.contextmanager
def refusals(doing: str) -> Iterator[None]:
    """Turn an OSError raised inside into the package's error for `doing`."""
    try:
        yield
    except RefusedError:
        raise
    except OSError as error:
        raise refusal(error, doing) from error
