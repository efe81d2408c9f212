"""memory: how much a joined membership adds to the resident size of the process."""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
from typing import TypedDict

import aiomcast

from . import descriptors, sockets
from .results import Bar, Panel, Result, Table
from .worker import Worker, WorkerError

__all__ = ["HELP", "add_arguments", "grown", "run"]

_MEASURE = 10_000  # the number of memberships that the figure to reach is about

HELP = "resident bytes per joined membership, of 10,000"


class Grown(TypedDict):
    """Bytes per membership, of all that were joined after the first."""

    joined: float
    listening: float
    heard: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how many."""
    parser.add_argument("--channels", type=int, default=10_000, help="memberships (%(default)s)")


def run(options: argparse.Namespace) -> Result:
    """Measure in a fresh process per loop."""
    result = Result("memory")
    sizes, result.notes = descriptors.sizes_within([options.channels])
    rows, bars = [], []
    for loop in options.loops if sizes else ():
        try:
            with Worker(loop, tuned=False) as worker:
                found = worker.call(grown, channels=options.channels)
        except WorkerError as error:
            result.notes.append(f"{options.channels:,} channels, {loop}: the system refuses: {error}")
            continue
        result.data[loop] = found
        if options.channels == _MEASURE:
            result.measured["memory", loop] = found["joined"] / 1024
        for state, says in _STATES.items():
            rows.append((says, loop, f"{found[state] / 1024:.2f}"))
            bars.append(Bar(says, loop, found[state] / 1024, ours=True))
    result.data["channels"] = options.channels
    title = f"memory: {options.channels:,} memberships, resident, after the first"
    result.tables.append(Table(title, ("state", "loop", "KiB each"), rows))
    result.panels.append(Panel(title, "KiB per membership (less is better)", bars))
    return result


_STATES = {
    "joined": "joined",
    "listening": "joined, and listened to",
    "heard": "the same, a datagram read from each",
}


async def grown(channels: int) -> Grown:
    """Join one, then the others, then listen, then hear each once: in a worker."""
    descriptors.raise_limit()
    groups = sockets.channels(channels)
    others = max(1, channels - 1)
    async with aiomcast.Receiver() as receiver:
        await _join(receiver, groups[:1])
        before = _resident()
        await _join(receiver, groups[1:])
        joined = _resident()
        stream = receiver.packets()
        await asyncio.sleep(0.01)
        listening = _resident()
        sockets.fill(groups, channels, 200)
        async with asyncio.timeout(60):
            for _ in range(channels):
                await anext(stream)
        heard = _resident()
    return Grown(
        joined=(joined - before) / others,
        listening=(listening - before) / others,
        heard=(heard - before) / others,
    )


async def _join(receiver: aiomcast.Receiver, groups: list[str]) -> None:
    for group in groups:
        await receiver.join(group, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK)


def _resident() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * resource.getpagesize()
