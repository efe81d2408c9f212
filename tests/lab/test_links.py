"""Interfaces, addresses and groups as the kernel tells them, in a namespace made for each test."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from aiomcast import AddressError, RefusedError, UnsupportedError
from aiomcast.system import device_groups as module
from aiomcast.system.device_groups import device_groups
from aiomcast.system.links import find_address, find_label, find_link, list_addresses, list_links
from aiomcast.system.netlink import Netlink
from aiomcast.values.links import Link, Operstate
from tests.support.sandbox import apart, needs_seccomp, without_privilege, without_sockets_of

from .place import Place

Join = Callable[[str, int], socket.socket]
LONG = "averyveryverylongnameforaninterface0"


@pytest.fixture
def place(lab: None) -> Iterator[Place]:
    with Place() as place:
        yield place


@pytest.fixture
def kernel(place: Place) -> Iterator[Netlink]:
    with Netlink() as kernel:
        yield kernel


def there(kernel: Netlink, wanted: str | int) -> Link:
    found = find_link(kernel, wanted)
    assert found is not None
    return found


def test_all_of_them(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0")
    assert [(one.index, one.name) for one in list_links(kernel)] == sorted(socket.if_nameindex())


def test_one_of_them(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0")
    place.ip("link set v0 mtu 1400 address 02:00:00:00:00:01")
    found = there(kernel, "v0")
    assert (found.name, found.index, found.mtu, found.mac) == (
        "v0",
        socket.if_nametoindex("v0"),
        1400,
        "02:00:00:00:00:01",
    )
    assert (found.is_up, found.is_running, found.has_multicast_flag) == (True, True, True)
    assert (found.operstate, found.has_carrier, found.is_loopback) == (Operstate.UP, True, False)
    assert found in list_links(kernel)
    assert there(kernel, "lo").is_loopback


def test_what_it_goes_through(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0")
    before = there(kernel, "v0")
    place.ip("link set p0 down")
    lost = there(kernel, "v0")
    assert (lost.is_up, lost.is_running, lost.has_carrier) == (True, False, False)
    assert lost.operstate in (Operstate.DOWN, Operstate.LOWER_LAYER_DOWN)
    place.ip("link set p0 up")
    again = there(kernel, "v0")
    assert again.has_carrier
    assert before.carrier_ups is not None
    assert again.carrier_ups == before.carrier_ups + 1
    place.ip("link set v0 multicast off down")
    down = there(kernel, "v0")
    assert (down.is_up, down.has_multicast_flag, down.has_carrier) == (False, False, None)


def test_a_port_of_a_bridge(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0")
    place.ip("link add br0 type bridge", "link set p0 master br0")
    port = there(kernel, "p0")
    assert (port.master, port.role) == (socket.if_nametoindex("br0"), "bridge")
    assert (there(kernel, "v0").master, there(kernel, "br0").role) == (None, None)


def test_names(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0")
    place.ip("link property add dev v0 altname enp0s31f6", f"link property add dev v0 altname {LONG}")
    found = there(kernel, "v0")
    assert set(found.alternative_names) == {"enp0s31f6", LONG}
    for wanted in ("enp0s31f6", LONG, found.index):
        assert find_link(kernel, wanted) == found


def test_a_name_of_digits_is_a_name(place: Place, kernel: Netlink) -> None:
    place.cable("100", "p0")
    assert there(kernel, "100").index == socket.if_nametoindex("100")
    assert find_link(kernel, 100) is None


@pytest.mark.parametrize("raw", [b"caf\xe9", b"\xff\xfe\xfd"])
def test_names_that_are_no_utf_8(place: Place, kernel: Netlink, raw: bytes) -> None:
    name, other = os.fsdecode(raw), os.fsdecode(raw + b"0123456789abcdefg")
    place.cable(name, "p0", "192.0.2.1/24")
    place.ip(
        f"link property add dev {name} altname {other}", f"addr add 192.0.2.2/24 dev {name} label {name}:1"
    )
    found = there(kernel, name)
    assert (found.name, found.alternative_names) == (name, (other,))
    assert find_link(kernel, other) == found
    assert found in list_links(kernel)
    assert [one.address for one in find_label(kernel, f"{name}:1")] == ["192.0.2.2"]
    assert (found.index, "224.0.0.1") in device_groups(4)


@pytest.mark.parametrize(
    "wanted",
    [
        "nosuch0",
        "",
        "LO",
        "lo ",
        "lo\0",
        "a" * 15,
        "a" * 16,
        "a" * 127,
        "a" * 128,
        "a" * 70000,
        "\ud800",
        "../lo",
    ],
)
def test_names_that_none_has(kernel: Netlink, wanted: str) -> None:
    assert find_link(kernel, wanted) is None
    assert find_label(kernel, wanted) == []


@pytest.mark.parametrize("wanted", [0, -1, 999999, 1 << 31, 1 << 32, 1 << 70])
def test_indexes_that_none_has(kernel: Netlink, wanted: int) -> None:
    assert find_link(kernel, wanted) is None


def test_addresses(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0", "192.0.2.1/24", "2001:db8::1/64")
    place.ip("addr add 198.51.100.1 peer 198.51.100.2/32 dev v0")
    index = socket.if_nametoindex("v0")
    told = [(one.address, one.prefix_length) for one in list_addresses(kernel, index)]
    assert told[:3] == [("192.0.2.1", 24), ("198.51.100.1", 32), ("2001:db8::1", 64)]
    assert [one[0][:4] for one in told[3:]] == ["fe80"]
    everywhere = list_addresses(kernel)
    assert [one for one in everywhere if one.index == index] == list_addresses(kernel, index)
    assert {one.address for one in everywhere if one.index == 1} == {"127.0.0.1", "::1"}
    assert [one.index for one in everywhere] == sorted(one.index for one in everywhere)
    assert list_addresses(kernel, 999999) == []


def test_only_what_is_asked_for_is_told(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0", "192.0.2.1/24")
    question = struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 1)
    (lo,) = kernel.dump(22, question)
    assert b"lo" in lo


def test_a_kernel_that_always_tells_all(
    place: Place, kernel: Netlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.cable("v0", "p0", "192.0.2.1/24")
    index = socket.if_nametoindex("v0")
    expected = list_addresses(kernel, index)
    everything = kernel.dump(22, bytes(8))
    phonet = struct.pack("=BBBBI", 35, 0, 0, 0, index)
    monkeypatch.setattr(Netlink, "dump", lambda *_: [*everything, phonet])
    assert list_addresses(kernel, index) == expected


def test_a_kernel_without_alternative_names(kernel: Netlink, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(Netlink, "ask", refuse)
    assert find_link(kernel, LONG) is None


def test_a_kernel_that_refuses(kernel: Netlink, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(Netlink, "ask", refuse)
    monkeypatch.setattr(Netlink, "dump", refuse)
    for asked in (
        lambda: find_link(kernel, "lo"),
        lambda: list_links(kernel),
        lambda: list_addresses(kernel),
        lambda: find_address(kernel, "::1"),
        lambda: find_label(kernel, "lo"),
    ):
        with pytest.raises(RefusedError) as caught:
            asked()
        assert caught.value.errno == errno.ENOMEM


def test_where_an_address_is(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0", "192.0.2.1/24", "2001:db8::1/64")
    place.ip("addr add 192.0.2.1/32 dev lo")
    lo, v0 = 1, socket.if_nametoindex("v0")
    assert [one.index for one in find_address(kernel, "192.0.2.1")] == [lo, v0], "on both"
    for form in ("2001:db8::1", "[2001:db8:0::1]", "2001:DB8::1%lo"):
        assert [one.index for one in find_address(kernel, form)] == [v0]
    # Their bytes stand in the messages of others: the peer's, the broadcast address.
    assert find_address(kernel, "192.0.2.0") == []
    place.ip("addr add 198.51.100.1 peer 198.51.100.2/32 dev v0")
    assert find_address(kernel, "198.51.100.2") == []
    with pytest.raises(AddressError):
        find_address(kernel, "v0")


def test_labels(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0", "192.0.2.1/24")
    place.ip("addr add 192.0.2.2/24 dev v0 label v0:vip", "addr add 192.0.2.3/24 dev v0 label v0vip")
    v0 = socket.if_nametoindex("v0")
    for label, address in (("v0:vip", "192.0.2.2"), ("v0vip", "192.0.2.3"), ("v0", "192.0.2.1")):
        (found,) = find_label(kernel, label)
        assert (found.index, found.address, found.label) == (v0, address, label)
    assert find_label(kernel, "vip") == []


def test_a_thousand_interfaces(place: Place, kernel: Netlink) -> None:
    count = 1000
    place.batch(
        *(f"link add w{number} type veth peer name x{number}" for number in range(count // 2)),
        *(f"addr add 10.{number >> 8}.{number & 255}.1/24 dev w{number}" for number in range(count // 2)),
    )
    assert len(list_links(kernel)) == count + 1
    took = []
    for number in range(count // 2):
        began = time.perf_counter()
        found = find_link(kernel, f"w{number}")
        assert found is not None
        (held,) = list_addresses(kernel, found.index)
        took.append(time.perf_counter() - began)
        assert held.address == f"10.{number >> 8}.{number & 255}.1"
    print(f"by name, with its addresses, among {count}: {sorted(took)[len(took) // 2] * 1e6:.0f} µs")
    assert [one.label for one in find_address(kernel, "10.1.243.1")] == ["w499"]
    assert len(list_addresses(kernel)) == count // 2 + 2


def test_a_namespace_of_the_threads_own(place: Place) -> None:
    place.cable("v0", "p0")
    with Netlink() as here, Place(), Netlink() as elsewhere:
        assert find_link(here, "v0") is not None
        assert find_link(elsewhere, "v0") is None


def test_many_questions_of_one_socket(place: Place, kernel: Netlink) -> None:
    place.cable("v0", "p0", "192.0.2.1/24")
    for _ in range(100):
        assert find_link(kernel, "nosuch0") is None
        assert there(kernel, "v0").name == "v0"
        assert find_address(kernel, "192.0.2.1")
        assert list_addresses(kernel, 999999) == []


# The groups of the devices.


def joined6(group: str, index: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    request = struct.pack("=16sI", socket.inet_pton(socket.AF_INET6, group), index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    return sock


def joined4(group: str, index: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("=4s4sI", socket.inet_aton(group), bytes(4), index)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    return sock


@pytest.mark.parametrize(
    ("family", "group", "join"), [(4, "239.1.2.3", joined4), (6, "ff1e::7", joined6)], ids=["ipv4", "ipv6"]
)
def test_the_groups_of_devices(place: Place, family: int, group: str, join: Join) -> None:
    place.cable("v0", "p0")
    v0 = socket.if_nametoindex("v0")
    with join(group, v0):
        told = device_groups(family)
        assert (v0, group) in told
        assert (1, group) not in told
        assert module._from_proc(family) == told, "two ways to ask for the same"
    assert (v0, group) not in device_groups(family)


def test_a_membership_that_its_device_has_lost(place: Place) -> None:
    place.cable("v0", "p0")
    v0 = socket.if_nametoindex("v0")
    with joined6("ff1e::8", v0):
        assert (v0, "ff1e::8") in device_groups(6)
        place.ip("link set v0 mtu 1200", "link set v0 mtu 1500")
        assert (v0, "ff1e::8") not in device_groups(6)


def test_a_kernel_without_the_list(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {family: device_groups(family) for family in (4, 6)}

    def failing(number: int) -> None:
        def fail(*_: object) -> list[bytes]:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Netlink, "dump", fail)

    for number in (errno.EOPNOTSUPP, errno.EINVAL):
        failing(number)
        assert {family: device_groups(family) for family in (4, 6)} == expected
    failing(errno.ENOMEM)
    with pytest.raises(RefusedError) as caught:
        device_groups(4)
    assert caught.value.errno == errno.ENOMEM


def test_the_namespace_of_a_thread(place: Place) -> None:
    def look() -> None:
        with Place() as other:
            other.cable("v0", "p0")
            index = socket.if_nametoindex("v0")
            for family, join, group in ((4, joined4, "239.1.2.4"), (6, joined6, "ff1e::9")):
                with join(group, index):
                    assert (index, group) in module._from_proc(family)

    apart(look)


def test_a_system_that_tells_no_groups(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise FileNotFoundError

    def unable(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(Netlink, "dump", unable)
    monkeypatch.setattr(module, "open", absent, raising=False)
    with pytest.raises(UnsupportedError, match="IPv6"):
        device_groups(6)


@needs_seccomp
def test_without_netlink(place: Place) -> None:
    expected = device_groups(4)

    def ask() -> None:
        with pytest.raises(UnsupportedError) as caught:
            Netlink()
        assert "sandbox" in caught.value.hint
        assert device_groups(4) == expected

    apart(lambda: without_sockets_of(socket.AF_NETLINK), ask)


def test_without_privilege(place: Place) -> None:
    place.cable("v0", "p0", "192.0.2.1/24")
    expected = device_groups(6)

    def ask() -> None:
        with pytest.raises(PermissionError):
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with Netlink() as kernel:
            assert there(kernel, "v0").name == "v0"
            assert find_address(kernel, "192.0.2.1")
        assert device_groups(6) == expected

    apart(without_privilege, ask)
