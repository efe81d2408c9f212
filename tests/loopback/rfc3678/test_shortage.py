"""An ENOBUFS or ENOMEM is put down to the limit that was met, on any socket, or to none for sure."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Callable, Iterator

import pytest

import aiomcast
from aiomcast import LimitError, Receiver, RefusedError, SourceFilter
from aiomcast.rfc3678 import calls
from aiomcast.rfc3678.limits import source_limit
from aiomcast.rfc3678.sysctls import sysctl_value
from tests.support.seam import Faults, faults, intercepted, refusal
from tests.support.sending import LO, A, B

__all__ = ["faults"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits of Linux")

include, exclude = SourceFilter.include, SourceFilter.exclude
GROUPS, MEMORY = "net.ipv4.igmp_max_memberships", "net.core.optmem_max"
SOURCES = {4: "net.ipv4.igmp_max_msf", 6: "net.ipv6.mld_max_msf"}
LOOPBACK = "127.0.0.1"
MANY6 = [f"2001:db8::{number:x}" for number in range(1, 400)]


def many(family: int, count: int) -> list[str]:
    """Return `count` sources."""
    form = "127.6.{}.{}" if family == 4 else "2001:db8::{:x}:{:x}"
    return [form.format(number >> 7, number & 127 | 128) for number in range(count)]


def refused(call: Callable[..., object], *arguments: object, number: int = errno.ENOBUFS) -> LimitError:
    with pytest.raises(LimitError) as caught:
        call(*arguments)
    assert caught.value.errno == number
    assert caught.value.limit
    return caught.value


def names(error: LimitError, sysctl: str) -> None:
    """Only the one limit is blamed, with what it is now and how to raise it."""
    value = sysctl_value(sysctl)
    if value is None and sysctl == SOURCES[6]:
        value = 64  # a network namespace does not show it, but has it
    assert (error.sysctl, error.value) == (sysctl, value)
    assert f"sysctl -w {sysctl}" in error.hint
    assert str(error.value) in error.hint
    others = {GROUPS, MEMORY, *SOURCES.values()} - {sysctl}
    assert not any(other in error.hint for other in others), error.hint


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def name(family: int, any_group: str, group6: str) -> str:
    return any_group if family == 4 else group6


@pytest.fixture
def sock(family: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.fixture
def sock4() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


def test_a_full_list(sock: socket.socket, family: int, name: str) -> None:
    """The limit is asked before the duplicate: at a full list a second join of the same is this too."""
    most = source_limit(name) or 0
    full = many(family, most)
    calls.join_source_group(sock, LO, name, full[0])
    for join, held in ((calls.join_source_group, include(full)), (calls.block_source, exclude(full))):
        calls.setsourcefilter(sock, LO, name, held)
        for source in (A if family == 4 else "::1", full[0]):
            names(refused(join, sock, LO, name, source), SOURCES[family])
        assert calls.getsourcefilter(sock, LO, name) == held
    too_many = include(many(family, most + 1))
    names(refused(calls.setsourcefilter, sock, LO, name, too_many), SOURCES[family])


def test_a_full_list_by_address(sock4: socket.socket, any_group: str) -> None:
    full = many(4, source_limit(any_group) or 0)
    for source in full:
        calls.add_source_membership(sock4, LOOPBACK, any_group, source)
    names(refused(calls.add_source_membership, sock4, LOOPBACK, any_group, A), SOURCES[4])
    too_many = include([*full, A])
    names(refused(calls.setipv4sourcefilter, sock4, LOOPBACK, any_group, too_many), SOURCES[4])
    calls.setipv4sourcefilter(sock4, LOOPBACK, any_group, exclude(full))
    names(refused(calls.block_ipv4_source, sock4, LOOPBACK, any_group, A), SOURCES[4])


@pytest.mark.parametrize("filled", ["groups", "groups with sources"])
def test_a_socket_with_many_groups(sock4: socket.socket, filled: str, any_group: str) -> None:
    for number in range(sysctl_value(GROUPS) or 0):
        if filled == "groups":
            calls.join_group(sock4, LO, f"239.78.1.{number + 1}")
        else:
            calls.join_source_group(sock4, LO, f"239.78.1.{number + 1}", A)
    for call, arguments in (
        (calls.join_group, (LO, any_group)),
        (calls.join_source_group, (LO, any_group, A)),
        (calls.add_membership, (LOOPBACK, any_group)),
        (calls.add_source_membership, (LOOPBACK, any_group, A)),
    ):
        names(refused(call, sock4, *arguments), GROUPS)
    if filled == "groups with sources":
        for source in many(4, (source_limit(any_group) or 0) - 1):
            calls.join_source_group(sock4, LO, "239.78.1.1", source)
        names(refused(calls.join_source_group, sock4, LO, "239.78.1.1", B), SOURCES[4])


@pytest.fixture
def crammed() -> Iterator[socket.socket]:
    """Give an IPv6 socket, which may have IPv4 groups too, with no memory left for options.

    It is a member of two groups that it can have sources in: 239.79.1.1 and ff31::79:1.
    """
    if (sysctl_value(MEMORY) or 1 << 30) > 1 << 18:
        pytest.skip("it takes too many groups to use all that memory up")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        calls.join_group(sock, LO, "239.79.1.1")
        calls.join_source_group(sock, LO, "ff31::79:1", "::1")
        most = source_limit("ff31::") or 0
        for length in (most, 1):  # first by large steps, then by small
            for number in range(10_000):
                group = f"ff31::7a:{length:x}:{number:x}"
                try:
                    calls.join_group(sock, LO, group)
                    if length > 1:
                        calls.setsourcefilter(sock, LO, group, exclude(MANY6[:length]))
                except RefusedError:
                    break
        with contextlib.suppress(RefusedError):  # a membership of IPv4 takes less
            calls.join_group(sock, LO, "239.79.1.2")
        yield sock


def test_no_memory_for_options(crammed: socket.socket, any_group: str, group6: str) -> None:
    names(refused(calls.join_group, crammed, LO, group6, number=errno.ENOMEM), MEMORY)
    names(refused(calls.join_source_group, crammed, LO, group6, "::1", number=errno.ENOMEM), MEMORY)
    for call, arguments in (
        (calls.setsourcefilter, (LO, "ff31::79:1", include(MANY6[:10]))),
        (calls.join_group, (LO, any_group)),
        (calls.join_source_group, (LO, any_group, A)),
        (calls.add_membership, (LOOPBACK, any_group)),
        (calls.add_source_membership, (LOOPBACK, any_group, A)),
        (calls.block_source, (LO, "239.79.1.1", A)),
        (calls.block_ipv4_source, (LOOPBACK, "239.79.1.1", A)),
        (calls.setsourcefilter, (LO, "239.79.1.1", include(many(4, 10)))),
        (calls.setipv4sourcefilter, (LOOPBACK, "239.79.1.1", exclude(many(4, 10)))),
    ):
        names(refused(call, crammed, *arguments), MEMORY)


def test_no_memory_and_too_many_sources(crammed: socket.socket) -> None:
    """Both refuse it: both are said."""
    for group, sources in (("239.79.1.1", many(4, 20)), ("ff31::79:1", MANY6[:100])):
        error = refused(calls.setsourcefilter, crammed, LO, group, include(sources))
        assert error.sysctl == SOURCES[6 if ":" in group else 4]
        assert f"sysctl -w {MEMORY}" in error.hint


CALLS: dict[str, tuple[Callable[..., object], tuple[object, ...], tuple[str, ...]]] = {
    "join": (calls.join_group, (), (GROUPS, MEMORY)),
    "leave": (calls.leave_group, (), ()),
    "join source": (calls.join_source_group, (A,), (GROUPS, MEMORY)),
    "leave source": (calls.leave_source_group, (A,), ()),
    "block": (calls.block_source, (A,), (GROUPS, MEMORY)),
    "unblock": (calls.unblock_source, (A,), ()),
    "set": (calls.setsourcefilter, (include([A, B]),), (SOURCES[4], MEMORY)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get)
def test_what_no_limit_explains(
    call: str, number: int, sock4: socket.socket, any_group: str, faults: Faults
) -> None:
    """The candidates are told, and none is blamed."""
    make, arguments, candidates = CALLS[call]
    faults.fail_at(1, number)
    with pytest.raises(RefusedError) as caught:
        make(sock4, LO, any_group, *arguments)
    error = caught.value
    assert error.errno == number
    assert "out of memory" in error.hint
    assert all(sysctl in error.hint for sysctl in candidates)
    assert isinstance(error, LimitError) is (number == errno.ENOBUFS)
    if isinstance(error, LimitError):
        assert error.limit
        assert (error.sysctl, error.value) == (None, None)


def test_a_member_that_is_refused_a_source_for_no_reason(
    sock4: socket.socket, any_group: str, faults: Faults
) -> None:
    calls.join_source_group(sock4, LO, any_group, A)
    faults.fail_at(1)
    error = refused(calls.join_source_group, sock4, LO, any_group, B)
    assert error.sysctl is None
    assert SOURCES[4] in error.hint
    assert MEMORY in error.hint
    assert GROUPS not in error.hint


def test_a_kernel_that_does_not_tell_its_memory(sock4: socket.socket, any_group: str, faults: Faults) -> None:
    """SO_MEMINFO came with Linux 4.12; the groups can be counted without it."""

    def without(sock: socket.socket, level: int, *arguments: object) -> None:
        if level == socket.SOL_SOCKET:
            raise refusal(errno.ENOPROTOOPT)

    with intercepted("getsockopt", without):
        faults.fail_at(1)
        assert refused(calls.join_group, sock4, LO, any_group).sysctl is None
        faults.stop()
        for number in range(sysctl_value(GROUPS) or 0):
            calls.join_source_group(sock4, LO, f"239.78.2.{number + 1}", A)
        names(refused(calls.join_group, sock4, LO, any_group), GROUPS)


async def test_a_swap_that_is_refused_for_no_reason(any_group: str, faults: Faults) -> None:
    async with Receiver() as receiver:
        membership = await receiver.join(any_group, 5000, sources=[A, B], interface="lo")
        faults.fail(lambda call: True)
        with pytest.raises(LimitError) as caught:
            await membership.swap([A])
        faults.stop()
        assert caught.value.sysctl is None
        assert SOURCES[4] in caught.value.hint
        assert membership.kernel_filter() == membership.filter == include([A, B])


def test_the_socket_of_one_group(any_group: str) -> None:
    """What `set_filter` is refused says the same, and the socket holds what it held."""
    most = source_limit(any_group) or 0
    with aiomcast.open_socket(any_group, 5000, "lo") as sock:
        for held in (SourceFilter.none(), include([A]), exclude([B])):
            sock.set_filter(held)
            error = refused(sock.set_filter, include(many(4, most + 1)))
            names(error, SOURCES[4])
            assert sock.filter == held == sock.kernel_filter()
