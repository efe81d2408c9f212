"""Where every packet that reached a socket has gone. Pure values."""

from __future__ import annotations

from typing import final

import attrs

from .sealed import sealed

__all__ = ["NOTHING", "SourceStatistics", "Statistics", "StreamStatistics", "Tally"]


@final
@sealed
@attrs.frozen(slots=True)
class Statistics:
    """Counters since the start, of a membership (over all its interfaces) or a whole receiver.

    `received` datagrams and `octets` of payload were read from sockets; `kernel_drops` were
    dropped by the kernel at the socket, because its receive buffer was full or, when they were
    read, the UDP checksum was wrong (Linux has one count for both); datagrams that it had
    coalesced (UDP_GRO) count as one then, however many they were, and each with `gro=False`.
    `queue_drops` were dropped by a stream's overflow policy, were unread when the membership
    ended or when nobody held the stream any more, or could not be made a packet (no memory);
    `filtered` were refused by the filter in force (also the second copies during a change
    of mode, when two sockets hear the same), or matched the tags of no stream that listens;
    `truncated` were delivered, but cut short; `queued` wait in streams now, or
    were read ahead and wait for earlier packets of another socket. `receive_buffer` is the bytes of
    buffer the kernel granted, over all sockets. `latest_ns` is the kernel's time of the last
    packet that passed the filter, in nanoseconds of CLOCK_REALTIME, None before there was one.

    `later - earlier` is what was counted in between. `queued` and `receive_buffer` are no
    counters but levels: their difference is how much they have changed, below 0 where they fell;
    `latest_ns` is that of the later one. The sum of two has the later of both.
    """

    received: int = 0
    octets: int = 0
    kernel_drops: int = 0
    queue_drops: int = 0
    filtered: int = 0
    truncated: int = 0
    queued: int = 0
    receive_buffer: int = 0
    latest_ns: int | None = None

    def __add__(self, other: Statistics) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        return Statistics(
            self.received + other.received,
            self.octets + other.octets,
            self.kernel_drops + other.kernel_drops,
            self.queue_drops + other.queue_drops,
            self.filtered + other.filtered,
            self.truncated + other.truncated,
            self.queued + other.queued,
            self.receive_buffer + other.receive_buffer,
            max((at for at in (self.latest_ns, other.latest_ns) if at is not None), default=None),
        )

    def __sub__(self, earlier: Statistics) -> Statistics:
        if not isinstance(earlier, Statistics):
            return NotImplemented
        return Statistics(
            self.received - earlier.received,
            self.octets - earlier.octets,
            self.kernel_drops - earlier.kernel_drops,
            self.queue_drops - earlier.queue_drops,
            self.filtered - earlier.filtered,
            self.truncated - earlier.truncated,
            self.queued - earlier.queued,
            self.receive_buffer - earlier.receive_buffer,
            self.latest_ns,
        )


NOTHING = Statistics()
"""What was counted where nothing was. It is one object, which who adds up need not add."""


@final
class Tally:
    """A sum that is still being made: with a thousand memberships, a value for each part is what costs."""

    __slots__ = (
        "filtered",
        "kernel_drops",
        "latest_ns",
        "octets",
        "queue_drops",
        "queued",
        "receive_buffer",
        "received",
        "truncated",
    )

    def __init__(self) -> None:
        self.received: int = 0
        self.octets: int = 0
        self.kernel_drops: int = 0
        self.queue_drops: int = 0
        self.filtered: int = 0
        self.truncated: int = 0
        self.queued: int = 0
        self.receive_buffer: int = 0
        self.latest_ns: int | None = None

    def add(self, more: Statistics | Tally) -> None:
        """Add what was counted elsewhere."""
        self.received += more.received
        self.octets += more.octets
        self.kernel_drops += more.kernel_drops
        self.queue_drops += more.queue_drops
        self.filtered += more.filtered
        self.truncated += more.truncated
        self.queued += more.queued
        self.receive_buffer += more.receive_buffer
        self.came(more.latest_ns)

    def came(self, at: int | None) -> None:
        """Have a packet of that time, if any, be the latest if it is."""
        if at is not None and (self.latest_ns is None or at > self.latest_ns):
            self.latest_ns = at

    def statistics(self) -> Statistics:
        """Return the sum so far."""
        return Statistics(
            self.received,
            self.octets,
            self.kernel_drops,
            self.queue_drops,
            self.filtered,
            self.truncated,
            self.queued,
            self.receive_buffer,
            self.latest_ns,
        )


@final
@sealed
@attrs.frozen(slots=True)
class StreamStatistics:
    """Counters of one stream since it was made.

    `received` packets were handed to it, of which `delivered` were taken, `queue_drops` were
    dropped by its overflow policy, `filtered` were taken out by a swap, and `queued` wait.
    """

    received: int = 0
    delivered: int = 0
    queue_drops: int = 0
    filtered: int = 0
    queued: int = 0


@final
@sealed
@attrs.frozen(slots=True)
class SourceStatistics:
    """What has come from one source and passed the filter: `packets`, `octets` of payload, `latest_ns`.

    What was unread when its membership ended is not in it. `latest_ns` is the kernel's time of the
    last one, None where it had none.
    """

    packets: int = 0
    octets: int = 0
    latest_ns: int | None = None

    def __add__(self, other: SourceStatistics) -> SourceStatistics:
        if not isinstance(other, SourceStatistics):
            return NotImplemented
        latest = max((at for at in (self.latest_ns, other.latest_ns) if at is not None), default=None)
        return SourceStatistics(self.packets + other.packets, self.octets + other.octets, latest)
