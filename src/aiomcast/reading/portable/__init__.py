"""The reading path in pure Python. `_native` does the same in compiled code.

The tests hold both to one behaviour.
"""

from .push import PacketPush
from .queue import PacketQueue, take_queued
from .reader import MAX_DATAGRAM, Reader
from .readset import ReadSet

__all__ = ["MAX_DATAGRAM", "PacketPush", "PacketQueue", "ReadSet", "Reader", "take_queued"]
