"""What `listen` and `record` have in common: channels, whom to let in, the sockets, and when it ends."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from aiomcast import ArgumentError, Overflow, Receiver, SourceFilter, Sources
from aiomcast.feeds import Replay

from .channels import Asked, in_file, in_words
from .listening import Wanted
from .naming import interface
from .options import Words, common, listed, number, octets, speed

__all__ = ["buffers", "captured", "channels", "receiver", "wanted"]

_OVERFLOWS = {one.value.replace(" ", "-"): one for one in Overflow}


def channels(command: argparse.ArgumentParser) -> None:
    """Declare the channels, --source, --exclude, --interface, --count and --seconds."""
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
        "-s", "--source", metavar="A[,B...]", type=listed, action="extend",
        help="Let these sources in, for channels that name none; repeat it for more.",
    )  # fmt: skip
    add(
        "-x", "--exclude", metavar="A[,B...]", type=listed, action="extend",
        help="Let all in but these; repeat it for more.",
    )  # fmt: skip
    common(command)
    add("-t", "--seconds", metavar="S", type=number(float, 0), help="End after S seconds.")


def captured(command: argparse.ArgumentParser) -> None:
    """Declare --from and --speed."""
    add = command.add_argument
    add(
        "--from", dest="capture", metavar="FILE",
        help="Receive what was captured in FILE (pcapng or pcap); without --interface on all of its own.",
    )  # fmt: skip
    add(
        "--speed", metavar="X", type=speed,
        help='With --from: 2 is twice as fast, "fast" as fast as can be (default: 1, as it was captured).',
    )  # fmt: skip


def buffers(command: argparse.ArgumentParser, written: str) -> None:
    """Declare --buffer, --overflow, --gro and --quiet."""
    add = command.add_argument
    add(
        "--buffer", metavar="BYTES", type=octets,
        help="Receive buffer of each socket, as 512K or 8M; the system may give less (default: 4M).",
    )  # fmt: skip
    add(
        "--overflow", choices=list(_OVERFLOWS), default="pause",
        help=f"What to do when packets come faster than they are {written} (default: pause the reading).",
    )  # fmt: skip
    add(
        "--gro", action=argparse.BooleanOptionalAction,
        help="Have the kernel hand over packets in bulk, or not (default: where it can).",
    )  # fmt: skip
    add("-q", "--quiet", action="store_true", help="Say nothing on standard error but what is wrong.")


def wanted(given: argparse.Namespace) -> Wanted:
    """Return what was asked for by the options of `channels`. ArgumentError where that cannot be."""
    asked = [*in_words(given.channels), *(one for file in given.files for one in in_file(file))]
    if not asked:
        raise ArgumentError("no channel", "give GROUP PORT or another form, or --channels FILE")
    return Wanted(
        asked,
        _filters(asked, _let_in(given.source, given.exclude)),
        interface(given.interface),
        given.count,
        given.seconds,
        getattr(given, "capture", None),  # of what has no --from
    )


def receiver(given: argparse.Namespace, *, has_headers: bool) -> Receiver:
    """Return what receives as the options of `buffers` say; `has_headers`: with what only headers tell."""
    return Receiver(
        network=_network(given),
        receive_buffer=given.buffer,
        overflow=_OVERFLOWS[given.overflow],
        gro=given.gro,
        ancillary=("hop_limit", "traffic_class") if has_headers else (),
    )


def _network(given: argparse.Namespace) -> Replay | None:
    """Return the capture in the place of the system's network, where one was asked for."""
    capture, pace = getattr(given, "capture", None), getattr(given, "speed", None)
    if capture is not None:
        return Replay(capture, speed=1.0 if pace is None else pace)
    if pace is not None:
        raise ArgumentError("--speed without --from", "what comes now has a speed of its own")
    return None


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
