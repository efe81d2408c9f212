"""From a readable socket to a list of packets: the compiled path, or the same in pure Python.

`implementation` says which one is in use: "native" or "portable", on Windows "windows". The environment
variable AIOMCAST_READING forces one of the first two; "native" where it was not built is an ImportError.
"""

import os
import sys
from typing import TYPE_CHECKING

__all__ = ["PacketPush", "PacketQueue", "ReadSet", "Reader", "implementation", "take_queued"]

_forced = os.environ.get("AIOMCAST_READING", "")
if _forced not in ("", "native", "portable"):
    raise ImportError(f"AIOMCAST_READING is {_forced!r}: choose 'native' or 'portable'")

implementation = "portable"
if sys.platform == "win32":
    from .windows import PacketPush, PacketQueue, Reader, ReadSet, take_queued

    implementation = "windows"
elif TYPE_CHECKING or _forced == "portable":
    from .portable import PacketPush, PacketQueue, Reader, ReadSet, take_queued
else:
    try:
        from ._native import PacketPush, PacketQueue, Reader, ReadSet, take_queued

        implementation = "native"
    except ImportError:
        if _forced == "native":
            raise
        from .portable import PacketPush, PacketQueue, Reader, ReadSet, take_queued
