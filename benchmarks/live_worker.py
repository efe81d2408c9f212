"""A trial of one competitor at one rate: its receiving and its sending half, each for a worker of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TypedDict

from . import baseline, sockets
from .competitors import COMPETITORS, Receiving

__all__ = ["Heard", "hear", "hear_in_c", "open_for", "port", "send", "take_other_core"]

GROUP = sockets.channels(1)[0]

_receiving: Receiving | None = None


class Heard(TypedDict):
    """How many datagrams were seen, and how many the kernel dropped at the socket."""

    seen: int
    dropped: int


def port() -> int:
    """Return the port that this worker listens on."""
    return sockets.PORT


async def open_for(name: str, buffer: int) -> None:
    """Join as `name`: from here on the kernel's buffer fills."""
    global _receiving
    _receiving = COMPETITORS[name].make()
    await _receiving.open(GROUP, buffer)


async def hear(seconds: float) -> Heard:
    """Receive for `seconds`, then close."""
    receiving = _receiving
    assert receiving is not None
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await receiving.consume(sys.maxsize)
        return Heard(seen=receiving.seen, dropped=receiving.dropped())
    finally:
        await receiving.close()


def hear_in_c(seconds: float, size: int, buffer: int) -> Heard:
    """Do the same with epoll and recvmmsg."""
    with sockets.joined(GROUP, buffer=buffer, tagged=True) as sock:
        seen = baseline.library().receive_for(sock.fileno(), seconds, size)
        return Heard(seen=seen, dropped=sockets.dropped(sock))


def take_other_core() -> int:
    """Keep the sender out of the receivers' way; return how many cores there are."""
    cores = range(os.cpu_count() or 1)
    os.sched_setaffinity(0, cores)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    return len(allowed)


def send(to_port: int, rate: float, seconds: float, size: int) -> int:
    """Send at `rate` datagrams a second; return how many were sent."""
    with sockets.sender() as sock:
        to = baseline.destinations([GROUP], to_port)
        return int(baseline.library().pace(sock.fileno(), to, rate, seconds, size))
