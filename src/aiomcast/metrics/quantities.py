"""What is told of a receiver and of each membership, as a table, for whatever library takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import attrs

from ..values.statistics import Statistics

__all__ = ["QUANTITIES", "Quantity"]


@final
@attrs.frozen(slots=True)
class Quantity:
    """One number, or one for each reason. `name` is OpenTelemetry's, `prometheus` without the `_total`."""

    name: str
    prometheus: str
    unit: str
    says: str
    is_counter: bool
    values: tuple[tuple[str | None, Callable[[Statistics], float | None]], ...]


def _latest(counted: Statistics) -> float | None:
    return None if counted.latest_ns is None else counted.latest_ns / 1e9


QUANTITIES = (
    Quantity(
        "packets.received",
        "packets_received",
        "{packet}",
        "Datagrams read from the sockets.",
        True,
        ((None, lambda counted: counted.received),),
    ),
    Quantity(
        "received",
        "received_bytes",
        "By",
        "Payload read from the sockets.",
        True,
        ((None, lambda counted: counted.octets),),
    ),
    Quantity(
        "packets.dropped",
        "packets_dropped",
        "{packet}",
        "Datagrams that nobody was handed: dropped by the kernel or by a stream, or refused by the filter.",
        True,
        (
            ("kernel", lambda counted: counted.kernel_drops),
            ("queue", lambda counted: counted.queue_drops),
            ("filter", lambda counted: counted.filtered),
        ),
    ),
    Quantity(
        "packets.truncated",
        "packets_truncated",
        "{packet}",
        "Datagrams that were cut short.",
        True,
        ((None, lambda counted: counted.truncated),),
    ),
    Quantity(
        "packets.queued",
        "packets_queued",
        "{packet}",
        "Packets that wait in streams now.",
        False,
        ((None, lambda counted: counted.queued),),
    ),
    Quantity(
        "receive_buffer",
        "receive_buffer_bytes",
        "By",
        "Receive buffer that the kernel granted.",
        False,
        ((None, lambda counted: counted.receive_buffer),),
    ),
    Quantity(
        "last_packet.time",
        "last_packet_timestamp_seconds",
        "s",
        "Unix time of the last packet that passed the filter.",
        False,
        ((None, _latest),),
    ),
)
