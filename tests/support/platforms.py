"""What the tests have to know of the platform: what it does not tell, and what only Wine gets wrong."""

from __future__ import annotations

import ctypes
import sys

import pytest

from aiomcast.reading import options
from aiomcast.rfc3678.abi import native
from aiomcast.system import destination

__all__ = [
    "IS_WINDOWS",
    "IS_WINE",
    "linux_only",
    "needs_adoption",
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

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux' own")
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
