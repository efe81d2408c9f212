"""Numbered datagrams from several sources at a steady rate: a sender process, and who checks them.

`python -m benchmarks.traffic GROUP PORT INTERFACE RATE SOURCE...` prints a line, sends from every source
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
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the sender need not wait for it
    from aiomcast import Packet

__all__ = ["Checker", "Traffic"]

_NUMBER = struct.Struct("!Q")
_MREQN = struct.Struct("=8xi")  # struct ip_mreqn: of which the index alone counts here
_SIZE = 200  # bytes of payload
_ROOT = Path(__file__).parents[1]
_ASK = 64  # numbers between two looks at standard input when there is no time to pause
_PAUSE = 0.0003  # seconds


class Traffic:
    """The process, for an event loop; it runs in the network namespace of the thread that starts it."""

    def __init__(self, group: str, port: int, interface: str, rate: float, sources: tuple[str, ...]) -> None:
        self._arguments = (group, str(port), interface, str(rate), *sources)
        self._process: Process | None = None

    async def start(self) -> None:
        """Begin to send. RuntimeError if the sender ended instead."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, *self._arguments, cwd=_ROOT, stdin=PIPE, stdout=PIPE
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
        return int(told)


class Checker:
    """Judges every packet. `permitted` is what may come now, of those that send."""

    def __init__(self, always: str) -> None:
        self.always = always
        self.permitted: frozenset[str] = frozenset()
        self.packets = self.leaked = self.doubled = self.out_of_order = 0
        self._next: dict[str, int] = {}
        self._missing: set[int] = set()  # numbers of `always` that were skipped

    @property
    def reached(self) -> int:
        """How far the numbers of the source that is always let in have come."""
        return self._next.get(self.always, 0)

    def lost(self, sent: int) -> int:
        """How many of its numbers below `sent` were never seen."""
        return len(self._missing) + sent - self.reached

    def see(self, packet: Packet) -> None:
        """Check one packet."""
        self.packets += 1
        source = packet.source
        if source not in self.permitted:
            self.leaked += 1
        (number,) = _NUMBER.unpack_from(packet.data)
        due = self._next.get(source, 0)
        if number >= due:
            if number > due and source == self.always:
                self._missing.update(range(due, number))
            self._next[source] = number + 1
        elif number in self._missing or (source != self.always and number != due - 1):
            self.out_of_order += 1
            if source == self.always:
                self._missing.discard(number)
        else:
            self.doubled += 1


def _socket(source: str, group: str, port: int, interface: str) -> socket.socket:
    index = socket.if_nametoindex(interface)
    if ":" in group:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.bind((source, 0))
        sock.connect((group, port, 0, index))
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _MREQN.pack(index))
        sock.bind((source, 0))
        sock.connect((group, port))
    return sock


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
    sockets = [_socket(source, group, int(port), interface) for source in sources]
    print("sending", flush=True)
    print(_send(sockets, float(rate)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
