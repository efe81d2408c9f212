"""`gaps`: packets as they come, and the gaps in their numbers where they show."""

from __future__ import annotations

from collections.abc import Mapping
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
from .sequence import Sequence
from .source import Packets, stream_of

__all__ = ["Watched", "gaps"]


def gaps(stream: Packets | PacketStream, sequence: Sequence) -> Watched:
    """Yield the packets of `stream` as they come, and a `Gap` before each that shows some to be missing.

    Each flow, a sender to a group on an interface, has numbers of its own. Nothing is held back, dropped
    or put in order: what is missing may still come, and is then counted as reordered. A `Restart` comes
    before the packet that shows that the numbers of its flow began anew. A packet that has no number, as
    one that is too short, is passed on, and counted. To have packets in order, `merge` one line alone.

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

    __slots__ = ("_counters", "_mask", "_packet", "_sequence", "_stream")

    def __init__(self, stream: PacketStream, sequence: Sequence) -> None:
        self._stream = stream
        self._sequence = sequence
        self._mask = (1 << sequence.bits) - 1
        self._counters: dict[Flow, SequenceCounter] = {}
        self._packet: Packet | None = None  # which comes after the gap that was yielded

    def __repr__(self) -> str:
        return f"<Watched {self._stream!r} by {self._sequence}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Packet | Gap | Restart:
        if self._packet is not None:
            packet, self._packet = self._packet, None
            return packet
        packet = await anext(self._stream)
        item = self._look(packet)
        if item is None:
            return packet
        self._packet = packet
        return item

    def statistics(self) -> Mapping[Flow, SequenceStatistics]:
        """Return what the numbers of each flow tell, of the latest 4,096 flows to begin."""
        return {flow: counter.statistics() for flow, counter in self._counters.items()}

    async def aclose(self) -> None:
        """Close the stream. What came before is still yielded. Doing so twice is fine."""
        await self._stream.aclose()

    def _look(self, packet: Packet) -> Gap | Restart | None:
        """Count it, and return what it shows."""
        flow = packet.flow
        counter = self._counters.get(flow)
        if counter is None:
            if len(self._counters) >= bounds.FLOWS_PER_STREAM:
                del self._counters[next(iter(self._counters))]
            counter = self._counters[flow] = SequenceCounter(self._sequence)
        before = counter.highest
        lost = counter.take(packet.data)
        after = counter.highest
        if before is None or after is None or after == before:
            return None
        if lost:
            return Gap((before + 1) & self._mask, (after - 1) & self._mask, lost, flow)
        return None if after == (before + 1) & self._mask else Restart(before, after, flow)
