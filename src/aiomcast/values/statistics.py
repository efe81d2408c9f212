"""Where every packet that reached a socket has gone. Pure values."""

from __future__ import annotations

from typing import final

import attrs

from .sealed import sealed

__all__ = ["Statistics", "StreamStatistics"]


@final
@sealed
@attrs.frozen(slots=True)
class Statistics:
    """Counters since the start, of a membership or a whole receiver.

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
    buffer the kernel granted, over all sockets.

    `later - earlier` is what was counted in between. `queued` and `receive_buffer` are no
    counters but levels: their difference is how much they have changed, below 0 where they fell.
    """

    received: int = 0
    octets: int = 0
    kernel_drops: int = 0
    queue_drops: int = 0
    filtered: int = 0
    truncated: int = 0
    queued: int = 0
    receive_buffer: int = 0

    def __add__(self, other: Statistics) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        mine, others = attrs.astuple(self), attrs.astuple(other)
        return Statistics(*(one + two for one, two in zip(mine, others, strict=True)))

    def __sub__(self, earlier: Statistics) -> Statistics:
        if not isinstance(earlier, Statistics):
            return NotImplemented
        mine, others = attrs.astuple(self), attrs.astuple(earlier)
        return Statistics(*(one - two for one, two in zip(mine, others, strict=True)))


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
