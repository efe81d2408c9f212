"""What was looked at before anything is said of why nothing comes, as values. Nothing here asks a system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import attrs

from ..values.doubts import Doubt
from ..values.filters import SourceFilter
from ..values.links import Link
from ..values.sealed import sealed

__all__ = ["Capture", "Facts", "Look", "PortSocket", "Probes", "Reported", "RuleDrops", "Seen"]


class PortSocket(NamedTuple):
    """A UDP socket of this host at the port: its inode, what waits in it (bytes of memory), its drops."""

    inode: int
    waiting: int
    drops: int


@final
@sealed
@attrs.frozen(slots=True, kw_only=True)
class Look:
    """What the system tells at one time, of one interface, one family and one port. Unprivileged."""

    link: Link | None = None
    """The interface, None where there is none or the system does not tell."""
    is_member: bool | None = None
    """Whether the interface itself is a member of the group, None where the system does not tell."""
    igmp_version: int | None = None
    """By which the interface reports IPv4 groups: below 3 when an old querier was heard, or by a sysctl."""
    counters: Mapping[str, int] = attrs.field(factory=dict)
    """By the names of nstat(8); "rx_packets" and "rx_dropped" are the interface's, "lo_packets" loopback's.

    Those of IPv4 and UDP are the whole host's, the others of IPv6 the interface's.
    """
    sockets: tuple[PortSocket, ...] = ()
    unseen: tuple[str, ...] = ()
    """What the system does not tell."""

    @property
    def is_blind(self) -> bool:
        """Whether the system tells nothing of all this."""
        return self.link is None and self.is_member is None and not self.counters


class Seen(NamedTuple):
    """Frames of one kind: from whom, to which group and port, on which VLAN (0: none), and if this host's."""

    source: str
    group: str
    port: int
    vlan: int
    is_outgoing: bool


class Reported(NamedTuple):
    """A group that was reported: the version of IGMP or MLD, and if it can have answered a query.

    In the newest versions a change is told otherwise (RFC 3376, 4.2.12; RFC 3810, 5.2.12).
    """

    version: int
    group: str
    is_answer: bool


class RuleDrops(NamedTuple):
    """What a rule of nftables has dropped meanwhile: its family, table, chain and handle, and how many."""

    where: str
    packets: int


@final
@sealed
@attrs.frozen(slots=True, kw_only=True)
class Capture:
    """What frames were on the interface. Takes CAP_NET_RAW."""

    seen: Mapping[Seen, int] = attrs.field(factory=dict)
    """How many UDP datagrams to groups there were of each kind."""
    queries: Mapping[int, str] = attrs.field(factory=dict)
    """Who has asked for memberships last, by the version of IGMP or MLD."""
    reported: frozenset[Reported] = frozenset()
    """What this host has reported."""
    is_whole: bool = True
    """Whether there was room for all."""


@final
@sealed
@attrs.frozen(slots=True, kw_only=True)
class Probes:
    """What was tried, and what came of it; None for what was not tried, or told nothing."""

    reports_leave: bool | None = None
    """Whether a report of this host left it."""
    report_version: int | None = None
    """The version of MLD that it was in."""
    answers_queries: bool | None = None
    """Whether this host reports when it is asked."""
    comes_after_report: bool | None = None
    """Whether packets came once the host had reported again."""
    comes_from_itself: bool | None = None
    """Whether a datagram that this host sent itself, and that did not leave it, came to the group."""
    real_sources: tuple[str, ...] | None = None
    """Who sends to the group and port, where all are let in."""
    source_answers: bool | None = None
    """Whether a source was heard to refuse a datagram, and so is alive."""


@final
@sealed
@attrs.frozen(slots=True, kw_only=True)
class Facts:
    """All that a verdict rests on: two looks, and what came between them."""

    group: str
    port: int
    wanted: SourceFilter
    interface: str
    seconds: float = 0.0
    """How long it was looked."""
    before: Look
    after: Look
    arrived: int = 0
    """Datagrams that came to the group and port and were let in."""
    heard: tuple[str, ...] = ()
    """Their sources, as far as these are told."""
    unread: bool = False
    """Whether something waits in the membership's own sockets, and nobody takes it."""
    kernel_drops: int = 0
    """Datagrams that the kernel has dropped for want of room, at sockets of the port."""
    doubts: tuple[Doubt, ...] = ()
    own_sources: frozenset[str] = frozenset()
    """Those of the sources that are this host's own addresses."""
    routes: Mapping[str, str | None] = attrs.field(factory=dict)
    """By source, the interface that its route leads by; None where there is none."""
    rp_filter: int | None = None
    """The reverse path filter in force on the interface (IPv4)."""
    forced_version: int | None = None
    """The version of IGMP or MLD that a sysctl forces there, None for none."""
    capture: Capture | None = None
    probes: Probes = Probes()
    dropped_by: tuple[RuleDrops, ...] = ()
    """The rules of nftables that have dropped something meanwhile, whatever it was. Takes CAP_NET_ADMIN."""
    unseen: tuple[str, ...] = ()
    """What was not looked at, and what for."""

    @property
    def is_ipv6(self) -> bool:
        """Whether the group is of IPv6."""
        return ":" in self.group

    @property
    def is_on_loopback(self) -> bool:
        """Whether it is about this host alone."""
        return self.after.link is not None and self.after.link.is_loopback

    @property
    def dropping_rules(self) -> tuple[str, ...]:
        """Those rules in words, a few of them."""
        return tuple(
            f"nftables' rule {one.where} has dropped {one.packets} packets" for one in self.dropped_by[:3]
        )

    def grown(self, name: str) -> int:
        """Return by how much a counter has grown; 0 where it is not told."""
        if name not in self.before.counters:
            return 0
        return max(0, self.after.counters.get(name, 0) - self.before.counters[name])

    @property
    def growth(self) -> dict[str, int]:
        """The counters that have grown, and by how much."""
        return {name: more for name in self.after.counters if (more := self.grown(name))}
