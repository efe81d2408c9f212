"""A sender in a process of its own: numbered datagrams from several sources at a steady rate.

`python -m benchmarks.traffic GROUP PORT RATE SOURCE...` sends from every source RATE times a second
until its standard input is closed, then prints how many it has sent from each. A datagram
begins with its number (8 bytes, network order), counted from 0; all sources send each number.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
import sys
import time
from asyncio.subprocess import PIPE, Process

__all__ = ["NUMBER", "Traffic"]

NUMBER = struct.Struct("!Q")
_SIZE = 200  # bytes of payload
_ASK = 64  # numbers between two looks at standard input when there is no time to pause
_PAUSE = 0.0003  # seconds


class Traffic:
    """The process, for an event loop; it runs in the network namespace of the thread that starts it."""

    def __init__(self, group: str, port: int, rate: float, sources: tuple[str, ...]) -> None:
        self._arguments = (group, str(port), str(rate), *sources)
        self._process: Process | None = None

    async def start(self) -> None:
        """Begin to send."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, *self._arguments, stdin=PIPE, stdout=PIPE
        )

    async def stop(self) -> int:
        """Send no more; return how many datagrams each source has sent. RuntimeError if that failed."""
        assert self._process is not None
        told, _ = await self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the sender ended with status {self._process.returncode}")
        return int(told)


def _socket(source: str, group: str, port: int) -> socket.socket:
    if ":" in group:
        index = socket.if_nametoindex("lo")
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.bind((source, 0))
        sock.connect((group, port, 0, index))
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sock.bind((source, 0))
        sock.connect((group, port))
    return sock


def _send(sockets: list[socket.socket], rate: float) -> int:
    """Send until standard input is closed; return how many from each socket."""
    padding = bytes(_SIZE - NUMBER.size)
    number = 0
    start = time.perf_counter()
    while True:
        ahead = number > rate * (time.perf_counter() - start)
        if (ahead or number % _ASK == 0) and select.select([0], [], [], _PAUSE if ahead else 0)[0]:
            return number
        if not ahead:
            payload = NUMBER.pack(number) + padding
            for sock in sockets:
                sock.send(payload)
            number += 1


def _main(group: str, port: str, rate: str, *sources: str) -> None:
    # Not on the receiver's core, whose choice this process inherits.
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(_send([_socket(source, group, int(port)) for source in sources], float(rate)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
