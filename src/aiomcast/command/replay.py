"""`aiomcast replay`: the datagrams of a capture, sent to their groups again or to others."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from aiomcast import ArgumentError
from aiomcast.feeds import Capture

from .channels import Asked, in_words
from .naming import interface
from .options import Words, common, number, speed
from .resending import Resending, Way
from .running import run

__all__ = ["define", "perform"]


def define(command: argparse.ArgumentParser) -> None:
    """Send the datagrams of a capture to their groups, or to another.

    FILE is pcapng or pcap, as `aiomcast record`, dumpcap, tshark and tcpdump write it, also compressed
    with gzip. Of its packets those are sent that are UDP datagrams to groups: all of them, or with
    CHANNELs those of these (GROUP:PORT, SOURCE@GROUP:PORT and the like, as for listen).

    They go out from the addresses and ports that they were captured from. For an address that this host
    does not have that takes CAP_NET_ADMIN or CAP_NET_RAW, and Linux; --source sends all of them from an
    address of this host, and so does --to unless --source says otherwise.

    They have the payload and the TTL of the capture, its pace and its order. Ends with the file, Ctrl-C,
    SIGTERM or --count, and says on standard error what was sent and what of the file was not. What the
    system refuses for now is counted, and the status is 1.

    Examples:
      aiomcast replay feed.pcapng -i eth0                          # as it was: takes privilege
      aiomcast replay feed.pcapng 232.1.1.1:5000 -i lo --source 127.0.0.2
      aiomcast replay feed.pcapng --to 239.1.1.1:5000 -i lo --speed fast
      aiomcast replay feed.pcapng --to 232.1.1.1:5000=239.1.1.1:5000 --loop 0
    """
    add = command.add_argument
    add("file", metavar="FILE", help="The capture.")
    add("channels", metavar="CHANNEL", action=Words, help="Send what was sent to this one only.")
    add(
        "--to", metavar="[FROM=]TO", action="append", default=[],
        help="Send to this GROUP:PORT, with FROM what was sent to that one; repeat it for more.",
    )  # fmt: skip
    add("-s", "--source", metavar="A", help='Local address to send from, or "capture": those of the file.')
    common(command)
    add("--speed", metavar="X", type=speed, default=1.0, help='2 is twice as fast; "fast" has no pace.')
    add("--loop", metavar="N", type=number(int, 0), default=1, help="Send it N times; 0: for ever.")
    add("--ttl", metavar="N", type=number(int, 0, 255), help="TTL or hop limit (default: that captured).")


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    to_all, mapped = _mapping(given.to)
    source = given.source or ("" if given.to else "capture")
    way = Way(
        to_all,
        mapped,
        None if source == "capture" else source,
        interface(given.interface),
        given.ttl,
    )
    wanted = list(in_words(given.channels))
    pace = None if given.speed == "fast" else given.speed
    work = Resending(Capture(given.file), wanted, way, pace, given.loop, given.count)
    return run(work.run())


def _mapping(given: Sequence[str]) -> tuple[Asked | None, dict[tuple[str, int], Asked]]:
    to_all: Asked | None = None
    mapped: dict[tuple[str, int], Asked] = {}
    for text in given:
        before, is_mapped, after = text.rpartition("=")
        to = _one(after)
        if is_mapped:
            one = _one(before)
            mapped[one.group, one.port] = to
        elif to_all is not None:
            raise ArgumentError(
                f"--to {to_all.group}:{to_all.port} and --to {text}", "write FROM=TO for each"
            )
        else:
            to_all = to
    return to_all, mapped


def _one(text: str) -> Asked:
    found = list(in_words([text]))
    if len(found) != 1 or found[0].sources:
        raise ArgumentError(f"--to {text}", "write GROUP:PORT, or GROUP:PORT=GROUP:PORT")
    return found[0]
