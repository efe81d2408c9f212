"""How long a receive buffer holds what comes, judged by two looks at what has come; and what to say of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from ..values import bounds
from ..values.statistics import Tally
from .buffers import BUFFER_SYSCTL, room_for
from .contract import Reader

__all__ = ["BETWEEN", "Come", "are_default", "are_short", "come", "told"]

BETWEEN: Final = 1.0
"""Seconds between two looks at what has come."""
_LEAST: Final = 0.05  # seconds of what comes that a buffer has to hold


class Come(NamedTuple):
    """What had come at a time in seconds, that which found no room included."""

    at: float
    datagrams: int
    octets: int


def come(counted: Tally, now: float) -> Come:
    """Return what has come by `now`, when so much was counted."""
    mean = counted.octets / counted.received if counted.received else 0.0
    octets = counted.octets + round(mean * counted.kernel_drops)
    return Come(now, counted.received + counted.kernel_drops, octets)


def told(readers: Collection[Reader], before: Come, after: Come) -> str | None:
    """Return a sentence where the buffers of `readers` hold too little of what they are sent, else None."""
    seconds, datagrams = after.at - before.at, after.datagrams - before.datagrams
    if seconds <= 0 or datagrams <= 0:
        return None
    granted = sum(reader.count_drops() for reader in readers)
    rate = datagrams / seconds
    held = granted / (rate * room_for((after.octets - before.octets) / datagrams))
    if held >= _LEAST:
        return None
    return (
        f"the receive buffer of {granted:,} bytes holds {held * 1000:.0f} ms of what comes, "
        f"{rate:,.0f} datagrams/s: {_remedy(readers)}"
    )


def are_default(readers: Collection[Reader]) -> bool:
    """Whether one of them has asked for the buffer that is asked for by default."""
    return any(reader.sock.is_buffer_whole is not None for reader in readers)


def are_short(readers: Collection[Reader]) -> bool:
    """Whether one of them has asked for it, and was granted less."""
    return any(reader.sock.is_buffer_whole is False for reader in readers)


def _remedy(readers: Collection[Reader]) -> str:
    if not are_short(readers):
        return "ask for more by receive_buffer="
    if BUFFER_SYSCTL is None:
        return "the system has granted less than was asked for"
    return f"raise it with sysctl -w {BUFFER_SYSCTL}={bounds.RECEIVE_BUFFER}, or have CAP_NET_ADMIN"
