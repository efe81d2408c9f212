"""Why nothing can come to a membership: each rule, and what is no reason by itself."""

from __future__ import annotations

from typing import TypedDict

import attrs
import pytest

from aiomcast import SourceFilter
from aiomcast.values.doubts import Doubt, DoubtKind, doubts, too_small
from aiomcast.values.links import IFF_LOOPBACK, IFF_MULTICAST, IFF_RUNNING, IFF_UP, Link, Operstate

GROUPS = ("239.1.1.1", "ff1e::1:1")
ANY = SourceFilter.any()
UP = IFF_UP | IFF_RUNNING | IFF_MULTICAST
ETH = Link(index=7, name="eth0", flags=UP, mtu=1500, operstate=Operstate.UP, has_carrier=True)
LO = Link(index=1, name="lo", flags=IFF_UP | IFF_RUNNING | IFF_LOOPBACK, mtu=65536, has_carrier=True)
BRIDGE = attrs.evolve(ETH, index=9, name="br0")
REMOTE = {4: "192.0.2.10", 6: "2001:db8::10"}


class Facts(TypedDict, total=False):
    remote: str | None
    master: Link | None
    has_ipv6: bool | None
    loops_back: bool | None
    enters_vrf: bool | None


def family(group: str) -> int:
    return 6 if ":" in group else 4


def the_one(found: list[Doubt]) -> Doubt:
    (only,) = found
    assert only.text
    assert only.hint
    return only


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    "link",
    [
        ETH,
        attrs.evolve(ETH, operstate=Operstate.UNKNOWN),  # tun, and whatever tells no state
        attrs.evolve(ETH, operstate=Operstate.UNKNOWN, has_carrier=None),
        attrs.evolve(ETH, operstate=Operstate.DORMANT),  # packets were seen to come
        attrs.evolve(ETH, operstate=Operstate.LOWER_LAYER_DOWN),  # a moment after the carrier is back
        attrs.evolve(ETH, flags=IFF_UP | IFF_RUNNING),  # no IFF_MULTICAST: it works after the join
        attrs.evolve(ETH, flags=IFF_UP),
        attrs.evolve(ETH, mtu=None, mac=None),
        attrs.evolve(ETH, mtu=68),
        attrs.evolve(ETH, role="bridge_slave", master=9),
        BRIDGE,
        LO,
    ],
    ids=str,
)
def test_what_is_no_reason(group: str, link: Link) -> None:
    for wanted in (ANY, SourceFilter.none(), SourceFilter.exclude({REMOTE[family(group)]})):
        assert doubts(link, group, wanted) == []
        assert doubts(link, group, wanted, has_ipv6=True, loops_back=True, enters_vrf=False) == []


@pytest.mark.parametrize("group", GROUPS)
def test_an_interface_that_is_down(group: str) -> None:
    down = attrs.evolve(ETH, flags=IFF_MULTICAST, operstate=Operstate.DOWN, has_carrier=None)
    own = SourceFilter.include({REMOTE[family(group)]})
    for wanted in (ANY, SourceFilter.none(), own):
        found = the_one(doubts(down, group, wanted))
        assert found.kind is DoubtKind.DOWN
        assert "eth0 is down" in found.text
        assert found.hint == "ip link set eth0 up"
    lower = attrs.evolve(down, operstate=Operstate.LOWER_LAYER_DOWN)
    assert the_one(doubts(lower, group, ANY)).kind is DoubtKind.DOWN, "the carrier is not told of then"


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    "link",
    [
        attrs.evolve(ETH, has_carrier=False),
        attrs.evolve(ETH, has_carrier=False, operstate=Operstate.DOWN),
        attrs.evolve(ETH, has_carrier=None, operstate=Operstate.LOWER_LAYER_DOWN),
    ],
    ids=str,
)
def test_no_carrier(group: str, link: Link) -> None:
    source = REMOTE[family(group)]
    only = SourceFilter.include({source})
    for wanted in (ANY, SourceFilter.exclude({source}), SourceFilter.none()):
        assert the_one(doubts(link, group, wanted)).kind is DoubtKind.NO_CARRIER
    for found in (doubts(link, group, ANY), doubts(link, group, only, remote=source)):
        assert the_one(found).kind is DoubtKind.NO_CARRIER
        assert "eth0" in the_one(found).text
    assert doubts(link, group, only) == [], "a source of this host is looped back"


def test_ipv6_that_is_off() -> None:
    for link, setting in ((ETH, "eth0"), (attrs.evolve(ETH, name="eth0.100"), "eth0/100")):
        found = the_one(doubts(link, GROUPS[1], ANY, has_ipv6=False))
        assert found.kind is DoubtKind.IPV6_OFF
        assert found.hint == f"sysctl -w net.ipv6.conf.{setting}.disable_ipv6=0"
    small = the_one(doubts(attrs.evolve(ETH, mtu=1279), GROUPS[1], ANY, has_ipv6=False))
    assert "ip link set eth0 mtu 1280" in small.hint
    assert doubts(ETH, GROUPS[0], ANY, has_ipv6=False) == []


@pytest.mark.parametrize(
    ("mtu", "hint"),
    [
        (None, ""),
        (1280, ""),
        (1500, ""),
        (1279, "eth0 has an MTU of 1279, and IPv6 needs 1280: ip link set eth0 mtu 1280"),
    ],
)
def test_room_for_ipv6(mtu: int | None, hint: str) -> None:
    assert too_small(attrs.evolve(ETH, mtu=mtu)) == hint


@pytest.mark.parametrize("group", GROUPS)
def test_a_remote_source_on_loopback(group: str) -> None:
    source = REMOTE[family(group)]
    only = SourceFilter.include({source})
    found = the_one(doubts(LO, group, only, remote=source, loops_back=True))
    assert found.kind is DoubtKind.REMOTE_SOURCE
    assert source in found.text
    assert "lo" in found.text
    assert doubts(LO, group, only, loops_back=True) == [], "the source is this host's"
    assert doubts(LO, group, SourceFilter.exclude({source}), remote=source, loops_back=True) == []


def test_ipv6_on_loopback() -> None:
    for wanted in (ANY, SourceFilter.include({"::1"})):
        found = the_one(doubts(LO, GROUPS[1], wanted, loops_back=False))
        assert found.kind is DoubtKind.NO_LOOPBACK_ROUTE
        assert "ip -6 route add local ff00::/8 dev lo" in found.hint
    assert doubts(LO, GROUPS[0], ANY, loops_back=False) == []
    assert doubts(ETH, GROUPS[1], ANY, loops_back=False) == []


@pytest.mark.parametrize("group", ["ff01::77", "ff11::77", "ff31::8000:77", "fff1::77"])
def test_an_interface_local_group(group: str) -> None:
    own = SourceFilter.include({REMOTE[6]})
    for found in (doubts(ETH, group, ANY), doubts(ETH, group, own, remote=REMOTE[6])):
        assert the_one(found).kind is DoubtKind.SCOPE
        assert group in the_one(found).text
        assert "eth0" in the_one(found).text
    assert doubts(ETH, group, own) == [], "what this host sends there is looped back"
    assert doubts(LO, group, ANY, loops_back=True) == []


@pytest.mark.parametrize(
    "group", ["ff02::77", "ff03::77", "ff15::77", "ff3e::8000:77", "ff0f::77", "224.0.0.251"]
)
def test_other_scopes(group: str) -> None:
    assert doubts(ETH, group, ANY) == []


@pytest.mark.parametrize("group", ["ff00::77", "ff10::77"])
def test_the_reserved_scope(group: str) -> None:
    own = SourceFilter.include({REMOTE[6]})
    for link, wanted in ((ETH, ANY), (ETH, own), (LO, ANY)):
        assert the_one(doubts(link, group, wanted, loops_back=True)).kind is DoubtKind.SCOPE


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("role", ["bridge", "bond", "team"])
def test_a_port(group: str, role: str) -> None:
    source = REMOTE[family(group)]
    only = SourceFilter.include({source})
    port = attrs.evolve(ETH, role=role, master=9)
    for found in (
        doubts(port, group, ANY, master=BRIDGE),
        doubts(port, group, only, remote=source, master=BRIDGE),
    ):
        assert the_one(found).kind is DoubtKind.PORT
        assert the_one(found).hint == "join on br0"
    assert the_one(doubts(port, group, ANY)).hint == f"join on the {role}", "it may be gone by now"
    assert doubts(port, group, only, master=BRIDGE) == [], "what this host sends there is looped back"


def test_a_member_of_a_vrf() -> None:
    vrf = attrs.evolve(ETH, index=9, name="red")
    member = attrs.evolve(ETH, role="vrf", master=9)
    found = the_one(doubts(member, GROUPS[0], ANY, master=vrf, enters_vrf=False))
    assert found.kind is DoubtKind.VRF
    assert "eth0 is a member of red" in found.text
    assert "sysctl -w net.ipv4.udp_l3mdev_accept=1" in found.hint
    assert "ip vrf exec red" in found.hint
    assert the_one(doubts(member, GROUPS[0], ANY, enters_vrf=False)).kind is DoubtKind.VRF
    no_doubt: tuple[tuple[Link, str, Facts], ...] = (
        (member, GROUPS[0], {"enters_vrf": True}),
        (member, GROUPS[0], {"enters_vrf": None}),
        (member, GROUPS[1], {"enters_vrf": False}),  # bound to the interface, which lets it in
        (vrf, GROUPS[0], {"enters_vrf": False}),
    )
    for link, group, facts in no_doubt:
        assert doubts(link, group, ANY, **facts) == []


def test_each_of_several_has_to_be_mended() -> None:
    port = attrs.evolve(ETH, flags=0, has_carrier=None, role="bridge", master=9)
    found = doubts(port, "ff11::1", ANY, master=BRIDGE, has_ipv6=False)
    assert [one.kind for one in found] == [
        DoubtKind.DOWN,
        DoubtKind.IPV6_OFF,
        DoubtKind.SCOPE,
        DoubtKind.PORT,
    ]
    found = doubts(LO, "ff15::1", SourceFilter.include({REMOTE[6]}), remote=REMOTE[6], loops_back=False)
    assert [one.kind for one in found] == [DoubtKind.NO_LOOPBACK_ROUTE, DoubtKind.REMOTE_SOURCE]
