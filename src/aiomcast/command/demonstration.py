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
from collections.abc import Iterator

import aiomcast

from .output import STDOUT
from .verdict import SOURCES, Demonstration, Show

__all__ = ["run"]

A, B, C = SOURCES
TURNS = tuple(map(frozenset, ({A}, {A, B}, {B, C}, {C}, {A, C}, SOURCES)))  # source lists, over and over
LOOPBACK = "127.0.0.1"  # the interface, by an address that every system gives it
SENT_EVERY = 0.01  # seconds, by each source
SENT_PER_COLUMN = 15  # of the picture of what comes in


async def run(seconds: float) -> int:
    """Show source filters at work for about `seconds`; return 0 if the verdict is "ok", else 1.

    A live table on a terminal, else a line per swap; then the verdict in one line, also when
    cancelled before the time. Every packet is judged by the source list in force when it was
    yielded. Raises a `RefusedError` where the system has no 127.0.0.2 to 127.0.0.4 to send from.
    """
    group = f"232.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
    run = Demonstration(group, random.randint(20000, 60000), min(seconds, 1e9))
    view = _as_lines
    if os.isatty(STDOUT):
        from .drawing import as_table as view  # with rich, which lines do not need
    with view(run) as show:
        with contextlib.suppress(asyncio.CancelledError):
            await _perform(run, show)
        for source in run.sources.values():
            source.settle()
        show(False)
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
            try:
                await sender.send(b"%d" % source.sent)
            except aiomcast.RefusedError as error:
                run.refused = f"{sender.source} could not send: {error}"
                return
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


@contextlib.contextmanager
def _as_lines(run: Demonstration) -> Iterator[Show]:
    """Write a line for each list that has taken effect, and the verdict."""

    def show(swapped: bool) -> None:
        if swapped:
            counts = ", ".join(f"{address}: {source.received}" for address, source in run.sources.items())
            let_in = ", ".join(sorted(run.in_force))
            print(f"{run.passed:5.1f} s  let in {let_in}; received {counts}", flush=True)

    print(f"{run.group} port {run.port} on loopback", flush=True)
    yield show
    print(run.verdict(), flush=True)
