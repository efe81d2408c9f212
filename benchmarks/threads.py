"""threads: full sockets, drained by one event loop, or by one in each of several threads, or processes."""

from __future__ import annotations

import argparse
import contextlib
import os

from . import threads_worker
from .results import Bar, Panel, Result, Samples, Table
from .threads_worker import Drained
from .worker import Worker, WorkerError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "several channels drained by one event loop, by threads and by processes: how many times as fast"
_MEASURE = 2  # the number of processors that the figures to reach are about
_WAYS = ("one loop", "threads", "processes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how many, and the sizes."""
    parser.add_argument("--channels", type=int, default=4, help="channels, and threads (%(default)s)")
    parser.add_argument("--processes", type=int, help="that share the channels (as many as processors)")
    parser.add_argument("--packets", type=int, default=20_000, help="datagrams of each (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (%(default)s)")
    parser.add_argument("--size", type=int, default=200, help="bytes of payload (%(default)s)")


def run(options: argparse.Namespace) -> Result:
    """Measure each way on each loop in every round."""
    result = Result("threads")
    processors = len(os.sched_getaffinity(0))
    shares = _shares(options.channels, options.processes or processors)
    rows, bars = [], []
    has_lock = True
    for loop in options.loops:
        spent: dict[str, list[float]] = {way: [] for way in _WAYS}
        try:
            with contextlib.ExitStack() as stack:
                worker = stack.enter_context(Worker(loop))
                others = [stack.enter_context(Worker(loop)) for _ in shares]
                has_lock = worker.call(threads_worker.has_lock)
                for number in range(-1, options.rounds):  # the first one warms up and is not counted
                    for way in _WAYS[max(0, number) % 3 :] + _WAYS[: max(0, number) % 3]:
                        once = _round(way, worker, dict(zip(others, shares, strict=True)), loop, options)
                        if number >= 0:
                            spent[way].append(once["ended"] - once["begun"])
        except WorkerError as error:
            result.notes.append(f"{loop}: {error}")
            continue
        result.data[loop] = spent
        for way, seconds in spent.items():
            times = Samples(tuple(alone / one for alone, one in zip(spent["one loop"], seconds, strict=True)))
            each = Samples(tuple(one * 1e9 / options.channels / options.packets for one in seconds))
            rate = f"{1e9 / each.median:,.0f}"
            rows.append((way, loop, f"{each.median:,.0f}", rate, f"{times.median:.2f}", times.spread(2)))
            bars.append(Bar(way, loop, times.median, ours=True))
            if processors == _MEASURE and way == "processes":
                result.measured["threads processes", loop] = times.median
            if processors == _MEASURE and way == "threads" and not has_lock:
                result.measured["threads free", loop] = times.median
    result.data |= {name: getattr(options, name) for name in ("channels", "packets", "rounds", "size")}
    result.data |= {"processes": len(shares), "has_lock": has_lock, "processors": processors}
    title = (
        f"threads: {options.channels} channels, {len(shares)} processes, {processors} processors, "
        f"{'with' if has_lock else 'without'} the global interpreter lock"
    )
    result.tables.append(
        Table(title, ("", "loop", "ns per datagram", "datagrams/s", "times as fast", "min-max"), rows)
    )
    result.panels.append(Panel(title, "times as fast as one loop (more is better)", bars, reference=1.0))
    return result


def _shares(channels: int, processes: int) -> list[int]:
    """Return how many channels each process has: as even as can be, and none without any."""
    return [len(range(number, channels, processes)) for number in range(min(channels, processes))]


def _round(
    way: str, worker: Worker, others: dict[Worker, int], loop: str, options: argparse.Namespace
) -> Drained:
    sizes = {"packets": options.packets, "size": options.size}
    once: Drained
    if way != "processes":
        if way == "threads":
            once = worker.call(threads_worker.in_threads, loop=loop, channels=options.channels, **sizes)
        else:
            once = worker.call(threads_worker.drain_together, channels=options.channels, **sizes)
        return once
    for other, share in others.items():
        other.call(threads_worker.fill_share, channels=share, **sizes)
    for other, share in others.items():
        other.start(threads_worker.drain_waiting, packets=options.packets * share)
    drained: list[Drained] = [other.answer() for other in others]
    return Drained(begun=min(one["begun"] for one in drained), ended=max(one["ended"] for one in drained))
