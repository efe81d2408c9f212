"""Counting by source, for those who ask for it: it looks at every packet, so it is not free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from ..values import bounds
from ..values.packets import Packet
from ..values.statistics import SourceStatistics
from .packet_stream import Sink

__all__ = ["SourceCounts"]


@final
class SourceCounts:
    """How much has come from each source, up to a number of them."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str | None, list[int]] = {}  # packets, octets, latest stamp (0: none)

    def counting(self, sink: Sink) -> Sink:
        """Return what counts a batch and hands it to `sink`."""
        counts = self._counts

        def count(batch: list[Packet]) -> None:
            for packet in batch:
                source: str | None = packet.flow.source
                counted = counts.get(source)
                if counted is None:
                    if len(counts) >= bounds.SOURCES_COUNTED:
                        source = None
                    counted = counts.setdefault(source, [0, 0, 0])
                counted[0] += 1
                counted[1] += len(packet.data)
                counted[2] = packet.timestamp_ns or counted[2]
            sink(batch)

        return count

    def statistics(self) -> Mapping[str | None, SourceStatistics]:
        """Return the counters by source; those of None are of all sources beyond the limit."""
        return {
            source: SourceStatistics(packets, octets, latest or None)
            for source, (packets, octets, latest) in self._counts.items()
        }
