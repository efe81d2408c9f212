"""The multicast ABI and the facts of each platform as data, and the bytes its calls take. No calls here.

Any table packs and parses on any host. `native` is the one place that looks at the platform.
"""

from __future__ import annotations

import struct
import sys

from ...errors import UnsupportedError
from .freebsd import FREEBSD
from .linux import LINUX_32, LINUX_64
from .macos import MACOS
from .table import Abi
from .windows import WINDOWS

__all__ = ["FREEBSD", "LINUX_32", "LINUX_64", "MACOS", "TABLES", "WINDOWS", "Abi", "native"]

TABLES: tuple[Abi, ...] = (LINUX_64, LINUX_32, FREEBSD, MACOS, WINDOWS)

# (start of sys.platform, size of a pointer): FreeBSD's sys.platform ends in its version.
_NATIVE = {
    ("linux", 8): LINUX_64,
    ("linux", 4): LINUX_32,
    ("freebsd", 8): FREEBSD,
    ("darwin", 8): MACOS,
    ("win32", 8): WINDOWS,
}


def native() -> Abi:
    """Return the table of the running platform.

    Raises UnsupportedError for a platform without one. The Linux tables hold the generic
    numbers (x86, Arm, RISC-V, POWER, s390); Alpha, MIPS, PA-RISC and SPARC have others.
    """
    pointer = struct.calcsize("P")
    for (platform, size), table in _NATIVE.items():
        if sys.platform.startswith(platform) and size == pointer:
            return table
    raise UnsupportedError(
        f"no multicast ABI is known for {sys.platform} with {8 * pointer}-bit pointers",
        "use Linux, or a 64-bit Python on FreeBSD, macOS or Windows",
    )
