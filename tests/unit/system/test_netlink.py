"""rtnetlink's messages as bytes: those of a kernel, and what is none. No sockets.

`tests/data/rtnetlink.json` holds what Linux 6.18 answered and announced, on a little-endian processor: of
the answers what a message holds, of the announcements the datagrams.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiomcast.system.announcements import announced
from aiomcast.system.device_groups import parse_device_group, parse_igmp, parse_igmp6
from aiomcast.system.links import parse_address, parse_link
from aiomcast.system.netlink import (
    MalformedMessage,
    Message,
    attribute,
    attributes,
    each_attribute,
    messages,
    number,
    request,
)
from aiomcast.system.routes import Route, parse_route
from aiomcast.values.links import (
    AddressRemoved,
    Announcement,
    DeviceGroup,
    Link,
    LinkAddress,
    LinkChanged,
    LinkRemoved,
    Operstate,
    RoutesChanged,
)

RECORDED: dict[str, Any] = json.loads(  # Any: text, or a list of texts
    (Path(__file__).parents[2] / "data" / "rtnetlink.json").read_text()
)
NEWLINK, DELLINK, NEWROUTE = 16, 17, 24

utf8 = pytest.mark.skipif(sys.platform == "win32", reason="names of files are UTF-8 on Windows")
recorded_here = pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian processor")


def answer(name: str) -> bytes:
    return bytes.fromhex(RECORDED[name])


def announcements(name: str) -> list[Announcement]:
    told = [announced(one) for data in RECORDED[name] for one in messages(bytes.fromhex(data))]
    return [one for one in told if one is not None]


def link_message(*more: bytes, name: bytes = b"eth0", family: int = 0, flags: int = 0x1003) -> bytes:
    """What a RTM_NEWLINK holds, with `more` attributes."""
    head = struct.pack("=BxHiII", family, 1, 7, flags, 0)
    return head + attribute(3, name + b"\0") + b"".join(more)


def link(kind: int, value: bytes, flags: int = 0x1003) -> Link:
    return parse_link(link_message(attribute(kind, value), flags=flags))


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


# What Linux said.


@recorded_here
def test_an_interface() -> None:
    found = parse_link(answer("link"))
    assert found == Link(
        index=found.index,
        name="eth0",
        alternative_names=("enp0s31f6", "averyveryverylongname"),
        flags=found.flags,
        mtu=1400,
        mac="02:00:00:00:00:01",
        master=found.master,
        role="bridge",
        operstate=Operstate.UP,
        has_carrier=True,
        carrier_ups=1,
    )
    assert found.master
    assert (found.is_up, found.is_running, found.has_multicast_flag, found.is_loopback) == (
        True,
        True,
        True,
        False,
    )


@recorded_here
def test_interfaces_without_what_others_have() -> None:
    lo, tunnel = parse_link(answer("lo")), parse_link(answer("tun"))
    assert (lo.index, lo.name, lo.is_loopback, lo.has_multicast_flag, lo.mtu) == (1, "lo", True, False, 65536)
    assert lo.operstate is Operstate.UNKNOWN
    assert (tunnel.mac, tunnel.master, tunnel.role, tunnel.alternative_names) == (None, None, None, ())
    assert (tunnel.is_up, tunnel.has_carrier) == (False, None)


@recorded_here
def test_addresses() -> None:
    there = parse_address(answer("address4"))
    assert there == LinkAddress(index=there.index, address="192.0.2.1", prefix_length=32, label="eth0:vip"), (
        "on a point-to-point link it is this end's"
    )
    assert parse_address(answer("address6")) == LinkAddress(
        index=there.index, address="2001:db8::1", prefix_length=64
    )


@recorded_here
def test_routes() -> None:
    eth0 = parse_link(answer("link")).index
    assert parse_route(answer("route4"), "10.7.0.2") == Route(eth0, "192.0.2.1")
    assert parse_route(answer("route6"), "2001:db8::7") == Route(eth0, "2001:db8::1")
    assert parse_route(answer("own4"), "192.0.2.1") == Route(None, "192.0.2.1"), "loopback has it not"


@recorded_here
def test_groups_of_devices() -> None:
    assert parse_device_group(answer("group4")) == DeviceGroup(1, "224.0.0.1")
    assert parse_device_group(answer("group6")) == DeviceGroup(1, "ff02::1")


@recorded_here
def test_a_port_that_leaves_its_bridge_is_not_gone() -> None:
    told = announcements("announced leaving")
    assert told
    assert not any(isinstance(one, LinkRemoved) for one in told), (
        "the bridge's own DELLINK counts for nothing"
    )
    eth0 = [one.link for one in told if isinstance(one, LinkChanged) and one.link.name == "eth0"]
    assert [one.master is None for one in eth0] == [False, True]


@recorded_here
def test_what_is_announced() -> None:
    removed, *others = announcements("announced address removed")
    assert isinstance(removed, AddressRemoved)
    assert removed.address.address == "192.0.2.1"
    assert set(others) == {RoutesChanged(4)}
    assert announcements("announced rules") == [RoutesChanged(4), RoutesChanged(6)]
    gone = [one.link.name for one in announcements("announced deleted") if isinstance(one, LinkRemoved)]
    assert gone == ["eth7", "p0"]


# What no record has.


@utf8
@pytest.mark.parametrize("name", [b"\xff\xfe", b"caf\xe9", "π0".encode()])
def test_names_are_file_names(name: bytes) -> None:
    found = parse_link(link_message(name=name))
    assert os.fsencode(found.name) == name
    properties = attribute(54, b"another") + attribute(53, name + b"\0")
    alternative = parse_link(link_message(attribute(52, properties)))
    assert [os.fsencode(one) for one in alternative.alternative_names] == [name]


@pytest.mark.parametrize(
    ("value", "told"), [(b"\6", Operstate.UP), (b"\x77", Operstate.UNKNOWN), (b"", Operstate.UNKNOWN)]
)
def test_states_that_nobody_knows(value: bytes, told: Operstate) -> None:
    assert link(16, value).operstate is told


def test_an_infiniband_address_is_no_mac() -> None:
    assert link(1, bytes(20)).mac is None
    assert link(1, bytes(6)).mac == "00:00:00:00:00:00"


def test_a_carrier_is_told_only_of_what_is_up() -> None:
    assert link(33, b"\1").has_carrier is True
    assert link(33, b"\0").has_carrier is False
    assert link(33, b"\1", flags=0x1002).has_carrier is None


def test_types_of_attributes_have_two_bits_that_are_no_number() -> None:
    assert attributes(attribute(0x8000 | 52, b"ab") + attribute(0x4000 | 3, b"c")) == {52: b"ab", 3: b"c"}


def test_what_a_wireless_driver_announces_is_no_interface() -> None:
    assert announced(Message(NEWLINK, 0, 0, link_message(attribute(11, b"scan")))) is None
    assert isinstance(announced(Message(NEWLINK, 0, 0, link_message())), LinkChanged)


@pytest.mark.parametrize("family", [7, 10, 28])
def test_what_another_family_announces_is_no_interface(family: int) -> None:
    for kind in (NEWLINK, DELLINK):
        assert announced(Message(kind, 0, 0, link_message(family=family))) is None


def test_routes_of_other_families_are_nobodys() -> None:
    assert announced(Message(NEWROUTE, 0, 0, b"\x1c" + bytes(11))) is None  # MPLS
    assert announced(Message(NEWROUTE, 0, 0, b"")) is None


@pytest.mark.parametrize(
    ("kind", "number"),
    [(6, errno.EINVAL), (7, errno.EHOSTUNREACH), (8, errno.EACCES), (9, errno.ENETUNREACH)],
)
def test_routes_that_lead_nowhere(kind: int, number: int) -> None:
    with pytest.raises(OSError, match="leads nowhere") as caught:
        parse_route(struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 0, 0, kind, 0), "192.0.2.1")
    assert caught.value.errno == number


# What is no message.


def parse_all(datagram: bytes) -> list[Announcement | None]:
    return [announced(one) for one in messages(datagram)]


PARSERS: list[Callable[[bytes], object]] = [
    parse_all,
    lambda data: [announced(Message(kind, 0, 0, data)) for kind in (NEWLINK, 20, NEWROUTE, 32)],
    parse_link,
    parse_address,
    parse_device_group,
    lambda data: parse_route(data, "192.0.2.1"),
    attributes,
    parse_igmp,
    parse_igmp6,
]


def survive(data: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(data)
        except MalformedMessage:
            pass
        except OSError as error:
            assert str(error).endswith("the route leads nowhere")


@given(st.binary(max_size=120))
@example(bytes(16))
@example(b"\x10\0\0\0")
def test_any_bytes(data: bytes) -> None:
    survive(data)


ANSWERS = sorted(name for name, value in RECORDED.items() if isinstance(value, str))
PLACES = st.integers(0, 2000)


@given(st.sampled_from(ANSWERS), PLACES)
def test_answers_cut_short(name: str, length: int) -> None:
    survive(answer(name)[:length])


@utf8
@given(st.sampled_from(ANSWERS), st.lists(st.tuples(PLACES, st.integers(0, 255)), max_size=8))
def test_answers_with_bytes_that_lie(name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(answer(name))
    for place, byte in changes:
        data[place % len(data)] = byte
    survive(bytes(data))
    survive(request(NEWLINK, 0, 1, bytes(data)))


headers = st.tuples(st.integers(0, 60), st.binary(max_size=24))


@given(st.lists(headers, max_size=5))
def test_lengths_of_attributes_that_lie(parts: list[tuple[int, bytes]]) -> None:
    data = b"".join(struct.pack("=HH", length, 3) + value for length, value in parts)
    with contextlib.suppress(MalformedMessage):
        told = each_attribute(data)
        assert sum(4 + len(value) for _, value in told) <= len(data)


@given(st.lists(headers, max_size=5))
def test_lengths_of_messages_that_lie(parts: list[tuple[int, bytes]]) -> None:
    data = b"".join(struct.pack("=IHHII", length, 16, 0, 0, 0) + value for length, value in parts)
    with contextlib.suppress(MalformedMessage):
        assert sum(16 + len(one.payload) for one in messages(data)) <= len(data)


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=10))
def test_attributes_come_back_as_they_were(told: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, value) for kind, value in told)
    assert each_attribute(b"head" + data, 4) == told
    assert len(data) % 4 == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=10).map(lambda one: one + bytes(-len(one) % 4)))
    )
)
def test_messages_come_back_as_they_were(told: list[tuple[int, bytes]]) -> None:
    data = b"".join(request(kind, 0x300, 9, payload) for kind, payload in told)
    assert list(messages(data)) == [Message(kind, 0x301, 9, payload) for kind, payload in told]


@pytest.mark.parametrize("length", [0, 3, 13, 0xFFFF])
def test_an_attribute_that_is_longer_than_what_it_stands_in(length: int) -> None:
    with pytest.raises(MalformedMessage, match=str(length)):
        attributes(struct.pack("=HH", length, 3) + b"12345678")


@pytest.mark.parametrize("length", [0, 15, 25, 0xFFFFFFFF])
def test_a_message_that_is_longer_than_its_datagram(length: int) -> None:
    with pytest.raises(MalformedMessage, match=str(length)):
        list(messages(struct.pack("=IHHII", length, 16, 0, 0, 0) + b"12345678"))


def test_what_fills_a_message_up_is_none_of_the_next() -> None:
    first, second = request(16, 0, 1, b"12345"), request(17, 0, 2, b"1")
    assert [one.payload for one in messages(first + bytes(3) + second)] == [b"12345", b"1"]


@pytest.mark.parametrize("wrong", [b"", b"123", b"12345"])
def test_numbers_have_four_bytes(wrong: bytes) -> None:
    assert number(u32(77)) == 77
    with pytest.raises(MalformedMessage):
        number(wrong)


@pytest.mark.parametrize("kind", [4, 10, 47])
def test_a_number_of_an_interface_has_four_bytes(kind: int) -> None:
    with pytest.raises(MalformedMessage):
        link(kind, b"12")


def test_an_interface_without_a_name() -> None:
    with pytest.raises(MalformedMessage, match="without its name"):
        parse_link(struct.pack("=BxHiII", 0, 1, 7, 0, 0))


# /proc, where the kernel has no such messages.

IGMP = b"""Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t%s     1 0:00000000\t\t0
12\t\xff\xfe       :     2      V3
\t\t\t\t%s     1 0:00000000\t\t0
\t\t\t\t%s     1 0:00000000\t\t0
"""
IGMP6 = b"""1    lo              ff020000000000000000000000000001     1 0000000C 0
12   \xff\xfe              ff3e0000000000000000000080000007     1 00000004 0
"""


def shown(*group: int) -> bytes:
    return b"%08X" % int.from_bytes(bytes(group), sys.byteorder)


def test_proc() -> None:
    table = IGMP % (shown(224, 0, 0, 1), shown(239, 1, 2, 3), shown(224, 0, 0, 1))
    assert parse_igmp(table) == {(1, "224.0.0.1"), (12, "239.1.2.3"), (12, "224.0.0.1")}
    assert parse_igmp6(IGMP6) == {(1, "ff02::1"), (12, "ff3e::8000:7")}
    assert parse_igmp6(b"") == frozenset()


@pytest.mark.parametrize(
    "table", [b"head\nx eth0\n", b"head\n\t\t123456789\n", b"head\n\n", b"head\n\tXYZ\n"]
)
def test_another_igmp(table: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_igmp(table)


@pytest.mark.parametrize(
    "table", [b"1 eth0\n", b"x eth0 ff02\n", b"1 eth0 ff0x\n", b"1 eth0 ff02\n", b"1 eth0 \xff\n"]
)
def test_another_igmp6(table: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_igmp6(table)
