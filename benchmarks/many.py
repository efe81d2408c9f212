"""Many joined channels, in a worker: opened once, then filled and drained as often as asked."""

from __future__ import annotations

import asyncio
import select
import socket
import time

import aiomcast

from . import baseline, descriptors, sockets

__all__ = ["drain_library", "drain_sockets", "open_library", "open_sockets"]

_PATIENCE = 5.0  # seconds for a round: then datagrams have been lost

_groups: list[str] = []
_receiver: aiomcast.Receiver | None = None
_stream: aiomcast.PacketStream | None = None
_sockets: list[socket.socket] = []
_set: select.epoll | None = None


async def open_library(channels: int, size: int) -> None:
    """Join `channels` with one receiver, and listen."""
    global _receiver, _stream
    descriptors.raise_limit()
    _groups[:] = sockets.channels(channels)
    _receiver = aiomcast.Receiver(receive_buffer=sockets.BUFFER)
    for group in _groups:
        await _receiver.join(group, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK)
    _stream = _receiver.packets()
    await drain_library(channels=channels, packets=channels, size=size)  # every flow is known from here on


async def drain_library(channels: int, packets: int, size: int) -> float:
    """Send to the first `channels` in turn; return nanoseconds per datagram, packet by packet."""
    assert _stream is not None
    sockets.fill(_groups[:channels], packets, size)
    start = time.perf_counter_ns()
    n = 0
    try:
        async with asyncio.timeout(_PATIENCE):
            async for _packet in _stream:
                n += 1
                if n == packets:
                    break
    except TimeoutError:
        raise RuntimeError(f"{n} of {packets} datagrams were seen") from None
    return (time.perf_counter_ns() - start) / packets


def open_sockets(channels: int) -> None:
    """Join `channels` with a socket each, and put all into an epoll set."""
    global _set
    descriptors.raise_limit()
    _groups[:] = sockets.channels(channels)
    _sockets[:] = [sockets.joined(group, tagged=True) for group in _groups]
    _set = select.epoll()
    for sock in _sockets:
        _set.register(sock, select.EPOLLIN)


def drain_sockets(channels: int, packets: int, size: int) -> float:
    """Send to the first `channels` in turn; return nanoseconds per datagram of epoll and recvmmsg in C."""
    assert _set is not None
    sockets.fill(_groups[:channels], packets, size)
    drain_set = baseline.library().drain_set
    start = time.perf_counter_ns()
    seen = drain_set(_set.fileno(), packets, size)
    spent = time.perf_counter_ns() - start
    if seen != packets:
        raise RuntimeError(f"the baseline saw {seen} of {packets} datagrams")
    return spent / packets
