"""The jitter of arrival. Pure: time stamps in, nanoseconds out."""

from __future__ import annotations

from typing import final

from ..values.packets import Packet
from ..values.sealed import sealed
from .numbering import smoothed

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
        self._take([timestamp_ns])

    def take_batch(self, batch: list[Packet]) -> None:
        """Take in the arrival of each packet by its kernel stamp; one without is passed over."""
        self._take([packet[2] for packet in batch])

    def _take(self, stamps: list[int | None]) -> None:
        self._before_ns, self._gap, self._jitter = smoothed(stamps, self._before_ns, self._gap, self._jitter)
