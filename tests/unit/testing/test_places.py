"""Which interface of a host in memory is meant, and interfaces that come and go."""

import errno

import pytest

from aiomcast import (
    ALL_INTERFACES,
    AddressError,
    ArgumentError,
    FilterError,
    Interface,
    InterfaceError,
    InterfaceTypeError,
    NoRouteError,
    SourceFilter,
)
from aiomcast.testing import MemoryNetwork
from tests.support.memory import GROUP, A

LOCAL = "ff12::1"


def test_a_network_stands_for_its_host() -> None:
    net = MemoryNetwork()
    assert net.place(GROUP, {A}, None) == net.host.place(GROUP, {A}, None)
    assert net.find("eth0") == net.host.interfaces[0]
    assert net.source_limit(GROUP) == net.host.source_limit(GROUP) == 10
    assert net.join_wait(GROUP, [1]) == net.host.join_wait(GROUP, [1]) == 0.0
    assert repr(net.host) == "<MemoryHost host: eth0>"


def test_an_interface_is_found_by_name_index_address_and_itself() -> None:
    net = MemoryNetwork()
    first = net.find("eth0")
    second = net.host.add_interface("eth1", "198.51.100.1")
    for meant in ("eth1", second.index, "198.51.100.1", second):
        assert net.place(GROUP, None, meant) == (SourceFilter.any(), (second,))
    assert net.place(GROUP, None, None)[1] == (first,)


def test_several_interfaces_count_once_each_in_the_order_given() -> None:
    net = MemoryNetwork()
    first = net.find("eth0")
    second = net.host.add_interface("eth1", "198.51.100.1")
    listed: list[Interface | str | int] = ["eth1", first.index, second, "198.51.100.1", "192.0.2.1"]
    assert net.place(GROUP, None, listed)[1] == net.place(GROUP, None, iter(listed))[1] == (second, first)
    assert set(net.place(GROUP, None, {"eth0", "eth1"})[1]) == {first, second}


def test_all_interfaces_are_those_there_are_with_a_carrier_or_not() -> None:
    net = MemoryNetwork()
    first = net.find("eth0")
    second = net.host.add_interface("eth1", "198.51.100.1")
    net.host.set_down("eth1")
    assert net.place(GROUP, None, ALL_INTERFACES)[1] == (first, second)
    net.host.remove_interface("eth0")
    assert net.place(GROUP, None, ALL_INTERFACES)[1] == (second,)
    net.host.remove_interface("eth1")
    with pytest.raises(InterfaceError, match="no interface"):
        net.place(GROUP, None, ALL_INTERFACES)


@pytest.mark.parametrize(
    "wrong", [[], (), ["eth0", "eth9"], ["eth0", None], ["eth0", ["eth0"]], [b"eth0"], b"eth0"]
)
def test_what_lists_no_interfaces_is_refused(wrong: object) -> None:
    with pytest.raises(InterfaceError):
        MemoryNetwork().place(GROUP, None, wrong)  # type: ignore[arg-type]  # on purpose


def test_a_zone_is_that_of_every_interface() -> None:
    net = MemoryNetwork()
    net.host.add_interface("eth1", "fe80::1")
    with pytest.raises(InterfaceError, match="name one of the two"):
        net.place(f"{LOCAL}%eth1", None, ["eth1", "eth0"])


def test_a_zone_decides_where_no_interface_is_named() -> None:
    net = MemoryNetwork()
    second = net.host.add_interface("eth1", "fe80::1")
    assert net.place(f"{LOCAL}%eth1", None, None)[1] == (second,)
    assert net.place(LOCAL, ["fe80::9%eth1"], None)[1] == (second,)
    with pytest.raises(InterfaceError, match="name one of the two"):
        net.place(f"{LOCAL}%eth1", None, "eth0")


def test_what_cannot_be_meant_is_refused() -> None:
    net = MemoryNetwork()
    with pytest.raises(AddressError):
        net.place("192.0.2.1", None, None)
    with pytest.raises(FilterError):
        net.place(GROUP, [A, A], None)
    with pytest.raises(AddressError):
        net.place("232.1.1.1", None, None)
    for unknown in ("eth9", 99, "203.0.113.9"):
        with pytest.raises(InterfaceError, match="there are eth0"):
            net.place(GROUP, None, unknown)
    with pytest.raises(InterfaceTypeError):
        net.place(GROUP, None, 1.5)  # type: ignore[arg-type]  # on purpose


def test_an_address_on_two_interfaces_does_not_say_which() -> None:
    net = MemoryNetwork()
    net.host.add_interface("eth1", "192.0.2.1")
    with pytest.raises(InterfaceError, match="any of eth0, eth1"):
        net.place(GROUP, None, "192.0.2.1")


def test_an_interface_that_comes_again_has_another_index() -> None:
    net = MemoryNetwork()
    before = net.find("eth0")
    net.host.remove_interface("eth0")
    with pytest.raises(InterfaceError):
        net.find("eth0")
    with pytest.raises(NoRouteError) as caught:
        net.place(GROUP, None, None)
    assert caught.value.errno == errno.ENETUNREACH
    after = net.host.add_interface("eth0", "192.0.2.1")
    assert after.index != before.index
    assert net.find("eth0") == after == Interface(after.index, "eth0", ["192.0.2.1"], True)


def test_names_are_taken_once() -> None:
    net = MemoryNetwork()
    with pytest.raises(InterfaceError):
        net.host.add_interface("eth0")
    assert net.add_host("other", "192.0.2.2") is net.hosts["other"]
    with pytest.raises(ArgumentError):
        net.add_host("other")
    for change in (net.host.remove_interface, net.host.set_down, net.host.set_up):
        with pytest.raises(InterfaceError):
            change("eth9")


@pytest.mark.parametrize(
    "arguments",
    [{"loss": 1.1}, {"duplication": -0.1}, {"reordering": "1"}, {"latency": -1}, {"source_limit": 0},
     {"receive_buffer": 0}, {"start_ns": -1}, {"start_ns": 0.5}],
)  # fmt: skip
def test_a_network_that_cannot_be(arguments: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        MemoryNetwork(**arguments)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    "changed",
    [{"source": "239.0.0.1"}, {"source": "2001:db8::1"}, {"group": A}, {"port": 0}, {"data": "text"},
     {"data": bytes(65508)}, {"hop_limit": 256}, {"traffic_class": -1}, {"source_port": 0}],
)  # fmt: skip
def test_a_datagram_that_cannot_be(changed: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        MemoryNetwork().send(**{"source": A, "group": GROUP, "port": 5000, "data": b"", **changed})  # type: ignore[arg-type]  # on purpose


def test_refusals_that_cannot_be() -> None:
    net = MemoryNetwork()
    for call, number, times in (("swap", 1, 1), ("join", 0, 1), ("join", 1, 0)):
        with pytest.raises(ArgumentError):
            net.refuse(call, number, times)  # type: ignore[arg-type]  # on purpose
