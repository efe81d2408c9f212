"""Limits of a namespace of its own, set so that each in turn refuses: the error names that one."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

import aiomcast
from aiomcast import LimitError, MulticastProtocol, Receiver, SourceFilter
from aiomcast.rfc3678 import calls
from tests.support.inside import readers_of

from .network import Host, Network

include, exclude = SourceFilter.include, SourceFilter.exclude
GROUPS, SOURCES = "net.ipv4.igmp_max_memberships", "net.ipv4.igmp_max_msf"
SOURCES6, MEMORY = "net.ipv6.mld_max_msf", "net.core.optmem_max"
GROUP, GROUP6, PORT = "232.4.9.1", "ff3e::8004:901", 5090
A, B = "192.0.2.11", "192.0.2.12"

Set = Callable[..., None]


@pytest.fixture
def sysctl(network: Network, in_receiver: Host) -> Iterator[Set]:
    """Give `sysctl(name, value)` in the receiver's namespace; all is undone at the end."""
    before: dict[Path, str] = {}

    def write(name: str, value: int) -> None:
        path = Path("/proc/sys", name.replace(".", "/"))
        if not path.exists():
            pytest.skip(f"{name} is no namespace's own here")
        before.setdefault(path, path.read_text())
        path.write_text(str(value))

    yield write
    for path, value in before.items():
        path.write_text(value)


@pytest.fixture
def sock(in_receiver: Host) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.fixture
def sock6(in_receiver: Host) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.fixture
def v0(in_receiver: Host) -> int:
    return socket.if_nametoindex("v0")


def many(count: int) -> list[str]:
    return [f"10.{number >> 8}.{number & 255}.1" for number in range(count)]


def names(error: LimitError, name: str, value: int, number: int = errno.ENOBUFS) -> None:
    """One limit is blamed, with its value, and no other is so much as mentioned."""
    assert (error.errno, error.sysctl, error.value) == (number, name, value)
    assert error.limit
    assert f"sysctl -w {name}" in error.hint
    assert str(value) in error.hint
    others = {GROUPS, SOURCES, SOURCES6, MEMORY} - {name}
    assert not any(other in error.hint for other in others), error.hint


def refused(call: Callable[..., object], *arguments: object) -> LimitError:
    with pytest.raises(LimitError) as caught:
        call(*arguments)
    return caught.value


async def joined(group: str, sources: Sequence[str], before: Sequence[str] = (A,)) -> list[LimitError]:
    """Every way in which a membership of `group` comes to hold `sources`, each of which is refused.

    It is joined with them, swapped to them from `before`, and set by the socket's own method and a
    protocol's. What was held is held afterwards.
    """
    errors = []
    async with Receiver() as receiver:
        with pytest.raises(LimitError) as caught:
            await receiver.join(group, PORT, sources=sources, interface="v0")
        errors.append(caught.value)
        assert receiver.memberships == ()
        if before:
            one = await receiver.join(group, PORT, sources=before, interface="v0")
            other = await receiver.join(group, PORT + 1, sources=before, interface="v0")
            changes: tuple[Callable[[], Awaitable[None]], ...] = (
                lambda: one.swap(sources),
                lambda: receiver.filters.apply({other: [B], one: sources}),
            )
            for change in changes:
                with pytest.raises(LimitError) as caught:
                    await change()
                errors.append(caught.value)
                assert one.kernel_filter() == one.filter == include(before)
                assert other.kernel_filter() == other.filter == include(before)
    transport, protocol = await aiomcast.create_multicast_endpoint(
        MulticastProtocol, group, PORT, sources=before, interface="v0"
    )
    errors.append(refused(protocol.set_filter, sources))
    assert protocol.get_filter() == include(before)
    transport.close()
    with aiomcast.open_socket(group, PORT, "v0") as sock:
        errors.append(refused(sock.set_filter, include(sources)))
        assert sock.filter.is_none
        with pytest.raises(aiomcast.RefusedError):
            calls.getsourcefilter(sock, sock.interface.index, group)  # not half a member either
    return errors


@pytest.mark.parametrize("most", [0, -1])
async def test_no_groups_at_all(sysctl: Set, sock: socket.socket, v0: int, most: int) -> None:
    sysctl(GROUPS, most)
    for call, arguments in (
        (calls.join_group, (v0, GROUP)),
        (calls.join_source_group, (v0, GROUP, A)),
        (calls.join_source_group, (0, GROUP, A)),
        (calls.add_membership, ("192.0.2.1", GROUP)),
        (calls.add_source_membership, ("192.0.2.1", GROUP, A)),
        (calls.add_source_membership, ("0.0.0.0", GROUP, A)),
    ):
        names(refused(call, sock, *arguments), GROUPS, most)
    for sources in ([A], [A, B], many(25)):
        for error in await joined(GROUP, sources, before=()):
            names(error, GROUPS, most)


def test_few_groups(sysctl: Set, sock: socket.socket, v0: int) -> None:
    sysctl(GROUPS, 3)
    for number in range(3):
        calls.join_source_group(sock, v0, f"232.4.8.{number}", A)
    for call, arguments in (
        (calls.join_group, (v0, GROUP)),
        (calls.join_source_group, (0, GROUP, A)),
        (calls.add_membership, ("192.0.2.1", GROUP)),
    ):
        names(refused(call, sock, *arguments), GROUPS, 3)
    for source in many(9):
        calls.join_source_group(sock, v0, "232.4.8.1", source)
    names(refused(calls.join_source_group, sock, v0, "232.4.8.1", B), SOURCES, 10)


def test_a_full_list_on_the_interface_of_the_kernels_choice(
    sock: socket.socket, sock6: socket.socket, v0: int
) -> None:
    """With index 0 a join finds an interface, and the question how long the list is does not."""
    for source in many(10):
        calls.join_source_group(sock, 0, GROUP, source)
    names(refused(calls.join_source_group, sock, 0, GROUP, A), SOURCES, 10)
    names(refused(calls.add_source_membership, sock, "0.0.0.0", GROUP, A), SOURCES, 10)
    calls.setsourcefilter(sock, v0, GROUP, exclude(many(10)))
    names(refused(calls.block_source, sock, v0, GROUP, A), SOURCES, 10)


async def test_a_long_list_and_little_memory(sysctl: Set, sock: socket.socket, v0: int) -> None:
    """8,000 sources are allowed, and too long a value all the same: 144 + 128 bytes for each."""
    sysctl(SOURCES, 10_000)
    sysctl(MEMORY, 131_072)
    wanted = many(8000)
    for error in await joined(GROUP, wanted):
        names(error, MEMORY, 131_072)
    calls.join_source_group(sock, v0, GROUP, A)
    calls.setsourcefilter(sock, v0, GROUP, include(wanted[:1000]))
    for number in (1023, 8000):
        names(refused(calls.setsourcefilter, sock, v0, GROUP, include(wanted[:number])), MEMORY, 131_072)
        names(refused(calls.setsourcefilter, sock, v0, GROUP, exclude(wanted[:number])), MEMORY, 131_072)
    calls.setipv4sourcefilter(sock, "192.0.2.1", GROUP, include(wanted))  # 4 bytes for each here
    sysctl(MEMORY, 20_480)
    error = refused(calls.setipv4sourcefilter, sock, "192.0.2.1", GROUP, exclude(wanted[:1000]))
    names(error, MEMORY, 20_480)  # the list it holds and the new one together
    assert calls.getsourcefilter(sock, v0, GROUP) == include(wanted)
    error = refused(calls.setsourcefilter, sock, v0, GROUP, include(many(10_001)))
    assert (error.sysctl, error.value) == (SOURCES, 10_000)
    assert MEMORY in error.hint


def test_sources_one_by_one_until_the_memory_is_used_up(sysctl: Set, sock: socket.socket, v0: int) -> None:
    sysctl(SOURCES, 10_000)
    sysctl(MEMORY, 1000)

    def all_of_them() -> None:
        for source in many(500):
            calls.join_source_group(sock, v0, GROUP, source)

    names(refused(all_of_them), MEMORY, 1000)
    assert 50 < len(calls.getsourcefilter(sock, v0, GROUP).sources) < 200


@pytest.mark.parametrize("call", ["groups", "sources"])
def test_groups_until_the_memory_is_used_up(sysctl: Set, sock: socket.socket, v0: int, call: str) -> None:
    """18 groups with a source take as much memory as 42 without: the errno is the same for both limits."""
    sysctl(MEMORY, 2048)
    sysctl(GROUPS, 1000 if call == "groups" else 20)
    count = 0
    while count < 100:
        name = f"232.4.7.{count}"
        try:
            if call == "groups":
                calls.join_group(sock, v0, name)
            else:
                calls.join_source_group(sock, v0, name, A)
        except LimitError as refusal:
            names(refusal, MEMORY, 2048)
            break
        count += 1
    assert count == (42 if call == "groups" else 18)


def test_as_many_groups_as_the_memory_holds(sysctl: Set, sock: socket.socket, v0: int) -> None:
    """Both limits are met: both are said, and the kernel asks for the groups first."""
    sysctl(GROUPS, 18)
    for number in range(18):
        calls.join_source_group(sock, v0, f"232.4.7.{number}", A)
    sysctl(MEMORY, 2048)
    error = refused(calls.join_group, sock, v0, GROUP)
    assert (error.sysctl, error.value) == (GROUPS, 18)
    assert f"sysctl -w {MEMORY}" in error.hint


async def test_no_memory_for_options(sysctl: Set, sock: socket.socket, sock6: socket.socket, v0: int) -> None:
    for most in (0, 40):
        sysctl(MEMORY, most)
        names(refused(calls.join_group, sock, v0, GROUP), MEMORY, most)
        names(refused(calls.join_source_group, sock, v0, GROUP, A), MEMORY, most)
        names(refused(calls.join_group, sock6, v0, GROUP6), MEMORY, most, errno.ENOMEM)
        for error in await joined(GROUP, [A], before=()):
            names(error, MEMORY, most)
        for error in await joined(GROUP6, ["2001:db8::11"], before=()):
            names(error, MEMORY, most, errno.ENOMEM)


async def test_memory_for_the_group_and_not_for_its_source(sysctl: Set, in_receiver: Host) -> None:
    """The kernel joins the group and then refuses the source; we leave it again."""
    sysctl(MEMORY, 100)
    for error in await joined(GROUP, [A], before=()):
        names(error, MEMORY, 100)
    with aiomcast.open_socket("239.4.9.2", PORT, "v0") as one:
        names(refused(one.set_filter, include([A])), MEMORY, 100)
        one.set_filter(SourceFilter.any())
        assert one.kernel_filter() == one.filter == SourceFilter.any()


def test_65_sources_of_ipv6(sock6: socket.socket, v0: int) -> None:
    """The limit's file is not to be seen in a namespace; it holds all the same."""
    if Path("/proc/sys/net/ipv6/mld_max_msf").exists():
        pytest.skip("this kernel shows mld_max_msf in a namespace")
    wanted = [f"2001:db8::{number:x}" for number in range(1, 66)]
    calls.join_group(sock6, v0, GROUP6)
    for full in (exclude(wanted[:64]), include(wanted[:64])):
        calls.setsourcefilter(sock6, v0, GROUP6, full)
        more = calls.join_source_group if full.is_include else calls.block_source
        names(refused(more, sock6, v0, GROUP6, wanted[64]), SOURCES6, 64)
        names(refused(calls.setsourcefilter, sock6, v0, GROUP6, include(wanted)), SOURCES6, 64)
        names(refused(calls.setsourcefilter, sock6, v0, GROUP6, exclude(wanted)), SOURCES6, 64)
        assert calls.getsourcefilter(sock6, v0, GROUP6) == full
    with aiomcast.open_socket(GROUP6, PORT, "v0") as one:
        names(refused(one.set_filter, include(wanted)), SOURCES6, 64)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
        for source in wanted[:64]:
            calls.join_source_group(other, 0, GROUP6, source)
        names(refused(calls.join_source_group, other, 0, GROUP6, wanted[64]), SOURCES6, 64)


@pytest.mark.parametrize(("most", "fits"), [(0, 1), (-1, 200)])
async def test_limits_that_are_none(sysctl: Set, sock: socket.socket, v0: int, most: int, fits: int) -> None:
    """With 0 the first source is taken all the same; with -1 there is no limit."""
    sysctl(SOURCES, most)
    for source in many(fits):
        calls.join_source_group(sock, v0, GROUP, source)
    if most == 0:
        names(refused(calls.join_source_group, sock, v0, GROUP, A), SOURCES, 0)
        names(refused(calls.setsourcefilter, sock, v0, GROUP, include([A])), SOURCES, 0)
    async with Receiver() as receiver:
        membership = await receiver.join(GROUP, PORT, sources=many(200 if fits > 1 else 3), interface="v0")
        assert membership.kernel_filter() == membership.filter
        assert len(readers_of(membership)) == (1 if fits > 1 else 3)


def test_groups_of_an_interface_that_is_gone(network: Network, sock: socket.socket, v0: int) -> None:
    """They count, though no question finds them any more."""
    for number in range(20):
        calls.join_source_group(sock, v0, f"232.4.6.{number}", A)
    network.ip("rcv", "link del v0")
    network.plug("rcv")
    index = socket.if_nametoindex("v0")
    names(refused(calls.join_source_group, sock, index, GROUP, A), GROUPS, 20)
    calls.leave_group(sock, v0, "232.4.6.0")
    calls.join_source_group(sock, index, GROUP, A)


def test_a_socket_of_another_namespace(network: Network, sysctl: Set, sock: socket.socket, v0: int) -> None:
    """Its limits are not to be seen from here: none is blamed, and no value of ours is told for its."""
    sysctl(GROUPS, 0)
    with network.inside("s1"):
        error = refused(calls.join_source_group, sock, v0, GROUP, A)
    assert (error.errno, error.sysctl, error.value) == (errno.ENOBUFS, None, None)
    assert GROUPS in error.hint
    assert MEMORY in error.hint
    assert "unknown" in error.hint
