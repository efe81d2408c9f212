"""What a reader has counted, as `Statistics`."""

from __future__ import annotations

from ..values.statistics import Statistics, Tally
from .contract import Reader

__all__ = ["count", "counted"]


def count(reader: Reader, into: Tally) -> None:
    """Add the counters of `reader`, up to date."""
    buffer = reader.count_drops()
    into.received += reader.received
    into.octets += reader.octets
    into.kernel_drops += reader.kernel_drops
    into.filtered += reader.filtered
    into.queue_drops += reader.unmade
    into.truncated += reader.truncated
    into.receive_buffer += buffer
    into.came(reader.latest_ns)


def counted(reader: Reader) -> Statistics:
    """Return the counters of `reader`, up to date."""
    tally = Tally()
    count(reader, tally)
    return tally.statistics()
