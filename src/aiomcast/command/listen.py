"""`aiomcast listen`: what comes to groups, as a live view, as packets or as numbers."""

from __future__ import annotations

import argparse
import os

from aiomcast import ArgumentError

from .formats import PACKETS, Format
from .intervals import INTERVALS
from .joining import buffers, channels, receiver, wanted
from .listening import Listening
from .options import number, sequence
from .output import STDOUT, Output
from .running import run
from .writing import IntervalLines, PacketLines, Writing

__all__ = ["define", "perform"]


def define(command: argparse.ArgumentParser) -> None:
    """Show what comes to groups, or write their packets to standard output.

    A channel is GROUP PORT, GROUP:PORT, [IPv6]:PORT, SOURCE@GROUP:PORT or udp://SOURCE@GROUP:PORT;
    GROUP+N is N groups from that one on. A file of channels has one a line, and # begins a comment.

    live: a table of rates, losses and drops, on a terminal unless another format is given. text: a
    line per packet, elsewhere. json: an object per line with every tag, "data" is the payload in
    base64 and "size" its length. hex: a hex dump. raw: the payloads, nothing between them.

    Ends with Ctrl-C, SIGTERM, SIGHUP, --count, --seconds or a closed pipe. The status is 1 when nothing
    came of a channel that was asked for, or fewer packets than --count, within --seconds. SIGUSR1, and
    Ctrl-T where there is SIGINFO, have the totals written to standard error.
    """
    channels(command)
    add = command.add_argument
    add(
        "-f", "--format", dest="form", choices=list(Format), type=_format,
        help="What is written (default: live on a terminal, else text).",
    )  # fmt: skip
    add(
        "--interval", metavar="S", type=number(float, 0.1),
        help="Write a line per channel every S seconds, no packets; how often the live view is drawn.",
    )  # fmt: skip
    sequence(command)
    buffers(command, "written")


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    asked = wanted(given)
    form, is_terminal = given.form, os.isatty(STDOUT)
    if form is None:
        form = Format.LIVE if is_terminal and os.environ.get("TERM") != "dumb" else Format.TEXT
    writing = _writing(form, given.interval, is_terminal)
    taking = receiver(given, has_headers=form is Format.JSON)
    return run(Listening(asked, taking, given.sequence, writing, given.quiet).run())


def _writing(form: Format, interval: float | None, is_terminal: bool) -> Writing:
    if form is Format.LIVE:
        if not is_terminal:
            raise ArgumentError("--format live", "it takes a terminal; --interval S writes lines")
        from .live import LiveView  # which draws with rich: it takes longer to load than all the rest

        return LiveView(interval or 1.0)
    if form is Format.RAW and is_terminal:
        raise ArgumentError("--format raw to a terminal", "payloads can command it: use hex, or a pipe")
    output = Output(STDOUT)
    if interval is None:
        return PacketLines(output, PACKETS[form])
    if form not in INTERVALS:
        raise ArgumentError(f"--interval with --format {form}", "use text or json")
    return IntervalLines(output, INTERVALS[form], interval)


def _format(text: str) -> Format:
    try:
        return Format(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(Format)}") from None
