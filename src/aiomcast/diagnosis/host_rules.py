"""Verdicts on what this host itself does: its interface, its join, its reports, its sockets. Pure.

Each rule yields the verdicts that the facts fit. There is no rule where packets were seen to come.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import LimitError, NoRouteError, RefusedError
from .facts import Facts
from .verdicts import Verdict, VerdictKind

__all__ = [
    "doubtful",
    "drops",
    "flows",
    "ghost",
    "loop_off",
    "old_querier",
    "own_source",
    "port_held",
    "queries_dropped",
    "refused",
    "reports_dropped",
    "self_test",
    "setting",
    "unread",
]


def setting(interface: str, name: str, value: int, *, is_ipv6: bool = False) -> str:
    """Return the command for a setting of an interface: sysctl(8) writes a dot in a name as a slash."""
    return f"sysctl -w net.ipv{6 if is_ipv6 else 4}.conf.{interface.replace('.', '/')}.{name}={value}"


def refused(error: RefusedError) -> Verdict:
    """Return what a refused join comes to."""
    if isinstance(error, LimitError):
        kind = VerdictKind.LIMIT
    elif isinstance(error, NoRouteError):
        kind = VerdictKind.NO_ROUTE
    else:
        kind = VerdictKind.REFUSED
    return Verdict(kind, error.detail, error.hint)


def port_held(error: RefusedError, port: int) -> Verdict:
    """Return what a port that is not shared comes to."""
    return Verdict(VerdictKind.PORT_HELD, error.hint, f"ss -ulnp sport = :{port}", (error.detail,))


def flows(facts: Facts) -> Iterator[Verdict]:
    """Packets come."""
    if facts.arrived:
        heard = f" from {', '.join(facts.heard)}" if facts.heard else ""
        silent = sorted(facts.wanted.sources - set(facts.heard)) if facts.wanted.is_include else []
        silence = f"; nothing from {', '.join(silent)}" if facts.heard and silent else ""
        yield Verdict(VerdictKind.FLOWS, f"packets come in{heard}{silence}", evidence=(_came(facts.arrived),))
    elif facts.probes.comes_after_report:
        yield Verdict(
            VerdictKind.FLOWS_AGAIN,
            "packets come in since this host has reported its membership once more: a switch or router had "
            "forgotten it",
            "find out who asks for memberships there, as that keeps them alive: a switch that snoops needs "
            "a querier (RFC 4541, 2.1.1)",
        )


def unread(facts: Facts) -> Iterator[Verdict]:
    """They come to the socket, and stay there."""
    if facts.unread:
        yield Verdict(
            VerdictKind.UNREAD,
            "packets wait in the membership's socket, and nobody receives them",
            "iterate over the membership or the receiver, or look why that has stopped",
        )


def doubtful(facts: Facts) -> Iterator[Verdict]:
    """What was known at the join already."""
    for doubt in facts.doubts:
        yield Verdict(VerdictKind(doubt.kind.value), doubt.text, doubt.hint)


def own_source(facts: Facts) -> Iterator[Verdict]:
    """Only this host itself is let in, on an interface to others."""
    listed = facts.wanted.sources
    if facts.wanted.is_include and listed and listed <= facts.own_sources and not facts.is_on_loopback:
        yield Verdict(
            VerdictKind.OWN_SOURCE,
            f"{', '.join(sorted(listed))} is this host's own address: nothing that comes in on "
            f"{facts.interface} from outside is let in, only what this host sends there itself",
            "name the address of the sender",
        )


def ghost(facts: Facts) -> Iterator[Verdict]:
    """The device is no member, whatever the socket believes."""
    if facts.after.is_member is False:
        yield Verdict(
            VerdictKind.GHOST,
            f"interface {facts.interface} is no member of {facts.group} any more, though the socket "
            "believes it is",
            "await membership.refresh(), or join again",
            (f"{facts.group} is not among the groups of {facts.interface}: ip maddr show",),
        )


def old_querier(facts: Facts) -> Iterator[Verdict]:
    """The host reports in a version that has no sources, where sources are asked for."""
    version = facts.probes.report_version if facts.is_ipv6 else facts.after.igmp_version
    newest, protocol = (2, "MLD") if facts.is_ipv6 else (3, "IGMP")
    if version is None or version >= newest or not facts.wanted.is_include:
        return
    force = f"force_{protocol.lower()}_version"
    lift = setting(facts.interface, force, newest, is_ipv6=facts.is_ipv6)
    evidence = (f"reports on {facts.interface} are {protocol}v{version}",)
    if facts.forced_version == version:
        yield Verdict(
            VerdictKind.OLD_QUERIER,
            f"{force} makes {facts.interface} report in version {version}, which has no sources",
            lift,
            evidence,
        )
        return
    who = facts.capture.queries.get(version) if facts.capture else None
    yield Verdict(
        VerdictKind.OLD_QUERIER,
        f"{who or 'a router or switch'} asks in {protocol}v{version}, so that this host must report without "
        "sources",
        f"have that querier ask in version {newest}, or have this host not follow it: {lift}",
        evidence,
    )


def reports_dropped(facts: Facts) -> Iterator[Verdict]:
    """What this host reports does not leave it."""
    if facts.probes.reports_leave is False:
        what = "ICMPv6 type 143 to ff02::16" if facts.is_ipv6 else "IGMP to 224.0.0.22"
        yield Verdict(
            VerdictKind.REPORTS_DROPPED,
            f"this host's reports of its membership do not leave {facts.interface}: a firewall drops them",
            f"let {what} out; the rule is in: nft list ruleset",
            ("no report of a group that was joined for this has gone out", *facts.dropping_rules),
        )


def queries_dropped(facts: Facts) -> Iterator[Verdict]:
    """What this host is asked does not reach it."""
    if facts.probes.answers_queries is False and facts.probes.reports_leave and facts.after.is_member:
        what = "ICMPv6 type 130" if facts.is_ipv6 else "IGMP"
        yield Verdict(
            VerdictKind.QUERIES_DROPPED,
            f"this host does not answer when it is asked for its memberships on {facts.interface}: a "
            "firewall drops the queries, and the network forgets it",
            f"let {what} in; the rule is in: nft list ruleset",
            ("it was asked by itself, and reported nothing", *facts.dropping_rules),
        )


def self_test(facts: Facts) -> Iterator[Verdict]:
    """What this host sends to the group does not even come back to it."""
    if facts.probes.comes_from_itself is False:
        yield Verdict(
            VerdictKind.GROUP_DROPPED,
            f"a firewall drops what comes to {facts.group} port {facts.port}",
            f"let in udp to {facts.group} port {facts.port}; the rule is in: nft list ruleset",
            ("a datagram that this host sent to itself, and not out, did not come", *facts.dropping_rules),
        )


def loop_off(facts: Facts) -> Iterator[Verdict]:
    """The sender is on this host, and keeps what it sends from this host."""
    if facts.capture is None:
        return
    ends = (facts.group, facts.port)
    right = [one for one in facts.capture.seen if (one.group, one.port) == ends]
    right = [one for one in right if facts.wanted.allows(one.source)]
    if right and all(one.is_outgoing for one in right):
        yield Verdict(
            VerdictKind.LOOP_OFF,
            f"a program on this host sends to {facts.group} port {facts.port}, and has it not come back",
            "turn IP_MULTICAST_LOOP on in the sender: aiomcast.Sender(loop=True)",
            (f"frames to the group go out on {facts.interface}, and none comes in",),
        )


def drops(facts: Facts) -> Iterator[Verdict]:
    """There was no room for what came."""
    if facts.kernel_drops:
        yield Verdict(
            VerdictKind.DROPS,
            f"the kernel drops what comes to port {facts.port}: a receive buffer is full",
            "receive_buffer= of Receiver and listen, and net.core.rmem_max; or take packets faster",
            (f"{facts.kernel_drops} datagrams were dropped at sockets of the port (/proc/net/udp)",),
        )


def _came(count: int) -> str:
    return f"{count} datagram{'s' * (count != 1)} came in"
