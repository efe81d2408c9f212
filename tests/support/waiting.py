"""Waiting for what no event tells, never without end."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable

__all__ = ["turns", "until", "wait_readable"]


def wait_readable(sock: socket.socket, seconds: float = 20) -> None:
    """Block until there is something to read."""
    assert select.select([sock], [], [], seconds)[0], "nothing arrived"


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Let the loop turn until `condition` holds; TimeoutError if it does not come to that."""
    async with asyncio.timeout(seconds):
        while not condition():  # there is no event: it is another object's counter
            await asyncio.sleep(0)


async def turns(count: int = 5) -> None:
    """Let the loop turn a few times, so that what is readable would have been read."""
    for _ in range(count):
        await asyncio.sleep(0)
