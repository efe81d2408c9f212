"""live: a sender beside the receiver, and the highest rate at which nothing is lost."""

from __future__ import annotations

import argparse
import contextlib
import math
import time

import attrs

from . import live_worker
from .competitors import COMPETITORS, missing
from .results import Bar, Panel, Result, Table
from .worker import Worker, WorkerError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "a sender in another process: the highest rate that loses nothing"
_C = "C epoll + recvmmsg"
_SLOWEST = 2_000.0  # datagrams a second
_LAG = 0.5  # seconds: what has not been seen this long after the last send counts as lost
_KEPT_UP = 0.97  # a sender slower than this share of the rate has reached its own limit


@attrs.frozen
class Trial:
    """What one rate came to: datagrams sent, lost, and lost in the kernel; `capped` by the sender."""

    rate: float
    sent: int
    lost: int
    kernel_drops: int
    capped: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add durations and sizes."""
    parser.add_argument("--seconds", type=float, default=10.0, help="without loss, to count (%(default)g)")
    parser.add_argument("--precision", type=float, default=1.1, help="ratio at which to stop (%(default)g)")
    parser.add_argument("--size", type=int, default=200, help="bytes of payload (%(default)s)")
    parser.add_argument("--buffer", type=int, default=4 << 20, help="receive buffer, bytes (%(default)s)")
    parser.add_argument(
        "--only", nargs="+", choices=list(COMPETITORS), metavar="NAME", help="some competitors"
    )


def run(options: argparse.Namespace) -> Result:
    """Search the rate of each competitor on each loop, between short trials and a long one."""
    result = Result("live")
    rows, bars, found = [], [], []
    with Worker("asyncio") as sender:
        if sender.call(live_worker.take_other_core) < 2:
            result.notes.append("one core only: sender and receiver take it from each other")
        entrants: list[tuple[str | None, str]] = [(None, "-")]
        entrants += [(name, loop) for loop in options.loops for name in options.only or COMPETITORS]
        for name, loop in entrants:
            label = COMPETITORS[name].label if name else _C
            why = missing(COMPETITORS[name]) if name else None
            held, lost = None, None
            if not why:
                try:
                    with _Search(sender, name, loop, options) as search:
                        held, lost = search.highest()
                except WorkerError as error:
                    why = f"does not run: {error}"
            rows.append((label, loop, *_cells(held, lost), why or ""))
            found.append(
                {
                    "name": name or "c",
                    "loop": loop,
                    "held": held and attrs.asdict(held),
                    "lost": lost and attrs.asdict(lost),
                    "trouble": why,
                }
            )
            if held:
                bars.append(Bar(label, loop, held.rate, ours=label.startswith("aiomcast")))
    result.data = {
        "seconds": options.seconds,
        "size": options.size,
        "buffer": options.buffer,
        "competitors": found,
    }
    headings = ("", "loop", "datagrams/s", "lossy at", "lost", "by the kernel", "")
    title = f"live: highest rate without loss for {options.seconds:g} s, {options.size} bytes"
    result.tables.append(Table(title, headings, rows))
    result.panels.append(Panel(title, "datagrams per second (more is better)", bars))
    result.notes.append(
        f"lost: not seen {_LAG:g} s after the last send; what the kernel did not drop was lost in the program"
    )
    return result


def _cells(held: Trial | None, lost: Trial | None) -> tuple[str, str, str, str]:
    rate = "-" if held is None else f"{'≥ ' if held.capped else ''}{held.rate:,.0f}"
    if lost is None:
        return rate, "sender's limit" if held else "-", "", ""
    return rate, f"{lost.rate:,.0f}", f"{lost.lost / lost.sent:.1%}", f"{lost.kernel_drops / lost.sent:.1%}"


class _Search:
    """The search for one competitor's rate; None is the C loop."""

    def __init__(self, sender: Worker, name: str | None, loop: str, options: argparse.Namespace) -> None:
        self.sender = sender
        self.name = name
        self.options = options
        self.short = min(1.0, options.seconds)
        reading = COMPETITORS[name].reading if name else None
        self.worker = Worker("asyncio" if name is None else loop, reading)

    def highest(self) -> tuple[Trial | None, Trial | None]:
        """Return the fastest trial without loss (long), and the slowest one with."""
        top = self.trial(1e9, self.short)
        if not top.lost:
            top = self.trial(1e9, self.options.seconds)
            if not top.lost:
                return top, None
        low, high = _SLOWEST, top.rate
        lossy = top
        held = self.trial(low, self.short)
        if held.lost:
            return None, held
        while high / low > self.options.precision:
            middle = math.sqrt(low * high)
            trial = self.trial(middle, self.short)
            if trial.lost:
                high, lossy = middle, trial
            else:
                low = middle
        while low >= _SLOWEST:
            trial = self.trial(low, self.options.seconds)
            if not trial.lost:
                return trial, lossy
            lossy = trial
            low /= self.options.precision
        return None, lossy

    def trial(self, rate: float, seconds: float) -> Trial:
        """Send at one rate and see what comes."""
        listening = seconds + _LAG
        options = self.options
        to = self.worker.call(live_worker.port)
        if self.name is None:
            self.worker.start(
                live_worker.hear_in_c, seconds=listening, size=options.size, buffer=options.buffer
            )
            time.sleep(0.05)  # it joins first
        else:
            self.worker.call(live_worker.open_for, name=self.name, buffer=options.buffer)
            self.worker.start(live_worker.hear, seconds=listening)
        sent = self.sender.call(live_worker.send, to_port=to, rate=rate, seconds=seconds, size=options.size)
        heard = self.worker.answer()
        capped = sent < rate * seconds * _KEPT_UP
        return Trial(
            rate=sent / seconds if capped else rate,
            sent=sent,
            lost=sent - heard["seen"],
            kernel_drops=heard["dropped"],
            capped=capped,
        )

    def __enter__(self) -> _Search:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self.worker.close()
