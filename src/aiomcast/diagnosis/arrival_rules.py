"""Verdicts on what comes in at the interface and does not get to the socket. Pure.

Each rule yields the verdicts that the facts fit. Counters of IPv4 are the whole host's, so what is
expected there without any fault never decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..values.addresses import Scope, scope
from .facts import Facts, Seen
from .host_rules import setting
from .verdicts import Verdict, VerdictKind

__all__ = [
    "checksum",
    "dropped_on_the_way",
    "fragments",
    "frames_dropped",
    "input_drops",
    "other_traffic",
    "rp_filter",
    "tagged",
    "wrong_port",
    "wrong_source",
]

_SOME: Final = 3  # fewer frames may be anything: a link is never quite quiet
_MANY_PER_PACKET: Final = 5  # frames for each packet of IP, above which most frames were none
_NAMED: Final = 4
# What becomes of packets, other than that they are of no group and source that is joined.
_ACCOUNTED = (
    "InDelivers",
    "ForwDatagrams",
    "OutForwDatagrams",
    "InHdrErrors",
    "InAddrErrors",
    "InUnknownProtos",
    "InDiscards",
)


def rp_filter(facts: Facts) -> Iterator[Verdict]:
    """The source is not where the routes say."""
    if not (evidence := _grown(facts, "TcpExtIPReversePathFilter")) or facts.is_ipv6 or facts.rp_filter == 0:
        return
    strays = [source for source, by in facts.routes.items() if by != facts.interface]
    source = strays[0] if strays else "SOURCE"
    elsewhere = "".join(
        f"; the route to {one} leads by {by}" if by else f"; there is no route to {one}"
        for one, by in facts.routes.items()
        if by != facts.interface
    )
    # A loose filter is content with any route.
    loose = 0 if strays and facts.routes[source] is None else 2
    yield Verdict(
        VerdictKind.RP_FILTER,
        f"the reverse path filter drops what comes in from a source that is not routed over {facts.interface}"
        + elsewhere,
        f"ip route add {source} dev {facts.interface}, or {setting(facts.interface, 'rp_filter', loose)}"
        + " and the same of conf.all" * (loose == 0),
        (*evidence, f"rp_filter is {facts.rp_filter}"),
    )


def checksum(facts: Facts) -> Iterator[Verdict]:
    """They were damaged, or never whole."""
    if evidence := _grown(facts, "Udp6InCsumErrors" if facts.is_ipv6 else "UdpInCsumErrors"):
        yield Verdict(
            VerdictKind.CHECKSUM,
            "datagrams come in with a wrong UDP checksum",
            "on the sender: ethtool -K IF tx off; something on the way leaves out what its card should do",
            evidence,
        )


def fragments(facts: Facts) -> Iterator[Verdict]:
    """Not all pieces come."""
    head = "Ip6" if facts.is_ipv6 else "Ip"
    evidence = _grown(facts, f"{head}ReasmReqds")
    if evidence and not facts.grown(f"{head}ReasmOKs"):
        yield Verdict(
            VerdictKind.FRAGMENTS,
            "fragments come in, and no datagram is whole: some of them are lost on the way",
            "smaller datagrams, that fit the MTU of every link between (1,472 bytes with 1,500)",
            (*evidence, f"{head}ReasmOKs has not"),
        )


def frames_dropped(facts: Facts) -> Iterator[Verdict]:
    """The interface takes no more than it can."""
    if facts.grown("rx_dropped") >= _SOME > facts.grown(_mcast(facts)):
        mtu = facts.after.link.mtu if facts.after.link else None
        yield Verdict(
            VerdictKind.FRAMES_DROPPED,
            f"interface {facts.interface} drops frames: they are larger than its MTU"
            + f" of {mtu}" * (mtu is not None)
            + ", or its driver has no room",
            f"ip link set {facts.interface} mtu BYTES as at the sender, or ethtool -G {facts.interface} rx N",
            _grown(facts, "rx_dropped"),
        )


def wrong_port(facts: Facts) -> Iterator[Verdict]:
    """The group is right, the port is not."""
    ports = sorted({one.port for one in _to_group(facts) if facts.wanted.allows(one.source)})
    if ports and facts.port not in ports:
        shown = ", ".join(map(str, ports[:_NAMED]))
        yield Verdict(
            VerdictKind.WRONG_PORT,
            f"datagrams come to {facts.group}, but to port {shown}",
            f"join port {shown} instead of {facts.port}",
            _frames(facts, facts.wanted.allows),
        )
    if ports or _are_all_seen(facts):
        return
    name = "Udp6IgnoredMulti" if facts.is_ipv6 else "UdpIgnoredMulti"
    # Broadcasts to ports that nobody has are counted there, too.
    ignored = facts.grown(name) - facts.grown("IpExtInBcastPkts") * (not facts.is_ipv6)
    if ignored > 0 and facts.grown(_mcast(facts)):
        yield Verdict(
            VerdictKind.WRONG_PORT,
            "datagrams come to a group that is joined, and to a port that nobody has",
            f"find out which: the sender knows, and tcpdump -ni {facts.interface} dst {facts.group}",
            _grown(facts, name),
        )


def wrong_source(facts: Facts) -> Iterator[Verdict]:
    """Somebody sends to the group and port, but not who was named."""
    others = {one.source for one in _to_group(facts) if one.port == facts.port}
    real = {*others, *(facts.probes.real_sources or ())}
    if real and not any(map(facts.wanted.allows, real)):
        shown = ", ".join(sorted(real)[:_NAMED])
        yield Verdict(
            VerdictKind.WRONG_SOURCE,
            f"it is {shown} that sends to {facts.group} port {facts.port}, and that is not let in",
            f"let {shown} in",
            _frames(facts, lambda source: source in real) or ("an any-source socket was heard from",),
        )
    elif facts.is_ipv6 and not _are_all_seen(facts) and (evidence := _grown(facts, "Ip6InDiscards")):
        yield Verdict(
            VerdictKind.WRONG_SOURCE,
            "datagrams come to a group that is joined, from a source that is not let in",
            f"tcpdump -ni {facts.interface} dst {facts.group} tells who sends",
            evidence,
        )


def tagged(facts: Facts) -> Iterator[Verdict]:
    """IP never sees them."""
    seen = facts.capture.seen if facts.capture else ()
    vlans = sorted({one.vlan for one in seen if one.vlan and one.group == facts.group})
    if vlans:
        name = f"{facts.interface}.{vlans[0]}"
        yield Verdict(
            VerdictKind.TAGGED,
            f"datagrams to {facts.group} come in tagged for VLAN {', '.join(map(str, vlans))}",
            f"join on the VLAN's interface: ip link add link {facts.interface} name {name} type vlan "
            f"id {vlans[0]}, ip link set {name} up",
            _frames(facts, lambda _: True),
        )
    if vlans or _are_all_seen(facts):
        return
    frames = facts.grown("rx_packets")
    packets = facts.grown("IpInReceives") + facts.grown("Ip6InReceives")
    if packets < _SOME and frames >= _SOME + _MANY_PER_PACKET * packets:
        yield Verdict(
            VerdictKind.TAGGED,
            f"frames come in on {facts.interface} that IP never sees: tagged for a VLAN, or dropped by a "
            "firewall right at the interface",
            f"tcpdump -eni {facts.interface} shows a tag; nft list ruleset a chain of type netdev; "
            f"tc filter show dev {facts.interface} ingress",
            (*_grown(facts, "rx_packets"), f"{packets} of them were of IP"),
        )


def input_drops(facts: Facts) -> Iterator[Verdict]:
    """They come in, and are not delivered (IPv4: of IPv6 there is no such count)."""
    if facts.is_ipv6 or facts.is_on_loopback or _are_all_seen(facts):
        return
    # What is sent on loopback to a group that nobody has joined comes in there, and is not delivered.
    missing = facts.grown("IpExtInMcastPkts") - facts.grown("lo_packets")
    missing -= facts.grown("IpInDelivers") + _unassembled(facts, "Ip")
    if missing >= _SOME:
        yield _firewall(facts, (*_grown(facts, "IpExtInMcastPkts"), f"{missing} more than IpInDelivers"))


def dropped_on_the_way(facts: Facts) -> Iterator[Verdict]:
    """What is right in every way is on the interface, and does not get to the socket."""
    right = [one for one in _to_group(facts) if one.port == facts.port and facts.wanted.allows(one.source)]
    if right:
        yield _firewall(facts, _frames(facts, facts.wanted.allows))


def other_traffic(facts: Facts) -> Iterator[Verdict]:
    """Packets come in and are nobody's."""
    firewall = "" if facts.probes.comes_from_itself else ", or a firewall drops them early"
    if facts.capture is not None and _are_all_seen(facts):
        unwanted = [one for one in facts.capture.seen if not one.is_outgoing and _is_like(one, facts)]
        if not unwanted:
            return
        shown = ", ".join(f"{one.source} to {one.group}" for one in unwanted[:_NAMED])
        text, firewall = f"other groups come in on {facts.interface}, and this one does not: {shown}", ""
        evidence: tuple[str, ...] = ()
    else:
        head = "Ip6" if facts.is_ipv6 else "Ip"
        missing = facts.grown(f"{head}InReceives") - sum(facts.grown(head + name) for name in _ACCOUNTED)
        missing -= _unassembled(facts, head)
        text = f"packets come in that are of no group and source that is joined{firewall}"
        evidence = (*_grown(facts, f"{head}InReceives"), f"{missing} of them went nowhere")
        # Of IPv4 a group that is not joined is not counted there.
        if missing < _SOME or (not facts.is_ipv6 and facts.grown("IpExtInMcastPkts")):
            return
    yield Verdict(
        VerdictKind.OTHER_TRAFFIC,
        text,
        f"tcpdump -ni {facts.interface} multicast shows whose they are; compare group and source"
        + "; nft list ruleset shows rules of the prerouting hook" * bool(firewall),
        evidence,
    )


def _firewall(facts: Facts, evidence: tuple[str, ...]) -> Verdict:
    return Verdict(
        VerdictKind.GROUP_DROPPED,
        f"datagrams come in on {facts.interface}, and a firewall of this host drops them",
        f"let in udp to {facts.group} port {facts.port}; the rule is in: nft list ruleset",
        (*evidence, *facts.dropping_rules),
    )


def _unassembled(facts: Facts, head: str) -> int:
    return facts.grown(f"{head}ReasmReqds") - facts.grown(f"{head}ReasmOKs")


def _mcast(facts: Facts) -> str:
    return "Ip6InMcastPkts" if facts.is_ipv6 else "IpExtInMcastPkts"


def _grown(facts: Facts, name: str) -> tuple[str, ...]:
    more = facts.grown(name)
    return (f"{name} has grown by {more}",) if more else ()


def _are_all_seen(facts: Facts) -> bool:
    """Whether there is nothing on the interface but what the capture has, so that counters tell no more."""
    return facts.capture is not None and facts.capture.is_whole


def _is_like(seen: Seen, facts: Facts) -> bool:
    """Whether it is of another group that could have been meant: of this family, and not for the link."""
    is_of_family = (":" in seen.group) is facts.is_ipv6
    return is_of_family and seen.group != facts.group and scope(seen.group) is not Scope.LINK_LOCAL


def _to_group(facts: Facts) -> list[Seen]:
    """Return what kinds of frames have come in for the group, those for a VLAN aside."""
    seen = facts.capture.seen if facts.capture else ()
    return [one for one in seen if one.group == facts.group and not one.is_outgoing and not one.vlan]


def _frames(facts: Facts, is_meant: Callable[[str], bool]) -> tuple[str, ...]:
    seen = facts.capture.seen.items() if facts.capture else ()
    return tuple(
        f"{count} frames from {one.source} to {one.group} port {one.port}"
        + f" on VLAN {one.vlan}" * bool(one.vlan)
        for one, count in seen
        if one.group == facts.group and not one.is_outgoing and is_meant(one.source)
    )[:_NAMED]
