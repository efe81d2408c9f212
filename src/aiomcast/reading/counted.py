"""What a reader has counted, as `Statistics`."""

from __future__ import annotations

from ..values.statistics import Statistics
from .contract import Reader

__all__ = ["counted"]


def counted(reader: Reader) -> Statistics:
    """Return the counters of `reader`, up to date."""
    reader.count_drops()
    return Statistics(
        received=reader.received,
        octets=reader.octets,
        kernel_drops=reader.kernel_drops,
        filtered=reader.filtered,
        queue_drops=reader.unmade,
        truncated=reader.truncated,
        receive_buffer=reader.receive_buffer,
        latest_ns=reader.latest_ns,
    )
