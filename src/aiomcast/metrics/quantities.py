"""What is told of a receiver and of each membership, as a table, for whatever library takes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import attrgetter
from typing import final

import attrs

from ..values.statistics import Tally

__all__ = ["QUANTITIES", "Quantity"]


@final
@attrs.frozen(slots=True)
class Quantity:
    """One number, or one for each reason. `name` is OpenTelemetry's, `prometheus` without the `_total`.

    A value is NaN as long as there is none, where `is_missing_at_first`.
    """

    name: str
    prometheus: str
    unit: str
    says: str
    is_counter: bool
    values: tuple[tuple[str | None, Callable[[Tally], float]], ...]
    is_missing_at_first: bool = False


def _latest(tally: Tally) -> float:
    return math.nan if tally.latest_ns is None else tally.latest_ns / 1e9


QUANTITIES = (
    Quantity(
        "packets.received",
        "packets_received",
        "{packet}",
        "Datagrams read from the sockets.",
        True,
        ((None, attrgetter("received")),),
    ),
    Quantity(
        "received",
        "received_bytes",
        "By",
        "Payload read from the sockets.",
        True,
        ((None, attrgetter("octets")),),
    ),
    Quantity(
        "packets.dropped",
        "packets_dropped",
        "{packet}",
        "Datagrams that nobody was handed: dropped by the kernel or by a stream, or refused by the filter.",
        True,
        (
            ("kernel", attrgetter("kernel_drops")),
            ("queue", attrgetter("queue_drops")),
            ("filter", attrgetter("filtered")),
        ),
    ),
    Quantity(
        "packets.truncated",
        "packets_truncated",
        "{packet}",
        "Datagrams that were cut short.",
        True,
        ((None, attrgetter("truncated")),),
    ),
    Quantity(
        "packets.queued",
        "packets_queued",
        "{packet}",
        "Packets that wait in streams now.",
        False,
        ((None, attrgetter("queued")),),
    ),
    Quantity(
        "receive_buffer",
        "receive_buffer_bytes",
        "By",
        "Receive buffer that the kernel granted.",
        False,
        ((None, attrgetter("receive_buffer")),),
    ),
    Quantity(
        "last_packet.time",
        "last_packet_timestamp_seconds",
        "s",
        "Unix time of the last packet that passed the filter.",
        False,
        ((None, _latest),),
        is_missing_at_first=True,
    ),
)
