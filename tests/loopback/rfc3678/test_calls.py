"""Every call of RFC 3678 against the running kernel, for IPv4 and IPv6 on lo."""

import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiomcast import AddressError, ArgumentError, RefusedError, SourceFilter
from aiomcast.errors import InterfaceGoneError, LimitError, MulticastError
from aiomcast.rfc3678 import calls
from tests.support.platforms import IS_WINDOWS, linux_only
from tests.support.sending import LO, A, B, C

include, exclude = SourceFilter.include, SourceFilter.exclude
LOOPBACK = "127.0.0.1"

# by family: a group, three sources, and how a long list of sources is written
FAMILIES = {
    4: ("239.77.1.1", A, B, C, "127.9.{}.{}"),
    6: ("ff31::77:1", "::1", "2001:db8::b", "2001:db8::c", "2001:db8::{}:{}"),
}


@pytest.fixture(params=FAMILIES, ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def sock(family: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as opened:
        yield opened


@pytest.fixture
def sock4() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        yield opened


def refuses(number: int, call: Callable[..., object], *arguments: object) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        call(*arguments)
    assert caught.value.errno == number
    return caught.value


def test_the_delta_calls_by_index(sock: socket.socket, family: int) -> None:
    group, one, two, three, _ = FAMILIES[family]

    def held() -> SourceFilter:
        return calls.getsourcefilter(sock, LO, group)

    calls.join_group(sock, LO, group)
    assert held() == SourceFilter.any()
    refuses(errno.EADDRINUSE, calls.join_group, sock, LO, group)
    calls.block_source(sock, LO, group, two)
    calls.block_source(sock, LO, group, three)
    assert held() == exclude([two, three])
    refuses(errno.EADDRNOTAVAIL, calls.block_source, sock, LO, group, two)
    calls.unblock_source(sock, LO, group, two)
    assert held() == exclude([three])
    refuses(errno.EADDRNOTAVAIL, calls.unblock_source, sock, LO, group, two)
    refuses(errno.EINVAL, calls.join_source_group, sock, LO, group, one)
    calls.leave_group(sock, LO, group)
    refuses(errno.EADDRNOTAVAIL, calls.getsourcefilter, sock, LO, group)
    calls.join_source_group(sock, LO, group, one)
    calls.join_source_group(sock, LO, group, two)
    assert held() == include([one, two])
    refuses(errno.EADDRNOTAVAIL, calls.join_source_group, sock, LO, group, two)
    refuses(errno.EINVAL, calls.block_source, sock, LO, group, three)
    refuses(errno.EADDRNOTAVAIL, calls.leave_source_group, sock, LO, group, three)
    calls.leave_source_group(sock, LO, group, one)
    assert held() == include([two])
    calls.leave_source_group(sock, LO, group, two)
    refuses(errno.EADDRNOTAVAIL, calls.getsourcefilter, sock, LO, group)


def test_the_full_state_by_index(sock: socket.socket, family: int) -> None:
    group, one, two, three, form = FAMILIES[family]
    refuses(errno.EINVAL, calls.setsourcefilter, sock, LO, group, include([one]))
    calls.join_source_group(sock, LO, group, one)
    for wanted in (include([one, two, three]), exclude([two]), SourceFilter.any(), include([three])):
        calls.setsourcefilter(sock, LO, group, wanted)
        assert calls.getsourcefilter(sock, LO, group) == wanted
    many = include([form.format(number // 200 + 1, number % 200 + 1) for number in range(300)])
    if not IS_WINDOWS:  # which names no limit
        error = refuses(errno.ENOBUFS, calls.setsourcefilter, sock, LO, group, many)
        assert isinstance(error, LimitError)
        assert error.sysctl in ("net.ipv4.igmp_max_msf", "net.ipv6.mld_max_msf")
        assert str(error.sysctl) in error.hint
    assert calls.getsourcefilter(sock, LO, group) == include([three])
    calls.setsourcefilter(sock, LO, group, SourceFilter.none())
    refuses(errno.EINVAL, calls.setsourcefilter, sock, LO, group, include([one]))


def test_the_ipv4_forms_by_address(sock4: socket.socket) -> None:
    group = "239.77.1.2"

    def held() -> SourceFilter:
        return calls.getipv4sourcefilter(sock4, LOOPBACK, group)

    calls.add_source_membership(sock4, LOOPBACK, group, A)
    calls.add_source_membership(sock4, LOOPBACK, group, B)
    assert held() == include([A, B]) == calls.getsourcefilter(sock4, LO, group)
    refuses(errno.EADDRNOTAVAIL, calls.add_source_membership, sock4, LOOPBACK, group, B)
    calls.drop_source_membership(sock4, LOOPBACK, group, A)
    refuses(errno.EADDRNOTAVAIL, calls.drop_source_membership, sock4, LOOPBACK, group, A)
    refuses(errno.EINVAL, calls.block_ipv4_source, sock4, LOOPBACK, group, C)
    for wanted in (exclude([A, B]), include([A, B, C]), SourceFilter.any()):
        calls.setipv4sourcefilter(sock4, LOOPBACK, group, wanted)
        assert held() == wanted
    calls.block_ipv4_source(sock4, LOOPBACK, group, C)
    assert held() == exclude([C])
    calls.unblock_ipv4_source(sock4, LOOPBACK, group, C)
    refuses(errno.EADDRNOTAVAIL, calls.unblock_ipv4_source, sock4, LOOPBACK, group, C)
    assert held() == SourceFilter.any()
    many = include([f"127.3.0.{n + 1}" for n in range(200)])
    if not IS_WINDOWS:
        error = refuses(errno.ENOBUFS, calls.setipv4sourcefilter, sock4, LOOPBACK, group, many)
        assert isinstance(error, LimitError)
        assert error.limit
    calls.setipv4sourcefilter(sock4, LOOPBACK, group, SourceFilter.none())
    refuses(errno.EADDRNOTAVAIL, calls.getipv4sourcefilter, sock4, LOOPBACK, group)
    calls.add_membership(sock4, LOOPBACK, group)
    refuses(errno.EADDRINUSE, calls.add_membership, sock4, LOOPBACK, group)
    assert held() == SourceFilter.any()
    calls.drop_membership(sock4, LOOPBACK, group)
    refuses(errno.EADDRNOTAVAIL, calls.drop_membership, sock4, LOOPBACK, group)


@linux_only
def test_more_groups_than_a_socket_may_hold(sock4: socket.socket) -> None:
    most = int(Path("/proc/sys/net/ipv4/igmp_max_memberships").read_text(encoding="ascii"))
    for number in range(most):
        calls.join_group(sock4, LO, f"239.77.2.{number + 1}")
    error = refuses(errno.ENOBUFS, calls.join_group, sock4, LO, "239.77.3.1")
    assert isinstance(error, LimitError)
    assert (error.sysctl, error.value) == ("net.ipv4.igmp_max_memberships", most)
    assert "groups" in error.limit
    assert str(error.sysctl) in error.hint


def test_an_interface_that_is_not_there(sock: socket.socket, family: int) -> None:
    group, one, *_ = FAMILIES[family]
    for call, arguments in ((calls.join_group, ()), (calls.join_source_group, (one,))):
        with pytest.raises(InterfaceGoneError) as caught:
            call(sock, 2**31 - 1, group, *arguments)
        assert caught.value.errno == (errno.EADDRNOTAVAIL if IS_WINDOWS else errno.ENODEV)
        assert caught.value.hint


def test_a_closed_socket_is_a_refusal(sock: socket.socket, family: int) -> None:
    group, one, *_ = FAMILIES[family]
    sock.close()
    for call, arguments in (
        (calls.join_group, ()), (calls.leave_group, ()), (calls.join_source_group, (one,)),
        (calls.leave_source_group, (one,)), (calls.block_source, (one,)), (calls.unblock_source, (one,)),
        (calls.setsourcefilter, (include([one]),)), (calls.getsourcefilter, ()),
    ):  # fmt: skip
        refuses(errno.ENOTSOCK if IS_WINDOWS else errno.EBADF, call, sock, LO, group, *arguments)


@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        (calls.join_group, (LO, "192.0.2.1"), AddressError),
        (calls.join_source_group, (LO, "232.1.1.1", "::1"), AddressError),
        (calls.join_source_group, (LO, "232.1.1.1", "224.0.0.1"), AddressError),
        (calls.block_source, (LO, "239.1.1.1", "0.0.0.0"), AddressError),
        (calls.setsourcefilter, (LO, "232.1.1.1", include(["::1"])), AddressError),
        (calls.setipv4sourcefilter, (LOOPBACK, "232.1.1.1", include(["::1"])), AddressError),
        (calls.setipv4sourcefilter, (LOOPBACK, "ff3e::1", include(["::1"])), AddressError),
        (calls.add_source_membership, ("::1", "232.1.1.1", A), AddressError),
        (calls.add_source_membership, (LOOPBACK, "ff3e::1", "::1"), AddressError),
        (calls.getipv4sourcefilter, ("::1", "232.1.1.1"), AddressError),
        (calls.join_group, (-1, "239.1.1.1"), ArgumentError),
        (calls.join_source_group, (1 << 40, "239.1.1.1", A), ArgumentError),
    ],
)
def test_wrong_arguments_are_typed(
    sock4: socket.socket,
    call: Callable[..., object],
    arguments: tuple[object, ...],
    error: type[MulticastError],
) -> None:
    with pytest.raises(error) as caught:
        call(sock4, *arguments)
    assert caught.value.hint
