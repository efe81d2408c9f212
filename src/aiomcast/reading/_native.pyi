from typing import Final

from .portable import PacketQueue as PacketQueue
from .portable import Reader as Reader
from .portable import ReadSet as ReadSet

def parse_control(control: bytes) -> tuple[int, int, int, int, int]:
    """Return (stamp, dropped, hops, traffic, segment) of raw control messages."""

__all__: Final = ["PacketQueue", "ReadSet", "Reader", "parse_control"]
