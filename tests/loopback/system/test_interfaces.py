"""Interfaces by name, index, address and route."""

import socket

import attrs
import pytest

import aiomcast
from aiomcast import Interface, InterfaceError, list_interfaces
from aiomcast.system.interfaces import find_interface
from aiomcast.values.addresses import canonical
from tests.support.sending import LO


def loopback() -> Interface:
    return next(one for one in list_interfaces() if one.name == "lo")


def test_the_list_is_the_systems() -> None:
    assert [(one.index, one.name) for one in list_interfaces()] == sorted(socket.if_nameindex())
    lo = loopback()
    assert "127.0.0.1" in lo.addresses
    assert lo.multicast is True
    for one in list_interfaces():
        assert all(canonical(address) == address for address in one.addresses)


LO_FORMS = ["lo", LO, "127.0.0.1", "::ffff:127.0.0.1", "[::1]", "::1%lo", f"::1%{LO}"]


@pytest.mark.parametrize("wanted", LO_FORMS)
def test_every_form_finds_lo(wanted: aiomcast.InterfaceLike) -> None:
    if isinstance(wanted, str) and "::1" in wanted and "::1" not in loopback().addresses:
        pytest.skip("no IPv6 on lo")
    assert find_interface(wanted) == loopback()
    assert find_interface(loopback()) == loopback()


@pytest.mark.parametrize(
    "wanted",
    ["nosuch0", "", "LO", 0, -1, 2**40, True, False, "198.51.100.7", "::1%nosuch0", 1.5, b"lo", ["lo"]],
)
def test_what_is_no_interface(wanted: object) -> None:
    with pytest.raises(InterfaceError) as caught:
        find_interface(wanted)  # type: ignore[arg-type]  # wrong on purpose
    assert "lo" in caught.value.hint


def test_an_interface_that_cannot_multicast() -> None:
    with pytest.raises(InterfaceError, match="cannot multicast") as caught:
        find_interface(attrs.evolve(loopback(), multicast=False))
    assert caught.value.hint
    assert find_interface(attrs.evolve(loopback(), multicast=None)).name == "lo"


def test_the_route_decides_when_none_is_named() -> None:
    assert find_interface(None, "232.1.1.1", ["127.0.0.2", "192.0.2.1"]) == loopback()
    assert find_interface(None, "ff32::1%lo") == loopback()
    assert find_interface(None, f"ff32::1%{LO}", ["2001:db8::1"]) == loopback()
    assert find_interface(None, "ff32::1", ["fe80::1%lo"]) == loopback()
    with pytest.raises(InterfaceError) as caught:
        find_interface(None)
    assert caught.value.hint
    with pytest.raises(InterfaceError):
        find_interface(None, "ff32::1%nosuch0")
