"""The demonstration: three sources, one group, a source list that is swapped, all on loopback.

It uses the public names of the package only, and judges them by what came in.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import attrs
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

import aiomcast

__all__ = ["run"]

SOURCES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
A, B, C = SOURCES
TURNS = tuple(map(frozenset, ({A}, {A, B}, {B, C}, {C}, {A, C}, SOURCES)))  # source lists, over and over
LOOPBACK = "127.0.0.1"  # the interface, by an address that every system gives it
SENT_EVERY = 0.01  # seconds, by each source
SENT_PER_COLUMN, COLUMNS = 15, 40  # of the picture of what comes in

Show: TypeAlias = Callable[[bool], None]
"""Shows the run as it stands; the argument says whether a source list has just taken effect."""


@attrs.define
class Source:
    """What one source has sent, and what of it came in."""

    sent: int = 0
    sent_shut_out: int = 0
    received: int = 0
    lost: int = 0
    doubled: int = 0
    history: deque[bool] = attrs.Factory(lambda: deque(maxlen=COLUMNS))
    _drawn: int = 0
    _numbers: set[int] = attrs.Factory(set)  # of the packets since it was let in

    def take(self, number: int) -> None:
        """Note that packet `number` came in."""
        self.received += 1
        self.doubled += number in self._numbers
        self._numbers.add(number)

    def draw(self) -> None:
        """Add a column to the history: whether packets came in since the last one."""
        self.history.append(self.received > self._drawn)
        self._drawn = self.received

    def settle(self) -> None:
        """Count the gaps between the packets that came in while it was let in without a break."""
        if self._numbers:
            self.lost += max(self._numbers) - min(self._numbers) + 1 - len(self._numbers)
            self._numbers.clear()


@attrs.define
class Demonstration:
    """The state of a run: `in_force` is the source list that the last finished swap asked for.

    While a swap is under way the old and the new list are in force together.
    """

    group: str
    port: int
    seconds: float
    passed: float = 0.0
    in_force: frozenset[str] = frozenset()
    swaps: int = 0
    leaked: int = 0
    sources: dict[str, Source] = attrs.Factory(lambda: {address: Source() for address in SOURCES})

    def take(self, packet: aiomcast.Packet) -> None:
        """Judge a packet by the list in force now, as it was yielded."""
        if packet.source not in self.in_force:
            self.leaked += 1
        if packet.source in self.sources:
            self.sources[packet.source].take(int(packet.data))

    @property
    def is_right(self) -> bool:
        """Whether something came in, nothing that should not, and all of it once."""
        known = self.sources.values()
        faults = self.leaked + sum(one.lost + one.doubled for one in known)
        return not faults and any(one.received for one in known)

    def verdict(self) -> str:
        """Say in one line what was counted."""
        known = self.sources.values()
        return (
            f"{'ok' if self.is_right else 'FAILED'}: packets from sources not in force: {self.leaked} "
            f"of {sum(one.sent_shut_out for one in known)}; seen {sum(one.received for one in known)}, "
            f"lost {sum(one.lost for one in known)}, doubled {sum(one.doubled for one in known)}; "
            f"swaps {self.swaps}"
        )


async def run(seconds: float) -> int:
    """Show source filters at work for about `seconds`; return 0 if the verdict is "ok", else 1.

    A live table on a terminal, else a line per swap; then the verdict in one line, also when
    cancelled before the time. Every packet is judged by the source list in force when it was
    yielded. Raises a `RefusedError` where the system has no 127.0.0.2 to 127.0.0.4 to send from.
    """
    group = f"232.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
    run = Demonstration(group, random.randint(20000, 60000), min(seconds, 1e9))
    on_terminal = os.isatty(1)
    with contextlib.ExitStack() as screen:
        show = _live(screen, run) if on_terminal else _lines(run)
        with contextlib.suppress(asyncio.CancelledError):
            await _perform(run, show)
        for source in run.sources.values():
            source.settle()
        show(False)
    if on_terminal:
        colour = "bold green" if run.is_right else "bold red"
        Console(highlight=False).print(Text(run.verdict(), colour), soft_wrap=True)
    else:
        print(run.verdict(), flush=True)
    return 0 if run.is_right else 1


async def _perform(run: Demonstration, show: Show) -> None:
    async with contextlib.AsyncExitStack() as opened:
        senders = [
            aiomcast.Sender(run.group, run.port, source=address, interface=LOOPBACK) for address in SOURCES
        ]
        for sender in senders:
            await opened.enter_async_context(sender)
        receiver = await opened.enter_async_context(aiomcast.Receiver())
        membership = await receiver.join(run.group, run.port, sources=TURNS[0], interface=LOOPBACK)
        run.in_force = TURNS[0]
        show(True)
        taking = asyncio.create_task(_take(membership, run))
        try:
            await _direct(run, senders, membership, show)
        finally:
            await receiver.aclose()
            await taking


async def _take(membership: aiomcast.Membership, run: Demonstration) -> None:
    async for packet in membership:
        run.take(packet)


async def _direct(
    run: Demonstration, senders: list[aiomcast.Sender], membership: aiomcast.Membership, show: Show
) -> None:
    turn = min(1.0, run.seconds / 3)
    started = time.monotonic()
    for tick in itertools.count(1):
        for sender in senders:
            source = run.sources[sender.source]
            source.sent += 1
            source.sent_shut_out += sender.source not in run.in_force
            await sender.send(b"%d" % source.sent)
        await asyncio.sleep(max(0.0, started + tick * SENT_EVERY - time.monotonic()))
        run.passed = time.monotonic() - started
        if run.passed >= run.seconds:
            return
        if run.passed >= turn * (run.swaps + 1):
            await _swap(run, membership)
            show(True)
        if tick % SENT_PER_COLUMN == 0:
            for source in run.sources.values():
                source.draw()
            show(False)


async def _swap(run: Demonstration, membership: aiomcast.Membership) -> None:
    before, after = run.in_force, TURNS[(run.swaps + 1) % len(TURNS)]
    run.in_force = before | after
    await membership.swap(after)
    run.in_force = after
    run.swaps += 1
    for address in before - after:
        run.sources[address].settle()


def _lines(run: Demonstration) -> Show:
    def show(swapped: bool) -> None:
        if swapped:
            counts = ", ".join(f"{address}: {source.received}" for address, source in run.sources.items())
            let_in = ", ".join(sorted(run.in_force))
            print(f"{run.passed:5.1f} s  let in {let_in}; received {counts}", flush=True)

    print(f"{run.group} port {run.port} on loopback", flush=True)
    return show


def _live(screen: contextlib.ExitStack, run: Demonstration) -> Show:
    live = screen.enter_context(Live(console=Console(highlight=False), auto_refresh=False))

    def show(swapped: bool) -> None:
        live.update(_table(run, live.console.encoding), refresh=True)

    return show


def _table(run: Demonstration, encoding: str) -> Table:
    came, nothing, mark, no_mark = "█·●○" if encoding.lower().startswith("utf") else "#.*-"
    table = Table(
        title=f"{run.group} port {run.port} on loopback",
        caption=f"{run.passed:.1f} of {run.seconds:g} s, source list swapped {run.swaps} times",
    )
    table.add_column("source")
    table.add_column("filter", width=len("● shut out"))
    table.add_column("sent", justify="right", width=6)
    table.add_column("received", justify="right", width=8)
    table.add_column("packets coming in", width=COLUMNS, no_wrap=True)
    for address, source in run.sources.items():
        let_in = address in run.in_force
        picture = "".join(came if column else nothing for column in source.history)
        table.add_row(
            address,
            f"{mark} let in" if let_in else f"{no_mark} shut out",
            str(source.sent),
            str(source.received),
            picture,
            style="green" if let_in else "dim",
        )
    return table
