"""What the tests have to know of the platform: what it does not tell, and what only Wine gets wrong."""

from __future__ import annotations

import ctypes
import errno
import socket
import sys

import pytest

from aiomcast.reading import options
from aiomcast.rfc3678.abi import native
from aiomcast.system import destination

__all__ = [
    "IS_WINDOWS",
    "IS_WINE",
    "TAKEN",
    "bound_host",
    "linux_only",
    "needs_adoption",
    "needs_datagram_pairs",
    "needs_drops",
    "needs_source_limit",
    "needs_stamps",
    "wrong_in_wine",
]

IS_WINDOWS = sys.platform == "win32"


def _is_wine() -> bool:
    if sys.platform != "win32":
        return False
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


IS_WINE = _is_wine()

TAKEN = errno.EACCES if IS_WINDOWS else errno.EADDRINUSE
"""What a bind with SO_REUSEADDR is refused with, where another socket has the port for itself."""


def bound_host(group: str) -> str:
    """Return what a socket for `group` is bound to: the group, or the wildcard where none can be."""
    if native().facts.binds_to_group:
        return group
    return "::" if ":" in group else "0.0.0.0"


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux' own")
needs_datagram_pairs = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="this system has no datagram socket that fills"
)
needs_drops = pytest.mark.skipif(native().SO_MEMINFO is None, reason="this system counts no drops")
needs_source_limit = pytest.mark.skipif(
    native().facts.sources_ipv4.default is None, reason="this system names no limit of sources"
)
needs_stamps = pytest.mark.skipif(not options.STAMPS, reason="this system tells no time of arrival")


needs_adoption = pytest.mark.skipif(
    not (destination.CAN_ATTACH or native().facts.binds_to_group), reason="no socket can be taken over here"
)


def wrong_in_wine(reason: str) -> pytest.MarkDecorator:
    """Return the mark of a test that fails under Wine, though it would not on Windows."""
    return pytest.mark.xfail(IS_WINE, reason=f"Wine: {reason}")
