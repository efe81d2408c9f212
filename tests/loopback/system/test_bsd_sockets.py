"""How a socket is made where FreeBSD's facts hold: what it is bound to, and which options it has by then."""

from __future__ import annotations

import errno
import socket
from typing import Any

import attrs
import pytest

import aiomcast
from aiomcast.endpoint import sending
from aiomcast.rfc3678.abi import FREEBSD, native
from aiomcast.system import adopted, sockets
from tests.support.bsd_host import BsdHost, in_place
from tests.support.seam import intercepted, refusal
from tests.support.sending import LO

LINUX = native()
LOOP = FREEBSD.IPPROTO_IPV6, FREEBSD.IPV6_MULTICAST_LOOP


@pytest.fixture
def bsd(monkeypatch: pytest.MonkeyPatch) -> BsdHost:
    host = BsdHost(interfaces=(LO,))
    in_place(monkeypatch, host)
    return host


@pytest.mark.parametrize(
    ("group", "zone"),
    [("ff3e::77:1", 0), ("ff0e::77:1", 0), ("ff05::77:1", 0), ("ff02::77:1", LO), ("ff01::77:1", LO)],
)
@pytest.mark.parametrize("table", [LINUX, FREEBSD], ids=lambda table: table.name)
def test_a_zone_only_where_one_is_needed(
    table: Any, group: str, zone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[object] = []
    if table is FREEBSD:
        in_place(monkeypatch, BsdHost(interfaces=(LO,)))
    monkeypatch.setattr(sockets, "bind_shared", lambda sock, address, interface: bound.append(address))
    aiomcast.open_socket(group, 5000, "lo").close()
    assert bound == [(group, 5000, 0, zone)]


def test_what_sends_is_bound_without_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[object] = []
    monkeypatch.setattr(sending, "bind_shared", lambda sock, address, interface: bound.append(address))
    lo = aiomcast.Interface(LO, "lo", (), multicast=True, is_up=True, is_running=True, is_loopback=True)
    for source in ("::1", "fe80::1"):
        made = sending.open_sending("ff0e::77", 5000, lo, ttl=1, loop=True, source=source, source_port=5000)
        made.close()
    assert bound == [("::1", 5000, 0, 0), ("fe80::1", 5000, 0, LO)]


def test_an_ipv6_socket_has_an_option_of_multicast_before_it_is_bound(
    bsd: BsdHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sockets, "bind_shared", lambda sock, *_: seen.append(bsd.option(sock, *LOOP)))
    aiomcast.open_socket("ff0e::77:1", 5000, "lo").close()
    aiomcast.open_socket("239.77.1.1", 5000, "lo").close()
    assert seen == [1, None]


@pytest.mark.parametrize("hears", [True, False])
@pytest.mark.parametrize("looped", [0, 1])
def test_a_socket_that_is_taken_over_keeps_its_loop(
    looped: int, hears: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = attrs.evolve(LINUX.facts, hears_unjoined=hears)
    monkeypatch.setattr(adopted, "ABI", attrs.evolve(LINUX, facts=facts))
    given: list[object] = []
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, looped)
        made.bind(("ff3e::77:2", 0))

        def note(sock: socket.socket, level: int, option: int, value: object) -> None:
            if (level, option) == (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP):
                given.append(value)

        with intercepted("setsockopt", note), aiomcast.open_socket("ff3e::77:2", interface="lo", sock=made):
            assert given == [looped] * hears


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ENXIO])
def test_leaving_where_the_interface_is_gone(
    number: int, bsd: BsdHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with aiomcast.open_socket("ff0e::77:1", 5000, "lo") as sock:
        sock.set_filter(["2001:db8::1"])
        bsd.interfaces = ()
        with pytest.raises(aiomcast.InterfaceGoneError):
            sock.set_filter(["2001:db8::2"])

        def refuse(*arguments: object) -> None:
            raise refusal(number)

        monkeypatch.setattr(bsd, "setsockopt", refuse)
        sock.leave()
        assert sock.filter.is_none
