"""The jitter of arrival. Pure: time stamps in, nanoseconds out."""

from __future__ import annotations

from typing import final

from ..values.sealed import sealed

__all__ = ["Jitter"]


@final
@sealed
class Jitter:
    """How unevenly the packets of one flow arrive: give it the time of every packet, in order.

    It is the smoothed deviation of RFC 3550, section 6.4.1, J += (|D| - J) / 16. A packet that says when it
    was sent is no matter here: D is how much the time since the packet before differs from the mean
    of such times, which is smoothed alike. So 0 is a flow at a constant rate, and one in bursts has much.
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
