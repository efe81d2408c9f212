"""What is received: `Packet` and the interned tags it points to. Pure values."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, final

import attrs

from . import bounds
from .addresses import Address, group_address, source_address
from .sealed import sealed

__all__ = ["Channel", "Flow", "Packet"]


@final
@sealed
@attrs.frozen(slots=True)
class Channel:
    """A source and a group, (S,G) of RFC 4607, as canonical text.

    Any form of an address is taken. AddressError for a group that is not multicast, and for a
    source that no packet to that group can have.
    """

    source: str
    group: str

    def __init__(self, source: Address, group: Address) -> None:
        text = group_address(group)
        self.__attrs_init__(source_address(source, text), text)  # type: ignore[attr-defined]  # attrs' own


@lru_cache(maxsize=bounds.CHANNELS)
def _channel(source: str, group: str) -> Channel:
    """Return the channel of two canonical addresses that came with a packet: they are not looked at."""
    channel = object.__new__(Channel)
    channel.__attrs_init__(source, group)  # type: ignore[attr-defined]  # attrs' own
    return channel


@final
@sealed
@attrs.frozen(slots=True, cache_hash=True)
class Flow:
    """Who sent to what, and where it came in: all that consecutive packets share.

    A reader keeps one object per sender while it remembers the sender, so flows of
    consecutive packets are mostly identical (`is`) and always comparable (`==`).
    """

    source: str
    source_port: int
    group: str
    port: int
    interface_index: int
    channel: Channel = attrs.field(init=False, eq=False, repr=False)

    @channel.default
    def _interned(self) -> Channel:
        return _channel(self.source, self.group)


@final
class Packet(NamedTuple):
    """One datagram and its tags. Immutable; a tuple so that making one is as cheap as can be.

    - `data`: the payload.
    - `flow`: what it shares with the other packets of its sender. The addresses in it are canonical text
      without zone.
    - `timestamp_ns`: the kernel's receive time in nanoseconds of CLOCK_REALTIME. None where the system
      gives none, or had not begun to.
    - `truncated`: whether the datagram was longer than what could be kept.
    - `hop_limit` (TTL) and `traffic_class` (TOS): None unless asked for.
    - `hardware_timestamp_ns`: when the interface itself received it, by the interface's clock, in
      nanoseconds of whatever that counts (PTP mostly sets it to TAI, and no two need agree). It never
      stands in for `timestamp_ns`. None unless asked for, and where the interface gave none: its clock
      stamps nothing before somebody turns that on (SIOCSHWTSTAMP; ptp4l and hwstamp_ctl do). `ethtool -T`
      shows what it is able to.
    """

    data: bytes
    flow: Flow
    timestamp_ns: int | None = None
    truncated: bool = False
    hop_limit: int | None = None
    traffic_class: int | None = None
    hardware_timestamp_ns: int | None = None

    @property
    def source(self) -> str:
        """The sender's address."""
        return self.flow.source

    @property
    def source_port(self) -> int:
        """The sender's UDP port."""
        return self.flow.source_port

    @property
    def group(self) -> str:
        """The group it was sent to."""
        return self.flow.group

    @property
    def port(self) -> int:
        """The UDP port it was sent to."""
        return self.flow.port

    @property
    def interface_index(self) -> int:
        """The index of the interface it came in on; the zone of `source` and `group`."""
        return self.flow.interface_index

    @property
    def channel(self) -> Channel:
        """The interned (source, group)."""
        return self.flow.channel
