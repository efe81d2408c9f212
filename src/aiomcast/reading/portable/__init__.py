"""The reading path in pure Python. `_native` does the same in compiled code.

The tests hold both to one behaviour.
"""

from .queue import PacketQueue
from .reader import Reader
from .readset import ReadSet

__all__ = ["PacketQueue", "ReadSet", "Reader"]
