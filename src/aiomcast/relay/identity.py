"""By what a packet is known to be the same wherever it was received. Pure, but for what was seen."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Final, TypeAlias, final

from ..errors import ArgumentError, ArgumentTypeError
from ..feeds.sequence import Sequence
from ..values import bounds
from ..values.packets import Packet
from ..values.sealed import sealed
from ..values.shown import shown

__all__ = ["Identify", "PayloadIdentity", "SequenceIdentity"]

Identify: TypeAlias = Callable[[Packet], str]

_DIGEST: Final = 12  # bytes: a million packets in a window collide with a probability of 1e-17


@final
@sealed
class PayloadIdentity:
    """Known by source, port, group, a hash of the payload, and the time slot it was received in.

    What a source repeats within one slot is counted, so that each repetition is a packet of its own.
    Clocks that differ, or a packet on the edge of two slots, make one packet two: both are stored then,
    and `Subscription` yields it once. `slot` is in seconds; the kernel's stamps tell the time, or where
    there is none, the moment at which this is called. Of one slot 131,072 payloads are remembered.

    ArgumentError for a slot that is not above 0.
    """

    __slots__ = ("_clock", "_now", "_seen", "_slot_ns")

    def __init__(self, slot: float = 10.0, *, clock: Callable[[], int] = time.time_ns) -> None:
        if isinstance(slot, bool) or not isinstance(slot, (int, float)):
            raise ArgumentTypeError(f"slot {shown(slot)}", "give a number of seconds")
        if not 0.001 <= slot <= 86_400:
            raise ArgumentError(f"slot {shown(slot)}", "give a number of seconds from 0.001 to 86,400")
        self._slot_ns = int(slot * 1e9)
        self._clock = clock
        self._now = 0
        self._seen: dict[str, int] = {}

    def __call__(self, packet: Packet) -> str:
        flow = packet.flow
        base = f"{flow.group}:{flow.port}:{flow.source}:{flow.source_port}:{_digest(packet.data)}"
        stamp = packet.timestamp_ns
        slot = (self._clock() if stamp is None else stamp) // self._slot_ns
        if slot != self._now:
            self._now = slot
            self._seen.clear()
        seen = self._seen
        count = seen.get(base, 0) + 1
        if count == 1 and len(seen) >= bounds.IDENTITIES:
            del seen[next(iter(seen))]
        seen[base] = count
        return f"{base}/{slot}" if count == 1 else f"{base}/{slot}/{count}"


@final
@sealed
class SequenceIdentity:
    """Known by its number and its payload, whatever the clocks say.

    `feed` stands for group, port and source: give the same to relays that receive one feed's lines from
    different groups or sources. The payload counts, so that what a source sends after a restart is not
    taken for what it sent before under the same numbers. A packet without a number is known by its
    payload, as by `PayloadIdentity`.

    ArgumentTypeError for what is no Sequence.
    """

    __slots__ = ("_feed", "_number", "_other")

    def __init__(self, sequence: Sequence, *, feed: str | None = None) -> None:
        if not isinstance(sequence, Sequence):
            raise ArgumentTypeError(
                f"sequence {shown(sequence)}", 'give a Sequence, as Sequence.parse("rtp")'
            )
        if feed is not None and (not isinstance(feed, str) or not feed.isprintable() or not feed):
            raise ArgumentError(f"feed {shown(feed)}", "give a name, or None")
        self._number = sequence.number
        self._feed = feed
        self._other = PayloadIdentity()

    def __call__(self, packet: Packet) -> str:
        number = self._number(packet.data)
        if number is None:
            return self._other(packet)
        flow = packet.flow
        feed = self._feed or f"{flow.group}:{flow.port}:{flow.source}:{flow.source_port}"
        return f"{feed}:{number}:{_digest(packet.data)}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST).hexdigest()
