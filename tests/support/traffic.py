"""Numbered datagrams from several sources at a steady rate: a sender process, and who checks them.

`python -m tests.support.traffic GROUP PORT INTERFACE RATE SOURCE...` prints a line, sends from every source
RATE times a second until its standard input is closed, and prints how many it has sent from each. A
datagram begins with its number (8 bytes, network order), counted from 0; all sources send each number.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .sending import sending

if TYPE_CHECKING:  # the sender need not wait for it
    from aiomcast import Packet

__all__ = ["ROOT", "Judge", "Traffic", "command", "number_sent"]

_NUMBER = struct.Struct("!Q")
_SIZE = 200  # bytes of payload
ROOT = Path(__file__).parents[2]
_ASK = 64  # numbers between two looks at standard input when there is no time to pause
_PAUSE = 0.0003  # seconds


class Traffic:
    """The process, for an event loop; it runs in the network namespace of the thread that starts it."""

    def __init__(self, group: str, port: int, interface: str, rate: float, sources: Sequence[str]) -> None:
        self._command = command(group, port, interface, rate, sources)
        self._process: Process | None = None

    async def start(self) -> None:
        """Begin to send. RuntimeError if the sender ended instead."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, stdin=PIPE, stdout=PIPE
        )
        assert self._process.stdout is not None
        if not await self._process.stdout.readline():
            raise RuntimeError(f"the sender ended with status {await self._process.wait()}")

    async def stop(self) -> int:
        """Send no more; return how many datagrams each source has sent. RuntimeError if that failed."""
        assert self._process is not None
        told, _ = await self._process.communicate(b"")  # closes its standard input
        if self._process.returncode:
            raise RuntimeError(f"the sender ended with status {self._process.returncode}")
        return number_sent(told)


class Judge:
    """Judges every packet of numbered traffic by its source and number.

    `allows` says of a source whether it may come now. Of the sources in `always`, which are let in all
    the time, every number has to come; of the others they only have to grow.
    """

    def __init__(self, always: Collection[str], allows: Callable[[str], bool] = lambda source: False) -> None:
        self.allows = allows
        self.packets = self.leaked = self.doubled = self.out_of_order = 0
        self.seen: Counter[str] = Counter()  # packets by source
        self._next: dict[str, int] = {}
        self._missing: dict[str, set[int]] = {source: set() for source in always}  # numbers that were skipped

    def reached(self, source: str) -> int:
        """How far the numbers of a source have come: one more than the greatest."""
        return self._next.get(source, 0)

    def lost(self, source: str, sent: int) -> int:
        """How many of a source in `always` were never seen, of the numbers below `sent`."""
        return len(self._missing[source]) + sent - self.reached(source)

    def see(self, packet: Packet) -> None:
        """Check one packet."""
        source = packet.source
        self.packets += 1
        self.seen[source] += 1
        self.leaked += not self.allows(source)
        (number,) = _NUMBER.unpack_from(packet.data)
        due = self._next.get(source, 0)
        missing = self._missing.get(source)
        if number >= due:
            if missing is not None:
                missing.update(range(due, number))
            self._next[source] = number + 1
        elif missing is not None and number in missing:
            self.out_of_order += 1
            missing.discard(number)
        elif missing is None and number != due - 1:
            self.out_of_order += 1
        else:
            self.doubled += 1


def command(group: str, port: int, interface: str, rate: float, sources: Sequence[str]) -> list[str]:
    """Return the command of the sender process; it wants to be run in `ROOT`."""
    return [sys.executable, "-m", __name__, group, str(port), interface, str(rate), *sources]


def number_sent(told: bytes) -> int:
    """Return how many datagrams each source has sent, of all that the process has said at its end."""
    return int(told.split()[-1])


def _send(sockets: list[socket.socket], rate: float) -> int:
    """Send until standard input is closed; return how many from each socket."""
    padding = bytes(_SIZE - _NUMBER.size)
    number = 0
    start = time.perf_counter()
    while True:
        ahead = number > rate * (time.perf_counter() - start)
        if (ahead or number % _ASK == 0) and select.select([0], [], [], _PAUSE if ahead else 0)[0]:
            return number
        if not ahead:
            payload = _NUMBER.pack(number) + padding
            for sock in sockets:
                sock.send(payload)
            number += 1


def _main(group: str, port: str, interface: str, rate: str, *sources: str) -> None:
    sockets = [sending(source, group, int(port), socket.if_nametoindex(interface)) for source in sources]
    print("sending", flush=True)
    print(_send(sockets, float(rate)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
