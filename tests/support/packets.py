"""Packets out of a stream, and what is in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from aiomcast import Packet

__all__ = ["numbered", "payloads", "rest", "take"]


async def take(packets: AsyncIterator[Packet], count: int, seconds: float = 30) -> list[Packet]:
    """Return the next `count` packets; TimeoutError if they do not come."""
    async with asyncio.timeout(seconds):
        return [await anext(packets) for _ in range(count)]


async def rest(packets: AsyncIterator[Packet], seconds: float = 30) -> list[bytes]:
    """Return the payloads of what comes until the stream ends."""
    async with asyncio.timeout(seconds):
        return [packet.data async for packet in packets]


def payloads(packets: Iterable[Packet]) -> list[bytes]:
    """Return what each carries."""
    return [packet.data for packet in packets]


def numbered(count: int, first: int = 0) -> list[bytes]:
    """Return `count` payloads, each told from the others by its number."""
    return [b"%d" % number for number in range(first, first + count)]
