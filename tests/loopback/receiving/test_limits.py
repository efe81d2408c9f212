"""Many sources, many memberships, and the limits of the system: met by spreading, or said."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys

import pytest

import aiomcast
from aiomcast import FilterMode, Receiver, SourceFilter
from tests.support.interfaces import ipv6_way
from tests.support.loops import LOOPS
from tests.support.packets import take
from tests.support.sending import LO, A, sending
from tests.support.waiting import turns

resource = pytest.importorskip("resource")

include, exclude = SourceFilter.include, SourceFilter.exclude
PORT = 5000
IP_PKTINFO = 8  # Linux; Python 3.11's socket has no name for it


def sources(first: int, count: int) -> list[str]:
    """Return `count` sources of 127/8, each number its own."""
    return [f"127.{n >> 14 & 127 | 128}.{n >> 7 & 127}.{n & 127 | 128}" for n in range(first, first + count)]


def send_from(sock: socket.socket, source: str, data: bytes, group: str) -> None:
    """Send one datagram from any address of 127/8: struct in_pktinfo says which."""
    pktinfo = struct.pack("@i4s4s", LO, socket.inet_aton(source), bytes(4))
    sock.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, pktinfo)], 0, (group, PORT))


def open_files(wanted: int) -> None:
    """Skip unless this process may have `wanted` sockets open."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the hard limit of open files is {hard}, {wanted} are needed")


@pytest.mark.skipif(sys.platform != "linux", reason="sends as Linux does")
async def test_five_thousand_sources_in_one_membership(any_group: str) -> None:
    open_files(700)
    old, new, stranger = sources(0, 5000), sources(5000, 2500), sources(9000, 1)
    async with Receiver(capacity=100_000, receive_buffer=1 << 20) as receiver:
        membership = await receiver.join(any_group, PORT, sources=old, interface="lo")
        assert membership.kernel_filter() == include(old) == membership.filter
        stream = receiver.packets()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for wanted in (old, [*old[2500:], *new], [*new, *old[:100]], new[:7], old):
                before = set(membership.filter.sources)
                await membership.swap(wanted)
                assert membership.kernel_filter() == include(wanted) == membership.filter
                retained, fresh = before.intersection(wanted), set(wanted).difference(before)
                probed = [*sorted(retained)[::17], *sorted(fresh)[::17]]
                refused = [*stranger, *sorted(before.difference(wanted))[::17]]
                for source in (*refused, *probed):
                    send_from(sock, source, source.encode(), any_group)
                packets = await take(stream, len(probed))
                assert sorted(packet.source for packet in packets) == sorted(probed)
                assert all(packet.source.encode() == packet.data for packet in packets)
                await turns()
                assert len(stream) == 0
        assert receiver.statistics().kernel_drops == 0


@pytest.mark.parametrize("count", [2000, 10_000])
async def test_thousands_of_memberships_in_one_receiver(count: int, any_group: str) -> None:
    if count > 2000 and os.geteuid() != 0:
        pytest.skip("10,000 memberships are tried as root only")
    open_files(count + 200)
    first, second = any_group.split(".")[:2]
    groups = [f"{first}.{second}.{n >> 7 & 127 | 128}.{n & 127 | 128}" for n in range(count)]
    lo = next(one for one in aiomcast.list_interfaces() if one.index == LO)
    async with Receiver() as receiver:
        for group in groups:
            await receiver.join(group, PORT, sources=[A], interface=lo)
        assert len(receiver.memberships) == len(receiver.filters) == count
        stream = receiver.packets()
        probed = groups[:: count // 50]
        for group in probed:
            with sending(A, group, PORT) as sock:
                sock.send(group.encode())
        packets = await take(stream, len(probed))
        assert sorted(packet.group for packet in packets) == sorted(probed)
        assert all(packet.group.encode() == packet.data for packet in packets)
        await receiver.filters.apply({one: [A, "127.0.0.3"] for one in receiver.memberships[:100]})
        assert all(one.kernel_filter() == one.filter for one in receiver.memberships[:: count // 50])
        await turns()
        assert len(stream) == 0


async def test_an_ipv6_block_list_beyond_the_limit_is_completed_by_the_gate() -> None:
    interface, source = ipv6_way()
    group, port = f"ff11::{os.getpid():x}:77", 5077
    others = [f"2001:db8::{number:x}" for number in range(80)]
    async with Receiver() as receiver:
        with pytest.warns(RuntimeWarning, match=r"net\.ipv6\.mld_max_msf") as caught:
            membership = await receiver.join(
                group, port, sources=exclude([*others, source]), interface=interface
            )
        assert len([one for one in caught if "mld_max_msf" in str(one.message)]) == 1
        held = membership.kernel_filter()
        assert (held.mode, len(held.sources)) == (FilterMode.EXCLUDE, 64)
        assert held.sources < membership.filter.sources
        stream = receiver.packets()
        with sending(source, group, port, interface.index) as sock:
            sock.send(b"refused")
            await turns(20)
            assert len(stream) == 0
            await membership.swap(exclude(others))
            sock.send(b"allowed")
            assert [packet.data for packet in await take(stream, 1)] == [b"allowed"]


# The limit of open files, for real, in processes of their own

PROLOGUE = """
import asyncio, errno, os, resource, sys
import aiomcast

def used():
    return len(os.listdir("/proc/self/fd")) - 1

def run(main):
    if sys.argv[1] == "uvloop":
        import uvloop
        uvloop.run(main)
    else:
        asyncio.run(main)

def sources(count):
    return [f"127.4.{n >> 6}.{n & 63 | 64}" for n in range(count)]
"""


def run_alone(script: str, loop: str, *arguments: str) -> None:
    """Run `script` in a process of its own, on `loop`."""
    command = [sys.executable, "-c", PROLOGUE + script, loop, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts its files in /proc")
on_loops = pytest.mark.parametrize("loop", LOOPS)

RAISES_THE_SOFT_LIMIT = """
async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))
    async with aiomcast.Receiver() as receiver:
        one = await receiver.join(sys.argv[2], 5000, sources=sources(1), interface="lo")
        if sys.argv[3] == "joins":
            for port in range(5001, 5100):
                await receiver.join(sys.argv[2], port, sources=sources(1), interface="lo")
        else:
            await one.swap(sources(1000))
            assert one.kernel_filter() == aiomcast.SourceFilter.include(sources(1000))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (512, 512)

run(main())
"""


@needs_proc
@on_loops
@pytest.mark.parametrize("need", ["joins", "a swap"])
def test_the_soft_limit_of_open_files_is_raised_first(need: str, loop: str, any_group: str) -> None:
    run_alone(RAISES_THE_SOFT_LIMIT, loop, any_group, need)


MEETS_THE_HARD_LIMIT = """
def is_said(error):
    assert error.errno == errno.EMFILE
    assert (error.limit, error.value) == ("open files", 100)
    assert "open files" in str(error) and "ulimit -n" in error.hint

async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100))
    async with aiomcast.Receiver() as receiver:
        one = await receiver.join(sys.argv[2], 5000, sources=sources(300), interface="lo")
        other = await receiver.join(sys.argv[2], 5001, sources=sources(3), interface="lo")
        before, files = list(receiver.filters.values()), used()
        for refused in (
            lambda: receiver.join(sys.argv[2], 5002, sources=sources(2000), interface="lo"),
            lambda: one.swap(sources(2000)),
            lambda: other.swap(sources(2000)),
            lambda: receiver.filters.apply({one: sources(299)[::-1], other: sources(2000)}),
        ):
            try:
                await refused()
            except aiomcast.LimitError as error:
                is_said(error)
            else:
                raise AssertionError("it was not refused")
            assert used() == files
            assert list(receiver.filters.values()) == before
            assert [one.kernel_filter() for one in receiver.memberships] == before
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, 100)
        await other.swap(sources(20)[10:])
        assert other.kernel_filter() == aiomcast.SourceFilter.include(sources(20)[10:])

run(main())
"""


@needs_proc
@on_loops
def test_the_hard_limit_of_open_files_is_an_error_that_names_it(loop: str, any_group: str) -> None:
    run_alone(MEETS_THE_HARD_LIMIT, loop, any_group)


HAS_FEW_FILES_LEFT = """
async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    left = 0
    while True:
        receiver = aiomcast.Receiver()
        try:
            one = await receiver.join(sys.argv[2], 5000, sources=sources(25), interface="lo")
        except OSError as error:
            assert isinstance(error, aiomcast.LimitError), f"{left} files left: {error!r}"
            assert (error.errno, error.limit, error.value) == (errno.EMFILE, "open files", 128)
            assert receiver.memberships == ()
            await receiver.aclose()
            os.close(taken.pop())
            assert used() == 127 - left
            left += 1
        else:
            break
    assert left > 3
    assert one.kernel_filter() == aiomcast.SourceFilter.include(sources(25))
    await receiver.aclose()

run(main())
"""


@needs_proc
@on_loops
def test_however_few_files_are_left(loop: str, any_group: str) -> None:
    run_alone(HAS_FEW_FILES_LEFT, loop, any_group)
