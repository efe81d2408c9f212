"""The soak of `tests.support.soak` for long: every family, reader and loop in a worker of its own."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator

from tests.support.soak import FAMILIES, READERS, Outcome, exercise, faults, prepare

from .results import Result, Table
from .worker import Worker, WorkerError

__all__ = ["FAMILIES", "READERS", "faults", "run"]


def run(options: argparse.Namespace) -> Result:
    """Split the time over the combinations and run each in a worker of its own."""
    result = Result("swap")
    combinations = list(_combinations(options, result.notes))
    if not combinations:
        raise RuntimeError("; ".join(result.notes))
    outcomes: list[Outcome] = []
    seconds = options.soak / len(combinations)
    for number, (family, reader, loop) in enumerate(combinations):
        arguments = {"rate": options.rate, "seed": options.seed + number, "reader": reader, "loop": loop}
        try:
            with Worker(loop, reader) as worker:
                worker.call(prepare)
                outcomes.append(worker.call(exercise, family=family, seconds=seconds, **arguments))
        except WorkerError as error:
            result.notes.append(f"IPv{family}, {reader}, {loop} did not run to its end: {error}")
    _tell(result, outcomes)
    result.data |= {"seconds": options.soak, "rate": options.rate, "seed": options.seed}
    result.data["complete"] = len(outcomes) == len(combinations)
    return result


def _combinations(options: argparse.Namespace, notes: list[str]) -> Iterator[tuple[int, str, str]]:
    ready6 = os.geteuid() == 0 and shutil.which("ip") is not None
    for family in FAMILIES if options.family is None else (options.family,):
        if family == 6 and not ready6:
            notes.append("IPv6 is left out: it needs root and iproute2, for a link with several addresses")
            continue
        for reader in READERS if options.reader is None else (options.reader,):
            for loop in options.loops:
                yield family, reader, loop


# Names and headings of the counts in the table
_COLUMNS = {
    "packets": "packets",
    "list_swaps": "list\nswaps",
    "mode_switches": "mode\nswitches",
    "leaked": "leaked",
    "lost": "lost",
    "doubled": "doubled",
    "out_of_order": "out of\norder",
    "kernel_drops": "kernel\ndrops",
}


def _tell(result: Result, outcomes: list[Outcome]) -> None:
    rows = []
    for one in outcomes:
        counts = [f"{one[name]:,}" for name in _COLUMNS]  # type: ignore[literal-required]  # names of it
        rows.append((f"IPv{one['family']}", one["reader"], one["loop"], f"{one['seconds']:g}", *counts))
        for name, count in faults(one).items():
            result.notes.append(f"IPv{one['family']}, {one['reader']}, {one['loop']}: {name} {count:,}")
    every = ("seconds", "sent", "read_back", *_COLUMNS, "unlike_kernel", "unaccounted")
    # the type is ignored as these are names of an Outcome
    totals = {name: sum(one[name] for one in outcomes) for name in every}  # type: ignore[literal-required]
    rows.append(("total", "", "", f"{totals['seconds']:g}", *(f"{totals[name]:,}" for name in _COLUMNS)))
    headings = ("family", "reader", "loop", "s", *_COLUMNS.values())
    result.tables.append(
        Table("soak: filters changing under traffic, one source always let in", headings, rows)
    )
    result.notes.append(
        f"the kernel's filter was read back {totals['read_back']:,} times "
        f"and was another than the library's {totals['unlike_kernel']:,} times; "
        f"{totals['unaccounted']:,} datagrams are missing from the statistics"
    )
    if totals["kernel_drops"]:
        result.notes.append("kernel drops: a receive buffer was full, which can account for what is lost")
    result.data = {"soak": outcomes, "totals": totals}
