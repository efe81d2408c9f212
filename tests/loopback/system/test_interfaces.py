"""Interfaces by name, index, address and route; what differs where there is no netlink."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

import attrs
import ifaddr
import pytest

import aiomcast
from aiomcast import ALL_INTERFACES, Interface, InterfaceError, NoRouteError, RefusedError, list_interfaces
from aiomcast.errors import LimitError, NoSuchInterfaceError, UnsupportedError
from aiomcast.rfc3678.abi import WINDOWS, native
from aiomcast.system import asking, routes
from aiomcast.system.asking import as_interface
from aiomcast.system.interfaces import find_interface, find_interfaces
from aiomcast.system.netlink import Netlink
from aiomcast.values.addresses import canonical
from aiomcast.values.links import IFF_LOOPBACK, IFF_MULTICAST, IFF_RUNNING, IFF_UP, Link, LinkAddress
from tests.support.platforms import IS_WINDOWS
from tests.support.sending import LO


class Refused(Netlink):
    """There is no netlink here."""

    def __init__(self) -> None:
        raise UnsupportedError("a socket of AF_NETLINK", "a sandbox may keep it from this process")


@pytest.fixture
def without_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "Netlink", Refused)
    monkeypatch.setattr(routes, "Netlink", Refused)


@pytest.fixture(params=["netlink", "ifaddr"])
def way(request: pytest.FixtureRequest) -> str:
    """How the system is asked."""
    if request.param == "ifaddr":
        request.getfixturevalue("without_netlink")
    return str(request.param)


def loopback() -> Interface:
    return next(one for one in list_interfaces() if one.name == "lo")


def test_the_list_is_the_systems(way: str) -> None:
    systems = sorted(socket.if_nameindex())
    if IS_WINDOWS:  # users know them by other names
        assert [(one.index, one.alternative_names[0]) for one in list_interfaces()] == systems
    else:
        assert [(one.index, one.name) for one in list_interfaces()] == systems
    lo = loopback()
    assert "127.0.0.1" in lo.addresses
    assert (lo.multicast, lo.is_loopback, lo.is_up) == ((None if IS_WINDOWS else True,) * 3)
    assert dict(zip(lo.addresses, lo.prefix_lengths or (), strict=True))["127.0.0.1"] == 8
    for one in list_interfaces():
        assert all(canonical(address) == address for address in one.addresses)


def test_both_ways_tell_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [list_interfaces(), list(find_interfaces(ALL_INTERFACES))]
    monkeypatch.setattr(asking, "Netlink", Refused)
    for by_netlink, by_ifaddr in zip(
        told, [list_interfaces(), list(find_interfaces(ALL_INTERFACES))], strict=True
    ):
        assert [one.index for one in by_netlink] == [one.index for one in by_ifaddr]
        for one, other in zip(by_netlink, by_ifaddr, strict=True):
            assert set(one.addresses) == set(other.addresses)
            for field in ("name", "multicast", "is_up", "is_loopback"):
                assert getattr(one, field) == getattr(other, field), field


LO_FORMS = ["lo", LO, "127.0.0.1", "::ffff:127.0.0.1", "[::1]", "::1%lo", f"::1%{LO}"]


@pytest.mark.parametrize("wanted", LO_FORMS)
def test_every_form_finds_lo(way: str, wanted: aiomcast.InterfaceLike) -> None:
    if isinstance(wanted, str) and "::1" in wanted and "::1" not in loopback().addresses:
        pytest.skip("no IPv6 on lo")
    assert find_interface(wanted) == loopback()
    assert find_interface(loopback()) == loopback()


NO_INTERFACES = ["nosuch0", "", 0, -1, 2**40, True, False, "198.51.100.7", "::1%nosuch0", 1.5, b"lo", ["lo"]]
if not IS_WINDOWS:  # which takes names in any case
    NO_INTERFACES.append("LO")


@pytest.mark.parametrize("wanted", NO_INTERFACES)
def test_what_is_no_interface(way: str, wanted: object) -> None:
    with pytest.raises(InterfaceError) as caught:
        find_interface(wanted)  # type: ignore[arg-type]  # wrong on purpose
    assert "lo" in caught.value.hint


def test_an_interface_that_cannot_multicast() -> None:
    with pytest.raises(InterfaceError, match="cannot multicast") as caught:
        find_interface(attrs.evolve(loopback(), multicast=False))
    assert caught.value.hint
    assert find_interface(attrs.evolve(loopback(), multicast=None)).name == "lo"


def test_the_route_decides_when_none_is_named(way: str) -> None:
    assert find_interface(None, "232.1.1.1", ["127.0.0.2", "127.0.0.1"]) == loopback()
    assert find_interface(None, "ff32::1%lo") == loopback()
    assert find_interface(None, f"ff32::1%{LO}", ["2001:db8::1"]) == loopback()
    assert find_interface(None, "ff32::1", ["fe80::1%lo"]) == loopback()
    with pytest.raises(InterfaceError) as caught:
        find_interface(None)
    assert caught.value.hint
    for zone in ("nosuch0", "999999"):
        with pytest.raises(NoSuchInterfaceError):
            find_interface(None, f"ff32::1%{zone}")


def test_several_count_once(way: str) -> None:
    assert find_interfaces(["lo", LO, "127.0.0.1", loopback()]) == (loopback(),)
    with pytest.raises(InterfaceError, match="empty"):
        find_interfaces([])


def test_a_link_as_users_know_it() -> None:
    link = Link(
        index=7,
        name="eth0",
        alternative_names=("lan",),
        flags=IFF_UP | IFF_MULTICAST,
        mtu=1500,
        mac="02:00:00:00:00:01",
    )
    held = [
        LinkAddress(index=index, address=address, prefix_length=length)
        for index, address, length in ((7, "10.0.0.1", 24), (8, "10.0.0.2", 24), (7, "fe80::1", 64))
    ]
    told = as_interface(link, held)
    assert (told.index, told.name, told.alternative_names) == (7, "eth0", ("lan",))
    assert (told.addresses, told.prefix_lengths) == (("10.0.0.1", "fe80::1"), (24, 64))
    assert (told.multicast, told.is_up, told.is_running, told.is_loopback) == (True, True, False, False)
    assert (told.mtu, told.mac) == (1500, "02:00:00:00:00:01")
    for flags, multicast in ((0, False), (IFF_LOOPBACK, True), (IFF_RUNNING, False)):
        assert as_interface(attrs.evolve(link, flags=flags), []).multicast is multicast


# On other systems


def adapter(name: str, device: str, index: int | None, friendly: str, *ips: object) -> ifaddr.Adapter:
    return ifaddr.Adapter(name, device, [ifaddr.IP(ip, 24, friendly) for ip in ips], index=index)  # type: ignore[arg-type]  # text, or three


@pytest.fixture
def windows(without_netlink: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Windows tells: names of its own, friendly ones, two indexes, no flags."""
    told = [
        adapter("{1}", "Intel(R) PRO/1000", 7, "Ethernet", "192.0.2.1", ("fe80::1", 0, 7)),
        adapter("{2}", "Intel(R) PRO/1000 #2", 9, "Wi-Fi", "192.0.2.2"),
        adapter("{3}", "A tunnel", None, "Tunnel", "192.0.2.3"),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: told)
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(9, "wireless_1"), (7, "ethernet_1")])
    monkeypatch.setattr(asking, "ABI", WINDOWS)


def test_friendly_names(windows: None) -> None:
    for wanted in ("ethernet_1", "Ethernet", "ETHERNET", "intel(r) pro/1000", 7, "192.0.2.1", "fe80::1%7"):
        found = find_interface(wanted)
        assert (found.index, found.name, found.multicast) == (7, "Ethernet", None)
        assert found.alternative_names == ("ethernet_1", "Intel(R) PRO/1000")
        assert (found.addresses, found.prefix_lengths) == (("192.0.2.1", "fe80::1"), (24, 24))
        assert (found.is_up, found.is_running, found.is_loopback, found.mtu) == (None, None, None, None)
    assert find_interface("wi-fi").index == 9
    assert [one.index for one in find_interfaces(ALL_INTERFACES)] == [7, 9], "no flags: every one there is"
    with pytest.raises(NoSuchInterfaceError) as caught:
        find_interface("Tunnel")
    assert caught.value.hint == "there are Ethernet, Wi-Fi"


def test_a_friendly_name_that_two_have(windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [adapter("{1}", "A", 7, "Lan", "192.0.2.1"), adapter("{2}", "B", 9, "LAN", "192.0.2.2")]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: told)
    assert (find_interface("Lan").index, find_interface("LAN").index) == (7, 9)
    with pytest.raises(InterfaceError, match="any of Lan, LAN"):
        find_interface("lan")


def test_one_that_has_an_index_for_ipv6_alone(windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [adapter("{1}", "A", 0, "Six", ("2001:db8::1", 0, 0), ("fe80::1", 0, 9))]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: told)
    found = find_interface("six")
    assert (found.index, found.name, found.addresses) == (9, "Six", ("2001:db8::1", "fe80::1"))


def test_interfaces_whose_flags_cannot_be_asked_for(
    without_netlink: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ABI", attrs.evolve(native(), SIOCGIFFLAGS=None))
    assert {(one.multicast, one.is_up, one.is_loopback) for one in list_interfaces()} == {(None, None, None)}
    assert loopback() in find_interfaces(ALL_INTERFACES)


@pytest.mark.skipif(native().SIOCGIFFLAGS is None, reason="this system tells no flags")
def test_one_that_is_gone_since_it_was_listed(without_netlink: None, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [*socket.if_nameindex(), (999999, "nosuch0")]
    monkeypatch.setattr(socket, "if_nameindex", lambda: listed)
    assert "nosuch0" not in [one.name for one in list_interfaces()]


def test_a_list_that_cannot_be_read(without_netlink: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def undecodable() -> Iterable[ifaddr.Adapter]:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr(ifaddr, "get_adapters", undecodable)
    assert find_interface(socket.if_indextoname(LO)).index == find_interface(LO).index == LO
    with pytest.raises(RefusedError, match="UTF-8") as caught:
        find_interface("127.0.0.1")
    assert caught.value.errno == errno.EILSEQ
    with pytest.raises(NoSuchInterfaceError) as unknown:
        find_interface("nosuch0")
    assert unknown.value.hint


def test_a_list_for_which_there_is_no_descriptor(
    without_netlink: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Iterable[ifaddr.Adapter]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(ifaddr, "get_adapters", refuse)
    for wanted in ("lo", "nosuch0", LO):
        with pytest.raises(LimitError):
            find_interface(wanted)


def test_a_route_that_only_an_address_tells(without_netlink: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_interface(None, "232.1.1.1", ["127.0.0.2"]) == loopback()
    monkeypatch.setattr(asking, "routes_to", lambda asked: [routes.Route(None, "203.0.113.9")])
    with pytest.raises(NoSuchInterfaceError, match=r"203\.0\.113\.9"):
        find_interface(None, "232.1.1.1", ["127.0.0.2"])
    monkeypatch.setattr(asking, "routes_to", lambda asked: [routes.Route(999999, "203.0.113.9")])
    with pytest.raises(NoSuchInterfaceError, match="999999"):
        find_interface(None, "232.1.1.1", ["127.0.0.2"])


def test_a_refusal_to_look_routes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[routes.Route]:
        raise NoRouteError(errno.EACCES, "looking", "a prohibit route covers it")

    monkeypatch.setattr(asking, "routes_to", refuse)
    for group, sources in (("224.0.0.251", ["127.0.0.2"]), ("224.0.0.251", []), ("239.1.1.1", [])):
        with pytest.raises(NoRouteError):
            find_interface(None, group, sources)
