"""Several channels drained by one event loop, or by one for each in a thread of its own: in a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypedDict

import aiomcast

from . import sockets
from .worker import new_loop

__all__ = ["Drained", "drain_together", "drain_waiting", "fill_share", "has_lock", "in_threads"]

_PATIENCE = 30.0  # seconds for a round: then datagrams have been lost


class Drained(TypedDict):
    """When it began and when the last datagram was seen, in seconds of one clock for all processes."""

    begun: float
    ended: float


def has_lock() -> bool:
    """Return whether one thread at a time runs Python."""
    is_on: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return is_on()


async def drain_together(channels: int, packets: int, size: int) -> Drained:
    """Drain `channels` with `packets` each by one loop."""
    _take_all_cores()
    async with await _joined(sockets.channels(channels)) as receiver:
        sockets.fill(sockets.channels(channels), packets * channels, size)
        return await _drained(receiver, packets * channels)


_waiting: aiomcast.Receiver | None = None


async def fill_share(channels: int, packets: int, size: int) -> None:
    """Join some channels and fill their sockets, `packets` each: `drain_waiting` is for when all have."""
    global _waiting
    _take_all_cores()
    _waiting = await _joined(sockets.channels(channels))
    sockets.fill(sockets.channels(channels), packets * channels, size)


async def drain_waiting(packets: int) -> Drained:
    """Drain `packets` in all, which `fill_share` has filled them with."""
    assert _waiting is not None
    async with _waiting:
        return await _drained(_waiting, packets)


def in_threads(loop: str, channels: int, packets: int, size: int) -> Drained:
    """Drain `channels` with `packets` each by a thread and a loop for each."""
    _take_all_cores()
    groups = sockets.channels(channels)
    are_filled = threading.Barrier(channels)
    drained: list[Drained] = []

    async def drain(group: str) -> None:
        async with await _joined([group]) as receiver:
            # As with the others: a buffer that another processor has filled costs more to give back.
            sockets.fill([group], packets, size)
            are_filled.wait(_PATIENCE)
            drained.append(await _drained(receiver, packets))

    def work(group: str) -> None:
        with (
            contextlib.suppress(threading.BrokenBarrierError),
            asyncio.Runner(loop_factory=lambda: new_loop(loop)) as runner,
        ):
            runner.run(drain(group))

    threads = [threading.Thread(target=work, args=(group,), daemon=True) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    if len(drained) != channels:
        raise RuntimeError(f"{channels - len(drained)} of {channels} threads have not seen all datagrams")
    return Drained(begun=min(one["begun"] for one in drained), ended=max(one["ended"] for one in drained))


async def _joined(groups: Sequence[str]) -> aiomcast.Receiver:
    receiver = aiomcast.Receiver(receive_buffer=sockets.BUFFER)
    for group in groups:
        await receiver.join(group, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK)
    return receiver


async def _drained(receiver: aiomcast.Receiver, packets: int) -> Drained:
    begun, seen = time.monotonic(), 0
    async with asyncio.timeout(_PATIENCE):
        async for _packet in receiver:
            seen += 1
            if seen == packets:
                break
    return Drained(begun=begun, ended=time.monotonic())


def _take_all_cores() -> None:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
