"""The reading path on Windows: WSARecvMsg, and the destination of each datagram looked at."""

from ..portable import PacketQueue, ReadSet
from .reader import Reader

__all__ = ["PacketQueue", "ReadSet", "Reader"]
