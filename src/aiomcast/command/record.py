"""`aiomcast record`: what comes to groups, into pcapng files or a pipe."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from aiomcast import ArgumentError

from .formats import Format
from .intervals import INTERVALS
from .joining import buffers, channels, receiver, wanted
from .listening import Listening
from .options import number, octets
from .output import STDERR, STDOUT, Output
from .recording import FileRecording, PipeRecording
from .running import run
from .writing import IntervalLines

__all__ = ["define", "perform"]


def define(command: argparse.ArgumentParser) -> None:
    """Record what comes to groups in pcapng files, which Wireshark, tshark and tcpdump open.

    Channels are written as for `listen`. Each packet has its kernel's stamp, and headers made of what the
    system tells. What was dropped before it could be written stands at the packet after it.

    A file that is there is not written over without --overwrite. With --rotate-bytes or --rotate-seconds
    feed.pcapng is feed-00001.pcapng and so on. With `-` for FILE it goes to standard output; lines of
    --interval then go to standard error.

    Ends with Ctrl-C, SIGTERM, SIGHUP, --count or --seconds, and each time with a whole file. The status
    is 1 when nothing came of a channel that was asked for, or fewer packets than --count, within --seconds.

    Examples:
      aiomcast record 192.0.2.10@232.1.1.1:5000 --to feed.pcapng --seconds 60
      aiomcast record 232.1.1.1+8:5000 -s 192.0.2.10 --to feed.pcapng --rotate-bytes 100M
      aiomcast record 239.1.1.1 5000 --to - | tshark -r -
    """
    channels(command)
    add = command.add_argument
    add("--to", metavar="FILE", required=True, help="Write to FILE; - is standard output.")
    add("--overwrite", action="store_true", help="Remove what is there under the name, and begin anew.")
    add(
        "--rotate-bytes",
        metavar="N",
        type=_above_0,
        help="Begin a next file before one grows beyond N, as 100M.",
    )
    add(
        "--rotate-seconds", metavar="S", type=number(float, 0.001),
        help="Begin a next file with the first packet S seconds after the first of one.",
    )  # fmt: skip
    add("--interval", metavar="S", type=number(float, 0.1), help="Write a line per channel every S seconds.")
    add(
        "-f", "--format", dest="form", choices=("text", "json"), default="text",
        help="What these lines are (default: text).",
    )  # fmt: skip
    buffers(command, "recorded")


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    asked = wanted(given)
    is_pipe = given.to == "-"
    shown = None
    if given.interval is not None:
        output = Output(STDERR if is_pipe else STDOUT)
        shown = IntervalLines(output, INTERVALS[Format(given.form)], given.interval)
    taking = receiver(given, has_headers=True)
    if is_pipe:
        for name in ("rotate_bytes", "rotate_seconds", "overwrite"):
            if getattr(given, name):
                raise ArgumentError(f"--{name.replace('_', '-')} with --to -", "it is for files")
        if os.isatty(STDOUT):
            raise ArgumentError("--to - to a terminal", "payloads can command it: give a pipe, or a file")
        return run(Listening(asked, taking, None, PipeRecording(taking, shown), given.quiet).run())
    recording = FileRecording(
        taking, _file(given.to), given.rotate_bytes, given.rotate_seconds, given.overwrite, shown
    )
    return run(Listening(asked, taking, None, recording, given.quiet).run())


def _file(text: str) -> Path:
    """Return the file that is meant. ArgumentError for what names none."""
    path = Path(text)
    try:
        if not path.name or text.endswith(os.sep) or path.is_dir():
            raise ArgumentError(f"--to {text!r} is a folder" if text else "--to ''", "name a file")
    except OSError as error:
        raise ArgumentError(f"--to {text[:40]!r}...", error.strerror or "name a file") from None
    return path


def _above_0(text: str) -> int:
    if not (found := octets(text)):
        raise argparse.ArgumentTypeError("0 is less than 1")
    return found
