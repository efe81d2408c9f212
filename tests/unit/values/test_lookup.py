"""Which of some interfaces is meant, zones, and what an `Interface` is made of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Address, IPv6Address

import attrs
import pytest

from aiomcast import AddressError, FilterError, Interface, InterfaceError, InterfaceTypeError, SourceFilter
from aiomcast.errors import AddressTypeError, FilterTypeError, NoSuchInterfaceError
from aiomcast.testing import MemoryNetwork
from aiomcast.values import bounds
from aiomcast.values.filters import Sources
from aiomcast.values.lookup import (
    alike,
    by_likeness,
    by_zone,
    check_source_zones,
    check_zone,
    each_of,
    filter_on,
    index_in,
    is_address,
    needs_zone,
    the_same,
    there_are,
    zones_of,
)

ETH0 = Interface(2, "eth0", ("192.0.2.1", "fe80::1"), True, alternative_names=("enp0s31f6", "Ethernet"))
ETH1 = Interface(3, "eth1", ("192.0.2.1", "fe80::1", "198.51.100.1"), True)
DIGITS = Interface(7, "2", (), True)
KNOWN = [ETH0, ETH1, DIGITS]


# Zones


@pytest.mark.parametrize("zone", ["eth0", "2", "enp0s31f6"])
def test_a_zone_of_the_interface(zone: str) -> None:
    check_zone(f"ff12::1%{zone}", ETH0)
    check_source_zones([f"fe80::9%{zone}"], [ETH0])
    check_source_zones([f"fe80::9%{zone}"], iter([ETH1, ETH0]))


@pytest.mark.parametrize("zone", ["eth1", "3", "enp0s31f7", "ETH0", "02", "nosuch0"])
def test_a_zone_of_another(zone: str) -> None:
    with pytest.raises(InterfaceError, match=rf"{zone}.*eth0") as caught:
        check_zone(f"ff12::1%{zone}", ETH0)
    assert caught.value.hint
    for source in (f"fe80::9%{zone}", IPv6Address(f"fe80::9%{zone}"), f"[fe80::9%{zone}]"):
        for sources in ([source], ["2001:db8::1", source], {source}, (one for one in [source])):
            with pytest.raises(InterfaceError, match=rf"{zone}.*eth0"):
                check_source_zones(sources, [ETH0])
    with pytest.raises(InterfaceError, match=r"the interfaces are eth0, 2"):
        check_source_zones(["fe80::9%eth1"], [ETH0, DIGITS])


class Unlooked(Iterable[Interface]):
    """Interfaces that nobody may look at."""

    def __iter__(self) -> None:  # type: ignore[override]  # it never returns
        raise AssertionError("looked at")


@pytest.mark.parametrize(
    "sources",
    [
        None,
        SourceFilter.include({"2001:db8::1"}),
        SourceFilter.any(),
        [],
        ["2001:db8::1", "fe80::1"],
        ["192.0.2.1"],
        [IPv4Address("192.0.2.1")],
        [IPv6Address("2001:db8::1"), "fe80::1"],
        ["no address"],
    ],
)
def test_sources_without_a_zone(sources: Sources, request: pytest.FixtureRequest) -> None:
    check_source_zones(sources, [])


def test_sources_without_a_zone_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiomcast.values.lookup.split_zone", lambda address: pytest.fail("taken apart"))
    check_source_zones(["2001:db8::1", "2001:db8::2"], Unlooked())
    check_source_zones(SourceFilter.include({"2001:db8::1"}), Unlooked())


def test_what_is_no_list_of_sources() -> None:
    for wrong in (5, "fe80::1%eth0", b"x"):
        with pytest.raises(FilterTypeError):
            check_source_zones(wrong, [ETH0])  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(AddressError):
        check_source_zones(["%"], [ETH0])


def test_zones() -> None:
    assert zones_of(["fe80::1%eth1", "2001:db8::1", "fe80::2%eth1", "fe80::3%2"]) == {
        "eth1": "fe80::1%eth1",
        "2": "fe80::3%2",
    }


@pytest.mark.parametrize(
    ("text", "index"),
    [("1", 1), ("100", 100), ("0", None), ("01", None), ("", None), ("-1", None), ("1 ", None),
     ("eth0", None), ("\u0661", None), ("\u00b2", None), ("9" * 5000, None)],
)  # fmt: skip
def test_an_index_in_a_zone(text: str, index: int | None) -> None:
    assert index_in(text) == index


@pytest.mark.parametrize(
    ("address", "needs"),
    [("fe80::1", True), ("febf::1", True), ("fec0::1", False), ("2001:db8::1", False), ("::1", False),
     ("ff02::fb", True), ("ff12::1", True), ("ff32::1", True), ("ff01::1", True), ("ff05::1", False),
     ("ff0e::1", False), ("224.0.0.251", False), ("169.254.0.1", False)],
)  # fmt: skip
def test_what_is_there_on_every_link(address: str, needs: bool) -> None:
    assert needs_zone(address) is needs


def test_a_zone_is_a_name_first() -> None:
    assert by_zone(KNOWN, "2") == DIGITS
    assert by_zone(KNOWN, "3") == ETH1
    assert by_zone(KNOWN, "enp0s31f6") == ETH0
    with pytest.raises(NoSuchInterfaceError):
        by_zone(KNOWN, "nosuch0")


# Out of those there are


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("eth0", [ETH0]), (2, [ETH0]), ("2", [DIGITS]), ("enp0s31f6", [ETH0]), ("ETHERNET", [ETH0]),
     ("ETH0", []), ("192.0.2.1", [ETH0, ETH1]), (IPv4Address("198.51.100.1"), [ETH1]),
     ("fe80::1%enp0s31f6", [ETH0]), ("fe80::1%3", [ETH1]), ("fe80::1%nosuch0", []), (99, []), ("", [])],
)  # fmt: skip
def test_what_is_meant(wanted: str | int, found: list[Interface]) -> None:
    assert alike(KNOWN, wanted) == found


def test_names_that_differ_in_case() -> None:
    upper = attrs.evolve(ETH1, alternative_names=("ETHERNET",))
    assert (alike([ETH0, upper], "Ethernet"), alike([ETH0, upper], "ETHERNET")) == ([ETH0], [upper])
    assert alike([ETH0, upper], "ethernet") == [ETH0, upper]


def test_one_of_them() -> None:
    with pytest.raises(InterfaceError, match="any of eth0, eth1: name the interface"):
        by_likeness(KNOWN, "192.0.2.1")
    with pytest.raises(NoSuchInterfaceError, match="there are eth0, eth1, 2"):
        by_likeness(KNOWN, "nosuch0")
    for wrong in (True, 1.5, b"eth0", None, ["eth0"]):
        with pytest.raises(InterfaceTypeError, match="there are eth0, eth1, 2"):
            by_likeness(KNOWN, wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_each_of_them() -> None:
    find = partial(by_likeness, KNOWN)
    assert each_of(find, ["eth1", 2, ETH0, "enp0s31f6", "198.51.100.1"]) == (ETH1, ETH0)
    for wrong in (b"\2", bytearray(b"\2")):
        with pytest.raises(InterfaceTypeError):
            each_of(find, wrong)
    with pytest.raises(InterfaceError, match="empty"):
        each_of(find, iter(()))


def test_what_leads_to_several() -> None:
    assert the_same([("10.0.0.2", ETH0), ("10.0.0.3", attrs.evolve(ETH0, name="wan"))]) == ETH0
    with pytest.raises(InterfaceError) as caught:
        the_same([("10.0.0.2", ETH0), ("10.0.0.3", ETH0), ("10.7.0.2", ETH1)])
    for part in ("10.0.0.2", "eth0", "10.7.0.2", "eth1"):
        assert part in caught.value.detail
    assert "name the interface" in caught.value.hint


def test_a_hint_is_not_long() -> None:
    assert there_are(["lo"]) == "there are lo"
    assert there_are([]) == "there are none"
    assert there_are(f"eth{n}" for n in range(10)).endswith("eth8, eth9")
    assert there_are(f"eth{n}" for n in range(1000)).endswith("eth8, eth9 and 990 more")


@pytest.mark.parametrize("address", ["192.0.2.1", "[fe80::1%eth0]", IPv6Address("::1")])
def test_an_address(address: object) -> None:
    assert is_address(address)


@pytest.mark.parametrize("other", ["eth0", "", 2, None, b"\0\0\0\0", [], True])
def test_no_address(other: object) -> None:
    assert not is_address(other)


# A host in memory


def test_zones_of_sources_in_memory() -> None:
    net = MemoryNetwork()
    eth0, eth1 = net.find("eth0"), net.host.add_interface("eth1", "fe80::1")
    assert net.place("ff12::1", ["2001:db8::1", "fe80::9%eth1"], None)[1] == (eth1,)
    assert net.place("ff12::1%eth1", [f"fe80::9%{eth1.index}"], None)[1] == (eth1,)
    assert net.place("ff12::1", ["fe80::9%eth1"], ["eth0", "eth1"])[1] == (eth0, eth1)
    for group, sources, interface in (
        ("ff12::1", ["fe80::9%eth0", "fe80::8%eth1"], None),
        ("ff12::1%eth0", ["fe80::8%eth1"], None),
        ("ff12::1", ["fe80::8%eth1"], "eth0"),
        ("ff12::1", ["fe80::8%eth1"], eth0),
    ):
        with pytest.raises(InterfaceError, match=r"eth0.*eth1|eth1.*eth0"):
            net.place(group, sources, interface)
    with pytest.raises(FilterError):
        net.place("ff12::1", ["fe80::9%eth0", "fe80::9%eth1"], None)


def test_how_an_interface_in_memory_is() -> None:
    net = MemoryNetwork()
    one = net.find("eth0")
    assert (one.is_up, one.is_running, one.is_loopback, one.prefix_lengths) == (True, True, False, None)
    net.host.set_down("eth0")
    assert (net.find("eth0").is_up, net.find("eth0").is_running) == (True, False)
    assert net.find("eth0") == one


# `Interface`


def test_two_are_equal_whatever_becomes_of_them() -> None:
    full = attrs.evolve(ETH0, prefix_lengths=(24, 64), mac="02:00:00:00:00:01", is_up=True, is_running=False)
    full = attrs.evolve(full, is_loopback=False, mtu=1500, alternative_names=())
    assert full == ETH0
    assert hash(full) == hash(ETH0)
    assert full != attrs.evolve(full, addresses=("192.0.2.1", "fe80::2"))


def test_one_prefix_length_for_each_address() -> None:
    assert Interface(1, "lo", ["127.0.0.1"], prefix_lengths=[8]).prefix_lengths == (8,)
    assert Interface(1, "lo").prefix_lengths is None
    with pytest.raises(InterfaceError, match="1 prefix lengths for 0 addresses"):
        Interface(1, "lo", prefix_lengths=[8])


WRONG: dict[str, list[object]] = {
    "prefix_lengths": [5, "8", b"8", ["8"], [True]],
    "mac": [5, b"02"],
    "is_up": [1, "yes"],
    "is_running": [1, 0],
    "is_loopback": [1, ()],
    "multicast": [1, 0],
    "mtu": ["1500", True, 1.5],
    "alternative_names": ["lan", b"lan", 5, [5], None],
}


@pytest.mark.parametrize("name", WRONG)
def test_fields_of_a_wrong_type(name: str) -> None:
    for junk in WRONG[name]:
        with pytest.raises(InterfaceTypeError) as caught:
            Interface(1, "lo", **{name: junk})  # type: ignore[arg-type]  # wrong on purpose
        assert caught.value.hint


# Filters that are remembered


def test_a_list_that_was_given_before_is_the_same_filter() -> None:
    forms: list[Sources] = [
        ["192.0.2.1", "192.0.2.2"],
        ("192.0.2.1", "192.0.2.2"),
        [IPv4Address("192.0.2.1"), " 192.0.2.2"],
    ]
    for sources in forms:
        first = filter_on("232.1.1.1", sources, list)
        assert first == SourceFilter.include({"192.0.2.1", "192.0.2.2"})
        assert filter_on("239.1.1.1", sources, list) is first
    assert filter_on("232.1.1.1", iter(["192.0.2.1", "192.0.2.2"]), list) == first
    assert filter_on("232.1.1.1", {"192.0.2.1", "192.0.2.2"}, list) == first
    assert filter_on("ff0e::1", [], list).is_none


def test_what_is_wrong_stays_wrong() -> None:
    """Also where it was given before, or is right for another group or interface."""
    text = ["192.0.2.1", "192.0.2.2"]
    wrong: list[tuple[str, Sources, type[Exception]]] = [
        ("ff0e::1", text, AddressError),
        ("232.1.1.1", ["2001:db8::1"], AddressError),
        ("232.1.1.1", [*text, text[0]], FilterError),
        ("232.1.1.1", [*text, "239.1.1.1"], AddressError),
        ("ff0e::1", ["fe80::1%eth1"], InterfaceError),
        ("232.1.1.1", [*text, []], AddressTypeError),  # type: ignore[list-item]  # wrong on purpose
        ("232.1.1.1", "192.0.2.1", FilterTypeError),
    ]
    filter_on("232.1.1.1", text, list)
    filter_on("ff0e::1", ["2001:db8::1"], list)
    filter_on("ff0e::1", ["fe80::1%eth1"], lambda: [ETH1])
    for group, sources, error in wrong:
        for _ in range(2):
            with pytest.raises(error):
                filter_on(group, sources, lambda: [ETH0])


def test_few_and_short_lists_are_remembered() -> None:
    long = [f"10.1.{number >> 8}.{number & 255}" for number in range(bounds.FILTER_SOURCES + 1)]
    assert filter_on("232.1.1.1", long, list) is not filter_on("232.1.1.1", long, list)
    assert filter_on("232.1.1.1", long[1:], list) is filter_on("232.1.1.1", long[1:], list)
    first = filter_on("232.1.1.1", ["10.2.0.1"], list)
    for number in range(bounds.FILTERS):
        filter_on("232.1.1.1", [f"10.3.{number >> 8}.{number & 255}"], list)
    assert filter_on("232.1.1.1", ["10.2.0.1"], list) is not first
