"""`gaps`: packets as they come, and the gaps in their numbers where they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self, final

from ..errors import ArgumentTypeError
from ..streams.packet_stream import PacketStream
from ..values import bounds
from ..values.closing import Closing
from ..values.packets import Flow, Packet
from ..values.sealed import sealed
from ..values.shown import shown
from .counting import SequenceCounter, SequenceStatistics
from .items import Gap, Restart
from .jitter import Jitter
from .numbering import only_flow
from .sequence import Sequence
from .source import Packets, stream_of

__all__ = ["Watched", "WatchedBatches", "gaps"]


def gaps(stream: Packets | PacketStream, sequence: Sequence) -> Watched:
    """Yield the packets of `stream` as they come, and a `Gap` before each that shows some to be missing.

    Each flow, a sender to a group on an interface, has numbers of its own. Nothing is held back, dropped
    or put in order: what is missing may still come, and is then counted as reordered. A `Restart` comes
    before the packet that shows that the numbers of its flow began anew. A packet that has no number, as
    one that is too short, is passed on, and counted. To have packets in order, `merge` one line alone.

    Of an MPEG transport stream a `Gap` has the counters of the first PID that jumps, and the count of all.

    Of a `Membership` or a `Receiver` a stream is made; it is closed with what is returned.
    """
    if not isinstance(sequence, Sequence):
        raise ArgumentTypeError(f"sequence {shown(sequence)}", 'give a Sequence, as Sequence.parse("rtp")')
    return Watched(stream_of(stream), sequence)


@final
@sealed
class Watched(Closing):
    """Packets, with a `Gap` or a `Restart` before those that show one. Made by `gaps`.

    `async for` goes on where it stopped; it ends with its stream, and raises what that raises. One task
    at a time. An async context manager, which closes the stream at the end.
    """

    __slots__ = ("_current", "_flows", "_mask", "_sequence", "_stream")

    def __init__(self, stream: PacketStream, sequence: Sequence) -> None:
        self._stream = stream
        self._sequence = sequence
        self._mask = (1 << sequence.bits) - 1
        self._flows: dict[Flow, tuple[SequenceCounter, Jitter]] = {}
        self._current: Iterator[Packet | Gap | Restart] = iter(())  # what comes after what was yielded

    def __repr__(self) -> str:
        return f"<Watched {self._stream!r} by {self._sequence}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Packet | Gap | Restart:
        for item in self._current:
            return item
        packet = await anext(self._stream)
        counter, jitter = self._flow(packet.flow)
        jitter.take_batch([packet])
        told = self._look(counter, packet)
        if told is None:
            return packet
        self._current = iter((packet,))
        return told

    def batches(self) -> WatchedBatches:
        """Iterate over the same by lists: all that is there at each step. The fastest way."""
        return WatchedBatches(self)

    def statistics(self) -> Mapping[Flow, SequenceStatistics]:
        """Return what the numbers of each flow tell, of the latest 4,096 flows to begin."""
        return {flow: counter.statistics() for flow, (counter, _) in self._flows.items()}

    def jitter(self) -> Mapping[Flow, float | None]:
        """Return the jitter of arrival of each flow, in nanoseconds, by the kernel's stamps: see `Jitter`.

        None where fewer than three packets have had one.
        """
        return {flow: jitter.nanoseconds for flow, (_, jitter) in self._flows.items()}

    async def aclose(self) -> None:
        """Close the stream. What came before is still yielded. Doing so twice is fine."""
        await self._stream.aclose()

    async def _next_batch(self) -> list[Packet | Gap | Restart]:
        if rest := list(self._current):
            return rest
        batch = await anext(self._stream.batches())
        flow = only_flow(batch)
        if flow is not None:
            counter, jitter = self._flow(flow)
            jitter.take_batch(batch)
            first = self._sequence._numbers.row(batch)
            if first is not None and counter.take_row(first, len(batch), batch[0].data):
                return [*batch]
        out: list[Packet | Gap | Restart] = []
        for packet in batch:
            counter, jitter = self._flow(packet.flow)
            if flow is None:
                jitter.take_batch([packet])
            told = self._look(counter, packet)
            if told is not None:
                out.append(told)
            out.append(packet)
        return out

    def _flow(self, flow: Flow) -> tuple[SequenceCounter, Jitter]:
        known = self._flows.get(flow)
        if known is None:
            if len(self._flows) >= bounds.FLOWS_PER_STREAM:
                del self._flows[next(iter(self._flows))]
            known = self._flows[flow] = SequenceCounter(self._sequence), Jitter()
        return known

    def _look(self, counter: SequenceCounter, packet: Packet) -> Gap | Restart | None:
        """Count it, and return what it shows."""
        counter.take(packet.data)
        if counter.jump is None:
            return None
        last, first, lost = counter.jump
        if lost:
            return Gap((last + 1) & self._mask, (first - 1) & self._mask, lost, packet.flow)
        return Restart(last, first, packet.flow)


@final
@sealed
class WatchedBatches(Closing):
    """The items of a `Watched`, list by list. What is yielded belongs to the caller.

    An async context manager, which closes the stream at the end.
    """

    __slots__ = ("_watched",)

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def __repr__(self) -> str:
        return f"<WatchedBatches of {self._watched!r}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Packet | Gap | Restart]:
        return await self._watched._next_batch()

    async def aclose(self) -> None:
        """Close the stream behind it."""
        await self._watched.aclose()
