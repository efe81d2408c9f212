"""merge: two lines of one feed merged into one, against taking both and throwing one away."""

from __future__ import annotations

import argparse
import contextlib

from . import merge_worker
from .results import Bar, Panel, Result, Samples, Table
from .worker import Worker

__all__ = ["HELP", "add_arguments", "run"]

HELP = "two lines merged, against taking both and throwing one away: nanoseconds per number"
READERS = ("native", "portable")
_LABELS = {
    "packets": "queued, packet by packet",
    "batches": "queued, by batches",
    "live": "one at a time",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes."""
    parser.add_argument("--packets", type=int, default=10_000, help="numbers per round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (%(default)s)")
    parser.add_argument("--size", type=int, default=200, help="bytes of payload (%(default)s)")
    parser.add_argument("--reading", choices=READERS, default="native", help="reader (%(default)s)")


def run(options: argparse.Namespace) -> Result:
    """Measure every way on every loop in every round, now one first, now the other."""
    result = Result("merge")
    rounds: dict[tuple[str, str], list[merge_worker.Round]] = {}
    with contextlib.ExitStack() as stack:
        workers = {loop: stack.enter_context(Worker(loop, options.reading)) for loop in options.loops}
        for number in range(-1, options.rounds):  # the first one warms up and is not counted
            for loop, worker in workers.items():
                for way in merge_worker.WAYS:
                    once = worker.call(
                        merge_worker.round_of,
                        way=way,
                        packets=options.packets,
                        size=options.size,
                        merged_first=number % 2 == 0,
                    )
                    if number >= 0:
                        rounds.setdefault((loop, way), []).append(once)
    result.data = {
        "packets": options.packets,
        "size": options.size,
        "reading": options.reading,
        "rounds": [{"loop": loop, "way": way, "rounds": once} for (loop, way), once in rounds.items()],
    }
    disturbed = sum(one["disturbed"] for once in rounds.values() for one in once)
    if disturbed:
        result.notes.append(
            f"{disturbed} measurements shared the core with other processes: processor time counts there"
        )
    bars = []
    for loop in options.loops:
        rows = []
        for way, label in _LABELS.items():
            once = rounds[loop, way]
            taken = Samples(tuple(one["taken_ns"] for one in once))
            merged = Samples(tuple(one["merged_ns"] for one in once))
            ratio = Samples(tuple(one["merged_ns"] / one["taken_ns"] for one in once))
            rows.append(
                (
                    label,
                    f"{taken.median:,.0f}",
                    f"{merged.median:,.0f}",
                    f"{ratio.median:.2f}",
                    ratio.spread(2),
                )
            )
            bars.append(Bar(label, loop, ratio.median, ours=True))
            result.measured[f"merge {way}", loop] = ratio.median
        headings = ("", "one thrown away, ns", "merged, ns", "ratio", "min-max")
        title = (
            f"merge on {loop}: {options.packets:,} numbers of {options.size} bytes, {options.rounds} rounds"
        )
        result.tables.append(Table(title, headings, rows))
    axis = "times taking both and throwing one away (less is better)"
    result.panels.append(Panel("Merging two lines: cost per number", axis, bars, reference=1.0))
    return result
