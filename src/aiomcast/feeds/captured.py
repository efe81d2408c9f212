"""What a capture holds, as values: datagrams to groups, and how many packets were something else. Pure."""

from __future__ import annotations

from typing import NamedTuple, final

import attrs

from ..values.sealed import sealed

__all__ = ["CaptureStatistics", "Captured"]


@final
class Captured(NamedTuple):
    """A datagram that was captured on its way to a group, put together where it was in fragments.

    - `data`: the payload, whole.
    - `source`, `source_port`, `group`, `port`: from where to where, as canonical text.
    - `interface`: the name of the interface that it was captured on.
    - `timestamp_ns`: when, in nanoseconds since the epoch; of fragments, when the last one came. None
      where the capture does not say (simple packet blocks).
    - `hop_limit` (TTL) and `traffic_class` (TOS).
    """

    data: bytes
    source: str
    source_port: int
    group: str
    port: int
    interface: str
    timestamp_ns: int | None
    hop_limit: int
    traffic_class: int

    @property
    def truncated(self) -> bool:
        """False: what the capture has cut is not passed on."""
        return False


@final
@sealed
@attrs.frozen(slots=True, kw_only=True)
class CaptureStatistics:
    """What was read of a capture so far. Each packet is in one of the first six numbers."""

    datagrams: int
    """UDP datagrams to a group that were whole in one packet."""
    fragments: int
    """Fragments of UDP datagrams to a group."""
    cut: int
    """Packets of which the capture kept less than the datagram (a snap length): not passed on."""
    malformed: int
    """Packets with headers that contradict themselves."""
    other: int
    """Everything else: TCP, unicast, ARP, IGMP and so on."""
    unknown_link: int
    """Packets of a link type that is not known here."""
    joined: int
    """Datagrams that were put together from fragments."""
    incomplete: int
    """Datagrams of which fragments were missing, too late, or overlapped (RFC 5722)."""
    dropped: int
    """Packets that the capture says were lost before it was written, counted packet by packet."""
    interface_drops: int
    """The same as the capture sums it up at its interfaces (interface statistics blocks)."""
    is_cut_short: bool
    """Whether the file ends within a packet. What is whole before that was read."""

    @property
    def packets(self) -> int:
        """All packets read."""
        return self.datagrams + self.fragments + self.cut + self.malformed + self.other + self.unknown_link
