"""The reading path on Windows: WSARecvMsg, and the destination of each datagram looked at."""

from ..portable import PacketPush, PacketQueue, ReadSet, take_queued
from .reader import Reader

__all__ = ["PacketPush", "PacketQueue", "ReadSet", "Reader", "take_queued"]
