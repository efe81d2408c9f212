"""How many sources one socket may list for a group, and how many files a process may open."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Callable
from typing import TypeVar

from ..errors import LimitError
from ..values.addresses import family
from .abi import native
from .refusals import sysctl_value

__all__ = ["SOURCE_SYSCTL", "source_limit", "with_open_files"]

T = TypeVar("T")

ABI = native()
_SYSCTLS: dict[str, dict[int, str | None]] = {
    "linux": {4: "net.ipv4.igmp_max_msf", 6: "net.ipv6.mld_max_msf"},
    "bsd": {4: "net.inet.ip.mcast.maxsocksrc", 6: "net.inet6.ip6.mcast.maxsocksrc"},
    "windows": {4: None, 6: None},
}
SOURCE_SYSCTL = _SYSCTLS[ABI.full_state]
"""The setting that raises `source_limit`, by family."""
# Where /proc does not show it, as for IPv6 in a network namespace, the kernel's own default
# still holds: MLD_MAX_MSF of Linux, IP_MAX_SOCK_SRC_FILTER of FreeBSD and macOS.
_DEFAULT = {"linux": {4: 10, 6: 64}, "bsd": {4: 128, 6: 128}}


def source_limit(group: str) -> int | None:
    """Return how many sources a socket may list for a group of this family, None if unlimited."""
    kind = family(group)
    sysctl = SOURCE_SYSCTL[kind]
    shown = sysctl_value(sysctl) if sysctl is not None else None
    if shown is None:
        return _DEFAULT.get(ABI.full_state, {}).get(kind)
    return shown if shown >= 0 else None  # Linux compares without a sign


def with_open_files(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns; when files run out, raise the soft limit and try once more."""
    try:
        return attempt()
    except LimitError as error:
        if error.errno != errno.EMFILE or not _raise_open_files():
            raise
    return attempt()


def _raise_open_files() -> bool:
    """Raise the soft limit of open files to the hard one; say whether that changed anything."""
    if sys.platform == "win32":
        return False
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    with contextlib.suppress(ValueError, OSError):  # macOS refuses an unlimited hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] != soft
