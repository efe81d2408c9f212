"""Swaps under traffic: the source that is allowed throughout loses nothing and gets nothing twice.

A raw any-source member keeps the bridge forwarding everything, so the receiver's host alone
decides what comes in: what routers and switches do on a report is theirs.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest

import aiomcast
from aiomcast import SourceFilter
from tests.support.traffic import ROOT, Judge, command, number_sent

from .network import Network, stop
from .traffic import Traffic

LIST_SWAPS = 1000
MODE_SWITCHES = 100
SOURCES = 500
BUFFER = 4 << 20


class Streams:
    """Processes that send numbered packets, and the judge of what of them was received."""

    def __init__(
        self, network: Network, traffic: Traffic, membership: aiomcast.Membership, always: Collection[str]
    ) -> None:
        self._network = network
        self._traffic = traffic
        self._membership = membership
        self._processes: dict[str, tuple[subprocess.Popen[bytes], list[str]]] = {}
        self._more = asyncio.Event()
        self._awaited = 0
        self.judge = Judge(always, lambda source: membership.filter.allows(source))

    def start(self, name: str, rate: float, addresses: Iterable[str] = ()) -> None:
        """Send from a host, from its own address or from others of it, at a rate for each."""
        used = list(addresses) or [self._traffic.address(name)]
        argv = command(self._traffic.group, self._traffic.port, "v0", rate, used)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._processes[name] = self._network.popen(name, argv, cwd=ROOT, **pipes), used

    async def consume(self) -> None:
        """Take packets, and hold each against the filter in force at that moment."""
        async for packet in self._membership:
            self.judge.see(packet)
            if self.judge.packets >= self._awaited:
                self._more.set()

    async def progress(self, packets: int) -> None:
        """Wait until that many more packets have been taken."""
        self._awaited = self.judge.packets + packets
        self._more.clear()
        async with asyncio.timeout(10):
            await self._more.wait()

    async def finish(self) -> dict[str, int]:
        """Stop the senders and return how many packets each address has sent."""
        sent: dict[str, int] = {}
        for process, addresses in self._processes.values():
            output, _ = await asyncio.to_thread(process.communicate, b"", timeout=10)
            sent |= dict.fromkeys(addresses, number_sent(output))
        return sent

    async def arrived(self, sent: dict[str, int]) -> None:
        """Wait until the last packets of these are there, or no longer if they are lost."""
        with suppress(TimeoutError):
            while any(self.judge.reached(source) != count for source, count in sent.items()):
                async with asyncio.timeout(2):
                    await self.progress(1)

    def stop(self) -> None:
        """End the processes that are left."""
        for process, _ in self._processes.values():
            stop(process)


@asynccontextmanager
async def consuming(
    network: Network,
    traffic: Traffic,
    receiver: aiomcast.Receiver,
    sources: aiomcast.Sources,
    always: Collection[str],
) -> AsyncIterator[tuple[aiomcast.Membership, Streams]]:
    """A membership and a task that takes its packets, which must not have failed at the end."""
    traffic.witness()
    membership = await receiver.join(traffic.group, traffic.port, sources=sources, interface="v0")
    streams = Streams(network, traffic, membership, always)
    with ExitStack() as cleanup:
        cleanup.callback(streams.stop)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(streams.consume())
            yield membership, streams
            task.cancel()


def assert_clean(judge: Judge, sent: dict[str, int]) -> None:
    """Nothing leaked, nothing came twice or went back, and of these sources all has come."""
    counted = {"leaked": judge.leaked, "doubled": judge.doubled, "out of order": judge.out_of_order}
    counted |= {f"lost of {source}": judge.lost(source, count) for source, count in sent.items()}
    assert counted == dict.fromkeys(counted, 0), sent


async def test_list_swaps_and_mode_switches_lose_nothing(network: Network, asm: Traffic) -> None:
    first, always, third = (asm.address(name) for name in ("s1", "s2", "s3"))
    include = [SourceFilter.include([always, *more]) for more in ((), (first,), (third,), (first, third))]
    exclude = [SourceFilter.exclude(some) for some in ((), (first,), (third,), (first, third))]
    chosen = random.Random(20)
    swaps = switches = 0
    async with aiomcast.Receiver(receive_buffer=BUFFER) as receiver:
        async with consuming(network, asm, receiver, include[0], {always}) as (membership, streams):
            for name, rate in (("s2", 1500), ("s1", 700), ("s3", 700)):
                streams.start(name, rate)
            await streams.progress(50)
            every = (LIST_SWAPS + MODE_SWITCHES) // MODE_SWITCHES
            for number in range(1, LIST_SWAPS + MODE_SWITCHES + 20):
                mode = include if membership.filter.is_include else exclude
                if number % every == 0:
                    mode = exclude if mode is include else include
                    switches += 1
                wanted = chosen.choice([one for one in mode if one != membership.filter])
                await membership.swap(wanted)
                swaps += 1
                assert membership.kernel_filter() == wanted
                if chosen.random() < 0.7:  # else at once
                    await streams.progress(chosen.randrange(1, 8))
            await membership.swap(include[0])
            sent = await streams.finish()
            await streams.arrived({always: sent[always]})
        statistics = receiver.statistics()
        assert statistics.kernel_drops == 0, "the kernel's buffer was too small: this is no verdict"
    assert_clean(streams.judge, {always: sent[always]})
    assert (swaps - switches, switches) >= (LIST_SWAPS, MODE_SWITCHES)
    assert streams.judge.seen[always] == sent[always]
    for source in (first, third):  # in turns only
        assert 0 < streams.judge.seen[source] < sent[source]


@pytest.fixture
def many(network: Network, ssm: Traffic) -> list[str]:
    """Twelve addresses of s1 that send, first in the list, and 988 more that could."""
    six = ":" in ssm.group
    form, prefix = ("2001:db8:5::{:x}", 64) if six else ("198.18.{}.{}", 15)
    every = [form.format(number) if six else form.format(*divmod(number, 250)) for number in range(260, 1260)]
    active = every[:: SOURCES // 6][:12]
    for address in active:
        network.ip("s1", f"addr replace {address}/{prefix} dev v0" + " nodad" * six)
    network.ip("rcv", f"route replace {form.format(*(0, 0)[: 1 if six else 2])}/{prefix} dev v0")
    return active + [address for address in every if address not in active]


async def test_five_hundred_sources(network: Network, ssm: Traffic, many: list[str]) -> None:
    active, rest = many[:12], many[12:]
    always, sometimes, never = active[:5], active[5:10], active[10:]
    fill = SOURCES - len(always)
    async with aiomcast.Receiver(receive_buffer=BUFFER) as receiver:
        start = SourceFilter.include([*always, *rest[:fill]])
        async with consuming(network, ssm, receiver, start, always) as (membership, streams):
            streams.start("s1", 100, active)
            for turn in range(40):
                await streams.progress(10)
                coming = sometimes[turn % len(sometimes) :]
                some = (turn * 37) % (len(rest) - fill)
                others = [*coming, *rest[some : some + fill - len(coming)]]
                wanted = SourceFilter.include([*always, *others])
                assert len(wanted.sources) == SOURCES
                await membership.swap(wanted)
                assert membership.kernel_filter() == membership.filter == wanted
            sent = await streams.finish()
            await streams.arrived({source: sent[source] for source in always})
        assert receiver.statistics().kernel_drops == 0
    assert_clean(streams.judge, {source: sent[source] for source in always})
    for source in always:
        assert streams.judge.seen[source] == sent[source]
    for source in sometimes:
        assert streams.judge.seen[source]
    assert not any(streams.judge.seen[source] for source in never)
