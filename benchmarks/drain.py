"""drain: everything is queued already; what does seeing a datagram cost?"""

from __future__ import annotations

import argparse
import contextlib

from . import drain_worker
from .competitors import COMPETITORS, missing
from .results import Bar, Panel, Result, Samples, Table
from .worker import Worker, WorkerError

__all__ = ["HELP", "add_arguments", "run", "run_with"]

HELP = "all datagrams queued ahead: nanoseconds per datagram, and how often that of a C loop"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes, and who takes part."""
    parser.add_argument("--packets", type=int, default=20_000, help="datagrams per round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (%(default)s)")
    parser.add_argument("--size", type=int, default=200, help="bytes of payload (%(default)s)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(COMPETITORS),
        metavar="NAME",
        help=f"some of {', '.join(COMPETITORS)}",
    )


def run(options: argparse.Namespace) -> Result:
    """Measure with one datagram per send."""
    return run_with(options, "drain", per_send=1)


def run_with(options: argparse.Namespace, command: str, *, per_send: int) -> Result:
    """Measure every competitor on every loop in every round, in rotated order."""
    result = Result(command)
    entrants: list[tuple[str, str]] = []
    troubles: dict[tuple[str, str], str] = {}
    for loop in options.loops:
        for name in options.only or COMPETITORS:
            why = missing(COMPETITORS[name])
            if why:
                troubles[name, loop] = why
            entrants.append((name, loop))
    rounds: dict[tuple[str, str], list[drain_worker.Round]] = {entrant: [] for entrant in entrants}
    with contextlib.ExitStack() as stack:
        workers = {
            (name, loop): stack.enter_context(Worker(loop, COMPETITORS[name].reading))
            for name, loop in entrants
            if (name, loop) not in troubles
        }
        packets, result.notes = drain_worker.fitted(options.packets, options.size, per_send)
        for number in range(-1, options.rounds):  # the first one warms up and is not counted
            turn = max(number, 0) % len(entrants)
            for entrant in entrants[turn:] + entrants[:turn]:
                if entrant in troubles:
                    continue
                try:
                    once = workers[entrant].call(
                        drain_worker.round_of,
                        name=entrant[0],
                        packets=packets,
                        size=options.size,
                        per_send=per_send,
                        baseline_first=number % 2 == 0,
                    )
                except WorkerError as error:
                    troubles[entrant] = f"does not run: {error}"
                    continue
                if once["seen"] < packets:
                    troubles[entrant] = f"lost {packets - once['seen']:,} of {packets:,}"
                elif number >= 0:
                    rounds[entrant].append(once)
    disturbed = sum(one["disturbed"] for once in rounds.values() for one in once)
    if disturbed:
        result.notes.append(
            f"{disturbed} measurements shared the core with other processes: processor time counts there"
        )
    _tell(result, options, rounds, troubles, packets, per_send)
    return result


def _tell(
    result: Result,
    options: argparse.Namespace,
    rounds: dict[tuple[str, str], list[drain_worker.Round]],
    troubles: dict[tuple[str, str], str],
    packets: int,
    per_send: int,
) -> None:
    result.data = {
        "packets": packets,
        "rounds": options.rounds,
        "size": options.size,
        "per_send": per_send,
        "competitors": [
            {"name": name, "loop": loop, "rounds": once, "trouble": troubles.get((name, loop))}
            for (name, loop), once in rounds.items()
        ],
    }
    bars = []
    for loop in options.loops:
        of_loop = {name: once for (name, on), once in rounds.items() if on == loop}
        base = Samples(tuple(one["baseline_ns"] for once in of_loop.values() for one in once) or (0.0,))
        rows = [("C recvmmsg loop", f"{base.median:,.0f}", base.spread(), "1.00", "", "")]
        medians: dict[str, float] = {}
        for name, once in of_loop.items():
            label = COMPETITORS[name].label
            if (name, loop) in troubles or not once:
                rows.append((label, "-", "", "-", "", troubles.get((name, loop), "")))
                continue
            spent = Samples(tuple(one["ns"] for one in once))
            ratio = Samples(tuple(one["ns"] / one["baseline_ns"] for one in once))
            medians[name] = ratio.median
            rows.append(
                (label, f"{spent.median:,.0f}", spent.spread(), f"{ratio.median:.2f}", ratio.spread(2), "")
            )
            bars.append(Bar(label, loop, ratio.median, ours=label.startswith("aiomcast")))
            result.measured[f"{result.command} {name}", loop] = ratio.median
        if "native" in medians and "queue" in medians:
            result.measured[f"{result.command} queue", loop] = medians["queue"] / medians["native"]
        headings = ("", "ns", "min-max", "ratio to C", "min-max", "")
        sizes = f"{packets:,} datagrams of {options.size} bytes, {options.rounds} rounds"
        title = f"{result.command} on {loop}: {sizes}"
        result.tables.append(Table(title, headings, rows))
    log = per_send > 1
    title = f"Draining a full socket{f', {per_send} datagrams per send' if log else ''}: cost per datagram"
    axis = f"times the C recvmmsg loop ({'log scale; ' if log else ''}less is better)"
    result.panels.append(Panel(title, axis, bars, log=log, reference=1.0))
