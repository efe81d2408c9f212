"""What a diagnosis comes to, as values."""

from __future__ import annotations

import enum
from typing import final

import attrs

from ..values.sealed import sealed
from .facts import Facts

__all__ = ["Diagnosis", "Verdict", "VerdictKind"]


@final
class VerdictKind(enum.Enum):
    """Why nothing comes, or that something does. The values are stable names.

    FLOWS: packets come and are let in. FLOWS_AGAIN: they do since the host has reported its membership once
    more: a switch or router had forgotten it. UNREAD: they come, and wait in the socket.

    Of the interface and the arguments, as `EventKind.DOUBTFUL` has them: DOWN, NO_CARRIER, IPV6_OFF,
    NO_LOOPBACK_ROUTE, REMOTE_SOURCE, SCOPE, PORT (of a bridge), VRF; and OWN_SOURCE: the sources are this
    host's own addresses.

    Of the join: PORT_HELD by a program that does not share it, LIMIT reached, NO_ROUTE that tells an
    interface, REFUSED for another reason. GHOST: the interface has lost the group. OLD_QUERIER: the host has
    to report in a version that knows no sources. REPORTS_DROPPED: its reports do not leave it.
    QUERIES_DROPPED: it does not hear when it is asked.

    Of packets that come in and get no further: GROUP_DROPPED (a firewall), RP_FILTER, CHECKSUM, FRAGMENTS,
    FRAMES_DROPPED (too large, or by the driver), WRONG_PORT, WRONG_SOURCE, OTHER_TRAFFIC (of other sources or
    groups, or dropped early), TAGGED (for a VLAN, or dropped before IP), LOOP_OFF (a sender on this host has
    IP_MULTICAST_LOOP off), DROPS (no room in the socket).

    UPSTREAM: the host does what it has to, and nothing comes in. UNKNOWN: neither that nor a cause was seen.
    """

    FLOWS = "flows"
    FLOWS_AGAIN = "flows again"
    UNREAD = "unread"
    DOWN = "down"
    NO_CARRIER = "no carrier"
    IPV6_OFF = "IPv6 off"
    NO_LOOPBACK_ROUTE = "no loopback route"
    REMOTE_SOURCE = "remote source"
    SCOPE = "scope"
    PORT = "port"
    VRF = "VRF"
    OWN_SOURCE = "own source"
    PORT_HELD = "port held"
    LIMIT = "limit"
    NO_ROUTE = "no route"
    REFUSED = "refused"
    GHOST = "ghost"
    OLD_QUERIER = "old querier"
    REPORTS_DROPPED = "reports dropped"
    QUERIES_DROPPED = "queries dropped"
    GROUP_DROPPED = "group dropped"
    RP_FILTER = "reverse path filter"
    CHECKSUM = "checksum"
    FRAGMENTS = "fragments"
    FRAMES_DROPPED = "frames dropped"
    WRONG_PORT = "wrong port"
    WRONG_SOURCE = "wrong source"
    OTHER_TRAFFIC = "other traffic"
    TAGGED = "tagged"
    LOOP_OFF = "loop off"
    DROPS = "drops"
    UPSTREAM = "upstream"
    UNKNOWN = "unknown"


_COMING = (VerdictKind.FLOWS, VerdictKind.FLOWS_AGAIN)
_ELSEWHERE = (VerdictKind.OTHER_TRAFFIC, VerdictKind.UPSTREAM, VerdictKind.UNKNOWN)


@final
@sealed
@attrs.frozen(slots=True)
class Verdict:
    """One thing that the facts fit."""

    kind: VerdictKind
    text: str
    """A sentence. Where two causes cannot be told apart it names both."""
    remedy: str = ""
    """What mends it: the command where there is one, empty where there is nothing to mend."""
    evidence: tuple[str, ...] = ()
    """The facts that it rests on, each a line."""

    @property
    def is_flowing(self) -> bool:
        """Whether packets come."""
        return self.kind in _COMING

    @property
    def is_cause(self) -> bool:
        """Whether it is a cause that can be seen on this host."""
        return not self.is_flowing and self.kind not in _ELSEWHERE


@final
@sealed
@attrs.frozen(slots=True)
class Diagnosis:
    """What was found out about why nothing comes, or that it does."""

    verdict: Verdict
    """What is most likely."""
    others: tuple[Verdict, ...]
    """What also fits, the likelier first."""
    facts: Facts | None
    """What was looked at; None where it did not come to that, as no interface was found."""

    @property
    def unseen(self) -> tuple[str, ...]:
        """What could not be looked at, and what for: privilege, another system."""
        return () if self.facts is None else self.facts.unseen

    def as_dict(self) -> dict[str, object]:
        """Return it as what JSON has: texts, numbers, lists, dicts, None.

        The keys are stable; verdicts are told by the values of `VerdictKind`.
        """
        return {
            "verdict": _told(self.verdict),
            "others": [_told(one) for one in self.others],
            "facts": None if self.facts is None else _facts(self.facts),
            "unseen": list(self.unseen),
        }


def _told(verdict: Verdict) -> dict[str, object]:
    return {
        "kind": verdict.kind.value,
        "text": verdict.text,
        "remedy": verdict.remedy,
        "evidence": list(verdict.evidence),
    }


def _facts(facts: Facts) -> dict[str, object]:
    probes, capture = facts.probes, facts.capture
    return {
        "group": facts.group,
        "port": facts.port,
        "mode": facts.wanted.mode.value,
        "sources": sorted(facts.wanted.sources),
        "interface": facts.interface,
        "seconds": facts.seconds,
        "arrived": facts.arrived,
        "heard": list(facts.heard),
        "unread": facts.unread,
        "kernel_drops": facts.kernel_drops,
        "member": facts.after.is_member,
        "igmp_version": facts.after.igmp_version,
        "forced_version": facts.forced_version,
        "rp_filter": facts.rp_filter,
        "own_sources": sorted(facts.own_sources),
        "routes": dict(facts.routes),
        "counters": facts.growth,
        "probes": {name: _plain(getattr(probes, name)) for name in attrs.fields_dict(type(probes))},
        "capture": None
        if capture is None
        else {
            "seen": [one._asdict() | {"count": count} for one, count in capture.seen.items()],
            "queries": {str(version): source for version, source in capture.queries.items()},
            "reported": [one._asdict() for one in sorted(capture.reported)],
            "whole": capture.is_whole,
        },
    }


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
