"""`aiomcast send`: numbers or lines, to a group."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator

import aiomcast

from .naming import interface
from .options import channel, common, number
from .output import FOREVER, STDIN, say, until_ready
from .running import run

__all__ = ["define", "perform"]

LONGEST = 65535  # bytes: no datagram is longer


def define(command: argparse.ArgumentParser) -> None:
    """Send numbered packets, "1", "2" and so on, or the lines of standard input.

    Numbers go out once per second unless --rate is given; lines as they come, without their
    line feed. Ends with Ctrl-C, SIGTERM, --count or the end of the input, and says on standard
    error what was sent.
    """
    channel(command)
    add = command.add_argument
    add("--source", metavar="A", help="Local address to send from.")
    common(command)
    add("--rate", metavar="N", type=number(float, 0), help="Packets per second; 0: as fast as can be.")
    add("--size", metavar="BYTES", type=number(int, 0, LONGEST), help="Pad the numbers with spaces.")
    add("--ttl", metavar="N", type=number(int), default=1, help="TTL or hop limit; 1 stays on the link.")
    add("--stdin", action="store_true", help="Send the lines of standard input.")


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    if given.stdin and given.size is not None:
        raise aiomcast.ArgumentError("--size with --stdin", "it pads numbered packets only")
    payloads = _lines(STDIN) if given.stdin else _numbered(given.size)
    rate = (0 if given.stdin else 1) if given.rate is None else given.rate
    sender = aiomcast.Sender(
        given.group, given.port, interface=interface(given.interface), ttl=given.ttl, source=given.source
    )
    run(_send(sender, payloads, rate, given.count))
    return 0


async def _send(
    sender: aiomcast.Sender, payloads: AsyncIterator[bytes], rate: float, count: int | None
) -> None:
    packets = octets = 0
    started = time.monotonic()
    async with sender:
        with contextlib.suppress(asyncio.CancelledError):
            async for payload in payloads:
                ahead = started + packets / rate - time.monotonic() if rate else 0.0
                await asyncio.sleep(min(FOREVER, max(0.0, ahead)))  # also by 0: signals have their turn
                await sender.send(payload)
                packets += 1
                octets += len(payload)
                if packets == count:
                    break
        passed, source = time.monotonic() - started, sender.source
    say(
        f"sent {packets} packets, {octets} bytes in {passed:.1f} s "
        f"to {sender.group} port {sender.port} from {source} on {sender.interface.name}"
    )


async def _numbered(size: int | None) -> AsyncIterator[bytes]:
    number = 0
    while True:
        number += 1
        payload = b"%d" % number
        yield payload if size is None else payload.ljust(size)[:size]


async def _lines(descriptor: int) -> AsyncIterator[bytes]:
    loop, rest = asyncio.get_running_loop(), b""
    while True:
        await until_ready(descriptor, loop.add_reader, loop.remove_reader)
        read = os.read(descriptor, LONGEST)
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r") if sys.platform == "win32" else line
        if rest and (not read or len(rest) > LONGEST):  # too long for a datagram: sending it says so
            yield rest
            rest = b""
        if not read:
            return
