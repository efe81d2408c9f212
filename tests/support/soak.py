"""A soak of filter changes under traffic: what leaked, was lost, came twice or out of order.

A sender in another process numbers the datagrams of three sources A, B and C. Filters change all the
time, lists within a mode and from mode to mode, and every one of them lets B in: so every number of B
must be seen, once and in order, and of A and C only what the filter in force lets in.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import subprocess
import time
import warnings
from typing import TypedDict

import aiomcast
from aiomcast import SourceFilter

from .inside import readers_of
from .traffic import Judge, Traffic

__all__ = ["FAMILIES", "READERS", "Outcome", "exercise", "faults", "prepare"]

FAMILIES = (4, 6)
READERS = ("native", "portable")
_GROUPS = {4: "239.192.{}.{}", 6: "ff1e::{:x}:{:x}"}  # outside the source-specific ranges
_INTERFACES = {4: "lo", 6: "soak"}  # lo does not loop IPv6 multicast of a wider scope
_SOURCES = {
    4: ("127.0.0.2", "127.0.0.3", "127.0.0.4"),
    6: ("2001:db8::2", "2001:db8::3", "2001:db8::4"),
}
# More than two sockets' worth (net.ipv4.igmp_max_msf 10, net.ipv6.mld_max_msf 64) that never send
_STRANGERS = {4: [f"192.0.2.{n}" for n in range(1, 26)], 6: [f"2001:db8:1::{n:x}" for n in range(1, 151)]}
_PORT = 5000
_BUFFER = 64 << 20
_CAPACITY = 256  # small: a stall of the consumer pauses the reading
_STALL = 0.02  # seconds at most
_BURSTS = (0, 0.001, 0.02, 0.1)  # seconds of list swaps between two mode switches
_PAUSES = (*[0.0] * 12, 0.0005, 0.002)  # seconds after a swap
_READ_BACK = 32  # swaps between two comparisons with the kernel
_SETTLE = 0.3  # seconds: longer than sockets of a mode switch stay open
_CLONE_NEWNET = 0x40000000
_MUST_BE_ZERO = ("leaked", "lost", "doubled", "out_of_order", "unlike_kernel", "unaccounted")


class Outcome(TypedDict):
    """What one run came to. `sent` is per source; the counts from `leaked` on should be 0.

    `unlike_kernel` is how often the kernel's filter differed from the library's in `read_back`
    comparisons, `unaccounted` how many datagrams the statistics know neither as delivered nor as
    dropped for a reason.
    """

    family: int
    reader: str
    loop: str
    seconds: float
    sent: int
    packets: int
    list_swaps: int
    mode_switches: int
    most_sockets: int
    read_back: int
    leaked: int
    lost: int
    doubled: int
    out_of_order: int
    unlike_kernel: int
    unaccounted: int
    kernel_drops: int


class _Swapper:
    """Changes the filter of a membership at random, and reads it back now and then."""

    def __init__(self, family: int, membership: aiomcast.Membership, judge: Judge, seed: int) -> None:
        a, b, c = self._senders = _SOURCES[family]
        many = _STRANGERS[family]
        half = len(many) // 2
        include = [[b], [a, b], [b, c], [a, b, c], [b, *many], [a, b, *many[half:]], [b, c, *many[:half]]]
        exclude = [[], [a], [a, c], [c], [a, *many]]
        self._filters = {
            True: [SourceFilter.include(sources) for sources in include],
            False: [SourceFilter.exclude(sources) for sources in exclude],
        }
        self._membership = membership
        self._judge = judge
        self._random = random.Random(seed)
        self.list_swaps = self.mode_switches = self.read_back = self.unlike_kernel = 0
        self.most_sockets = 0
        self._permit(membership.filter)

    async def run(self, seconds: float) -> None:
        """Swap in bursts of lists, with a change of mode after each."""
        stop = time.monotonic() + seconds
        while (now := time.monotonic()) < stop:
            burst = now + self._random.choice(_BURSTS)
            while time.monotonic() < burst:
                await self._swap(self._membership.filter.is_include)
                self.list_swaps += 1
            await self._swap(not self._membership.filter.is_include)
            self.mode_switches += 1

    async def _swap(self, include: bool) -> None:
        held = self._membership.filter
        wanted = self._random.choice([one for one in self._filters[include] if one != held])
        self._permit(held, wanted)
        await self._membership.swap(wanted)
        self._permit(wanted)
        if (self.list_swaps + self.mode_switches) % _READ_BACK == 0:
            self._compare(wanted)
        await asyncio.sleep(self._random.choice(_PAUSES))

    def _permit(self, *filters: SourceFilter) -> None:
        self._judge.allows = frozenset(
            source for source in self._senders if any(one.allows(source) for one in filters)
        ).__contains__

    def _compare(self, wanted: SourceFilter) -> None:
        self.read_back += 1
        self.most_sockets = max(self.most_sockets, len(readers_of(self._membership)))
        kernel = self._membership.kernel_filter()
        if len(wanted.sources) > len(self._senders) and not wanted.is_include:
            # One socket holds a part of the list, the reader refuses the rest.
            same = bool(kernel.sources) and kernel == wanted.only(kernel.sources)
        else:
            same = kernel == wanted == self._membership.filter
        self.unlike_kernel += not same


async def exercise(
    family: int, seconds: float, *, rate: float = 6_000, seed: int = 0, reader: str = "", loop: str = ""
) -> Outcome:
    """Run traffic and swaps for `seconds`, in the present event loop and with the present reader.

    `reader` and `loop` only label the outcome. IPv4 is on lo; IPv6 needs `prepare`.
    """
    group = _GROUPS[family].format(os.getpid() >> 8 & 255, os.getpid() & 255)
    interface, sources = _INTERFACES[family], _SOURCES[family]
    judge = Judge({sources[1]})
    receiver = aiomcast.Receiver(receive_buffer=_BUFFER, capacity=_CAPACITY)
    traffic = Traffic(group, _PORT, interface, rate, sources)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ sources are blocked", RuntimeWarning)
        async with receiver:
            membership = await receiver.join(group, _PORT, sources=[sources[1]], interface=interface)
            swapper = _Swapper(family, membership, judge, seed)
            consumer = asyncio.create_task(_consume(receiver, judge, random.Random(~seed)))
            await traffic.start()
            try:
                await swapper.run(seconds)
            finally:
                sent = await traffic.stop()
            await _come_to_rest(judge, sent)
        await consumer
    if not judge.packets:
        raise RuntimeError(f"none of {sent} datagrams arrived")
    statistics = receiver.statistics()
    gone = statistics.filtered + statistics.queue_drops + statistics.queued
    return Outcome(
        family=family,
        reader=reader,
        loop=loop,
        seconds=seconds,
        sent=sent,
        packets=judge.packets,
        list_swaps=swapper.list_swaps,
        mode_switches=swapper.mode_switches,
        most_sockets=swapper.most_sockets,
        read_back=swapper.read_back,
        leaked=judge.leaked,
        lost=judge.lost(sources[1], sent),
        doubled=judge.doubled,
        out_of_order=judge.out_of_order,
        unlike_kernel=swapper.unlike_kernel,
        unaccounted=statistics.received - judge.packets - gone,
        kernel_drops=statistics.kernel_drops,
    )


async def _consume(receiver: aiomcast.Receiver, judge: Judge, chance: random.Random) -> None:
    until_stall = 0
    async for packet in receiver:
        judge.see(packet)
        until_stall -= 1
        if until_stall < 0:
            until_stall = chance.randrange(20_000)
            await asyncio.sleep(chance.uniform(0, _STALL))


async def _come_to_rest(judge: Judge, sent: int) -> None:
    """Wait until all is seen or nothing comes any more."""
    before = -1
    while judge.packets != before:
        before = judge.packets
        await asyncio.sleep(_SETTLE)


def prepare() -> None:
    """Use every core; for root also move into a network namespace made ready for both families."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # no time is measured: sender and receiver may share
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    name = _INTERFACES[6]
    commands = ["link set lo up", f"link add {name} type veth peer name {name}-end"]
    commands += [f"link set {name}-end up", f"link set {name} up"]
    commands += [f"addr add {source}/128 dev {name} nodad" for source in _SOURCES[6]]
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)


def faults(outcome: Outcome) -> dict[str, int]:
    """Return the counts that should be 0 and are not, by name."""
    # the type is ignored as it is a name of the dictionary
    counts: dict[str, int] = {name: outcome[name] for name in _MUST_BE_ZERO}  # type: ignore[literal-required]
    return {name: count for name, count in counts.items() if count}
