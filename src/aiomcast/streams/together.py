"""Waiting for several streams at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..errors import StateError
from .packet_stream import PacketStream

__all__ = ["wait_for_any"]


async def wait_for_any(streams: Sequence[PacketStream], seconds: float | None) -> None:
    """Return when one of these, one at least, gets an item, an error or an end, or after `seconds`.

    With 0 the loop has a turn, in which what has come to sockets is read.

    StateError where another task waits on one, or waiting would be in vain.
    """
    for stream in streams:
        if stream._is_awaited:
            raise StateError(f"another task is waiting on {stream!r}", "give each task its own: packets()")
    waiter, *_ = [stream._new_waiter() for stream in streams]  # each says whether it would be in vain
    timer = None if seconds is None else waiter.get_loop().call_later(max(0.0, seconds), _end, waiter)
    try:
        for stream in streams:
            stream._waiter = waiter
        await waiter
    finally:
        for stream in streams:
            stream._waiter = None
        if timer is not None:
            timer.cancel()


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
