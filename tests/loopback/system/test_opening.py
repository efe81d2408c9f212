"""`open_socket` for new sockets: port 0, and the options that they are given before they are bound."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import ExitStack
from typing import Any

import pytest

import aiomcast
from aiomcast import ArgumentError, ArgumentTypeError, NoPermissionError, RefusedError, open_socket
from aiomcast.rfc3678.abi import native
from aiomcast.system import sockets
from aiomcast.system.sockets import opening
from tests.support.inside import sockets_of
from tests.support.platforms import linux_only
from tests.support.seam import intercepted, refusal
from tests.support.sending import LO, A, sending
from tests.support.waiting import wait_readable

IP, IPV6, SOCKET, UDP = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.SOL_SOCKET, 17
SO_MARK = 36  # of Linux: elsewhere socket has no name for it
L = native()
ON, OFF = (1, b"\1\0\0\0"), (0, b"\0\0\0\0", b"")


def test_port_0_is_one_that_the_system_chooses(any_group: str, group6: str) -> None:
    for group in (any_group, group6):
        with open_socket(group, 0, LO) as sock:
            assert sock.port == sock.getsockname()[1] > 0
            with open_socket(group, sock.port, LO) as other:  # those of a long list
                assert other.port == sock.port
    with open_socket(any_group, 0, LO) as sock, sending(A, any_group, sock.port) as sender:
        sock.set_filter([A])
        sender.send(b"heard")
        wait_readable(sock)
        assert sock.recv(10) == b"heard"


def test_port_0_is_nobody_elses(any_group: str) -> None:
    """For sockets that share a port already, two of 400 would almost surely be given the same."""
    chosen = set[int]()
    with ExitStack() as stack:
        for _ in range(400):
            sock = stack.enter_context(open_socket(any_group, 0, LO))
            assert sock.port not in chosen
            chosen.add(sock.port)


@pytest.mark.parametrize("value", [5, struct.pack("=i", 5), bytearray(struct.pack("=i", 5))])
def test_options(any_group: str, value: int | bytes) -> None:
    with open_socket(any_group, 0, LO, socket_options=[(IP, socket.IP_TTL, value)]) as sock:
        assert sock.getsockopt(IP, socket.IP_TTL) == 5


def is_bound(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockname()[1])
    except OSError:  # Windows then knows no address
        return False


def test_options_come_before_the_bind(any_group: str) -> None:
    bound: list[bool] = []

    def seen(sock: socket.socket, level: int, option: int, value: object) -> None:
        if (level, option) == (IP, socket.IP_TTL):
            bound.append(is_bound(sock))

    with intercepted("setsockopt", seen):
        open_socket(any_group, 5000, LO, socket_options=[(IP, socket.IP_TTL, 5)]).close()
    assert bound == [False]


@pytest.mark.parametrize(
    ("level", "option", "named"),
    [pytest.param(SOCKET, SO_MARK, "SO_MARK", marks=linux_only), (SOCKET, 46, f"46 of level {SOCKET}"),
     (IP, socket.IP_TOS, "IP_TOS"), (IPV6, L.IPV6_TCLASS, "IPV6_TCLASS"), (270, 3, "3 of level 270")],
)  # fmt: skip
def test_an_option_that_the_system_refuses_is_named(
    any_group: str, level: int, option: int, named: str
) -> None:
    def refuse(*arguments: object) -> None:
        if arguments[1:3] == (level, option):
            raise refusal(errno.EPERM)

    with intercepted("setsockopt", refuse), pytest.raises(NoPermissionError, match=named) as caught:
        open_socket(any_group, 0, LO, socket_options=[(level, option, 1)])
    assert caught.value.errno == errno.EPERM


def test_an_option_that_the_kernel_does_not_know(any_group: str) -> None:
    with pytest.raises(RefusedError) as caught:
        open_socket(any_group, 0, LO, socket_options=[(SOCKET, 9999, 1)])
    assert caught.value.errno == errno.ENOPROTOOPT


MEMBERSHIPS = [
    (IP, option)
    for option in (L.IP_ADD_MEMBERSHIP, L.IP_DROP_MEMBERSHIP, L.IP_ADD_SOURCE_MEMBERSHIP,
                   L.IP_DROP_SOURCE_MEMBERSHIP, L.IP_BLOCK_SOURCE, L.IP_UNBLOCK_SOURCE, L.IP_MSFILTER)
] + [
    (IPV6, option) for option in (L.IPV6_JOIN_GROUP, L.IPV6_LEAVE_GROUP)
] + [
    (level, option)
    for level in (IP, IPV6)
    for option in (L.MCAST_JOIN_GROUP, L.MCAST_LEAVE_GROUP, L.MCAST_JOIN_SOURCE_GROUP, L.MCAST_BLOCK_SOURCE,
                   L.MCAST_LEAVE_SOURCE_GROUP, L.MCAST_UNBLOCK_SOURCE, L.MCAST_MSFILTER)
]  # fmt: skip
TIMES = [
    (SOCKET, option)
    for option in (L.SO_TIMESTAMP, L.SO_TIMESTAMP_NEW, L.SO_TIMESTAMPNS, L.SO_TIMESTAMPNS_NEW,
                   L.SO_TIMESTAMPING, L.SO_TIMESTAMPING_NEW)
]  # fmt: skip
OTHERS = [(UDP, L.UDP_GRO), (SOCKET, L.SO_BINDTODEVICE), (SOCKET, L.SO_BINDTOIFINDEX)]


BREAKING = [
    (SOCKET, socket.SO_REUSEADDR, OFF), (SOCKET, L.SO_REUSEPORT, (*ON, *OFF)), (SOCKET, L.SO_RXQ_OVFL, OFF),
    (SOCKET, L.SO_EXCLUSIVEADDRUSE, ON), (IPV6, L.IPV6_V6ONLY, OFF),
    (IP, L.IP_MULTICAST_ALL, ON), (IPV6, L.IPV6_MULTICAST_ALL, ON),
    *[(*never, (*ON, *OFF)) for never in MEMBERSHIPS + TIMES + OTHERS],
]  # fmt: skip


@pytest.mark.parametrize(("level", "option", "values"), [one for one in BREAKING if one[1] is not None])
def test_options_that_would_break_a_promise(
    any_group: str, level: int, option: int, values: tuple[int | bytes, ...]
) -> None:
    for value in values:
        with pytest.raises(ArgumentError, match="socket option") as caught:
            open_socket(any_group, 0, LO, socket_options=[(level, option, value)])
        assert caught.value.hint


@pytest.mark.parametrize(
    "option",
    [(SOCKET, socket.SO_REUSEADDR, 1), pytest.param((IP, L.IP_MULTICAST_ALL, 0), marks=linux_only)],
)
def test_options_that_say_what_holds_anyway(any_group: str, option: tuple[int, int, int]) -> None:
    open_socket(any_group, 5000, LO, socket_options=[option]).close()


async def test_the_options_of_a_receiver(any_group: str) -> None:
    asked = [(IP, socket.IP_TTL, 4)]
    async with aiomcast.Receiver(socket_options=asked) as receiver:
        assert receiver.options.socket_options == tuple(asked)
        membership = await receiver.join(any_group, 5000, sources=[A], interface=LO)
        (sock,) = sockets_of(membership)
        assert sock.getsockopt(IP, socket.IP_TTL) == 4
        await membership.swap([f"127.0.1.{number}" for number in range(1, 25)])
        assert {one.getsockopt(IP, socket.IP_TTL) for one in sockets_of(membership)} == {4}


@pytest.mark.parametrize(("group", "has_scope"), [("ff0e::4321", False), ("ff02::4321", True)])
def test_a_scope_id_is_bound_with_a_group_that_needs_one_alone(
    group: str, has_scope: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere than on Linux it is refused for another."""
    bound: list[Any] = []  # Any: an address as the socket module takes it
    monkeypatch.setattr(sockets, "bind_shared", lambda sock, address, interface: bound.append(address))
    open_socket(group, 5000, LO).close()
    ((host, _, _, scope_id),) = bound
    assert scope_id == (LO if has_scope and host == group else 0)


def test_a_new_one_is_closed_where_what_it_is_opened_for_fails(any_group: str) -> None:
    with pytest.raises(ZeroDivisionError), opening(any_group, 0, LO) as made:
        raise ZeroDivisionError
    assert made.fileno() == -1


def test_no_port_and_no_socket(any_group: str) -> None:
    with pytest.raises(ArgumentTypeError, match="port"):
        open_socket(any_group, None, LO)
    with pytest.raises(ArgumentError, match="port"):
        open_socket(any_group, -1, LO)
