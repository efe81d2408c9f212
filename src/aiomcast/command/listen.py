"""`aiomcast listen`: the packets of a group, to standard output."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable

import aiomcast

from .formats import FORMATS, Format
from .naming import interface
from .options import channel, common, number
from .output import FOREVER, STDOUT, say, write
from .running import run

__all__ = ["define", "perform"]


def define(command: argparse.ArgumentParser) -> None:
    """Write the packets of a group to standard output, what is going on to standard error.

    text: a line per packet. json: an object per line with every tag, "data" is the payload in
    base64 and "size" its length. hex: a hex dump. raw: the payloads, nothing between them.

    Ends with Ctrl-C, SIGTERM, --count, --seconds or a closed pipe, each with status 0.
    """
    channel(command)
    add = command.add_argument
    add("--source", metavar="A", action="append", help="Let source A in; repeat it for more.")
    add("--exclude", metavar="A", action="append", help="Let all in but A; repeat it for more.")
    common(command)
    add("--seconds", metavar="S", type=number(float, 0), help="End after S seconds.")
    add(
        "--format",
        dest="form",
        choices=list(Format),
        type=_format,
        default=Format.TEXT,
        help="What is written (default: text).",
    )


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    if given.source and given.exclude:
        raise aiomcast.ArgumentError("--source and --exclude together", "give one of the two")
    sources = aiomcast.SourceFilter.exclude(given.exclude) if given.exclude else given.source or None
    ancillary = ("hop_limit", "traffic_class") if given.form is Format.JSON else ()
    feed = aiomcast.listen(
        given.group, given.port, sources=sources, interface=interface(given.interface), ancillary=ancillary
    )
    run(_listen(feed, FORMATS[given.form], given.count, given.seconds))
    return 0


async def _listen(
    listener: aiomcast.Listener,
    written_as: Callable[[list[aiomcast.Packet], str], bytes],
    count: int | None,
    seconds: float | None,
) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    watched = sys.platform != "win32" and stat.S_ISFIFO(os.fstat(STDOUT).st_mode)
    packets = octets = 0
    async with listener as joined, joined.batches() as batches:
        started = time.monotonic()
        listed = ", ".join(sorted(joined.filter.sources))
        if joined.filter.mode is aiomcast.FilterMode.EXCLUDE:
            listed = f"any source but {listed}" if listed else "any source"
        say(f"listening to {joined.group} port {joined.port} on {joined.interface.name}, from {listed}")
        with contextlib.suppress(asyncio.CancelledError, BrokenPipeError):
            if watched:  # this end of a pipe becomes readable when nobody is left at the other
                loop.add_reader(STDOUT, task.cancel)
            if seconds is not None:
                loop.call_later(min(FOREVER, seconds), task.cancel)
            async for batch in batches:
                taken = batch if count is None else batch[: count - packets]
                await write(STDOUT, written_as(taken, joined.interface.name))
                packets += len(taken)
                octets += sum(len(packet.data) for packet in taken)
                if packets == count:
                    break
        if watched:
            loop.remove_reader(STDOUT)
        passed = time.monotonic() - started
    total = listener.receiver.statistics()
    say(
        f"{packets} packets, {octets} bytes written in {passed:.1f} s; "
        f"{total.received} received, {total.filtered} filtered, {total.truncated} truncated, "
        f"{total.received - total.filtered - packets} left over, {total.kernel_drops} dropped by the kernel"
    )


def _format(text: str) -> Format:
    try:
        return Format(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(Format)}") from None
