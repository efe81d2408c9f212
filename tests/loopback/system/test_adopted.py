"""`open_socket(sock=...)`: a socket that was made and bound elsewhere becomes one of the library's."""

from __future__ import annotations

import ctypes
import errno
import itertools
import operator
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from aiomcast import (
    ArgumentError,
    ArgumentTypeError,
    MulticastError,
    NoPermissionError,
    RefusedError,
    SourceFilter,
    StateError,
    UnsupportedError,
    open_socket,
)
from aiomcast.reading.options import drops_and_buffer
from aiomcast.system import destination
from aiomcast.system.sockets import MulticastSocket, opening, socket_of
from tests.support.interfaces import ipv6_way
from tests.support.packets import payloads
from tests.support.platforms import needs_adoption
from tests.support.readers import reading
from tests.support.seam import Faults, faults, intercepted, refusal
from tests.support.sending import LO, A, sending
from tests.support.waiting import wait_readable

__all__ = ["faults", "reading"]

pytestmark = needs_adoption

IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29  # linux/in.h, in6.h
SO_NO_CHECK, SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_BINDTOIFINDEX = 11, 26, 50, 62  # asm-generic/socket.h


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def bound(stack: ExitStack, host: str, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    """Return a blocking socket with a port of its own, bound as a service manager would."""
    sock = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind))
    sock.bind((host, 0))
    return sock


def state(sock: socket.socket) -> tuple[object, ...]:
    """Return what adoption changes of a socket."""
    v6 = sock.family == socket.AF_INET6
    every = (socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL) if v6 else (socket.IPPROTO_IP, IP_MULTICAST_ALL)
    return (
        sock.fileno(),
        os.get_blocking(sock.fileno()),
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR),
        sock.getsockopt(*every),
        sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX),
        destination.has_filter(sock),
    )


def refused(stack: ExitStack, given: Any, group: str, port: int | None = None) -> MulticastError:
    """Return the error that adoption is refused with; a socket is as it was then."""
    before = state(given) if isinstance(given, socket.socket) and given.fileno() >= 0 else None
    with pytest.raises(MulticastError) as caught:
        stack.enter_context(open_socket(group, port, "lo", sock=given))
    assert caught.value.hint
    if before is not None:
        assert state(given) == before
    return caught.value


def read(reading: ModuleType, sock: MulticastSocket) -> list[bytes]:
    """Read it out; loopback has delivered when `send` returns."""
    reader = reading.Reader(sock, sock.filter)
    packets, _ = reader.read(1000)
    assert reader.error is None
    assert {packet.flow.group for packet in packets} <= {sock.group}
    assert {packet.flow.port for packet in packets} <= {sock.port}
    return payloads(packets)


# What is taken over


@pytest.mark.parametrize("by", ["object", "descriptor"])
@pytest.mark.parametrize("wild", [False, True], ids=["group", "wildcard"])
@pytest.mark.parametrize("port", [None, 0, -1], ids=["left out", "0", "its own"])
def test_taking_over(
    reading: ModuleType, stack: ExitStack, any_group: str, by: str, wild: bool, port: int | None
) -> None:
    given = bound(stack, "0.0.0.0" if wild else any_group)
    descriptor, own = given.fileno(), given.getsockname()[1]
    asked = own if port == -1 else port
    with open_socket(any_group, asked, "lo", sock=given if by == "object" else given.detach()) as taken:
        assert given.fileno() == -1
        assert (taken.fileno(), taken.port, taken.group, taken.interface.index) == (
            descriptor, own, any_group, LO,
        )  # fmt: skip
        assert taken.gettimeout() == 0
        assert not os.get_blocking(descriptor)
        assert taken.getsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL) == 0
        assert taken.held() == taken.kernel_filter() == SourceFilter.none()
        taken.set_filter([A])
        with sending(A, any_group, own) as sender, sending("127.0.0.3", any_group, own) as other:
            other.send(b"refused")
            sender.send(b"let in")
        assert read(reading, taken) == [b"let in"]
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(descriptor)


def test_taking_over_ipv6(reading: ModuleType, stack: ExitStack, group6: str) -> None:
    interface, source = ipv6_way()
    for host in (group6, "::"):
        given = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        given.bind((host, 0, 0, interface.index if host == group6 else 0))
        port = given.getsockname()[1]
        with open_socket(group6, port, interface, sock=given) as taken:
            taken.set_filter([source])
            with sending(source, group6, port, interface.index) as sender:
                sender.send(b"let in")
            assert read(reading, taken) == [b"let in"]
            assert taken.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX) == interface.index


def test_further_sockets_share_the_port(stack: ExitStack, any_group: str) -> None:
    """Those of a long list, and of a handover; and it was bound without SO_REUSEADDR."""
    for host in (any_group, "0.0.0.0"):
        given = bound(stack, host)
        with open_socket(any_group, None, "lo", sock=given) as taken:
            stack.enter_context(open_socket(any_group, taken.port, "lo"))


def test_a_socket_of_the_librarys_own(stack: ExitStack, any_group: str) -> None:
    told: list[str] = []
    mine = stack.enter_context(open_socket(any_group, 0, "lo"))
    mine.taken_away = lambda: told.append("taken away")
    with open_socket(any_group, mine.port, "lo", sock=mine) as taken:
        assert (mine.fileno(), told) == (-1, ["taken away"])
        taken.set_filter(SourceFilter.any())


def test_the_protocol_of_a_loops_own_transport_finds_it(stack: ExitStack, any_group: str) -> None:
    with open_socket(any_group, None, "lo", sock=bound(stack, any_group)) as taken:
        assert socket_of(taken.fileno()) is taken


# What came before, and what is sent elsewhere


@pytest.mark.parametrize("wild", [False, True], ids=["group", "wildcard"])
def test_what_it_had_received_is_no_packet(
    reading: ModuleType, stack: ExitStack, any_group: str, wild: bool
) -> None:
    """It came in by memberships of others, or was sent elsewhere; and its drops are not the library's."""
    given = bound(stack, "0.0.0.0" if wild else any_group)
    port = given.getsockname()[1]
    given.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    member = stack.enter_context(open_socket(any_group, 0, "lo"))
    member.set_filter(SourceFilter.any())
    with sending(A, any_group, port) as sender:
        while not drops_and_buffer(given)[0]:
            sender.send(bytes(500))
        taken = stack.enter_context(open_socket(any_group, None, "lo", sock=given))
        taken.set_filter(SourceFilter.any())
        sender.send(b"after")
        reader = reading.Reader(taken, SourceFilter.any())
        assert payloads(reader.read(1000)[0]) == [b"after"]
        reader.count_drops()
        assert reader.kernel_drops == 0


def test_on_the_wildcard_only_the_groups_packets_come(
    reading: ModuleType, stack: ExitStack, any_group: str
) -> None:
    other_group = f"{any_group.rpartition('.')[0]}.0"
    member = stack.enter_context(open_socket(other_group, 0, "lo"))
    member.set_filter(SourceFilter.any())
    given = bound(stack, "0.0.0.0")
    port = given.getsockname()[1]
    taken = stack.enter_context(open_socket(any_group, port, "lo", sock=given))
    taken.set_filter(SourceFilter.any())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=8xi", LO))
        sender.bind((A, 0))
        for host in ("127.0.0.1", "127.0.0.9", "127.255.255.255", other_group, any_group, A):
            sender.sendto(host.encode(), (host, port))
    assert read(reading, taken) == [any_group.encode()]
    # The kernel does not tell what the filter refuses from what had no room.
    assert drops_and_buffer(taken)[0] == 4


def test_on_the_ipv6_wildcard_only_the_groups_packets_come(
    reading: ModuleType, stack: ExitStack, group6: str
) -> None:
    interface, source = ipv6_way()
    given = bound(stack, "::")
    port = given.getsockname()[1]
    taken = stack.enter_context(open_socket(group6, port, interface, sock=given))
    taken.set_filter([source])
    with sending(source, group6, port, interface.index) as sender:
        sender.sendto(b"unicast", (source, port))
        sender.send(b"group")
    assert read(reading, taken) == [b"group"]


@pytest.mark.parametrize("looks_like", ["nothing", "the group"])
def test_a_dual_stack_socket_gets_nothing_of_ipv4(
    reading: ModuleType, stack: ExitStack, group6: str, looks_like: str
) -> None:
    """Not even a datagram that has the group's bytes where the header of IPv6 has the destination."""
    packed = socket.inet_pton(socket.AF_INET6, group6)
    length = int.from_bytes(packed[:2], "big")  # IPv4 has the length of UDP there, and then its checksum
    payload = packed[4:].ljust(length - 8, b"\0") if looks_like == "the group" else b"plain"
    given, witness = bound(stack, "::"), bound(stack, "::")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        sender.sendto(payload, ("127.0.0.1", witness.getsockname()[1]))
        wait_readable(witness)
        assert witness.recv(65536) == payload
        with open_socket(group6, None, "lo", sock=given) as taken:
            assert taken.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
            sender.sendto(payload, ("127.0.0.1", taken.port))
            reader = reading.Reader(taken, SourceFilter.any())
            assert reader.read(10) == ([], 0)


# What is refused


def test_wrong_types(stack: ExitStack, any_group: str) -> None:
    for wrong in ("7", 7.0, True, b"", [3], object()):
        assert isinstance(refused(stack, wrong, any_group), ArgumentTypeError)


def test_what_is_no_open_socket(stack: ExitStack, any_group: str) -> None:
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.close()
    pipe = os.pipe()
    for wrong in (closed, -1, 1 << 20, pipe[0]):
        assert isinstance(refused(stack, wrong, any_group), ArgumentError)
    for end in pipe:
        os.close(end)


def test_what_is_no_udp_socket(stack: ExitStack, any_group: str) -> None:
    stream = bound(stack, "127.0.0.1", kind=socket.SOCK_STREAM)
    assert "UDP" in str(refused(stack, stream, any_group))
    for kind, named in ((socket.SOCK_STREAM, "UDP"), (socket.SOCK_DGRAM, "IPv4")):
        unix = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        assert named in str(refused(stack, unix.fileno(), any_group))


def test_another_family(stack: ExitStack, any_group: str, group6: str) -> None:
    assert "IPv6" in str(refused(stack, bound(stack, "0.0.0.0"), group6))
    assert "IPv4" in str(refused(stack, bound(stack, "::"), any_group))
    mapped = bound(stack, f"::ffff:{any_group}")
    assert "IPv4" in str(refused(stack, mapped, any_group))


def test_another_address_or_port(stack: ExitStack, any_group: str) -> None:
    unbound = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    assert "not bound" in str(refused(stack, unbound, any_group))
    elsewhere = bound(stack, "127.0.0.1")
    assert "127.0.0.1" in str(refused(stack, elsewhere, any_group))
    here = bound(stack, any_group)
    port = here.getsockname()[1]
    assert f"port {port}" in str(refused(stack, here, any_group, port - 1))


def test_a_connected_one(stack: ExitStack, any_group: str) -> None:
    given = bound(stack, "0.0.0.0")
    given.connect(("127.0.0.1", 9))
    assert refused(stack, given, any_group).hint  # it is bound to 127.0.0.1 since
    given = bound(stack, any_group)
    given.connect(("127.0.0.1", 9))
    assert "connected" in str(refused(stack, given, any_group))


def test_a_member(stack: ExitStack, any_group: str) -> None:
    for index in [index for index, _ in socket.if_nameindex()]:
        given = bound(stack, any_group)
        packed = socket.inet_aton(any_group)
        try:
            given.setsockopt(
                socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("=4s4si", packed, b"", index)
            )
        except OSError:
            continue
        assert "joined" in str(refused(stack, given, any_group))


def test_one_that_is_bound_to_another_interface(stack: ExitStack, any_group: str) -> None:
    other = next((index for index, name in socket.if_nameindex() if name != "lo"), None)
    if other is None:
        pytest.skip("there is only lo")
    given = bound(stack, any_group)
    given.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, other)
    assert str(other) in str(refused(stack, given, any_group))


ACCEPT_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0xFFFFFFFF)


def filtered(sock: socket.socket) -> None:
    held = ctypes.create_string_buffer(ACCEPT_ALL, len(ACCEPT_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(held)))


def test_a_filter_that_is_there_already(stack: ExitStack, any_group: str) -> None:
    """On the wildcard it would be in the place of ours; on the group it stays."""
    given = bound(stack, "0.0.0.0")
    filtered(given)
    assert isinstance(refused(stack, given, any_group), StateError)
    given = bound(stack, any_group)
    filtered(given)
    with open_socket(any_group, None, "lo", sock=given) as taken:
        assert destination.has_filter(taken)


def test_a_filter_that_cannot_be_looked_at(stack: ExitStack, any_group: str) -> None:
    def unreadable(*arguments: object) -> None:
        if arguments[2] == SO_ATTACH_FILTER:
            raise refusal(errno.EACCES)  # it is no classic BPF

    given = bound(stack, "0.0.0.0")
    with intercepted("getsockopt", unreadable), pytest.raises(StateError, match="filter"):
        open_socket(any_group, None, "lo", sock=given)


@pytest.mark.parametrize("option", [SO_ATTACH_FILTER, SO_ATTACH_BPF])
def test_a_filter_that_is_asked_for(stack: ExitStack, any_group: str, option: int) -> None:
    given = bound(stack, "0.0.0.0")
    asked = [(socket.SOL_SOCKET, option, b"")]
    with pytest.raises(StateError, match="filter"):
        open_socket(any_group, None, "lo", sock=given, socket_options=asked)


def test_a_platform_without_filters(
    stack: ExitStack, any_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "CAN_ATTACH", False)
    assert isinstance(refused(stack, bound(stack, "0.0.0.0"), any_group), UnsupportedError)
    stack.enter_context(open_socket(any_group, None, "lo", sock=bound(stack, any_group)))


# Whatever fails, the socket is as it was


@pytest.mark.parametrize("host", ["group", "0.0.0.0", "::"])
@pytest.mark.parametrize("undone", [True, False])
def test_a_call_that_the_system_refuses(
    stack: ExitStack, any_group: str, group6: str, faults: Faults, host: str, undone: bool
) -> None:
    """Each in turn; and then also all after it, so that nothing can be put back."""
    group = group6 if host == "::" else any_group
    options = [(socket.SOL_SOCKET, socket.SO_PRIORITY, 0)]
    number = 0
    for number in itertools.count(1):
        given = bound(stack, any_group if host == "group" else host)
        before = state(given)
        faults.fail(partial(operator.eq if undone else operator.le, number))
        try:
            open_socket(group, None, "lo", sock=given, socket_options=options).close()
        except RefusedError as error:
            assert error.errno == errno.ENOBUFS
            assert state(given) == before if undone else given.fileno() == before[0]
        else:
            break
    assert number > 4


@pytest.mark.parametrize("by", ["object", "descriptor"])
@pytest.mark.parametrize("closed", [False, True])
def test_it_is_given_back_where_what_it_is_opened_for_fails(
    stack: ExitStack, any_group: str, by: str, closed: bool
) -> None:
    given = bound(stack, "0.0.0.0")
    before = state(given)

    def use() -> None:
        with opening(any_group, None, "lo", sock=given if by == "object" else given.fileno()) as taken:
            assert state(given) != before
            taken.set_filter([A])
            if closed:
                taken.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert state(given) == before
    with open_socket(any_group, None, "lo", sock=given):
        pass


def test_the_options_of_one_that_is_taken_over(stack: ExitStack, any_group: str) -> None:
    given = bound(stack, any_group)
    before = state(given)
    asked = [(socket.SOL_SOCKET, socket.SO_PRIORITY, 3), (socket.SOL_SOCKET, 9999, 1)]
    with pytest.raises(RefusedError, match="9999 of level 1"):
        open_socket(any_group, None, "lo", sock=given, socket_options=asked)
    assert state(given) == before
    assert given.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 0
    with open_socket(any_group, None, "lo", sock=given, socket_options=asked[:1]) as taken:
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 3


def test_what_is_refused_for_want_of_privilege(stack: ExitStack, any_group: str) -> None:
    def unprivileged(*arguments: object) -> None:
        if arguments[2] == socket.SO_MARK:
            raise refusal(errno.EPERM)

    with intercepted("setsockopt", unprivileged), pytest.raises(NoPermissionError, match="SO_MARK"):
        open_socket(any_group, 0, "lo", socket_options=[(socket.SOL_SOCKET, socket.SO_MARK, 1)])
