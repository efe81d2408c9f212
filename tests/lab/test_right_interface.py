"""Which interface is meant: by its names, by zones, and by the kernel's routes."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

import aiomcast
from aiomcast import ALL_INTERFACES, InterfaceError, NoRouteError, RefusedError
from aiomcast.errors import LimitError, NoSuchInterfaceError
from aiomcast.system import looking
from aiomcast.system.interfaces import find_interface, find_interfaces, list_interfaces, placed
from aiomcast.system.netlink import Netlink
from tests.support.sandbox import apart, needs_seccomp, without_sockets_of

from .place import Place

GROUP, GROUP6, PORT = "239.1.1.1", "ff0e::7:1", 5000
LONG = "averyveryverylongnameforaninterface0"


@pytest.fixture
def place(lab: None) -> Iterator[Place]:
    """Two cables: eth0 has addresses, eth1 has none but IPv6's link-local one."""
    with Place() as place:
        place.cable("eth0", "p0", "10.0.0.1/24", "2001:db8::1/64")
        place.cable("eth1", "p1")
        place.ip("link set p0 multicast off", "link set p1 multicast off")
        yield place


def by_route(group: str, *sources: str) -> str:
    return find_interface(None, group, sources).name


def refused(*arguments: object, **named: object) -> InterfaceError:
    with pytest.raises(InterfaceError) as caught:
        placed(*arguments, **named)  # type: ignore[arg-type]  # as they are given
    assert caught.value.hint
    return caught.value


# By the route


def test_a_link_without_an_address(place: Place) -> None:
    place.ip("route add 10.7.0.0/24 dev eth1")
    assert by_route(GROUP, "10.7.0.2") == "eth1"
    assert by_route(GROUP, "10.0.0.2") == "eth0"


def test_a_route_of_the_group(place: Place) -> None:
    place.ip("route add 239.1.0.0/16 dev eth1", "route add 224.0.0.0/4 dev eth0")
    assert (by_route("239.1.1.1"), by_route("239.2.1.1")) == ("eth1", "eth0")
    assert by_route("239.1.1.1", "10.0.0.2") == "eth0", "sources come first"


def test_a_rule_of_policy(place: Place) -> None:
    place.ip("route add 10.7.0.0/24 dev eth0", "route add 10.7.0.0/24 dev eth1 table 5")
    assert by_route(GROUP, "10.7.0.2") == "eth0"
    place.ip("rule add to 10.7.0.0/24 lookup 5")
    assert by_route(GROUP, "10.7.0.2") == "eth1"


def test_ipv6_with_only_a_link_local_address(place: Place) -> None:
    place.ip("-6 route add 2001:db8:7::/64 dev eth1")
    assert by_route(GROUP6, "2001:db8:7::2") == "eth1"


def test_an_address_on_lo_that_packets_leave_from(place: Place) -> None:
    place.ip("addr add 10.9.9.9/32 dev lo", "route add 10.8.0.0/24 dev eth1 src 10.9.9.9")
    assert by_route(GROUP, "10.8.0.2") == "eth1"


def test_an_address_that_two_have_says_nothing_of_a_plain_route(place: Place) -> None:
    place.ip("addr add 10.0.0.1/32 dev lo")
    assert by_route(GROUP, "10.0.0.2") == "eth0"
    assert "any of lo, eth0" in refused(GROUP, ["10.0.0.1"], None).detail, "it is the host's own"


def test_the_hosts_own_addresses(place: Place) -> None:
    for own, name in (("10.0.0.1", "eth0"), ("127.0.0.1", "lo"), ("127.0.0.9", "lo")):
        assert by_route(GROUP, own) == name
    for own, name in (("2001:db8::1", "eth0"), ("::1", "lo")):
        assert by_route(GROUP6, own) == name


def test_no_route(place: Place) -> None:
    place.ip("route add prohibit 10.66.0.0/24")
    for group, sources, number in (
        (GROUP, [], errno.ENETUNREACH),
        (GROUP, ["10.0.0.2", "192.0.2.1"], errno.ENETUNREACH),
        (GROUP, ["10.66.0.2"], errno.EACCES),
    ):
        with pytest.raises(NoRouteError) as caught:
            placed(group, sources or None, None)
        assert (caught.value.errno, bool(caught.value.hint)) == (number, True)


async def test_a_join_and_a_sender_go_by_it(place: Place) -> None:
    place.ip("route add 10.7.0.0/24 dev eth1", "route add 239.0.0.0/8 dev eth1")
    async with aiomcast.listen(GROUP, PORT, sources=["10.7.0.2"]) as feed:
        assert feed.interface.name == "eth1"
        assert feed.on_device()
    async with aiomcast.Sender(GROUP, PORT) as sender:
        assert sender.interface.name == "eth1"
    with aiomcast.open_socket(GROUP, PORT) as sock:
        assert sock.interface.name == "eth1"
    transport, _ = await aiomcast.create_multicast_endpoint(
        aiomcast.MulticastProtocol, GROUP, PORT, sources=["10.7.0.2"]
    )
    try:
        assert [one.name for one in transport.get_extra_info("interfaces")] == ["eth1"]
    finally:
        transport.abort()


# Several sources


def test_routes_that_differ(place: Place) -> None:
    place.ip("route add 10.7.0.0/24 dev eth1")
    told = set()
    for sources in itertools.permutations(["10.0.0.2", "10.0.0.3", "10.7.0.2", "10.7.0.3"]):
        told.add(str(refused(GROUP, sources, None)))
        assert str(refused(GROUP, set(sources), None)) in told
    (text,) = told
    for part in ("'10.0.0.2'", "eth0", "'10.7.0.2'", "eth1"):
        assert part in text
    assert placed(GROUP, {"10.7.0.3", "10.7.0.2"}, None)[1][0].name == "eth1"
    assert placed(GROUP, ["10.0.0.2", "10.7.0.2"], "eth0")[1][0].name == "eth0", "it was named"


def test_sources_that_are_kept_out_have_no_route(place: Place) -> None:
    place.ip("route add 10.7.0.0/24 dev eth1", "route add 239.0.0.0/8 dev eth0")
    assert placed(GROUP, aiomcast.SourceFilter.exclude({"10.7.0.2", "192.0.2.1"}), None)[1][0].name == "eth0"


def test_each_source_is_asked_for_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    find_interface(None, GROUP, ["10.0.0.2", "::ffff:10.0.0.2", "10.0.0.3"] * 100)
    assert asked.count(("ask", 26)) == 2


# Zones


def test_a_zone_decides(place: Place) -> None:
    index = socket.if_nametoindex("eth1")
    place.ip("link property add dev eth1 altname enp0s31f6")
    for zone in ("eth1", index, "enp0s31f6"):
        assert by_route("ff12::1", f"fe80::1%{zone}") == "eth1"
        assert by_route(f"ff12::1%{zone}") == "eth1"
        assert by_route(GROUP6, "2001:db8::2", f"fe80::1%{zone}") == "eth1"
        assert placed(f"ff12::1%{zone}", [f"fe80::1%{zone}"], "eth1")[1][0].name == "eth1"
        assert placed(GROUP6, [f"fe80::1%{zone}"], ["eth0", "eth1"])[1][1].name == "eth1"
    assert by_route("ff12::1%enp0s31f6", "fe80::1%eth1", f"fe80::2%{index}") == "eth1", "all say the same"


def test_zones_that_name_several(place: Place) -> None:
    for group, sources in (
        ("ff12::1", ["fe80::1%eth0", "fe80::2%eth1"]),
        ("ff12::1", ["2001:db8::2", "fe80::1%eth1", "fe80::2%eth0"]),
        ("ff12::1%eth0", ["fe80::2%eth1"]),
    ):
        text = str(refused(group, sources, None))
        assert "eth0" in text
        assert "eth1" in text


def test_a_zone_beside_an_interface(place: Place) -> None:
    eth0 = find_interface("eth0")
    for interface in ("eth0", eth0, eth0.index, "10.0.0.1", ["eth0"], ALL_INTERFACES):
        if interface is ALL_INTERFACES:
            place.ip("link set eth1 down")
        for group, sources in (("ff12::1", ["2001:db8::2", "fe80::1%eth1"]), ("ff12::1%eth1", None)):
            assert "'eth1'" in refused(group, sources, interface).detail
        assert placed("ff12::1", ["fe80::1%eth0"], interface)[1][0] == eth0


@pytest.mark.parametrize("zone", ["nosuch0", "999999", "01", "99999999999999999999", "\u0661"])
def test_zones_that_name_none(place: Place, zone: str) -> None:
    for group, sources in (("ff12::1", [f"fe80::1%{zone}"]), (f"ff12::1%{zone}", None)):
        assert isinstance(refused(group, sources, None), NoSuchInterfaceError)
        assert zone in refused(group, sources, "eth0").detail
    assert isinstance(refused("ff12::1", None, f"fe80::1%{zone}"), NoSuchInterfaceError)


def test_an_interface_called_as_an_index(place: Place) -> None:
    lo = str(socket.if_nametoindex("lo"))
    place.ip("link set eth1 down", f"link set eth1 name {lo}", f"link set {lo} up")
    eth1 = find_interface(lo)
    assert (eth1.name, find_interface(int(lo)).name) == (lo, "lo")
    assert find_interface(None, "ff12::1", [f"fe80::1%{lo}"]) == eth1, "a zone is a name first"


# What is there on every link


@pytest.mark.parametrize("group", ["224.0.0.251", "ff02::fb", "ff12::1", "ff32::1", "ff11::1"])
def test_a_group_of_the_link(place: Place, group: str) -> None:
    six = ":" in group
    text = str(refused(group, ["fe80::1"] if group == "ff32::1" else None, None))
    for part in ("eth0", "eth1", "name the interface"):
        assert part in text
    assert by_route(group, "2001:db8::2" if six else "10.0.0.2") == "eth0", "its sources have routes"
    place.ip("link set eth0 down", "link set lo multicast on")
    assert by_route(group, *["fe80::1"] * (group == "ff32::1")) == "eth1"
    place.ip("link set eth1 multicast off")
    assert isinstance(refused(group, ["fe80::1"] if six else None, None), NoSuchInterfaceError)


def test_a_group_of_the_link_with_a_route(place: Place) -> None:
    place.ip("route add 224.0.0.0/4 dev eth1")
    assert by_route("224.0.0.251") == "eth1"
    place.ip("route del 224.0.0.0/4 dev eth1", "route add default via 10.0.0.254")
    assert by_route("224.0.0.251") == "eth0"
    place.ip("route add prohibit 224.0.0.0/24")
    with pytest.raises(NoRouteError) as caught:
        by_route("224.0.0.251")
    assert caught.value.errno == errno.EACCES


def test_a_group_of_more_than_the_link_needs_a_route(place: Place) -> None:
    place.ip("link set eth1 down")
    with pytest.raises(NoRouteError):
        by_route("224.0.1.1")


def test_sources_of_the_link(place: Place) -> None:
    (own,) = [one for one in find_interface("eth1").addresses if one.startswith("fe80")]
    assert by_route("ff12::1", own) == "eth1", "the host's own"
    for group in ("ff12::1", GROUP6):
        assert "name the interface" in str(refused(group, ["fe80::1"], None))
    assert by_route(GROUP6, "fe80::1", "2001:db8::2") == "eth0", "the other has a route"


# Names


def test_alternative_names(place: Place) -> None:
    place.ip("link property add dev eth1 altname enp0s31f6", f"link property add dev eth1 altname {LONG}")
    eth1 = find_interface("eth1")
    assert set(eth1.alternative_names) == {"enp0s31f6", LONG}
    for wanted in ("enp0s31f6", LONG, eth1.index, ["eth1", LONG]):
        assert find_interfaces(wanted) == (eth1,)
    for wanted in ("ENP0S31F6", "enp0s31f", "Eth1"):
        assert isinstance(refused(GROUP, None, wanted), NoSuchInterfaceError), "case matters to the kernel"


def test_labels(place: Place) -> None:
    place.ip(
        "addr add 10.0.0.8/24 dev eth0 label eth0:vip",
        "addr add 10.0.0.9/24 dev eth0 label vip",
        "addr add 10.0.0.10/24 dev eth0 label both",
        "addr add 10.1.0.10/24 dev eth1 label both",
    )
    for label in ("eth0:vip", "vip"):
        assert find_interface(label).name == "eth0"
    for label in ("eth0:", "eth0:vi", "eth1:vip", ":vip"):
        assert isinstance(refused(GROUP, None, label), NoSuchInterfaceError)
    assert "any of eth0, eth1" in refused(GROUP, None, "both").detail


def test_addresses(place: Place) -> None:
    for wanted in ("10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "[2001:db8::1]", "2001:db8::1%eth0"):
        assert find_interface(wanted).name == "eth0"
    for wanted in ("10.0.0.2", "2001:db8::1%eth1", "2001:db8::1%nosuch0", "10.0.0.255"):
        assert isinstance(refused(GROUP, None, wanted), NoSuchInterfaceError)
    place.ip("-6 addr add fe80::7/64 dev eth0 nodad", "-6 addr add fe80::7/64 dev eth1 nodad")
    assert "any of eth0, eth1" in refused(GROUP6, None, "fe80::7").detail
    assert find_interface("fe80::7%eth1").name == "eth1"


@pytest.mark.parametrize("raw", [b"caf\xe9", b"\xff\xfe\xfd"])
async def test_a_name_that_is_no_utf_8(place: Place, raw: bytes) -> None:
    name = os.fsdecode(raw)
    place.cable(name, "p2", "192.0.2.1/24")
    place.ip("route add 239.0.0.0/8 dev eth0")
    odd = find_interface(name)
    assert odd.name == name
    assert odd in list_interfaces()
    assert odd in find_interfaces(ALL_INTERFACES)
    for wanted in ("192.0.2.1", odd.index, [name]):
        assert find_interfaces(wanted) == (odd,)
    assert find_interface(None, GROUP, ["192.0.2.9"]) == odd
    for interface in ("eth0", None, "10.0.0.1", ALL_INTERFACES, name):
        async with aiomcast.listen(GROUP, PORT, interface=interface) as feed:
            assert feed.on_device()
    assert refused(GROUP, None, "nosuch0").hint


def test_an_interface_called_100_on_the_command_line(place: Place) -> None:
    place.cable("100", "p2")
    index = str(socket.if_nametoindex("eth0"))
    for given, name in (("100", "100"), (index, "eth0")):
        command = ["listen", GROUP, str(PORT), "--interface", given, "--seconds", "0.1"]
        done = subprocess.run(
            [sys.executable, "-m", "aiomcast", *command], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 1, done.stderr  # nothing came, as nobody sent
        assert f" on {name}, " in done.stderr


def test_a_hint_names_some_of_very_many(place: Place) -> None:
    place.batch(*(f"link add w{number} type veth peer name x{number}" for number in range(50)))
    hint = refused(GROUP, None, "nosuch0").hint
    assert hint.startswith("there are lo, ")
    assert "and 95 more" in hint
    assert hint.count(",") < 12


# What is told of one


def test_what_is_told(place: Place) -> None:
    place.ip("link set eth0 mtu 1400 address 02:00:00:00:00:01", "link property add dev eth0 altname lan")
    eth0 = find_interface("eth0")
    told = dict(zip(eth0.addresses, eth0.prefix_lengths or (), strict=True))
    assert (told["10.0.0.1"], told["2001:db8::1"]) == (24, 64)
    assert (eth0.mtu, eth0.mac, eth0.alternative_names) == (1400, "02:00:00:00:00:01", ("lan",))
    assert (eth0.is_up, eth0.is_running, eth0.is_loopback, eth0.multicast) == (True, True, False, True)
    place.ip("link set p0 down")
    lost = find_interface("eth0")
    assert (lost.is_up, lost.is_running) == (True, False)
    place.ip("link set eth0 down")
    assert find_interface("eth0").is_up is False
    assert find_interface("lo").is_loopback is True
    listed = {one.name: one for one in list_interfaces()}
    assert listed["eth0"].mtu == 1400
    assert [one.index for one in list_interfaces()] == sorted(one.index for one in listed.values())


def test_all_interfaces(place: Place) -> None:
    names = [one.name for one in find_interfaces(ALL_INTERFACES)]
    assert sorted(names) == ["eth0", "eth1"]
    place.ip("link set lo multicast on", "link set eth0 down")
    assert [one.name for one in find_interfaces(ALL_INTERFACES)] == ["lo", "eth1"]
    place.ip("link set lo multicast off", "link set eth1 multicast off")
    assert "up and can multicast" in refused(GROUP, None, ALL_INTERFACES).detail
    assert find_interface("lo").multicast is True
    assert "cannot multicast" in refused(GROUP, None, "eth1").detail


# What it costs


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return the list that questions to the kernel are going to stand in: ("ask" or "dump", type)."""
    asked: list[tuple[str, int]] = []
    for way in ("ask", "dump"):
        real = getattr(Netlink, way)

        def asking(kernel: Netlink, kind: int, payload: bytes, way: str = way, real: object = real) -> object:
            asked.append((way, kind))
            return real(kernel, kind, payload)  # type: ignore[operator]  # a method

        monkeypatch.setattr(Netlink, way, asking)
    return asked


@pytest.mark.parametrize("wanted", ["eth0", "an index", "an Interface", None])
def test_the_others_are_not_listed(place: Place, wanted: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    known = find_interface("eth0")
    meant = {"an index": known.index, "an Interface": known}.get(wanted or "", wanted)
    asked = counted(monkeypatch)
    assert placed(GROUP, ["10.0.0.2"], meant)[1] == (known,)  # type: ignore[arg-type]  # of those above
    expected = {
        "an Interface": [],
        None: [("ask", 26), ("ask", 18), ("dump", 22)],  # the route, the interface, its addresses
    }
    assert asked == expected.get(wanted, [("ask", 18), ("dump", 22)])


# Where there is no netlink


def sandboxed(work: Callable[[], object]) -> None:
    """Do it where there is no AF_NETLINK."""
    apart(lambda: without_sockets_of(socket.AF_NETLINK), work)


# Names that none has; Linux itself takes what is before a colon for the name.
ABSENT = ("nosuch0", "", "eth0:vip", "eth0:", "lo\0", "\ud800", "a" * 20)


@needs_seccomp
def test_names_and_indexes_in_a_sandbox(place: Place) -> None:
    odd = os.fsdecode(b"caf\xe9")
    place.cable(odd, "p2")
    place.ip(
        "link property add dev eth1 altname enp0s31f6",
        "addr add 10.0.0.8/24 dev eth0 label eth0:vip",
        "link set eth1 multicast off",
    )
    eth0, other = (socket.if_nametoindex(one) for one in ("eth0", odd))

    def look() -> None:
        for wanted, name, index in (("eth0", "eth0", eth0), (eth0, "eth0", eth0), (odd, odd, other)):
            found = find_interface(wanted)
            assert (found.name, found.index, found.multicast) == (name, index, True)
            assert (found.is_up, found.is_loopback, found.is_running, found.mtu) == (True, False, None, None)
            assert (found.addresses, found.prefix_lengths) == ((), None)
        assert find_interface("lo").is_loopback
        assert "eth1 cannot multicast" in refused(GROUP, None, "enp0s31f6").detail
        for zone in ("eth0", str(eth0)):
            assert placed("ff12::1", [f"fe80::1%{zone}"], None)[1][0].index == eth0
        for absent in (*ABSENT, 0, -1, 99999, 2**32 + 1, 1.5):
            assert "give the name or the index" in refused(GROUP, None, absent).hint
        assert looking.link("nosuch0") is None
        seen = looking.link("eth0")
        assert seen is not None
        assert (seen.index, seen.is_up) == (eth0, True)

    sandboxed(look)


@needs_seccomp
def test_an_alternative_name_as_a_zone_in_a_sandbox(place: Place) -> None:
    place.ip("link property add dev eth1 altname enp0s31f6")

    def look() -> None:
        found = find_interface(None, "ff12::1", ["fe80::1%enp0s31f6"])
        assert (found.name, found.alternative_names) == ("eth1", ("enp0s31f6",))

    sandboxed(look)


@needs_seccomp
def test_what_needs_a_list_is_refused_in_a_sandbox(place: Place) -> None:
    def look() -> None:
        for ask in (
            lambda: find_interface("10.0.0.1"),
            lambda: find_interface(None, GROUP, ["10.0.0.2"]),
            lambda: find_interface(None, "ff02::1"),
            lambda: find_interfaces(ALL_INTERFACES),
            list_interfaces,
        ):
            with pytest.raises(RefusedError) as caught:
                ask()
            assert caught.value.errno == errno.EAFNOSUPPORT
            assert "give a name or an index" in caught.value.hint

    sandboxed(look)


@needs_seccomp
def test_a_socket_in_a_sandbox(place: Place) -> None:
    def look() -> None:
        with aiomcast.open_socket(GROUP, PORT, "eth0") as sock:
            sock.set_filter(aiomcast.SourceFilter.any())
            assert sock.interface.name == "eth0"
            assert sock.kernel_filter() == aiomcast.SourceFilter.any()

    sandboxed(look)


@pytest.mark.parametrize("is_sandboxed", [False, pytest.param(True, marks=needs_seccomp)])
def test_no_descriptor_is_left(place: Place, is_sandboxed: bool) -> None:
    def look() -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            for wanted in ("eth0", "nosuch0"):
                with pytest.raises(LimitError) as caught:
                    find_interface(wanted)
                assert caught.value.errno == errno.EMFILE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    sandboxed(look) if is_sandboxed else look()
