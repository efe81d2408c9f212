"""From facts to verdicts: what the lab does not make, and the order."""

import json

import attrs
import pytest

from aiomcast import Facts, SourceFilter, Verdict, VerdictKind
from aiomcast.diagnosis.facts import Capture, Look, Probes, Seen
from aiomcast.diagnosis.host_rules import setting
from aiomcast.diagnosis.table import decide
from aiomcast.diagnosis.verdicts import Diagnosis
from aiomcast.values.doubts import DoubtKind
from aiomcast.values.links import IFF_LOOPBACK, IFF_RUNNING, IFF_UP, Link

SOURCE, OTHER = "192.0.2.2", "192.0.2.3"
ETH0 = Link(index=2, name="eth0", flags=IFF_UP | IFF_RUNNING, mtu=1500)
LOOK = Look(link=ETH0, is_member=True, igmp_version=3)
FACTS = Facts(
    group="232.1.1.1",
    port=5000,
    wanted=SourceFilter.include({SOURCE}),
    interface="eth0",
    before=LOOK,
    after=LOOK,
    rp_filter=1,
    probes=Probes(reports_leave=True),
)
FACTS6 = attrs.evolve(FACTS, group="ff3e::8000:1", wanted=SourceFilter.include({"2001:db8::2"}))
RIGHT = Seen(SOURCE, "232.1.1.1", 5000, 0, False)


def facts(of: Facts = FACTS, after: dict[str, object] | None = None, **changed: object) -> Facts:
    changes: dict[str, object] = {"after": attrs.evolve(of.after, **(after or {}))}  # type: ignore[arg-type]  # a test's
    return attrs.evolve(of, **(changes | changed))  # type: ignore[arg-type]  # a test's


def counted(of: Facts = FACTS, **grown: int) -> Facts:
    before = attrs.evolve(of.before, counters=dict.fromkeys(grown, 100))
    return facts(of, {"counters": {name: 100 + more for name, more in grown.items()}}, before=before)


def kinds(of: Facts) -> list[str]:
    return [one.kind.name for one in decide(of)]


def captured(*seen: Seen, of: Facts = FACTS) -> Facts:
    return facts(of, capture=Capture(seen=dict.fromkeys(seen, 4)))


def test_nothing_is_wrong_here() -> None:
    assert kinds(FACTS) == ["UPSTREAM"]
    assert kinds(facts(probes=Probes())) == ["UNKNOWN"]


def test_what_flows_has_no_other_verdict_but_drops() -> None:
    ill = counted(TcpExtIPReversePathFilter=9, UdpInCsumErrors=9, UdpIgnoredMulti=9, IpExtInMcastPkts=9)
    ill = facts(ill, {"is_member": False, "igmp_version": 2}, probes=Probes(reports_leave=False))
    assert len(decide(ill)) > 5
    assert kinds(facts(ill, arrived=1)) == ["FLOWS"]
    assert kinds(facts(ill, arrived=1, kernel_drops=1)) == ["FLOWS", "DROPS"]


def test_sources_that_are_silent_beside_one_that_is_heard_are_named() -> None:
    both = facts(wanted=SourceFilter.include({SOURCE, OTHER}), arrived=3, heard=(OTHER,))
    assert decide(both)[0].text == f"packets come in from {OTHER}; nothing from {SOURCE}"


def test_the_order() -> None:
    """The first that fits is the one to show."""
    ill = counted(
        TcpExtIPReversePathFilter=9, UdpInCsumErrors=9, IpReasmReqds=9, UdpIgnoredMulti=9, IpExtInMcastPkts=9
    )
    ill = facts(
        ill,
        {"is_member": False, "igmp_version": 2},
        kernel_drops=1,
        probes=Probes(reports_leave=False, comes_from_itself=False),
    )
    assert kinds(ill) == [
        "GHOST", "OLD_QUERIER", "REPORTS_DROPPED", "GROUP_DROPPED", "RP_FILTER", "CHECKSUM", "FRAGMENTS",
        "WRONG_PORT", "DROPS",
    ]  # fmt: skip


# What is there without any fault on hosts that do other things, and is no verdict.


@pytest.mark.parametrize(
    "quiet",
    [
        counted(IpInReceives=5000, IpInDelivers=4990, IpForwDatagrams=10, rx_packets=9000),
        counted(IpInReceives=50, IpInDelivers=50, UdpIgnoredMulti=50, IpExtInBcastPkts=50),
        counted(IpInReceives=60, IpInDelivers=60, IpExtInMcastPkts=40),
        counted(rx_packets=2, rx_dropped=2),
        counted(IpInReceives=1, IpInDelivers=1, rx_packets=7),
        counted(IpReasmReqds=20, IpReasmOKs=10, IpInReceives=30, IpInDelivers=20),
        facts(counted(TcpExtIPReversePathFilter=9), rp_filter=0),
        counted(FACTS6, Ip6InReceives=9, Ip6InDelivers=8, Ip6InMcastPkts=9),
        counted(FACTS6, TcpExtIPReversePathFilter=9, UdpInCsumErrors=9, UdpIgnoredMulti=9, Ip6InMcastPkts=9),
        facts(own_sources=frozenset({SOURCE}), wanted=SourceFilter.include({SOURCE, OTHER})),
        facts(after={"igmp_version": 2}, wanted=SourceFilter.any()),
        counted(IpExtInMcastPkts=40, IpInReceives=40, lo_packets=40),
    ],
)
def test_what_is_no_verdict(quiet: Facts) -> None:
    assert kinds(quiet) == ["UPSTREAM"]


def test_every_doubt_is_a_verdict_of_that_name() -> None:
    for kind in DoubtKind:
        assert VerdictKind(kind.value).name == kind.name


def test_sources_of_this_host_are_no_others() -> None:
    assert kinds(facts(own_sources=frozenset({SOURCE}))) == ["OWN_SOURCE"]


def test_loopback_says_that_nobody_sends() -> None:
    lo = attrs.evolve(ETH0, name="lo", flags=ETH0.flags | IFF_LOOPBACK)
    on_lo = facts(after={"link": lo}, interface="lo", own_sources=frozenset({SOURCE}), probes=Probes())
    (verdict,) = decide(on_lo)
    assert verdict.kind is VerdictKind.UPSTREAM
    assert "nobody on this host sends" in verdict.text


def test_a_version_that_a_sysctl_forces() -> None:
    (verdict,) = decide(facts(after={"igmp_version": 2}, forced_version=2))
    assert verdict.kind is VerdictKind.OLD_QUERIER
    assert verdict.text.startswith("force_igmp_version makes eth0")
    assert setting("eth0.5", "rp_filter", 2) == "sysctl -w net.ipv4.conf.eth0/5.rp_filter=2"


def test_what_the_frames_tell() -> None:
    for other, kind in (
        (RIGHT._replace(port=5001), "WRONG_PORT"),
        (RIGHT._replace(source=OTHER), "WRONG_SOURCE"),
        (RIGHT._replace(vlan=7), "TAGGED"),
        (RIGHT._replace(is_outgoing=True), "LOOP_OFF"),
        (RIGHT, "GROUP_DROPPED"),
    ):
        assert kinds(captured(other)) == [kind]
    assert kinds(captured(RIGHT._replace(group="232.1.1.2"))) == ["OTHER_TRAFFIC", "UPSTREAM"]
    assert kinds(captured(RIGHT._replace(source=OTHER, is_outgoing=True))) == ["UPSTREAM"]
    assert kinds(captured(RIGHT, RIGHT._replace(port=5001))) == ["GROUP_DROPPED"]


def test_the_frames_decide_where_the_counters_do_not() -> None:
    ambiguous = counted(UdpIgnoredMulti=9, IpExtInMcastPkts=9, IpInReceives=9, IpInDelivers=9)
    assert kinds(ambiguous) == ["WRONG_PORT"]
    assert kinds(captured(of=ambiguous)) == ["UPSTREAM"]
    assert kinds(counted(rx_packets=9)) == ["TAGGED"]
    assert kinds(captured(of=counted(rx_packets=9))) == ["UPSTREAM"]


def test_a_capture_that_has_not_all_leaves_it_to_the_counters() -> None:
    cut = Capture(seen={RIGHT._replace(group="232.1.1.2"): 9}, is_whole=False)
    for ill, kind in (
        (counted(UdpIgnoredMulti=9, IpExtInMcastPkts=9, IpInReceives=9, IpInDelivers=9), "WRONG_PORT"),
        (counted(rx_packets=9), "TAGGED"),
        (counted(IpInReceives=9), "OTHER_TRAFFIC"),
    ):
        assert kinds(facts(ill, capture=cut))[0] == kind


@pytest.mark.parametrize("group", ["224.0.0.251", "ff1e::9"])
def test_groups_that_are_there_on_every_link_are_no_other_traffic(group: str) -> None:
    assert kinds(captured(RIGHT._replace(group=group))) == ["UPSTREAM"]


def test_a_verdict_that_names_two_causes_loses_one_where_a_probe_has() -> None:
    ambiguous = counted(IpInReceives=9)
    assert "or a firewall" in decide(ambiguous)[0].text
    probed = facts(ambiguous, probes=Probes(reports_leave=True, comes_from_itself=True))
    assert decide(probed)[0].kind is VerdictKind.OTHER_TRAFFIC
    assert "firewall" not in decide(probed)[0].text


def test_a_counter_that_is_not_told_or_falls_has_not_grown() -> None:
    assert facts(after={"counters": {"IpInReceives": 9}}).grown("IpInReceives") == 0
    assert counted(IpInReceives=-9).grown("IpInReceives") == 0
    assert counted(IpInReceives=3, IpInDelivers=0).growth == {"IpInReceives": 3}


def test_everything_has_a_text_and_is_json() -> None:
    full = facts(
        captured(RIGHT, of=counted(IpInReceives=9)), routes={SOURCE: None, OTHER: "eth1"}, unseen=("a part",)
    )
    verdict, *others = decide(full)
    found = Diagnosis(verdict, tuple(others), full)
    told = json.loads(json.dumps(found.as_dict()))
    assert told["verdict"]["kind"] == "group dropped"
    assert told["facts"]["routes"] == {SOURCE: None, OTHER: "eth1"}
    assert told["facts"]["capture"]["seen"][0]["count"] == 4
    assert told["facts"]["counters"] == {"IpInReceives": 9}
    assert told["unseen"] == ["a part"]
    bare = Diagnosis(Verdict(VerdictKind.NO_ROUTE, "no route"), (), None)
    assert json.loads(json.dumps(bare.as_dict()))["facts"] is None
    assert bare.unseen == ()
