"""The jitter of arrival. Pure: time stamps in, nanoseconds out."""

from __future__ import annotations

from typing import final

from ..values.sealed import sealed

__all__ = ["Jitter"]


@final
@sealed
class Jitter:
    """How unevenly the packets of one flow arrive: give it the time of every packet, in order.

    It is smoothed as in RFC 3550, section 6.4.1: a sixteenth of each new deviation. When a packet was sent
    is not looked at: a deviation is how far the time since the packet before is from the mean of such times,
    which is smoothed alike. So a flow at a constant rate has none, and one in bursts has much.
    """

    __slots__ = ("_before_ns", "_gap", "_jitter")

    def __init__(self) -> None:
        self._before_ns: int | None = None
        self._gap: float | None = None
        self._jitter: float | None = None

    @property
    def nanoseconds(self) -> float | None:
        """The jitter now, None before the third packet."""
        return self._jitter

    def take(self, timestamp_ns: int) -> None:
        """Take in the arrival of a packet, in nanoseconds of any clock."""
        before, self._before_ns = self._before_ns, timestamp_ns
        if before is None:
            return
        gap = timestamp_ns - before
        if self._gap is None:
            self._gap = gap
            return
        deviation = abs(gap - self._gap)
        self._gap += (gap - self._gap) / 16
        self._jitter = (self._jitter or 0.0) + (deviation - (self._jitter or 0.0)) / 16
