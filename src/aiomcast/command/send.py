"""`aiomcast send`: numbers, a text, lines or a file, to a group."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator

import aiomcast

from .asking import Asking
from .naming import interface
from .options import channel, common, number
from .output import STDIN, say
from .pacing import PASSING, Pace, exact_sleeps
from .payloads import LONGEST, escaped, lines, numbered, pieces, readable, repeated, with_rtp
from .running import run

__all__ = ["define", "perform"]

PIECE = 1316  # bytes of a file in a datagram: seven packets of MPEG-TS, and no link fragments it


def define(command: argparse.ArgumentParser) -> None:
    """Send numbered packets, "1", "2" and so on, or a text, lines, or a file.

    Numbers and the text go out once per second unless --rate is given; lines as they come, without
    their line feed; a file as fast as can be. Ends with Ctrl-C, SIGTERM, --count or the end of the
    input, and says on standard error what was sent, from where, and how far it can get. That it was
    sent does not say that anybody received it.

    With --answers it writes what comes back to the port that it sends from, a line for each.

    What the system refuses for now (a firewall, no room, no route) is counted, and the status is 1.

    Examples:
      aiomcast send 239.1.1.1 5000 -i lo                       # then: aiomcast listen 239.1.1.1 5000 -i lo
      aiomcast send 232.1.1.1 5000 -s 192.0.2.10 --rate 1000 --size 1400 --ttl 8
      aiomcast send 239.1.1.1 5000 --payload '\\x00hello\\n' -c 3
      aiomcast send 239.1.1.1 5000 --file video.ts --rate 400 --rtp
    """
    channel(command)
    add = command.add_argument
    add("-s", "--source", metavar="A", help="Local address to send from.")
    common(command)
    add("--rate", metavar="N", type=number(float, 0), help="Packets per second; 0: as fast as can be.")
    add(
        "--size",
        metavar="BYTES",
        type=number(int, 0, LONGEST),
        help="Pad the numbers with spaces; or how much of --file is in a packet (default: 1316).",
    )
    add("--ttl", metavar="N", type=number(int), default=1, help="TTL or hop limit; 1 stays on the link.")
    add("--rtp", action="store_true", help="Put an RTP header before each: sequence, time at 90 kHz, SSRC.")
    add(
        "--answers",
        metavar="S",
        type=number(float, 0),
        help="Write the answers, until S seconds after the last packet.",
    )
    content = command.add_mutually_exclusive_group()
    content.add_argument(
        "--payload",
        metavar="TEXT",
        type=escaped,
        help=r"Send this text; \xHH is a byte, \n, \r, \t and \\ as in C.",
    )
    content.add_argument("--file", metavar="PATH", type=readable, help="Send this file.")
    content.add_argument("--stdin", action="store_true", help="Send the lines of standard input.")


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    if given.size is not None and (given.stdin or given.payload is not None):
        other = "--stdin" if given.stdin else "--payload"
        raise aiomcast.ArgumentError(f"--size with {other}", "it is for numbers and for --file")
    if given.file is not None and given.size == 0:
        raise aiomcast.ArgumentError("--size 0 with --file", "give 1 or more bytes for a packet")
    rate, payloads = 0.0, lines(STDIN)
    if given.file is not None:
        payloads = pieces(given.file, given.size or PIECE)
    elif not given.stdin:
        rate, payloads = 1.0, numbered(given.size) if given.payload is None else repeated(given.payload)
    rate = rate if given.rate is None else given.rate
    return run(_send(_sender(given), payloads, rate, given.count, given.rtp))


def _sender(given: argparse.Namespace) -> aiomcast.Sender | Asking:
    if given.answers is not None:
        if given.port == 0:  # an endpoint would choose one
            raise aiomcast.ArgumentError("port 0", "send to a port from 1 to 65535")
        return Asking(given.group, given.port, given.interface, given.ttl, given.source, given.answers)
    on = interface(given.interface)
    return aiomcast.Sender(given.group, given.port, interface=on, ttl=given.ttl, source=given.source)


async def _send(
    sender: aiomcast.Sender | Asking,
    payloads: AsyncIterator[bytes],
    rate: float,
    count: int | None,
    rtp: bool,
) -> int:
    packets = octets = tried = 0
    refused, pace = Counter[int](), Pace()
    ssrc, first = random.getrandbits(32), random.getrandbits(16)
    started = time.monotonic()
    async with sender:
        with contextlib.suppress(asyncio.CancelledError), exact_sleeps():
            async for payload in payloads:
                await pace.until(started + tried / rate if rate else 0.0)
                datagram = with_rtp(payload, first + tried, ssrc) if rtp else payload
                tried += 1
                try:
                    await sender.send(datagram)
                except aiomcast.RefusedError as error:
                    if error.errno not in PASSING:
                        raise
                    if error.errno not in refused:
                        say(f"aiomcast: {error}; more of them are counted")
                    refused[error.errno] += 1
                else:
                    packets += 1
                    octets += len(datagram)
                if tried == count:
                    break
        passed, source, reach, answers = time.monotonic() - started, sender.source, _reach(sender), ""
        if isinstance(sender, Asking):
            with contextlib.suppress(asyncio.CancelledError):
                await sender.wait()
            answers = f"; {sender.answers} answers"
    say(
        f"sent {packets} packets, {octets} bytes in {passed:.1f} s "
        f"to {sender.group} port {sender.port} from {source} on {sender.interface.name}, "
        f"{reach}{answers}" + f"; the system refused {refused.total()} more" * bool(refused)
    )
    return 1 if refused else 0


def _reach(sender: aiomcast.Sender | Asking) -> str:
    if sender.interface.is_loopback:
        return "where only this host hears it"
    if sender.ttl < 2:
        return f"with TTL {sender.ttl}, which {'no router forwards' if sender.ttl else 'stays on this host'}"
    return f"with TTL {sender.ttl}, for at most {sender.ttl - 1} routers"
