"""Wrong input to a join: each a typed error that says what to do, with nothing left behind."""

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import aiomcast
from aiomcast import AddressError, ArgumentError, FilterError, InterfaceError, SourceFilter, StateError
from tests.loopback.conftest import Senders
from tests.support.accounts import open_descriptors
from tests.support.packets import take
from tests.support.platforms import IS_WINDOWS, linux_only
from tests.support.seam import Faults, faults
from tests.support.sending import LO, A, B

__all__ = ["faults"]

SSM, ASM, SSM6 = "232.200.1.1", "239.200.1.1", "ff31::200:1"
NO_INTERFACE = 2**31 - 1

WRONG: dict[str, tuple[tuple[object, object], dict[str, object], type[Exception]]] = {
    "not an address": (("not an address", 5000), {"sources": [A]}, AddressError),
    "no text": ((None, 5000), {}, AddressError),
    "a unicast group": (("192.0.2.1", 5000), {"sources": [A]}, AddressError),
    "a unicast IPv6 group": (("::1", 5000), {"sources": ["::1"]}, AddressError),
    "a source of the other family": ((SSM, 5000), {"sources": ["::1"]}, AddressError),
    "an IPv4 source of an IPv6 group": ((SSM6, 5000), {"sources": [A]}, AddressError),
    "a source that is no address": ((SSM, 5000), {"sources": ["example.org"]}, AddressError),
    "a multicast source": ((SSM, 5000), {"sources": ["224.0.0.9"]}, AddressError),
    "0.0.0.0": ((SSM, 5000), {"sources": ["0.0.0.0"]}, AddressError),
    "broadcast": ((SSM, 5000), {"sources": ["255.255.255.255"]}, AddressError),
    "a blocked multicast source": ((ASM, 5000), {"sources": ["239.1.1.1"]}, AddressError),
    "a duplicate source": ((SSM, 5000), {"sources": [A, B, A]}, FilterError),
    "one source as text": ((SSM, 5000), {"sources": A}, FilterError),
    "sources that are a number": ((SSM, 5000), {"sources": 5}, FilterError),
    "port 65536": ((SSM, 65536), {"sources": [A]}, ArgumentError),
    "port -1": ((SSM, -1), {"sources": [A]}, ArgumentError),
    "port as text": ((SSM, "5000"), {"sources": [A]}, ArgumentError),
    "any source in 232/8": ((SSM, 5000), {}, AddressError),
    "any source in ff3x::/32": ((SSM6, 5000), {}, AddressError),
    "EXCLUDE in 232/8": ((SSM, 5000), {"sources": SourceFilter.exclude([A])}, AddressError),
    "EXCLUDE in ff3x::/32": ((SSM6, 5000), {"sources": SourceFilter.exclude(["::1"])}, AddressError),
    "an unknown name": ((SSM, 5000), {"sources": [A], "interface": "nosuch0"}, InterfaceError),
    "an empty name": ((SSM, 5000), {"sources": [A], "interface": ""}, InterfaceError),
    "an unknown index": ((SSM, 5000), {"sources": [A], "interface": NO_INTERFACE}, InterfaceError),
    "index 0": ((SSM, 5000), {"sources": [A], "interface": 0}, InterfaceError),
    "a truth value": ((SSM, 5000), {"sources": [A], "interface": True}, InterfaceError),
    "an unknown address": ((SSM, 5000), {"sources": [A], "interface": "198.51.100.1"}, InterfaceError),
    "no multicast": (
        (SSM, 5000),
        {"sources": [A], "interface": aiomcast.Interface(LO, "lo", (), False)},
        InterfaceError,
    ),
    "an unknown zone": (("ff32::1%nosuch0", 5000), {"sources": ["::1"]}, InterfaceError),
    "a zone that is not the interface": (
        ("ff32::1%nosuch0", 5000), {"sources": ["::1"], "interface": "lo"}, InterfaceError,
    ),
    "an interface that is gone": (
        (SSM, 5000), {"sources": [A], "interface": aiomcast.Interface(NO_INTERFACE, "gone0")},
        aiomcast.InterfaceGoneError,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_join_is_a_typed_error_and_leaves_nothing(case: str) -> None:
    positional, named, error = WRONG[case]
    async with aiomcast.Receiver() as receiver:
        with pytest.raises(error) as caught:
            await receiver.join(*positional, **named)  # type: ignore[arg-type]  # wrong on purpose
        assert isinstance(caught.value, aiomcast.MulticastError)
        assert caught.value.hint
        assert receiver.memberships == ()
        assert len(receiver.filters) == 0


@pytest.mark.parametrize("case", ["a unicast group", "an interface that is gone"])
async def test_a_wrong_listen_leaves_no_descriptor(case: str) -> None:
    positional, named, error = WRONG[case]
    before = open_descriptors()
    with pytest.raises(error):
        async with aiomcast.listen(*positional, **named):  # type: ignore[arg-type]  # wrong on purpose
            pass
    assert open_descriptors() == before


@pytest.mark.parametrize(
    "options",
    [{"capacity": 0}, {"capacity": True}, {"capacity": 1.5}, {"overflow": "pause"}, {"ancillary": ["ttl"]},
     {"ancillary": "hop_limit"}, {"receive_buffer": 0}, {"receive_buffer": "big"}, {"receive_buffer": -1}],
)  # fmt: skip
async def test_wrong_options_of_a_receiver(options: dict[str, object], group: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        # the type is ignored as it is wrong on purpose
        async with aiomcast.listen(group, 5000, sources=[A], interface="lo", **options):  # type: ignore[arg-type]
            pass
    assert caught.value.hint


async def test_the_same_membership_twice(group: str, group6: str) -> None:
    async with aiomcast.Receiver() as receiver:
        await receiver.join(group, 5000, sources=[A], interface="lo")
        await receiver.join(group6, 5000, sources=["::1"], interface="lo")
        for again, source in ((group, B), (f"::ffff:{group}", A), (group6.upper(), "::1")):
            with pytest.raises(StateError) as caught:
                await receiver.join(again, 5000, sources=[source], interface=LO)
            assert caught.value.hint
        await receiver.join(group, 5001, sources=[A], interface="127.0.0.1")
        assert len(receiver.memberships) == 3


async def test_after_leave(group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        membership = await receiver.join(group, 5000, sources=[A], interface="lo")
        await membership.leave()
        await membership.leave()
        assert receiver.memberships == ()
        for use in (
            membership.refresh,
            lambda: membership.swap([B]),
            lambda: membership.join_source(B),
            lambda: membership.leave_source(A),
            lambda: receiver.filters.swap(membership, [B]),
            lambda: receiver.filters.apply({membership: [B]}),
        ):
            with pytest.raises(StateError) as caught:
                await use()
            assert caught.value.hint
        for ask in (membership.kernel_filter, membership.packets, membership.batches):
            with pytest.raises(StateError):
                ask()
        with pytest.raises(KeyError):
            receiver.filters[membership]
        again = await receiver.join(group, 5000, sources=[A], interface="lo")
        assert receiver.filters[again] == SourceFilter.include([A])


async def test_a_closed_receiver(group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        membership = await receiver.join(group, 5000, sources=[A], interface="lo")
    await receiver.aclose()
    assert receiver.memberships == ()
    assert [packet async for packet in receiver] == []
    for ask in (receiver.packets, receiver.batches, receiver.events):
        with pytest.raises(StateError) as caught:
            ask()
        assert caught.value.hint
    with pytest.raises(StateError):
        await receiver.join(group, 5000, sources=[A], interface="lo")
    with pytest.raises(StateError):
        await membership.swap([B])
    with pytest.raises(StateError):
        async with receiver:
            pass


async def test_leaving_leaves_the_kernels_membership(any_group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        before = members(any_group)
        async with await receiver.join(any_group, senders.port, interface="lo"):
            assert members(any_group) == before + 1
        assert members(any_group) == before


def members(group: str) -> int:
    """Return on how many interfaces this host is a member of `group`."""
    shown = f"{int.from_bytes(socket.inet_aton(group), sys.byteorder):08X}"
    with open("/proc/net/igmp", encoding="ascii") as file:
        return file.read().count(shown)


async def test_every_refused_call_of_a_join_is_typed_and_leaves_nothing(group: str, faults: Faults) -> None:
    async with aiomcast.Receiver(receive_buffer=65536, ancillary=["hop_limit"]) as receiver:
        faults.fail(lambda call: False)
        await (await receiver.join(group, 5000, sources=[A, B], interface="lo")).leave()
        calls = faults.stop()
        for number in (errno.ENOBUFS, errno.ENOMEM, errno.ENODEV, errno.EPERM):
            for failing in range(1, calls):  # the last one leaves
                before = open_descriptors()
                faults.fail_at(failing, number)
                refused = None
                try:
                    membership = await receiver.join(group, 5000, sources=[A, B], interface="lo")
                except aiomcast.RefusedError as error:
                    refused = error
                faults.stop()
                if refused is None:  # an option that the socket can do without
                    assert membership.kernel_filter() == membership.filter == SourceFilter.include([A, B])
                    await membership.leave()
                    continue
                assert refused.errno == number
                assert receiver.memberships == ()
                assert open_descriptors() == before


async def test_a_refused_listen_leaves_no_descriptor(group: str, faults: Faults) -> None:
    before = open_descriptors()
    faults.fail(lambda call: call > (1 if IS_WINDOWS else 5))
    with pytest.raises(aiomcast.RefusedError):
        async with aiomcast.listen(group, 5000, sources=[A, B], interface="lo"):
            pass
    assert open_descriptors() == before


@contextlib.contextmanager
def spare_descriptors(spare: int) -> Iterator[None]:
    """Leave room for so many open files and no more."""
    resource = pytest.importorskip("resource", reason="Windows has no such limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd"))) + 8
    filled: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.dup(0))
        for _ in range(spare):
            os.close(filled.pop())
        yield
    finally:
        for descriptor in filled:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("spare", range(5))
async def test_the_soft_limit_of_open_files_is_raised_wherever_it_is_met(spare: int, group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        with spare_descriptors(spare):
            membership = await receiver.join(group, 5000, sources=[A], interface="lo")
            assert membership.kernel_filter() == aiomcast.SourceFilter.include([A])


async def test_the_interface_follows_from_a_zone(group6: str) -> None:
    async with aiomcast.Receiver() as receiver:
        by_group = await receiver.join(f"{group6}%lo", 5000, sources=["::1"])
        by_source = await receiver.join(group6, 5001, sources=["fe80::1%lo"])
        assert [by_group.interface.name, by_source.interface.name] == ["lo", "lo"]


async def test_the_interface_follows_from_the_source(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        by_source = await receiver.join(group, senders.port, sources=[A])
        assert by_source.interface.name == "lo"
        await senders.send(A, group, b"routed")
        assert [packet.data for packet in await take(aiter(by_source), 1)] == [b"routed"]


IN_A_SUBPROCESS = """
import asyncio, os, sys, aiomcast

async def main():
    try:
        async with aiomcast.listen(sys.argv[1], int(sys.argv[2]), sources=[sys.argv[3]],
                                   interface=sys.argv[4] or None):
            print("joined")
    except aiomcast.MulticastError as error:
        print(type(error).__name__, bool(error.hint))

if len(sys.argv) > 5 and os.geteuid() == 0:
    wanted, sys.argv[2] = sys.argv[2], "5000"
    asyncio.run(main())  # imports what it needs while it may read it
    sys.argv[2] = wanted
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
asyncio.run(main())
"""


def said(before: list[str], *arguments: str) -> str:
    """Return what a listen in a process of its own came to."""
    command = [*before, sys.executable, "-c", IN_A_SUBPROCESS, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout.strip()


@linux_only
def test_no_permission() -> None:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        if int(file.read()) <= 100:
            pytest.skip("every port is free for all here")
    assert said([], SSM, "100", A, "lo", "unprivileged").endswith("NoPermissionError True")


@pytest.mark.skipif(not shutil.which("unshare") or not shutil.which("ip"), reason="needs unshare and ip")
@pytest.mark.parametrize(
    ("setting", "arguments", "expected"),
    [
        ("true", (SSM, "5000", "192.0.2.1", ""), "NoRouteError True"),
        ("true", ("ff3e::1", "5000", "2001:db8::1", ""), "NoRouteError True"),
        (
            "ip link add d0 type veth peer name d1 && ip link set d0 multicast off up",
            (SSM, "5000", "192.0.2.1", "d0"), "InterfaceError True",
        ),
    ],
)  # fmt: skip
def test_no_route_and_no_multicast(setting: str, arguments: tuple[str, ...], expected: str) -> None:
    unshare = ["unshare", "-rn", "sh", "-c", f'{setting} && exec "$@"', "sh"]
    try:
        result = said(unshare, *arguments)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace for us: {error.stderr.strip()}")
    assert result == expected


async def test_an_empty_list_joins_nothing_until_a_swap(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=(), interface="lo") as feed:
        assert feed.filter == SourceFilter.none() == feed.kernel_filter()
        async with asyncio.timeout(10):
            await feed.swap([A])
        await senders.send(A, group, b"now")
        assert [packet.data for packet in await take(aiter(feed), 1)] == [b"now"]
