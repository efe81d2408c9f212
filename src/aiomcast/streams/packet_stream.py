"""`PacketStream`: packets as an async iterator, with a limit and a count of what did not fit."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Protocol, Self, TypeAlias

from ..values import bounds
from ..values.closing import Closing
from ..values.options import Options, Overflow
from ..values.packets import Flow, Packet
from ..values.statistics import StreamStatistics
from ..values.tags import Tags
from .stream import Stream

__all__ = ["Home", "PacketBatches", "PacketStream", "Sink"]

Sink: TypeAlias = Callable[[list[Packet]], None]


class Home(Protocol):
    """What a stream tells whoever feeds it."""

    def new_waiter(self) -> asyncio.Future[None]:
        """Return a future of the loop. StateError where a task would wait in vain."""

    def full(self, stream: PacketStream) -> None:
        """The stream asks for a pause of the reading."""

    def relaxed(self, stream: PacketStream) -> None:
        """The pause may end: half is free again."""

    def closed(self, stream: PacketStream) -> None:
        """The stream takes no more; what is queued in it can still be received."""

    def dropped(self, packets: list[Packet]) -> None:
        """The overflow policy dropped these, or nobody can receive them any more."""

    def gone(self) -> None:
        """A stream is gone that was not closed. Called from wherever it was collected."""


class PacketStream(Stream[Packet]):
    """Packets in order of arrival, from the moment it was made until it is closed.

    `async for packet in stream` goes on where it stopped; `batches()` yields lists instead;
    `receive()` returns one packet. One task at a time: StateError (a RuntimeError) for a second
    one. Made by `packets()` of a `Receiver` or a `Membership`, by whose options it goes: with
    PAUSE it may hold more than `capacity` by what one wake-up reads; with the drop policies never.

    An async context manager, which closes it at the end. Whoever drops it open gets a
    ResourceWarning, and the reading goes on without it; what was queued in it counts as dropped.
    """

    def __init__(self, home: Home, owner: object, options: Options, tags: Tags, is_default: bool) -> None:
        super().__init__(options.capacity)
        self._overflow = options.overflow
        self._tags = tags
        self._is_tagged = not tags.are_any
        self._matching: dict[Flow, bool] = {}
        self._queue_drops = self._filtered = 0
        self._put = PacketStream._feed if options.overflow is Overflow.PAUSE else PacketStream._feed_dropping
        self._owner = owner  # alive while the stream is
        self._is_default = is_default
        self._home = home

    def __repr__(self) -> str:
        tags = "".join(
            f", {name} {tag}"
            for name in ("source", "group", "channel")
            if (tag := getattr(self._tags, name)) is not None
        )
        state = "closed, " if self._ended else ""
        return f"<PacketStream of {self._owner!r}{tags}: {state}{len(self)} of {self.capacity} queued>"

    @property
    def tags(self) -> Tags:
        """Which packets it is for."""
        return self._tags

    def batches(self) -> PacketBatches:
        """Iterate over the same stream by lists of packets: all that is there at each step."""
        return PacketBatches(self)

    def statistics(self) -> StreamStatistics:
        """Return the counters of this stream."""
        received = self._fed + (self._queue_drops if self._overflow is Overflow.DROP_NEWEST else 0)
        queued = len(self)
        gone = self._queue_drops + self._filtered + queued
        return StreamStatistics(received, received - gone, self._queue_drops, self._filtered, queued)

    def __del__(self) -> None:
        home: Home | None = getattr(self, "_home", None)
        if home is None:  # it did not come to be
            return
        self._is_gone = True  # also where something, as its own warning, keeps it alive
        self._paused = False  # this may be another thread than the loop's: `gone` has the reading go on
        if len(self):
            home.dropped(self._discard(lambda packet: True))
        if not self._ended:
            home.gone()
            if not self._is_default:  # which nobody could close but by closing its owner
                self._forgotten()

    # For the dispatcher

    def _sink(self, lost: Sink) -> Sink:
        """Return what batches are handed to: it does not keep the stream alive.

        `lost` is called with those for which there was no stream any more.
        """
        if self._overflow is Overflow.PAUSE and not self._is_tagged:
            return self._taker(lost)
        stream = weakref.ref(self)

        def feed(batch: list[Packet]) -> None:
            found = stream()
            if found is None or found._is_gone:
                lost(batch)
            elif found._is_tagged:
                found._feed_matching(batch)
            else:
                found._put(found, batch)

        return feed

    def _refuse(self, refused: Callable[[Flow], bool]) -> int:
        """Drop what is queued of refused flows; return how many packets that was."""
        known: dict[Flow, bool] = {}

        def is_refused(packet: Packet) -> bool:
            flow = packet.flow
            if flow not in known:
                known[flow] = refused(flow)
            return known[flow]

        count = len(self._discard(is_refused))
        self._filtered += count
        return count

    @property
    def _is_awaited(self) -> bool:
        """Whether a task waits for its next packet."""
        return self._waiter is not None

    @property
    def _delivered(self) -> int:
        """How many packets have left it, however: what grows while somebody receives."""
        return self._fed - len(self)

    def _matches(self, flow: Flow) -> bool:
        """Whether packets of `flow` have the tags that this stream is for."""
        known = self._matching.get(flow)
        if known is None:
            if len(self._matching) >= bounds.FLOWS_PER_STREAM:
                self._matching.clear()
            known = self._matching[flow] = self._tags.match(flow)
        return known

    # What the queue calls

    def _feed_dropping(self, batch: list[Packet]) -> None:
        if self._overflow is Overflow.DROP_NEWEST:
            room = self.capacity - len(self)
            batch, gone = batch[:room], batch[room:]
            if batch:
                self._feed(batch)
        else:
            self._feed(batch)
            gone = self._drop_oldest(len(self) - self.capacity)
        if gone:
            self._queue_drops += len(gone)
            self._home.dropped(gone)

    def _feed_matching(self, batch: list[Packet]) -> None:
        matching = [packet for packet in batch if self._matches(packet.flow)]
        if matching:
            self._put(self, matching)

    def _end(self) -> None:
        if not self._ended:
            super()._end()
            self._home.closed(self)

    def _new_waiter(self) -> asyncio.Future[None]:
        return self._home.new_waiter()

    def _pause(self) -> None:
        if self._overflow is Overflow.PAUSE:
            self._home.full(self)

    def _resume(self) -> None:
        if self._overflow is Overflow.PAUSE:
            self._home.relaxed(self)


class PacketBatches(Closing):
    """The packets of a `PacketStream`, list by list. What is yielded belongs to the caller.

    An async context manager, which closes the stream at the end.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: PacketStream) -> None:
        self._stream = stream

    def __repr__(self) -> str:
        return f"<PacketBatches of {self._stream!r}>"

    @property
    def stream(self) -> PacketStream:
        """The stream behind it."""
        return self._stream

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[list[Packet]]:
        return self._stream._next_list()

    async def aclose(self) -> None:
        """Close the stream behind it."""
        await self._stream.aclose()
