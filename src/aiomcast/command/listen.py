"""`aiomcast listen`: what comes to groups, as a live view, as packets or as numbers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

from aiomcast import ArgumentError, Overflow, Receiver, SourceFilter, Sources
from aiomcast.feeds import Sequence

from .channels import Asked, in_file, in_words
from .formats import PACKETS, Format
from .intervals import INTERVALS
from .listening import Listening, Wanted
from .naming import interface
from .options import Words, common, number
from .output import STDOUT, Output
from .running import run
from .writing import IntervalLines, PacketLines, Writing

__all__ = ["define", "perform"]

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_OVERFLOWS = {one.value.replace(" ", "-"): one for one in Overflow}


def define(command: argparse.ArgumentParser) -> None:
    """Show what comes to groups, or write their packets to standard output.

    A channel is GROUP PORT, GROUP:PORT, [IPv6]:PORT, SOURCE@GROUP:PORT or udp://SOURCE@GROUP:PORT;
    GROUP+N is N groups from that one on. A file of channels has one a line, and # begins a comment.

    live: a table of rates, losses and drops, on a terminal unless another format is given. text: a
    line per packet, elsewhere. json: an object per line with every tag, "data" is the payload in
    base64 and "size" its length. hex: a hex dump. raw: the payloads, nothing between them.

    Ends with Ctrl-C, SIGTERM, SIGHUP, --count, --seconds or a closed pipe. The status is 1 when nothing came
    of a channel that was asked for, or fewer packets than --count, within --seconds. SIGUSR1, and
    Ctrl-T where there is SIGINFO, have the totals written to standard error.
    """
    add = command.add_argument
    add("channels", metavar="CHANNEL", action=Words, help="Group and port, with sources or without.")
    add(
        "--channels",
        dest="files",
        metavar="FILE",
        action="append",
        default=[],
        help="Read channels from FILE.",
    )
    add(
        "-s", "--source", metavar="A[,B...]", type=_listed, action="extend",
        help="Let these sources in, for channels that name none; repeat it for more.",
    )  # fmt: skip
    add(
        "-x", "--exclude", metavar="A[,B...]", type=_listed, action="extend",
        help="Let all in but these; repeat it for more.",
    )  # fmt: skip
    common(command)
    add("-t", "--seconds", metavar="S", type=number(float, 0), help="End after S seconds.")
    add(
        "-f", "--format", dest="form", choices=list(Format), type=_format,
        help="What is written (default: live on a terminal, else text).",
    )  # fmt: skip
    add(
        "--interval", metavar="S", type=number(float, 0.1),
        help="Write a line per channel every S seconds, no packets; how often the live view is drawn.",
    )  # fmt: skip
    add(
        "--sequence", metavar="WHERE", type=_sequence,
        help="Where the sequence number is: rtp, or the type and offset as u32@0, u64be@8, u16le@2.",
    )  # fmt: skip
    add(
        "--buffer", metavar="BYTES", type=_octets, default=4 << 20,
        help="Receive buffer of each socket, as 512K or 8M; the system may give less (default: 4M).",
    )  # fmt: skip
    add(
        "--overflow", choices=list(_OVERFLOWS), default="pause",
        help="What to do when packets come faster than they are written (default: pause the reading).",
    )  # fmt: skip
    add(
        "--gro", action=argparse.BooleanOptionalAction,
        help="Have the kernel hand over packets in bulk, or not (default: where it can).",
    )  # fmt: skip
    add("-q", "--quiet", action="store_true", help="Say nothing on standard error but what is wrong.")


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    asked = [*in_words(given.channels), *(one for file in given.files for one in in_file(file))]
    if not asked:
        raise ArgumentError("no channel", "give GROUP PORT or another form, or --channels FILE")
    form, is_terminal = given.form, os.isatty(STDOUT)
    if form is None:
        form = Format.LIVE if is_terminal and os.environ.get("TERM") != "dumb" else Format.TEXT
    writing = _writing(form, given.interval, is_terminal)
    receiver = Receiver(
        receive_buffer=given.buffer,
        overflow=_OVERFLOWS[given.overflow],
        gro=given.gro,
        ancillary=("hop_limit", "traffic_class") if form is Format.JSON else (),
    )
    wanted = Wanted(
        asked,
        _filters(asked, _let_in(given.source, given.exclude)),
        interface(given.interface),
        given.count,
        given.seconds,
    )
    return run(Listening(wanted, receiver, given.sequence, writing, given.quiet).run())


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


def _let_in(source: list[str] | None, exclude: list[str] | None) -> Sources:
    if source and exclude:
        raise ArgumentError("--source and --exclude together", "give one of the two")
    return SourceFilter.exclude(exclude) if exclude else source


def _filters(asked: Iterable[Asked], let_in: Sources) -> dict[tuple[str, int], Sources]:
    """Return what is to be joined: channels of one group and port are one membership."""
    named: dict[tuple[str, int], list[str]] = {}
    for one in asked:
        place = one.group, one.port
        if place in named and bool(named[place]) != bool(one.sources):
            raise ArgumentError(f"{one.group} port {one.port} with a source and without", "write one of them")
        named.setdefault(place, []).extend(one.sources)
    return {place: sources or let_in for place, sources in named.items()}


def _format(text: str) -> Format:
    try:
        return Format(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(Format)}") from None


def _sequence(text: str) -> Sequence:
    try:
        return Sequence.parse(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _listed(text: str) -> list[str]:
    return text.split(",")


def _octets(text: str) -> int:
    digits, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in _UNITS else (text, "")
    if not digits.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes: write 512K or 8M")
    return int(digits) * _UNITS.get(unit, 1)
