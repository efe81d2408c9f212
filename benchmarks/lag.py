"""lag: how late another task of the same loop runs while a sender never stops."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TypedDict

import aiomcast

from . import live_worker, sockets
from .results import Bar, Panel, Result, Table
from .worker import Worker

__all__ = ["HELP", "add_arguments", "run", "watch"]

HELP = "how late another task runs while a sender never stops"
UNPACED = 10_000_000.0  # datagrams a second, which no sender reaches
READERS = ("native", "portable")


class Lag(TypedDict):
    """Packets received, and percentiles of how long a turn of the other task took, in milliseconds."""

    packets: int
    turns: int
    median: float
    high: float
    longest: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how long and how large."""
    parser.add_argument("--seconds", type=float, default=5.0, help="how long (%(default)s)")
    parser.add_argument("--size", type=int, default=200, help="bytes in a datagram (%(default)s)")


def run(options: argparse.Namespace) -> Result:
    """Measure each reader on each loop, the sender on the other core."""
    result = Result("lag")
    rows, bars = [], []
    for loop in options.loops:
        for reading in READERS:
            with Worker("asyncio") as sender, Worker(loop, reading) as receiver:
                sender.call(live_worker.take_other_core)
                port = receiver.call(live_worker.port)
                seconds = options.seconds + 1
                sender.start(live_worker.send, to_port=port, rate=UNPACED, seconds=seconds, size=options.size)
                found: Lag = receiver.call(watch, seconds=options.seconds)
                sender.answer()
            result.data[f"{loop} {reading}"] = found
            times = (f"{found[name]:.2f}" for name in ("median", "high", "longest"))
            rows.append((reading, loop, f"{found['packets']:,}", f"{found['turns']:,}", *times))
            bars.append(Bar(reading, loop, found["high"], ours=True))
    title = f"lag: turns of another task in {options.seconds:g} s under a sender that never stops, ms"
    headings = ("reader", "loop", "packets", "turns", "median", "99 %", "longest")
    result.tables.append(Table(title, headings, rows))
    result.panels.append(Panel(title, "ms at the 99th percentile (less is better)", bars))
    return result


async def watch(seconds: float) -> Lag:
    """Receive for `seconds` while a task notes how long each of its turns took: in a worker."""
    packets = 0
    lags: list[float] = []

    async def other() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            lags.append((time.perf_counter() - before) * 1e3)

    group = live_worker.GROUP
    async with aiomcast.listen(group, sockets.PORT, sources=[sockets.SOURCE], interface="lo") as feed:
        task = asyncio.create_task(other())
        try:
            async with asyncio.timeout(seconds):
                async for _ in feed:
                    packets += 1
        except TimeoutError:
            task.cancel()
    lags.sort()
    return Lag(
        packets=packets,
        turns=len(lags),
        median=lags[len(lags) // 2],
        high=lags[len(lags) * 99 // 100],
        longest=lags[-1],
    )
