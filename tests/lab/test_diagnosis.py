"""Each reason for which nothing comes, made on one cable, and what the doctor says: with CAP_NET_RAW, and
without any privilege. Where two cannot be told apart, it names both.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from aiomcast import VerdictKind

from .doctoring import COUNT, examined, firewall, fragment, frame, inject, sysctl
from .network import execute, wait_until
from .queriers import Querier
from .two_hosts import FAR, GROUPS, NEAR, PORT, Wire, each_family, family, sender, two_hosts, wire

__all__ = ["wire"]

OTHERS = {4: "192.0.2.77", 6: "2001:db8::77"}
REMOTE = {4: "203.0.113.9", 6: "2001:db8:9::9"}
REPORTS = {4: "ip protocol igmp drop", 6: "icmpv6 type 143 drop"}
QUERIES = {4: "ip protocol igmp drop", 6: "icmpv6 type 130 drop"}
TO_GROUP = {4: "ip daddr 239.1.1.1 drop", 6: "ip6 daddr ff1e::1:1 drop"}
with_and_without = pytest.mark.parametrize("is_privileged", [True, False], ids=["raw", "unprivileged"])

Send = Callable[[Wire, str], Callable[[], object]]


def nothing(wire: Wire, group: str) -> Callable[[], object]:
    return lambda: None


def right(wire: Wire, group: str) -> Callable[[], object]:
    return inject(wire, frame(group))


def filtered(hook: str, rules: dict[int, str]) -> Callable[[Wire, str], None]:
    return lambda wire, group: firewall(wire.near, hook, rules[family(group)])


def strict(wire: Wire, group: str) -> None:
    for name in ("all", "v0"):
        sysctl(f"net/ipv4/conf/{name}/rp_filter", 1)


def asked_in_an_old_version(wire: Wire, group: str) -> None:
    with wire.far.inside(), Querier("p0") as querier:
        querier.query(2)


def sent_with(**made: object) -> Send:
    return lambda wire, group: inject(wire, frame(group, **made))  # type: ignore[arg-type]  # a test's


@dataclass(frozen=True, slots=True)
class Ill:
    """What is wrong, what is sent, and the verdict with CAP_NET_RAW and without."""

    name: str
    verdict: VerdictKind
    without: VerdictKind
    send: Send
    breaks: Callable[[Wire, str], None] | None = None
    families: tuple[int, ...] = (4, 6)
    sources: dict[int, str] | None = None
    probe: bool = False

    @property
    def expected(self) -> int:
        return 0 if self.send is nothing else COUNT


V = VerdictKind
ILL = (
    Ill(
        "a firewall drops reports", V.REPORTS_DROPPED, V.REPORTS_DROPPED, nothing, filtered("output", REPORTS)
    ),
    Ill("it drops queries", V.QUERIES_DROPPED, V.UPSTREAM, nothing, filtered("input", QUERIES)),
    Ill(
        "it drops the group in input",
        V.GROUP_DROPPED,
        V.GROUP_DROPPED,
        right,
        filtered("input", TO_GROUP),
        (4,),
    ),
    Ill("of IPv6, in input", V.GROUP_DROPPED, V.OTHER_TRAFFIC, right, filtered("input", TO_GROUP), (6,)),
    Ill(
        "it drops it in prerouting", V.GROUP_DROPPED, V.OTHER_TRAFFIC, right, filtered("prerouting", TO_GROUP)
    ),
    Ill("it drops it at the interface", V.GROUP_DROPPED, V.TAGGED, right, filtered("ingress", TO_GROUP)),
    *(
        Ill(
            f"it drops it in {hook}, tried",
            V.GROUP_DROPPED,
            V.GROUP_DROPPED,
            right,
            filtered(hook, TO_GROUP),
            probe=True,
        )
        for hook in ("input", "prerouting", "ingress")
    ),
    Ill("reverse path filter", V.RP_FILTER, V.RP_FILTER, sent_with(source=REMOTE[4]), strict, (4,)),
    Ill("a wrong checksum", V.CHECKSUM, V.CHECKSUM, sent_with(is_damaged=True)),
    Ill(
        "a wrong checksum, seen late", V.CHECKSUM, V.CHECKSUM, sent_with(is_damaged=True, payload=bytes(200))
    ),
    Ill("fragments are lost", V.FRAGMENTS, V.FRAGMENTS, lambda wire, group: inject(wire, fragment(group))),
    Ill(
        "frames are too large",
        V.FRAMES_DROPPED,
        V.FRAMES_DROPPED,
        sent_with(payload=bytes(1400)),
        lambda wire, group: wire.near.ip("link set v0 mtu 1280"),
    ),
    Ill("another port", V.WRONG_PORT, V.WRONG_PORT, sent_with(port=PORT + 1)),
    Ill("another source", V.WRONG_SOURCE, V.OTHER_TRAFFIC, right, None, (4,), OTHERS),
    Ill("another source of IPv6", V.WRONG_SOURCE, V.WRONG_SOURCE, right, None, (6,), OTHERS),
    Ill("a VLAN's tag", V.TAGGED, V.TAGGED, sent_with(vlan=7)),
    Ill(
        "another group",
        V.OTHER_TRAFFIC,
        V.OTHER_TRAFFIC,
        lambda wire, group: inject(wire, frame("239.9.9.9" if family(group) == 4 else "ff1e::9:9")),
    ),
    Ill("nobody sends", V.UPSTREAM, V.UPSTREAM, nothing),
    Ill("nobody sends, tried", V.UPSTREAM, V.UPSTREAM, nothing, probe=True),
)
AMBIGUOUS = {V.OTHER_TRAFFIC, V.TAGGED}


@pytest.fixture(scope="module")
def shared(lab: None) -> Iterator[Wire]:
    """A cable for the tests of the module."""
    with two_hosts() as built:
        yield built


@pytest.fixture
def cable(shared: Wire) -> Iterator[Wire]:
    """The same, cured again after the test."""
    yield shared
    execute(["ip", "netns", "exec", shared.near.namespace, "nft", "flush", "ruleset"])
    shared.near.ip("link set v0 mtu 1500")
    for name in ("all", "v0"):
        sysctl(f"net/ipv4/conf/{name}/rp_filter", 0)


@with_and_without
@pytest.mark.parametrize(
    ("ill", "group"),
    [pytest.param(ill, group, id=f"{ill.name}-ipv{family(group)}") for ill in ILL for group in GROUPS
     if family(group) in ill.families],
)  # fmt: skip
def test_the_verdict(cable: Wire, ill: Ill, group: str, is_privileged: bool) -> None:
    if ill.breaks is not None:
        ill.breaks(cable, group)
    found = examined(
        group,
        ill.send(cable, group),
        sources=[ill.sources[family(group)]] if ill.sources else None,
        probe=ill.probe,
        is_privileged=is_privileged,
        expected=ill.expected,
    )
    expected = ill.verdict if is_privileged else ill.without
    assert found.verdict.kind is expected, found
    assert found.verdict.remedy
    if not is_privileged:
        assert any("CAP_NET_RAW" in one for one in found.unseen)
        if expected in AMBIGUOUS:
            assert ", or " in found.verdict.text or ill.name == "a VLAN's tag"
    else:
        assert not any("CAP_NET_RAW" in one for one in found.unseen)


@pytest.mark.parametrize("is_privileged", [True, False])
def test_the_rule_that_drops_is_named(cable: Wire, is_privileged: bool) -> None:
    group = "239.1.1.1"
    firewall(cable.near, "input", f"ip daddr {group} counter drop\nip daddr 239.1.1.9 counter drop")
    found = examined(group, inject(cable, frame(group)), is_privileged=is_privileged)
    assert found.verdict.kind is V.GROUP_DROPPED
    named = [line for line in found.verdict.evidence if line.startswith("nftables' rule inet ill one handle")]
    if is_privileged:
        assert [line.rpartition(" has ")[2] for line in named] == [f"dropped {COUNT} packets"]
        assert not any("nftables" in one for one in found.unseen)
    else:
        assert not named
        assert "which rule of nftables drops how many packets: CAP_NET_ADMIN" in found.unseen


def test_what_the_verdict_says(wire: Wire) -> None:
    group = "239.1.1.1"
    found = examined(group, inject(wire, frame(group, port=5017)))
    assert "to port 5017" in found.verdict.text
    found = examined(group, inject(wire, frame(group)), sources=[OTHERS[4]])
    assert found.verdict.remedy == f"let {FAR[4]} in"
    found = examined(group, inject(wire, frame(group, vlan=7)))
    assert "ip link add link v0 name v0.7 type vlan id 7" in found.verdict.remedy
    strict(wire, group)
    found = examined(group, inject(wire, frame(group, source=REMOTE[4])), sources=[REMOTE[4]])
    assert found.verdict.kind is V.RP_FILTER
    assert f"there is no route to {REMOTE[4]}" in found.verdict.text
    remedy = found.verdict.remedy.split(", or ")[0]
    assert remedy == f"ip route add {REMOTE[4]} dev v0"
    wire.near.ip(remedy.removeprefix("ip "))
    found = examined(group, inject(wire, frame(group, source=REMOTE[4])), sources=[REMOTE[4]])
    assert (found.verdict.kind, found.facts and found.facts.heard) == (V.FLOWS, (REMOTE[4],))


def test_the_other_remedy_of_the_reverse_path_filter(wire: Wire) -> None:
    group = "239.1.1.1"
    strict(wire, group)
    wire.near.ip("link add v9 type veth peer name p9", "link set v9 up", "link set p9 up")
    wire.near.ip(f"route add {REMOTE[4]} dev v9")
    found = examined(group, inject(wire, frame(group, source=REMOTE[4])), sources=[REMOTE[4]])
    assert found.verdict.kind is V.RP_FILTER
    assert f"the route to {REMOTE[4]} leads by v9" in found.verdict.text
    command = found.verdict.remedy.split(", or ")[1]
    name, value = command.removeprefix("sysctl -w ").split("=")
    sysctl(name.replace(".", "/"), int(value))
    again = examined(group, inject(wire, frame(group, source=REMOTE[4])), sources=[REMOTE[4]])
    assert again.verdict.kind is V.FLOWS


@with_and_without
@each_family
def test_an_old_querier(wire: Wire, group: str, is_privileged: bool) -> None:
    sources = [FAR[family(group)]]
    asked_in_an_old_version(wire, group)
    found = examined(group, lambda: None, sources=sources, expected=0, is_privileged=is_privileged)
    assert found.verdict.kind is V.OLD_QUERIER
    found = examined(group, inject(wire, frame(group)), sources=sources, is_privileged=is_privileged)
    assert (found.verdict.kind, found.others) == (V.FLOWS, ())


@pytest.mark.parametrize("is_forced", [True, False])
def test_why_it_is_an_old_version(wire: Wire, is_forced: bool) -> None:
    if is_forced:
        sysctl("net/ipv4/conf/v0/force_igmp_version", 2)
    else:
        asked_in_an_old_version(wire, "")
    found = examined("239.1.1.1", lambda: None, sources=[FAR[4]], expected=0)
    assert found.verdict.text.startswith("force_igmp_version" if is_forced else "a router or switch asks")


def test_a_sender_of_this_host_that_keeps_it_from_this_host(cable: Wire) -> None:
    for group in ("239.1.1.1", "ff1e::1:1"):
        number = family(group)
        level, option = (socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP)
        if number == 6:
            level, option = (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP)
        with sender("v0", number, NEAR[number]) as own:
            own.setsockopt(level, option, 0)
            send = partial(own.sendto, b"out", (group, PORT))
            assert examined(group, send, expected=0).verdict.kind is V.LOOP_OFF
            assert examined(group, send, expected=0, is_privileged=False).verdict.kind is V.UPSTREAM
            own.setsockopt(level, option, 1)
            assert examined(group, send, expected=0).verdict.kind is V.FLOWS


@pytest.mark.parametrize("is_listed", [True, False])
def test_sources_of_this_host(cable: Wire, is_listed: bool) -> None:
    sources = [NEAR[4]] if is_listed else [NEAR[4], FAR[4]]
    found = examined("239.1.1.1", lambda: None, sources=sources, expected=0)
    assert (found.verdict.kind is V.OWN_SOURCE) is is_listed


@each_family
def test_an_interface_that_is_down_or_without_a_carrier(wire: Wire, group: str) -> None:
    wire.far.ip("link set p0 down")
    wait_until(lambda: bool(wire.doubts(group)), 20, "the carrier is lost")
    found = examined(group, lambda: None, expected=0, is_privileged=False)
    assert (found.verdict.kind, found.verdict.is_cause) == (V.NO_CARRIER, True)
    wire.near.ip("link set v0 down")
    assert examined(group, lambda: None, expected=0).verdict.kind is V.DOWN


def test_an_alive_source_and_queries_are_evidence(wire: Wire) -> None:
    def ask() -> None:
        querier.query()

    with wire.far.inside():
        querier = Querier("p0")
    with querier:
        found = examined("239.1.1.1", ask, sources=[FAR[4]], probe=True, expected=0)
        assert found.verdict.kind is V.UPSTREAM
        assert "the source is alive: it has refused a datagram" in found.verdict.evidence
        assert any(line.endswith("asks for memberships, in version 3") for line in found.verdict.evidence)
        found = examined("ff1e::1:1", ask, sources=[FAR[6]], expected=0, is_privileged=False)
        assert any("Icmp6InGroupMembQueries" in line for line in found.verdict.evidence)


def test_a_limit_is_a_verdict(wire: Wire) -> None:
    sysctl("net/ipv4/igmp_max_memberships", 0)
    found = examined("239.1.1.1", lambda: None, expected=0)
    assert found.verdict.kind is V.LIMIT
    assert "net.ipv4.igmp_max_memberships" in found.verdict.remedy


def test_a_list_beyond_the_limit_is_looked_at_with_several_sockets(wire: Wire) -> None:
    sources = [*(f"198.51.100.{number}" for number in range(1, 26)), FAR[4]]
    found = examined("232.1.1.1", inject(wire, frame("232.1.1.1")), sources=sources)
    assert found.facts is not None
    assert (found.verdict.kind, found.facts.heard, found.facts.arrived) == (V.FLOWS, (FAR[4],), COUNT)


def test_drops_at_another_programs_socket(wire: Wire) -> None:
    group = "239.1.1.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        other.bind(("", PORT))
        found = examined(group, inject(wire, frame(group, payload=bytes(1000))), is_privileged=False)
    assert [found.verdict.kind, *(one.kind for one in found.others)] == [V.FLOWS, V.DROPS]


# What packets were seen to come with, and so is never a verdict.


def bare(wire: Wire) -> None:
    wire.near.ip("addr flush dev v0")


def link_local_alone(wire: Wire) -> None:
    wire.near.ip(f"addr del {NEAR[4]}/24 dev v0", f"addr del {NEAR[6]}/64 dev v0")


def a_blackhole(wire: Wire) -> None:
    wire.near.ip(f"route add blackhole {FAR[4]}/32", f"-6 route add blackhole {FAR[6]}/128")


WELL: tuple[tuple[str, Callable[[Wire], object]], ...] = (
    ("nothing is wrong", lambda wire: None),
    ("no address", bare),
    ("link-local addresses alone", link_local_alone),
    ("a blackhole route for the source", a_blackhole),
    ("forwarding off", lambda wire: sysctl("net/ipv4/ip_forward", 0)),
)


@with_and_without
@each_family
@pytest.mark.parametrize("breaks", [one for _, one in WELL], ids=[name for name, _ in WELL])
def test_what_flows(wire: Wire, breaks: Callable[[Wire], object], group: str, is_privileged: bool) -> None:
    breaks(wire)
    found = examined(group, inject(wire, frame(group)), is_privileged=is_privileged)
    assert (found.verdict.kind, found.others) == (V.FLOWS, ())
    assert found.facts is not None
    assert (found.facts.arrived, found.facts.heard) == (COUNT, (FAR[family(group)],))


@with_and_without
@each_family
def test_a_source_without_a_route_flows_where_nothing_filters(
    wire: Wire, group: str, is_privileged: bool
) -> None:
    source = REMOTE[family(group)]
    found = examined(
        group, inject(wire, frame(group, source=source)), sources=[source], is_privileged=is_privileged
    )
    assert (found.verdict.kind, found.others) == (V.FLOWS, ())


@each_family
def test_the_flag_multicast_taken_away_after_the_join(wire: Wire, group: str) -> None:
    def send() -> None:
        wire.near.ip("link set v0 multicast off")
        put()

    put = inject(wire, frame(group))
    assert examined(group, send).verdict.kind is V.FLOWS
