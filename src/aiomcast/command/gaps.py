"""`aiomcast gaps`: what is missing in one line of a feed, or which of several lines lost what."""

from __future__ import annotations

import argparse
import os

from aiomcast import ArgumentError

from .channels import in_words
from .comparing import Comparing, FeedWriting, Plan, WantedLine
from .formats import Format
from .joining import buffers, captured, receiver
from .naming import interface
from .options import Words, listed, number, sequence
from .output import STDOUT, Output
from .running import run
from .tally_lines import FeedLines

__all__ = ["define", "perform"]

_HOLD = 1.0  # seconds


def define(command: argparse.ArgumentParser) -> None:
    """Find what is missing in a feed, and which of its lines lost what.

    A CHANNEL is a line of the feed, written as for `listen`. Of one line the numbers of each source are
    looked at as they come. Of several, which carry the same packets, each number is taken once, from the
    line that brings it first. A number is lost on all lines when none has brought it --hold seconds after
    the next, or when the next are --window numbers ahead.

    won: were the first with their number. lost here: came on another line alone. lost on all: came on
    none. late: came when their number had been given up. behind: by how much the line is later than the
    first. dropped by this host: its own buffers were full, so the line may be better than it looks.

    On a terminal it is a table, elsewhere a line for each line of the feed and interval. Each gap is
    written as it is found, and at the end who lost what.

    Ends with Ctrl-C, SIGTERM, SIGHUP, --count, --seconds or a closed pipe. The status is 0 when nothing
    was lost on all lines, 1 when something was, when nothing came on a line, or when fewer packets than
    --count came within --seconds.

    With --from the lines are what was captured, as if it came now, and it ends with the file.

    Examples:
      aiomcast gaps 192.0.2.1@232.1.1.1:5000 --sequence rtp
      aiomcast gaps 192.0.2.1@232.1.1.1:5000 192.0.2.2@232.1.1.2:5000 --sequence rtp
      aiomcast gaps 192.0.2.1@232.1.1.1:5000 --sequence u64be@8 -t 3600 -f json
    """
    add = command.add_argument
    add("channels", metavar="CHANNEL", action=Words, help="A line: group and port, with sources or without.")
    sequence(command, required=True)
    add(
        "-i", "--interface", metavar="I[,I...]", type=listed,
        help="Name, index or address: one for all lines, or one for each; else by the route.",
    )  # fmt: skip
    add(
        "--hold", metavar="S", type=number(float, 0, 3600),
        help=f"How long a number is waited for on several lines (default: {_HOLD:g}).",
    )  # fmt: skip
    add(
        "--window", metavar="N", type=number(int, 1),
        help="How many numbers lines may be apart (default: 4096, or what the width allows).",
    )  # fmt: skip
    add("-c", "--count", metavar="N", type=number(int, 1), help="End after N packets of the feed.")
    add("-t", "--seconds", metavar="S", type=number(float, 0, 1e9), help="End after S seconds.")
    add(
        "-f", "--format", dest="form", choices=("live", "text", "json"),
        help="What is written (default: live on a terminal, else text).",
    )  # fmt: skip
    add(
        "--interval", metavar="S", type=number(float, 0.1, 1e9), default=1.0,
        help="Every how many seconds to write lines, or to draw (default: 1).",
    )  # fmt: skip
    captured(command)
    buffers(command, "compared")


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    plan = _plan(given)
    writing = _writing(given.form, given.interval)
    return run(Comparing(plan, receiver(given, has_headers=False), writing, given.quiet).run())


def _plan(given: argparse.Namespace) -> Plan:
    asked = [*in_words(given.channels)]
    if not asked:
        raise ArgumentError("no channel", "give GROUP PORT or another form for each line")
    if len(asked) == 1:
        for name in ("hold", "window"):
            if getattr(given, name) is not None:
                raise ArgumentError(f"--{name} with one line", "it is for several: give each line's channel")
    named = [interface(one) for one in given.interface or (None,)]
    interfaces = named * len(asked) if len(named) == 1 else named
    if len(interfaces) != len(asked):
        raise ArgumentError(
            f"{len(named)} interfaces for {len(asked)} lines", "give one for all, or one for each"
        )
    lines = [
        WantedLine(one.group, one.port, one.sources, by) for one, by in zip(asked, interfaces, strict=True)
    ]
    hold = _HOLD if given.hold is None else given.hold
    return Plan(lines, given.sequence, hold, given.window, given.count, given.seconds)


def _writing(form: str | None, interval: float) -> FeedWriting:
    is_terminal = os.isatty(STDOUT)
    if form is None:
        form = "live" if is_terminal and os.environ.get("TERM") != "dumb" else "text"
    if form != "live":
        return FeedLines(Output(STDOUT), Format(form), interval)
    if not is_terminal:
        raise ArgumentError("--format live", "it takes a terminal; elsewhere use text or json")
    from .tally_view import LiveFeed  # which draws with rich: it takes longer to load than all the rest

    return LiveFeed(interval)
