"""What the kernel announces, for each change that matters to a membership."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from aiomcast import RefusedError
from aiomcast.system.announcements import Announcements
from aiomcast.system.links import find_link, list_addresses
from aiomcast.system.netlink import Netlink
from aiomcast.system.routes import Route, routes_to
from aiomcast.values.links import (
    AddressAdded,
    AddressRemoved,
    Announcement,
    Link,
    LinkAddress,
    LinkChanged,
    LinkRemoved,
    Missed,
    Operstate,
    RoutesChanged,
)
from tests.support.sandbox import apart, without_privilege

from .network import wait_until
from .place import Place


@pytest.fixture
def place(lab: None) -> Iterator[Place]:
    with Place() as place:
        place.cable("v0", "p0", "192.0.2.1/24", "2001:db8::1/64")
        yield place


def everything(heard: Announcements) -> list[Announcement]:
    """What has been announced by now."""
    found: list[Announcement] = []
    while told := heard.read():
        found += told
    return found


@pytest.fixture
def heard(place: Place) -> Iterator[Announcements]:
    """Listening, where nothing of the cable itself is still to come."""
    with Announcements() as heard, Netlink() as kernel:
        wait_until(lambda: all(is_settled(kernel, name) for name in ("v0", "p0")), 20, "the cable is up")
        everything(heard)
        yield heard


def is_settled(kernel: Netlink, name: str) -> bool:
    found = find_link(kernel, name)
    if found is None or found.operstate is not Operstate.UP:
        return False
    own = [one.address for one in list_addresses(kernel, found.index) if one.address.startswith("fe80")]
    # Its own route is the last that an address gets.
    return own != [] and routes_to(own) == [Route(None, own[0])]


def until(
    heard: Announcements, wanted: Callable[[Announcement], bool], seconds: float = 20
) -> list[Announcement]:
    """What comes, to the first that is wanted."""
    deadline = time.monotonic() + seconds
    found: list[Announcement] = []
    while not any(map(wanted, found)):
        assert select.select([heard], [], [], max(0, deadline - time.monotonic()))[0], found
        found += heard.read()
    return found


def links(told: list[Announcement], name: str = "v0") -> list[Link]:
    return [one.link for one in told if isinstance(one, LinkChanged) and one.link.name == name]


def routes(told: list[Announcement]) -> set[int]:
    return {one.family for one in told if isinstance(one, RoutesChanged)}


def gone(told: list[Announcement]) -> set[str]:
    return {one.link.name for one in told if isinstance(one, LinkRemoved)}


def test_an_interface_comes_and_goes(place: Place, heard: Announcements) -> None:
    place.ip("link add w0 type veth peer name w1")
    index = socket.if_nametoindex("w0")
    assert index in [one.index for one in links(everything(heard), "w0")]
    place.ip("link del w0")
    told = everything(heard)
    assert gone(told) == {"w0", "w1"}
    assert index in [one.link.index for one in told if isinstance(one, LinkRemoved)]


def test_down_and_up(place: Place, heard: Announcements) -> None:
    place.ip("link set v0 down")
    assert not links(everything(heard))[-1].is_up
    place.ip("link set v0 up")
    assert links(everything(heard))[-1].is_up


def test_a_carrier_that_is_lost_and_comes_back(place: Place, heard: Announcements) -> None:
    def is_v0(carrier: bool) -> Callable[[Announcement], bool]:
        return lambda one: (
            isinstance(one, LinkChanged) and one.link.name == "v0" and one.link.has_carrier is carrier
        )

    place.ip("link set p0 down")
    lost = links(until(heard, is_v0(False)))[-1]
    assert lost.is_up
    place.ip("link set p0 up")
    back = links(until(heard, is_v0(True)))[-1]
    assert lost.carrier_ups is not None
    assert back.carrier_ups == lost.carrier_ups + 1


def test_its_mtu_its_flags_its_names(place: Place, heard: Announcements) -> None:
    place.ip("link set v0 mtu 1200")
    assert links(everything(heard))[-1].mtu == 1200
    place.ip("link set v0 multicast off")
    assert not links(everything(heard))[-1].has_multicast_flag
    place.ip("link property add dev v0 altname enp0s31f6")
    assert links(everything(heard))[-1].alternative_names == ("enp0s31f6",)
    index = socket.if_nametoindex("v0")
    place.ip("link set v0 down", "link set v0 name v7")
    told = everything(heard)
    assert links(told, "v7")[-1].index == index
    assert gone(told) == set()


def test_a_bridge_takes_it_and_lets_it_go(place: Place, heard: Announcements) -> None:
    place.ip("link add br0 type bridge", "link set v0 master br0")
    taken = links(everything(heard))[-1]
    assert (taken.master, taken.role) == (socket.if_nametoindex("br0"), "bridge")
    place.ip("link set v0 nomaster")
    told = everything(heard)
    assert (links(told)[-1].master, links(told)[-1].role) == (None, None)
    assert gone(told) == set(), "the bridge's own RTM_DELLINK is none of the interface"


def test_it_moves_to_another_namespace_and_back(place: Place, heard: Announcements) -> None:
    index = socket.if_nametoindex("v0")
    with Place() as other:
        place.ip(f"link set v0 netns {other.namespace}")
        assert gone(everything(heard)) == {"v0"}
        other.ip(f"link set v0 netns {place.namespace}")
        assert [one.index for one in links(everything(heard))][-1:] == [index]


def test_addresses(place: Place, heard: Announcements) -> None:
    index = socket.if_nametoindex("v0")
    four = LinkAddress(index=index, address="198.51.100.1", prefix_length=24, label="v0:vip")
    six = LinkAddress(index=index, address="2001:db8:7::1", prefix_length=64)
    place.ip("addr add 198.51.100.1/24 dev v0 label v0:vip", "addr add 2001:db8:7::1/64 dev v0 nodad")
    told = until(heard, lambda one: one == AddressAdded(six))
    assert AddressAdded(four) in told
    place.ip("addr del 198.51.100.1/24 dev v0", "addr del 2001:db8:7::1/64 dev v0")
    told = until(heard, lambda one: one == AddressRemoved(six))
    assert AddressRemoved(four) in told


ROUTES = [
    ("route add 10.7.0.0/24 dev v0", 4),
    ("route del 10.7.0.0/24 dev v0", 4),
    ("-6 route add 2001:db8:7::/64 dev v0", 6),
    ("-6 route del 2001:db8:7::/64 dev v0", 6),
    ("rule add to 10.7.0.0/24 lookup 5", 4),
    ("rule del to 10.7.0.0/24 lookup 5", 4),
    ("-6 rule add to 2001:db8:7::/64 lookup 5", 6),
    ("-6 rule del to 2001:db8:7::/64 lookup 5", 6),
]


def test_routes_and_rules_when_asked_for(place: Place, heard: Announcements) -> None:
    for command, _ in ROUTES:
        place.ip(command)
    assert not routes(everything(heard)), "nobody follows them"
    heard.follow_routes(True)
    heard.follow_routes(True)
    for command, family in ROUTES:
        place.ip(command)
        assert family in routes(everything(heard)), command
    heard.follow_routes(False)
    for command, _ in ROUTES:
        place.ip(command)
    assert not routes(everything(heard))


def test_many_routes_come_to_one(place: Place, heard: Announcements) -> None:
    heard.follow_routes(True)
    place.batch(*(f"route add 10.7.{number}.0/24 dev v0" for number in range(100)))
    told = everything(heard)
    assert 4 in routes(told)
    assert len(told) < 10, "or a few, where something else came between them"


def test_ipv4_routes_that_go_with_their_interface(place: Place, heard: Announcements) -> None:
    place.ip("route add 10.7.0.0/24 dev v0")
    heard.follow_routes(True)
    place.ip("link set v0 down")
    told = everything(heard)
    assert RoutesChanged(4) not in told, "the kernel announces none of them"
    assert not links(told)[-1].is_up, "but this"


def test_more_than_there_is_room_for(place: Place, heard: Announcements) -> None:
    heard._kernel.make_room(1)
    place.batch(*(f"link set v0 mtu {1400 + number}" for number in range(50)))
    assert heard.read() == [Missed()], "what waits is older than what is looked at then"
    assert heard.read() == []
    place.ip("link set v0 mtu 1300")
    assert links(everything(heard))[-1].mtu == 1300, "what comes after that is heard"


def test_others_have_their_turn(place: Place, heard: Announcements) -> None:
    place.batch(*(f"addr add 10.7.{number % 250}.{number // 250 + 1}/32 dev v0" for number in range(300)))
    first = heard.read()
    assert 100 < len(first) < 300
    added = [one for one in first + everything(heard) if isinstance(one, AddressAdded)]
    assert len({one.address.address for one in added}) == 300


@pytest.mark.parametrize("junk", [b"\1", bytes(16), b"\x20\0\0\0\x10\0" + bytes(26)])
def test_what_cannot_be_read_has_been_missed(
    heard: Announcements, junk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    datagrams = [junk]

    def receive(self: Netlink) -> bytes:
        if not datagrams:
            raise BlockingIOError
        return datagrams.pop()

    monkeypatch.setattr(Netlink, "receive", receive)
    assert heard.read() == [Missed()]


def test_another_namespace_is_not_heard(heard: Announcements) -> None:
    with Place() as other:
        other.cable("w0", "w1", "198.51.100.1/24")
        told = everything(heard)
    assert not links(told, "w0") + links(told, "w1")
    assert not any(isinstance(one, AddressAdded) and one.address.address == "198.51.100.1" for one in told)


def test_closed(place: Place) -> None:
    heard = Announcements()
    heard.close()
    heard.close()
    assert heard.fileno() == -1
    with pytest.raises(RefusedError) as caught:
        heard.read()
    assert caught.value.errno == errno.EBADF


def test_without_privilege(place: Place) -> None:
    def listen() -> None:
        with Announcements() as heard:
            heard.follow_routes(True)
            place.ip("link set v0 mtu 1300", "route add 10.7.0.0/24 dev v0")
            told = everything(heard)
            assert links(told)[-1].mtu == 1300
            assert RoutesChanged(4) in told

    apart(without_privilege, listen)
