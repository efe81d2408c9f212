"""The one border where an OSError becomes an error of this package, its errno kept."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..errors import (
    InterfaceGoneError,
    LimitError,
    NoPermissionError,
    NoRouteError,
    RefusedError,
)
from .abi import native
from .sysctls import sysctl_value

__all__ = ["Limit", "Shortage", "is_no_member", "open_files", "refusal", "refusals"]

ABI = native()


class Limit(NamedTuple):
    """A limit of the system, its value now (None where it cannot be known) and the sysctl that raises it."""

    name: str
    value: int | None
    sysctl: str | None


class Shortage(NamedTuple):
    """The limits that refused a call; unless `is_certain`, those that may have."""

    limits: tuple[Limit, ...]
    is_certain: bool = True


def open_files() -> int | None:
    """Return how many files this process may have open (the soft limit), None where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


_LOOK_AGAIN = "look for the interface again, its index may have changed"
_PLAIN: dict[int, tuple[type[RefusedError], str]] = {
    errno.ENODEV: (InterfaceGoneError, _LOOK_AGAIN),
    errno.ENXIO: (InterfaceGoneError, _LOOK_AGAIN),
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
    errno.ESRCH: (
        RefusedError,
        "the interface has lost the membership, which only the socket still has: refresh() joins anew",
    ),
    errno.ENOMEM: (RefusedError, "the system is out of memory"),
    errno.ENOBUFS: (RefusedError, "the system is out of buffer space"),
}

# What the same numbers mean to somebody who sends.
_SENDING: dict[int, tuple[type[RefusedError], str]] = {
    errno.EPERM: (NoPermissionError, "a firewall of this host may refuse it"),
    errno.EACCES: (NoPermissionError, "ports below 1024 need privilege, broadcasts SO_BROADCAST"),
    errno.ENETUNREACH: (NoRouteError, "set the interface up, or add a route on it"),
    errno.EHOSTUNREACH: (NoRouteError, "set the interface up, or add a route on it"),
    errno.EADDRINUSE: (
        RefusedError,
        "another socket holds this port without SO_REUSEADDR: send from another port, or have it share",
    ),
    errno.EADDRNOTAVAIL: (
        RefusedError,
        "send from an address of this host; one of IPv6 cannot be used until it is no longer tentative",
    ),
    errno.EMSGSIZE: (RefusedError, "a datagram has room for 65,507 bytes, with IPv6 65,487"),
}


def refusal(
    error: OSError,
    doing: str,
    shortage: Callable[[], Shortage] | None = None,
    *,
    sends: bool = False,
    in_use: Callable[[], str] | None = None,
    ifindex: int = 0,
) -> RefusedError:
    """Return what `error` means while `doing` ("joining 232.1.1.1 on eth0").

    `shortage` is asked which limit was met when the error is ENOBUFS, ENOMEM or ENOSPC, `in_use` for the
    hint when it is EADDRINUSE; `sends` says that it is a sender's, `ifindex` what interface it was about.
    """
    number = error.errno or 0
    detail = f"{doing}: {error.strerror or error}"
    own_hint = next((hint for name, hint in ABI.facts.hints.items() if _is(number, name)), None)
    if ifindex and _is(number, *ABI.facts.interface_gone) and not _is_there(ifindex):
        return InterfaceGoneError(number, detail, _LOOK_AGAIN)
    if number in (errno.EMFILE, errno.ENFILE):
        return LimitError(
            number,
            detail,
            own_hint
            or "raise the limit of open files (ulimit -n)"
            + ": every membership takes a socket" * (not sends),
            limit="open files",
            value=open_files(),
        )
    if number in (errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC) and shortage is not None:
        return _limited(number, detail, shortage(), own_hint)
    if number == errno.EADDRINUSE and in_use is not None:
        return RefusedError(number, detail, own_hint or in_use())
    kind, hint = (_SENDING.get(number) if sends else None) or _PLAIN.get(number, (RefusedError, ""))
    return kind(number, detail, own_hint or hint)


def _is_there(ifindex: int) -> bool:
    try:
        return any(index == ifindex for index, _ in socket.if_nameindex())
    except OSError:  # it cannot be told
        return True


def is_no_member(error: OSError) -> bool:
    """Whether a call about a group was refused as the socket is no member of it."""
    return _is(error.errno, *ABI.facts.not_a_member)


def _is(number: int | None, *names: str) -> bool:
    return number in [getattr(errno, name) for name in names]


def _limited(number: int, detail: str, shortage: Shortage, own_hint: str | None) -> RefusedError:
    limits = shortage.limits
    if limits and shortage.is_certain:
        first = limits[0]
        hint = "; also, ".join(f"{one.name} is limited to {_shown(one)}{_raised(one)}" for one in limits)
        return LimitError(number, detail, hint, limit=first.name, value=first.value, sysctl=first.sysctl)
    candidates = " or ".join(
        f"{one.name} ({_shown(one) if one.sysctl is None else f'{one.sysctl}, now {_shown(one)}'})"
        for one in limits
    )
    hint = (own_hint or "the system is out of memory") + (
        f", or of {candidates}: it cannot be told which" if limits else ""
    )
    if number == errno.ENOMEM:
        return RefusedError(number, detail, hint)
    return LimitError(number, detail, hint, limit=" or ".join(one.name for one in limits) or "memory")


def _shown(limit: Limit) -> str:
    return "unknown here" if limit.value is None else str(limit.value)


def _raised(limit: Limit) -> str:
    if limit.sysctl is None:
        return ""
    hidden = ABI.facts.hides_sysctls and sysctl_value(limit.sysctl) is None
    return f"; raise it with sysctl -w {limit.sysctl}=..." + " in the host's own network namespace" * hidden


@contextlib.contextmanager
def refusals(doing: str, *, sends: bool = False, in_use: Callable[[], str] | None = None) -> Iterator[None]:
    """Turn an OSError raised inside into the package's error for `doing`, as `refusal` has it."""
    try:
        yield
    except RefusedError:
        raise
    except OSError as error:
        raise refusal(error, doing, sends=sends, in_use=in_use) from error
