"""Which interface leads to an address, where the address that packets leave from says something else."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiomcast import AddressError, NoRouteError, RefusedError
from aiomcast.system.links import list_addresses
from aiomcast.system.netlink import Netlink
from aiomcast.system.routes import Route, routes_to
from tests.support.sandbox import apart, needs_seccomp, without_sockets_of

from .place import Place


@pytest.fixture
def place(lab: None) -> Iterator[Place]:
    """Two cables: eth0 has addresses, eth1 has none but IPv6's link-local one."""
    with Place() as place:
        place.cable("eth0", "p0", "10.0.0.1/24", "2001:db8::1/64")
        place.cable("eth1", "p1")
        yield place


def name(address: str) -> str:
    """The interface that leads there."""
    (route,) = routes_to([address])
    assert route.index is not None
    return socket.if_indextoname(route.index)


def refused(address: str) -> NoRouteError:
    with pytest.raises(NoRouteError) as caught:
        routes_to([address])
    assert address in caught.value.detail
    assert caught.value.hint
    return caught.value


def test_a_link_without_an_address(place: Place) -> None:
    place.ip("route add 10.7.0.0/24 dev eth1")
    assert (name("10.0.0.2"), name("10.7.0.2")) == ("eth0", "eth1")


def test_a_route_of_the_group(place: Place) -> None:
    place.ip("route add 232.0.0.0/8 dev eth1", "route add 224.0.0.0/4 dev eth0")
    assert (name("232.1.1.1"), name("239.1.1.1"), name("224.0.0.251")) == ("eth1", "eth0", "eth0")


def test_a_route_of_an_ipv6_group(place: Place) -> None:
    # The kernel's own ff00::/8 of each interface stands in the table "local", which is asked first.
    place.ip("-6 route add ff0e:7::/32 dev eth1 table local", "-6 route add ff0e:8::/32 dev eth0 table local")
    assert (name("ff0e:7::1"), name("ff0e:8::1")) == ("eth1", "eth0")


def test_a_rule_of_policy(place: Place) -> None:
    place.ip("route add 10.7.0.0/24 dev eth0", "route add 10.7.0.0/24 dev eth1 table 5")
    assert name("10.7.0.2") == "eth0"
    place.ip("rule add to 10.7.0.0/24 lookup 5")
    assert name("10.7.0.2") == "eth1"
    place.ip("-6 route add 2001:db8:7::/64 dev eth1 table 5", "-6 rule add to 2001:db8:7::/64 lookup 5")
    assert name("2001:db8:7::2") == "eth1"


def test_a_rule_for_a_user(place: Place) -> None:
    place.ip("route add 10.7.0.0/24 dev eth0", "route add 10.7.0.0/24 dev eth1 table 5")
    place.ip(f"rule add uidrange {os.getuid()}-{os.getuid()} lookup 5")
    assert name("10.7.0.2") == "eth1", "as for a packet of this process"


def test_ipv6_with_only_a_link_local_address(place: Place) -> None:
    place.ip("-6 route add 2001:db8:7::/64 dev eth1")
    (route,) = routes_to(["2001:db8:7::2"])
    assert route == Route(socket.if_nametoindex("eth1"), "2001:db8::1"), "the source is of eth0"


def test_an_address_on_lo_that_packets_leave_from(place: Place) -> None:
    place.ip("addr add 10.9.9.9/32 dev lo", "route add 10.8.0.0/24 dev eth1 src 10.9.9.9")
    assert routes_to(["10.8.0.2"]) == [Route(socket.if_nametoindex("eth1"), "10.9.9.9")]


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::1", "::1"),
    ],
)
def test_the_hosts_own_addresses(place: Place, own: str, source: str) -> None:
    assert routes_to([own]) == [Route(None, source)], "all of them are by lo, and most not on it"


def test_several_at_once(place: Place) -> None:
    place.ip("route add 10.7.0.0/24 dev eth1")
    eth0, eth1 = map(socket.if_nametoindex, ("eth0", "eth1"))
    told = routes_to(["10.7.0.2", "2001:db8::2", "10.0.0.1", "::ffff:10.7.0.3", "10.0.0.9"])
    assert [one.index for one in told] == [eth1, eth0, None, eth1, eth0]
    assert routes_to([]) == []
    with pytest.raises(NoRouteError, match=r"192\.0\.2\.1"):
        routes_to(["10.7.0.2", "192.0.2.1", "10.0.0.1"])
    with pytest.raises(AddressError):
        routes_to(["10.7.0.2", "eth0"])


def test_a_zone_counts_for_nothing(place: Place) -> None:
    assert routes_to(["2001:db8::2%eth1"]) == routes_to(["2001:db8::2"])


@pytest.mark.parametrize(
    ("kind", "number", "word"),
    [
        ("blackhole", errno.EINVAL, "blackhole"),
        ("prohibit", errno.EACCES, "prohibit"),
        ("unreachable", errno.EHOSTUNREACH, "unreachable"),
        ("throw", errno.ENETUNREACH, "add a route"),
    ],
)
def test_routes_that_lead_nowhere(place: Place, kind: str, number: int, word: str) -> None:
    place.ip(f"route add {kind} 10.66.0.0/24", f"-6 route add {kind} 2001:db8:66::/64")
    for address in ("10.66.0.1", "2001:db8:66::1"):
        error = refused(address)
        assert error.errno == number
        assert word in error.hint


@pytest.mark.parametrize("address", ["192.0.2.1", "232.1.1.1", "2001:db9::1"])
def test_no_route(place: Place, address: str) -> None:
    assert refused(address).errno == errno.ENETUNREACH


def test_ipv6_switched_off(place: Place) -> None:
    for one in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{one}/disable_ipv6").write_text("1")
    assert refused("2001:db8::2").errno == errno.ENETUNREACH


def sandboxed(work: Callable[[], object]) -> None:
    """Do it where there is no AF_NETLINK."""
    apart(lambda: without_sockets_of(socket.AF_NETLINK), work)


@needs_seccomp
def test_without_netlink_an_address_tells(place: Place) -> None:
    def ask() -> None:
        with pytest.raises(OSError, match="not supported"):
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        assert routes_to(["10.0.0.2", "10.0.0.1", "2001:db8::2"]) == [
            Route(None, "10.0.0.1"),
            Route(None, "10.0.0.1"),
            Route(None, "2001:db8::1"),
        ]
        assert refused("192.0.2.1").errno == errno.ENETUNREACH

    sandboxed(ask)


@needs_seccomp
def test_without_netlink_a_link_local_address_tells(place: Place) -> None:
    place.ip("addr flush dev eth0 scope global", "-6 route add 2001:db8:7::/64 dev eth1")
    with Netlink() as kernel:
        (own,) = list_addresses(kernel, socket.if_nametoindex("eth1"))

    def ask() -> None:
        assert routes_to(["2001:db8:7::2"]) == [Route(None, own.address)]

    sandboxed(ask)


@needs_seccomp
def test_a_system_that_tells_the_zone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Zoned(socket.socket):
        """As on the systems whose getsockname has the zone of a link-local address in it."""

        def getsockname(self) -> tuple[str, int, int, int]:
            return "fe80::1", 40000, 0, 7

    def ask() -> None:
        monkeypatch.setattr(socket, "socket", Zoned)
        assert routes_to(["2001:db8::2"]) == [Route(7, "fe80::1")]

    sandboxed(ask)


def test_an_answer_that_cannot_be_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Netlink, "ask", lambda *_: bytes(3))
    with pytest.raises(RefusedError) as caught:
        routes_to(["10.0.0.2"])
    assert not isinstance(caught.value, NoRouteError)
    assert caught.value.errno == errno.EBADMSG


def test_a_kernel_that_answers_no_such_question(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: object) -> bytes:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(Netlink, "ask", unable)
    assert routes_to(["10.0.0.2"]) == [Route(None, "10.0.0.1")]
