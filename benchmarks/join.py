"""join: microseconds for a membership, by how its interface is named, and for looking that up."""

from __future__ import annotations

import argparse
import statistics
import time

import aiomcast
from aiomcast.system.interfaces import find_interface

from . import sockets
from .results import Bar, Panel, Result, Samples, Table
from .worker import Worker

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "microseconds for a join, by Interface, by name and by route, and for the look-up alone"
_BARE = "socket, options, bind, IP_ADD_SOURCE_MEMBERSHIP"
_NAME, _INDEX = "look-up by name", "look-up by index"
_JOINS: dict[str, aiomcast.InterfaceLike] = {
    "join by Interface": sockets.LOOPBACK,
    "join by name": "lo",
    "join by route": None,
}
_REACH = {"join by Interface": "join", _NAME: "look-up"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how many, and how often."""
    parser.add_argument("--channels", type=int, default=200, help="joins of each kind (%(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (%(default)s)")


def run(options: argparse.Namespace) -> Result:
    """Measure all ways in each round, in a process for each loop."""
    result = Result("join")
    bars: list[Bar] = []
    title = f"join: medians of {options.channels} on lo, {options.rounds} rounds"
    for loop in options.loops:
        spent: dict[str, list[float]] = {}
        with Worker(loop) as worker:
            for _ in range(options.rounds):
                for way, median in worker.call(measure, channels=options.channels).items():
                    spent.setdefault(way, []).append(median)
        result.data[loop] = spent
        rows = []
        for way, times in spent.items():
            found = Samples(tuple(times))
            rows.append((way, f"{found.median:.1f}", found.spread(1)))
            bars.append(Bar(way, loop, found.median, ours=way != _BARE))
            if way in _REACH:
                result.measured[_REACH[way], loop] = found.median
        result.tables.append(Table(f"{title}, {loop}", ("", "µs", "min-max"), rows))
    result.data |= {"channels": options.channels, "rounds": options.rounds}
    result.panels.append(Panel(title, "µs (less is better)", bars))
    return result


async def measure(channels: int) -> dict[str, float]:
    """Return the median of each way in microseconds: in a worker."""
    groups = sockets.channels(channels)
    spent: dict[str, list[int]] = {}
    begun = time.perf_counter_ns()

    def note(way: str) -> None:
        nonlocal begun
        spent.setdefault(way, []).append(time.perf_counter_ns() - begun)
        begun = time.perf_counter_ns()

    bare = []
    for group in groups:
        begun = time.perf_counter_ns()
        bare.append(sockets.joined(group, tagged=True))
        note(_BARE)
    for one in bare:
        one.close()
    for way, interface in _JOINS.items():
        async with aiomcast.Receiver() as receiver:
            for group in groups:
                begun = time.perf_counter_ns()
                await receiver.join(group, sockets.PORT, sources=[sockets.SOURCE], interface=interface)
                note(way)
    begun = time.perf_counter_ns()
    for _ in groups:
        find_interface("lo")
        note(_NAME)
        find_interface(sockets.LOOPBACK.index)
        note(_INDEX)
    return {way: statistics.median(times) / 1000 for way, times in spent.items()}
