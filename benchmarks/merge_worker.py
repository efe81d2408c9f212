"""One round of taking two lines of one feed, in a worker: merged, or one of them thrown away."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypedDict

import aiomcast
from aiomcast import feeds

from . import sockets
from .stopwatch import ATTEMPTS, Stopwatch

__all__ = ["WAYS", "Round", "round_of"]

GROUPS = sockets.channels(2)
SEQUENCE = feeds.Sequence.at(0)
_NUMBER = struct.Struct("!I")
_PATIENCE = 10.0  # seconds: then datagrams have been lost


class Round(TypedDict):
    """Nanoseconds per number, merged and with one line thrown away. `disturbed`: others had the core."""

    merged_ns: float
    taken_ns: float
    disturbed: bool


class Feed:
    """Both lines, joined, and what sends the same numbers on them."""

    def __init__(self, receiver: aiomcast.Receiver, lines: list[aiomcast.Membership], size: int) -> None:
        self.lines = lines
        self.receiver = receiver
        self._padding = bytes(size - _NUMBER.size)
        self._sender = sockets.sender()
        self._next = 0

    def send(self, count: int) -> None:
        """Send the next `count` numbers, each on both lines."""
        for number in range(self._next, self._next + count):
            data = _NUMBER.pack(number) + self._padding
            for group in GROUPS:
                self._sender.sendto(data, (group, sockets.PORT))
        self._next += count

    def close(self) -> None:
        """Send no more. RuntimeError if the kernel has dropped some."""
        self._sender.close()
        if lost := self.receiver.statistics().kernel_drops:
            raise RuntimeError(f"the receive buffer was too small by {lost} datagrams: ask for fewer")


@asynccontextmanager
async def feed_of(size: int) -> AsyncIterator[Feed]:
    """Join both lines, of one receiver."""
    async with aiomcast.Receiver(receive_buffer=sockets.BUFFER) as receiver:
        lines = [
            await receiver.join(group, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK)
            for group in GROUPS
        ]
        feed = Feed(receiver, lines, size)
        yield feed
        feed.close()


Way = Callable[[Feed, int], Awaitable[Stopwatch]]


async def _taken(feed: Feed, count: int) -> Stopwatch:
    """All of both lines, of which one is thrown away."""
    stream = feed.receiver.packets()
    feed.send(count)
    with Stopwatch() as watch:
        left = 2 * count
        async for _packet in stream:
            left -= 1
            if not left:
                break
    await stream.aclose()
    return watch


async def _taken_batches(feed: Feed, count: int) -> Stopwatch:
    batches = feed.receiver.batches()
    feed.send(count)
    with Stopwatch() as watch:
        left = 2 * count
        async for batch in batches:
            left -= len(batch)
            if not left:
                break
    await batches.aclose()
    return watch


async def _taken_live(feed: Feed, count: int) -> Stopwatch:
    """One number at a time: what is timed begins when it has come on both."""
    stream = feed.receiver.packets()
    watch = Sum()
    for _ in range(count):
        feed.send(1)
        with watch:
            await anext(stream)
            await anext(stream)
    await stream.aclose()
    return watch


async def _merged(feed: Feed, count: int) -> Stopwatch:
    merged = feeds.merge(*feed.lines, sequence=SEQUENCE, hold=60, window=count)
    feed.send(count)
    with Stopwatch() as watch:
        left = count
        async for _packet in merged:
            left -= 1
            if not left:
                break
        await _rest(merged, count)
    return watch


async def _merged_batches(feed: Feed, count: int) -> Stopwatch:
    merged = feeds.merge(*feed.lines, sequence=SEQUENCE, hold=60, window=count)
    feed.send(count)
    with Stopwatch() as watch:
        left = count
        async for batch in merged.batches():
            left -= len(batch)
            if not left:
                break
        await _rest(merged, count)
    return watch


async def _rest(merged: feeds.Merged, count: int) -> None:
    """Take what is left of the line that is behind: it brings nothing new."""
    while sum(line.received for line in merged.statistics().lines) < 2 * count:
        await asyncio.sleep(0)
        merged._take_all(0.0, {0, 1})


async def _merged_live(feed: Feed, count: int) -> Stopwatch:
    merged = feeds.merge(*feed.lines, sequence=SEQUENCE, hold=60)
    watch = Sum()
    for _ in range(count):
        feed.send(1)
        with watch:
            await anext(merged)
    return watch


class Sum(Stopwatch):
    """The time of several pieces."""

    def __exit__(self, *error: object) -> None:
        wall, processor = self.wall_ns, self.processor_ns
        super().__exit__(None, None, None)
        self.wall_ns += wall
        self.processor_ns += processor


WAYS: dict[str, tuple[Way, Way]] = {
    "packets": (_merged, _taken),
    "batches": (_merged_batches, _taken_batches),
    "live": (_merged_live, _taken_live),
}
"""By name: merged, and one of both thrown away."""


async def round_of(way: str, packets: int, size: int, merged_first: bool) -> Round:
    """Measure both, each on fresh sockets."""
    watches: dict[bool, Stopwatch] = {}
    for is_merged in (merged_first, not merged_first):
        measure = WAYS[way][0 if is_merged else 1]
        best: Stopwatch | None = None
        for _ in range(ATTEMPTS):
            async with asyncio.timeout(_PATIENCE), feed_of(size) as feed:
                best = (await measure(feed, packets)).or_better(best)
            if best.undisturbed:
                break
        assert best is not None
        watches[is_merged] = best
    return Round(
        merged_ns=watches[True].ns / packets,
        taken_ns=watches[False].ns / packets,
        disturbed=not all(watch.undisturbed for watch in watches.values()),
    )
