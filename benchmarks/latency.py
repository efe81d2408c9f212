"""latency: datagrams at an ordinary rate; how long from `sendto` to the consumer's line?"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import time
from typing import TypeAlias

from . import baseline, latency_worker, live_worker
from .latency_worker import RECEIVERS, Lateness
from .results import Bar, Panel, Result, Samples, Table
from .worker import Worker, WorkerError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "datagrams at ordinary rates: microseconds from sendto to the consumer's code, beside a C loop"
_C = "C epoll + recvmmsg"
_C_KEY = ("c", "-")
_JOINING = 0.05  # seconds: the receiver has begun by then
_AFTER = 0.1  # seconds, within which the last datagram is seen
_PACES = {"1,000/s": (1000.0, 1), "10,000/s": (10_000.0, 1), "bursts of 20": (1000.0, 20)}

Key: TypeAlias = tuple[str, str]  # name and loop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add durations, paces, and who takes part."""
    parser.add_argument("--seconds", type=float, default=2.0, help="of each trial (%(default)g)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (%(default)s)")
    parser.add_argument("--size", type=int, default=200, help="bytes of payload (%(default)s)")
    parser.add_argument(
        "--paces", nargs="+", choices=list(_PACES), default=list(_PACES), metavar="PACE",
        help=f"some of {'; '.join(_PACES)} (all; the bursts are 50 a second)",
    )  # fmt: skip
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(RECEIVERS),
        metavar="NAME",
        help=f"some of {', '.join(RECEIVERS)}",
    )


def run(options: argparse.Namespace) -> Result:
    """Measure every receiver on every loop at every pace in every round, in rotated order."""
    result = Result("latency")
    names = options.only or list(RECEIVERS)
    keys: list[Key] = [_C_KEY]
    for name in names:
        package = RECEIVERS[name].package
        if package is not None and importlib.util.find_spec(package) is None:
            result.notes.append(f"{RECEIVERS[name].label}: not installed")
        else:
            keys += [(name, loop) for loop in options.loops]
    trials: dict[str, dict[Key, list[Lateness]]] = {pace: {key: [] for key in keys} for pace in options.paces}
    lost = 0
    with contextlib.ExitStack() as stack:
        sender = stack.enter_context(Worker("asyncio"))
        if sender.call(live_worker.take_other_core) < 2:
            result.notes.append("one core only: sender and receiver take it from each other")
        library = baseline.waiting()
        workers = {
            key: stack.enter_context(Worker("asyncio" if key == _C_KEY else key[1], preload=library))
            for key in keys
        }
        for number in range(options.rounds):
            turn = number % len(keys)
            for pace in options.paces:
                for key in keys[turn:] + keys[:turn]:
                    try:
                        heard, missed = _trial(sender, workers[key], key, pace, options)
                    except WorkerError as error:
                        raise RuntimeError(f"{_label(key)} on {key[1]}: {error}") from None
                    trials[pace][key].append(heard)
                    lost += missed
    if lost:
        result.notes.append(f"{lost} datagrams were not seen")
    result.data = {
        "seconds": options.seconds,
        "rounds": options.rounds,
        "size": options.size,
        "trials": [
            {"pace": pace, "name": name, "loop": loop, "rounds": rounds}
            for pace, of_pace in trials.items()
            for (name, loop), rounds in of_pace.items()
        ],
    }
    for pace, of_pace in trials.items():
        _tell(result, pace, of_pace)
    result.notes.append(
        "quantiles: medians over the rounds, to C: medians of the ratios to the C loop of the same round; "
        "path: from the end of the wait that blocked"
    )
    return result


def _trial(
    sender: Worker, worker: Worker, key: Key, pace: str, options: argparse.Namespace
) -> tuple[Lateness, int]:
    """Return what was heard, and how many datagrams were not."""
    rate, burst = _PACES[pace]
    port = worker.call(live_worker.port)
    seconds = options.seconds + _JOINING + _AFTER
    if key == _C_KEY:
        most = int(rate * options.seconds) + 2 * burst
        worker.start(latency_worker.hear_in_c, seconds=seconds, size=options.size, most=most)
    else:
        worker.call(latency_worker.open_for, name=key[0])
        worker.start(latency_worker.hear, seconds=seconds)
    time.sleep(_JOINING)
    sent = sender.call(
        latency_worker.send, to_port=port, rate=rate, burst=burst, seconds=options.seconds, size=options.size
    )
    heard: Lateness = worker.answer()
    if key != _C_KEY:
        worker.call(latency_worker.close)
    return heard, sent - heard["seen"]


def _label(key: Key) -> str:
    return _C if key == _C_KEY else RECEIVERS[key[0]].label


def _tell(result: Result, pace: str, trials: dict[Key, list[Lateness]]) -> None:
    base = trials[_C_KEY]
    rows, ends, paths = [], [], []
    for key, rounds in trials.items():
        late = [_median([one["late"][at] for one in rounds]) for at in range(3)]
        ratios = [
            _median(
                [one["late"][at] / max(1, bare["late"][at]) for one, bare in zip(rounds, base, strict=True)]
            )
            for at in range(3)
        ]
        path = _median([one["path"][0] for one in rounds])
        ours = _label(key).startswith("aiomcast")
        cells = [f"{value / 1000:.1f}" for value in late] + [f"{value:.2f}" for value in ratios]
        rows.append((_label(key), key[1], *cells, f"{path / 1000:.2f}"))
        paths.append(Bar(_label(key), key[1], path / 1000, ours=ours))
        if key != _C_KEY:
            ends.append(Bar(_label(key), key[1], ratios[0], ours=ours))
        if pace == "1,000/s":
            result.measured[f"latency {key[0]}", key[1]] = ratios[0]
    if pace == "1,000/s" and ("protocol", "uvloop") in trials:
        stock = trials["protocol", "uvloop"]
        for name in ("endpoint", "packets"):
            pairs = zip(trials.get((name, "uvloop"), ()), stock, strict=False)
            values = [one["path"][0] / max(1, other["path"][0]) for one, other in pairs]
            if values:
                result.measured[f"path {name}", "uvloop"] = _median(values)
    headings = ("", "loop", "50 %", "99 %", "99.9 %", "to C", "to C", "to C", "path")
    result.tables.append(Table(f"latency at {pace}, µs", headings, rows))
    result.panels.append(
        Panel(
            f"From sendto to the consumer's line, {pace}",
            "median, times C (less is better)",
            ends,
            reference=1.0,
        )
    )
    result.panels.append(
        Panel(f"From the end of the wait to the line, {pace}", "median, µs (less is better)", paths)
    )


def _median(values: list[float]) -> float:
    return Samples(tuple(values)).median
