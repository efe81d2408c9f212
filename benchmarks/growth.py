"""growth: what a datagram costs when there are many channels, all but one silent or all alike."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from . import descriptors, drain_worker, growth_worker
from .results import Bar, Panel, Result, Samples, Table
from .worker import Worker, WorkerError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "nanoseconds per datagram with 1 to 10,000 joined channels: one busy (idle), all busy (spread)"
_MEASURE = 10_000  # the number of channels that the figure to reach is about
_C = "C epoll + recvmmsg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes."""
    parser.add_argument("--packets", type=int, default=20_000, help="datagrams per round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (%(default)s)")
    parser.add_argument("--size", type=int, default=200, help="bytes of payload (%(default)s)")
    parser.add_argument(
        "--channels", type=int, nargs="+", default=[1, 100, 1000, 10_000], help="how many are joined"
    )


def run(options: argparse.Namespace) -> Result:
    """Measure every size on every loop in every round, and the C loop over as many sockets."""
    result = Result("growth")
    sizes, result.notes = descriptors.sizes_within(sorted({1, *options.channels}))
    packets, notes = drain_worker.fitted(options.packets, options.size)
    result.notes += notes
    spent: dict[tuple[str, int, str], list[float]] = {}
    disturbed = 0
    with contextlib.ExitStack() as stack:
        workers: dict[tuple[str, int], Worker] = {}
        for size in sizes:
            for who in (_C, *options.loops):
                worker = stack.enter_context(Worker("asyncio" if who == _C else who))
                try:
                    if who == _C:
                        worker.call(growth_worker.open_sockets, channels=size)
                    else:
                        worker.call(growth_worker.open_library, channels=size, size=options.size)
                except WorkerError as error:
                    result.notes.append(f"{size:,} channels, {who}: the system refuses: {error}")
                    continue
                workers[who, size] = worker
        for number in range(-1, options.rounds):  # the first one warms up and is not counted
            for (who, size), worker in _rotated(workers, number):
                drain = growth_worker.drain_sockets if who == _C else growth_worker.drain_library
                for traffic, channels in (("idle", 1), ("spread", size)):
                    try:
                        once = worker.call(drain, channels=channels, packets=packets, size=options.size)
                    except WorkerError as error:
                        result.notes.append(f"{size:,} channels, {traffic}, {who}: {error}")
                        continue
                    if number >= 0:
                        spent.setdefault((who, size, traffic), []).append(once["ns"])
                        disturbed += once["disturbed"]
        for (who, _), worker in workers.items():
            if who != _C:
                worker.call(growth_worker.close_library)
    if disturbed:
        result.notes.append(
            f"{disturbed} measurements shared the core with other processes: processor time counts there"
        )
    _tell(result, options, packets, sizes, {key: Samples(tuple(values)) for key, values in spent.items()})
    return result


# Any: the key is kept as it is
def _rotated(workers: dict[Any, Worker], number: int) -> list[tuple[Any, Worker]]:
    """Return the workers, each round beginning with another; those of one size stay together."""
    listed = list(workers.items())
    turn = max(number, 0) % max(len(listed), 1)
    return listed[turn:] + listed[:turn]


def _tell(
    result: Result,
    options: argparse.Namespace,
    packets: int,
    sizes: list[int],
    spent: dict[tuple[str, int, str], Samples],
) -> None:
    result.data = {
        "packets": packets,
        "rounds": options.rounds,
        "size": options.size,
        "measured": [
            {"who": who, "channels": size, "traffic": traffic, "ns": samples.values}
            for (who, size, traffic), samples in spent.items()
        ],
    }
    for traffic, title, against in (
        ("idle", "all traffic on one channel, the others joined and silent", "one channel alone"),
        ("spread", "traffic spread evenly over all channels", f"{_C} over as many"),
    ):
        rows, bars = [], []
        for who in (_C, *options.loops):
            label = who if who == _C else f"aiomcast, {who}"
            for size in sizes:
                samples = spent.get((who, size, traffic))
                base = spent.get((who, 1, traffic) if traffic == "idle" else (_C, size, traffic))
                if samples is None or base is None:
                    rows.append((label, f"{size:,}", "-", "", "-", ""))
                    continue
                # Pairs of one round, as far as all rounds succeeded
                pairs = zip(samples.values, base.values, strict=False)
                ratio = Samples(tuple(one / other for one, other in pairs))
                rows.append(
                    (
                        label,
                        f"{size:,}",
                        f"{samples.median:,.0f}",
                        samples.spread(),
                        f"{ratio.median:.2f}",
                        ratio.spread(2),
                    )
                )
                if who != _C:
                    bars.append(Bar(f"{size:,} channel{'s' * (size > 1)}", who, ratio.median, ours=True))
                    if size == _MEASURE:
                        result.measured[f"growth {traffic}", who] = ratio.median
        headings = ("", "channels", "ns", "min-max", "ratio", "min-max")
        result.tables.append(Table(f"growth, {traffic}: {title}; ratio to {against}", headings, rows))
        result.panels.append(
            Panel(f"{traffic}: {title}", f"times {against} (less is better)", bars, reference=1.0)
        )
