"""`PacketStream`: packets as an async iterator, with a limit and a count of what did not fit."""

from __future__ import annotations

import asyncio
import enum
import weakref
from collections.abc import Callable
from typing import Protocol, TypeVar

from ..errors import StateError
from ..reading import PacketQueue
from ..values.addresses import Address, group_address, source_address
from ..values.packets import Channel, Flow, Packet
from ..values.statistics import StreamStatistics

__all__ = ["Listening", "Overflow", "PacketBatches", "PacketStream", "Stream", "StreamOwner"]

T = TypeVar("T")
_FLOWS_REMEMBERED = 4096  # flows whose match with the tags is remembered; then it starts anew


class Overflow(enum.Enum):
    """What a full stream does: stop the reading, or drop (and count) the oldest or the newest."""

    PAUSE = "pause"
    DROP_OLDEST = "drop oldest"
    DROP_NEWEST = "drop newest"


class Stream(PacketQueue[T]):
    """A queue that tasks of an event loop await: one task at a time, until it is closed."""

    waiter: object | None

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._ended = False
        self._error: Exception | None = None

    def __aiter__(self) -> Stream[T]:
        return self

    async def aclose(self) -> None:
        """End the stream: nothing is queued any more, iterations end after what is queued."""
        self.end()

    def end(self) -> None:
        """What `aclose` does, without a loop turn."""
        self._ended = True
        if self.waiter is not None:
            self._wake()

    def fail(self, error: Exception) -> None:
        """Raise `error` in the iteration once what is queued has been taken."""
        self._error = error
        if self.waiter is not None:
            self._wake()

    async def wait(self) -> None:
        """Return when there is an item to take. StopAsyncIteration when there never will be."""
        if self.waiter is not None:
            raise StateError("another task is waiting on this stream", "give each task its own: packets()")
        while not self.advance():
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._ended:
                raise StopAsyncIteration
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None

    async def _wait(self) -> T:
        await self.wait()
        return self.take()

    def _wake(self) -> None:
        waiter = self.waiter
        if isinstance(waiter, asyncio.Future) and not waiter.done():
            waiter.set_result(None)


class StreamOwner(Protocol):
    """What a stream tells whoever made it."""

    def stream_full(self, stream: PacketStream) -> None:
        """The stream asks for a pause of the reading."""

    def stream_relaxed(self, stream: PacketStream) -> None:
        """The pause may end: half is free again."""

    def stream_closed(self, stream: PacketStream) -> None:
        """The stream takes no more."""

    def stream_dropped(self, stream: PacketStream, packets: list[Packet]) -> None:
        """The overflow policy dropped these, or nobody can take them any more."""

    def stream_gone(self) -> None:
        """A stream is gone that was not closed. Called from wherever it was collected."""


class PacketStream(Stream[Packet]):
    """Packets in order of arrival, from the moment it was made until it is closed.

    `async for packet in stream` goes on where it stopped; `batches()` yields lists instead.
    One task at a time: StateError (a RuntimeError) for a second one. Made by `packets()` of a
    `Receiver` or a `Membership`, whose `capacity` and `overflow` it takes. With PAUSE it may
    hold more than `capacity` by what one wake-up reads; with the drop policies never.
    """

    def __init__(
        self,
        owner: StreamOwner,
        capacity: int,
        overflow: Overflow,
        *,
        source: Address | None = None,
        group: Address | None = None,
        channel: Channel | None = None,
    ) -> None:
        super().__init__(capacity)
        self._overflow = overflow
        self._source = None if source is None else source_address(source)
        self._group = None if group is None else group_address(group)
        self._channel = channel
        self._matching: dict[Flow, bool] = {}
        self.is_tagged: bool = (source, group, channel) != (None, None, None)
        self._queue_drops = self._filtered = 0
        self._feeding = PacketStream.feed if overflow is Overflow.PAUSE else PacketStream._feed_dropping
        self._owner = owner

    def sink(self, lost: Callable[[list[Packet]], None]) -> Callable[[list[Packet]], None]:
        """Return what the reading hands batches to: it does not hold the stream.

        `lost` is called with those for which there was no stream any more.
        """
        stream = weakref.ref(self)

        def feed(batch: list[Packet]) -> None:
            found = stream()
            if found is None:
                lost(batch)
            elif found.is_tagged:
                found._feed_matching(batch)
            else:
                found._feeding(found, batch)

        return feed

    def batches(self) -> PacketBatches:
        """Iterate over the same stream by lists of packets: all that is there at each step."""
        return PacketBatches(self)

    def statistics(self) -> StreamStatistics:
        """Return the counters of this stream."""
        received = self.fed + (self._queue_drops if self._overflow is Overflow.DROP_NEWEST else 0)
        queued = len(self)
        gone = self._queue_drops + self._filtered + queued
        return StreamStatistics(received, received - gone, self._queue_drops, self._filtered, queued)

    def end(self) -> None:
        """What `aclose` does, without a loop turn."""
        if not self._ended:
            super().end()
            self._owner.stream_closed(self)

    def __del__(self) -> None:
        owner: StreamOwner | None = getattr(self, "_owner", None)
        if owner is None:  # it did not come to be
            return
        if len(self):
            owner.stream_dropped(self, self.discard(lambda packet: True))
        if not self._ended:
            self._ended = True
            owner.stream_gone()

    def refuse(self, refused: Callable[[Flow], bool]) -> int:
        """Take out what is queued of refused flows; return how many packets that was."""
        known: dict[Flow, bool] = {}

        def out(packet: Packet) -> bool:
            flow = packet.flow
            if flow not in known:
                known[flow] = refused(flow)
            return known[flow]

        count = len(self.discard(out))
        self._filtered += count
        return count

    def _feed_dropping(self, batch: list[Packet]) -> None:
        if self._overflow is Overflow.DROP_NEWEST:
            room = self.capacity - len(self)
            batch, gone = batch[:room], batch[room:]
            if batch:
                self.feed(batch)
        else:
            self.feed(batch)
            gone = self.drop_oldest(len(self) - self.capacity)
        if gone:
            self._queue_drops += len(gone)
            self._owner.stream_dropped(self, gone)

    def _feed_matching(self, batch: list[Packet]) -> None:
        matching = [packet for packet in batch if self.matches(packet.flow)]
        if matching:
            self._feeding(self, matching)

    def matches(self, flow: Flow) -> bool:
        """Whether packets of `flow` carry the tags that this stream was made for."""
        known = self._matching.get(flow)
        if known is None:
            if len(self._matching) >= _FLOWS_REMEMBERED:
                self._matching.clear()
            known = self._matching[flow] = (
                self._source in (None, flow.source)
                and self._group in (None, flow.group)
                and self._channel in (None, flow.channel)
            )
        return known

    def _pause(self) -> None:
        if self._overflow is Overflow.PAUSE:
            self._owner.stream_full(self)

    def _resume(self) -> None:
        if self._overflow is Overflow.PAUSE:
            self._owner.stream_relaxed(self)


class PacketBatches:
    """The same stream, list by list. What is yielded belongs to the caller."""

    __slots__ = ("stream",)

    def __init__(self, stream: PacketStream) -> None:
        self.stream: PacketStream = stream

    def __aiter__(self) -> PacketBatches:
        return self

    async def __anext__(self) -> list[Packet]:
        await self.stream.wait()
        return self.stream.take_batch()

    async def aclose(self) -> None:
        """Close the stream behind it."""
        await self.stream.aclose()


class Listening:
    """The open streams of an owner, oldest first, and which of them ask for a pause. It holds none."""

    __slots__ = ("_full", "_streams")

    def __init__(self) -> None:
        self._streams: tuple[weakref.ref[PacketStream], ...] = ()
        self._full: weakref.WeakSet[PacketStream] | None = None

    def open(self) -> tuple[PacketStream, ...]:
        """Return the streams."""
        if not self._streams:
            return ()
        return tuple([found for stream in self._streams if (found := stream()) is not None])

    def __bool__(self) -> bool:
        return any(stream() is not None for stream in self._streams)

    def add(self, stream: PacketStream) -> None:
        """Take in one more."""
        self.remove(None)
        self._streams = (*self._streams, weakref.ref(stream))

    def remove(self, stream: PacketStream | None) -> None:
        """Forget a stream, and those that are gone."""
        self._streams = tuple(one for one in self._streams if one() not in (None, stream))
        if stream is not None:
            self.relax(stream)

    def fill(self, stream: PacketStream) -> None:
        """Note that a stream asks for a pause."""
        if self._full is None:
            self._full = weakref.WeakSet()
        self._full.add(stream)

    def relax(self, stream: PacketStream) -> None:
        """Note that it asks no more."""
        if self._full is not None:
            self._full.discard(stream)

    @property
    def is_full(self) -> bool:
        """Whether one asks for a pause."""
        return bool(self._full)
