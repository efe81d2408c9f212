"""Many joined channels, in a worker: opened once, then filled and drained as often as asked."""

from __future__ import annotations

import asyncio
import functools
import select
import socket
from typing import TypedDict

import aiomcast

from . import baseline, descriptors, sockets
from .stopwatch import ATTEMPTS, Stopwatch

__all__ = ["Drained", "close_library", "drain_library", "drain_sockets", "open_library", "open_sockets"]

_PATIENCE = 5.0  # seconds for a round: then datagrams have been lost

_groups: list[str] = []
_receiver: aiomcast.Receiver | None = None
_sockets: list[socket.socket] = []
_set: select.epoll | None = None


@functools.cache
def _sender() -> socket.socket:
    """One for all rounds, so that after the first every flow is a known one."""
    return sockets.sender()


class Drained(TypedDict):
    """Nanoseconds per datagram; `disturbed` is whether another process had the core: see `Stopwatch`."""

    ns: float
    disturbed: bool


async def open_library(channels: int, size: int) -> None:
    """Join `channels` with one receiver, and listen."""
    global _receiver
    descriptors.raise_limit()
    _groups[:] = sockets.channels(channels)
    _receiver = aiomcast.Receiver(receive_buffer=sockets.BUFFER)
    for group in _groups:
        await _receiver.join(group, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK)
    aiter(_receiver)  # it is listened to from here on


async def close_library() -> None:
    """Leave them all."""
    assert _receiver is not None
    await _receiver.aclose()


async def drain_library(channels: int, packets: int, size: int) -> Drained:
    """Send to the first `channels` in turn; measure `async for`."""
    assert _receiver is not None
    stream = aiter(_receiver)
    best: Stopwatch | None = None
    for _ in range(ATTEMPTS):
        sockets.fill(_groups[:channels], packets, size, sock=_sender())
        n = 0
        try:
            async with asyncio.timeout(_PATIENCE):
                with Stopwatch() as watch:
                    async for _packet in stream:
                        n += 1
                        if n == packets:
                            break
        except TimeoutError:
            raise RuntimeError(f"{n} of {packets} datagrams were seen") from None
        best = watch.or_better(best)
        if best.undisturbed:
            break
    assert best is not None
    return Drained(ns=best.ns / packets, disturbed=not best.undisturbed)


def open_sockets(channels: int) -> None:
    """Join `channels` with a socket each, and put all into an epoll set."""
    global _set
    descriptors.raise_limit()
    _groups[:] = sockets.channels(channels)
    _sockets[:] = [sockets.joined(group, tagged=True) for group in _groups]
    _set = select.epoll()
    for sock in _sockets:
        _set.register(sock, select.EPOLLIN)


def drain_sockets(channels: int, packets: int, size: int) -> Drained:
    """Send to the first `channels` in turn; measure epoll and recvmmsg in C."""
    assert _set is not None
    drain_set = baseline.library().drain_set
    best: Stopwatch | None = None
    for _ in range(ATTEMPTS):
        sockets.fill(_groups[:channels], packets, size, sock=_sender())
        with Stopwatch() as watch:
            seen = drain_set(_set.fileno(), packets, size)
        if seen != packets:
            raise RuntimeError(f"the baseline saw {seen} of {packets} datagrams")
        best = watch.or_better(best)
        if best.undisturbed:
            break
    assert best is not None
    return Drained(ns=best.ns / packets, disturbed=not best.undisturbed)
