"""Waiting for what no event tells, never without end."""

from __future__ import annotations

import asyncio
import itertools
import select
import socket
from collections.abc import Callable

__all__ = ["turns", "until", "wait_readable"]

_TURNS = 100  # in which what this process does itself is done
_PAUSE = 0.002  # seconds: what another does takes longer, and needs the processor for it


def wait_readable(sock: socket.socket, seconds: float = 20) -> None:
    """Block until there is something to read."""
    assert select.select([sock], [], [], seconds)[0], "nothing arrived"


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Let the loop turn until `condition` holds; TimeoutError if it does not come to that."""
    async with asyncio.timeout(seconds):
        for turn in itertools.count():  # there is no event: it is another object's counter
            if condition():
                return
            await asyncio.sleep(_PAUSE if turn >= _TURNS else 0)


async def turns(count: int = 5) -> None:
    """Let the loop turn a few times, so that what is readable would have been read."""
    for _ in range(count):
        await asyncio.sleep(0)
