"""Numbered datagrams, and for each when it was sent and by when it had arrived.

A datagram on its way waits in the backlog of the processor that sent it, behind those sent before. So
a second one from there to a socket of one's own, the probe, comes after it: once the probe can be
read, the datagram is in the queue of every socket that takes it.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence

from tests.support.sending import sending

from .history import Datagram, Flow, Key

__all__ = ["Gun", "key_of", "payload"]

_HEAD = struct.Struct("!BBHQ")
_PROBE = struct.Struct("!Q")
_MAGIC = 0xA7
_now = time.monotonic_ns
_processor: Callable[[], int] = ctypes.CDLL(None).sched_getcpu


def payload(sender: int, flow: int, number: int) -> bytes:
    """Return the payload of a datagram: every byte of it follows from the arguments."""
    head = _HEAD.pack(_MAGIC, sender, flow, number)
    return head + bytes([(number * 7 + flow) & 255]) * (number % 97)


def key_of(data: bytes) -> Key | None:
    """Return which datagram this payload is, None if it is none."""
    if len(data) < _HEAD.size:
        return None
    magic, sender, flow, number = _HEAD.unpack_from(data)
    return (sender, flow, number) if data == payload(sender, flow, number) and magic == _MAGIC else None


class Gun:
    """Sends the datagrams of one sender, for one thread. `log` has them in the order they were sent."""

    def __init__(self, sender: int, flows: Sequence[Flow], interface: str, patience: float) -> None:
        """`patience` is how many seconds to wait for a probe."""
        self.log: list[Datagram] = []
        self._sender = sender
        self._patience = patience
        self._next = [0] * len(flows)
        self._sockets: list[socket.socket] = []
        self._probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._probe.bind(("127.0.0.1", 0))
            self._probe.connect(self._probe.getsockname())
            self._probe.setblocking(False)
            ifindex = socket.if_nametoindex(interface)
            for flow in flows:
                self._sockets.append(sending(*flow, ifindex))
        except BaseException:
            self.close()
            raise
        self._probes = 0

    def fire(self, flow: int) -> None:
        """Send the next datagram of a flow."""
        number = self._next[flow]
        self._next[flow] = number + 1
        data = payload(self._sender, flow, number)
        probe = self._probes = self._probes + 1
        processor = _processor()
        begin = _now()
        self._sockets[flow].send(data)
        end = _now()
        self._probe.send(_PROBE.pack(probe))
        here = _processor() == processor
        seen = self._arrival(probe)
        arrived = seen if here else None
        self.log.append(Datagram((self._sender, flow, number), begin, end, arrived))

    def _arrival(self, probe: int) -> int | None:
        until = time.monotonic() + self._patience
        while True:
            try:
                if _PROBE.unpack(self._probe.recv(_PROBE.size))[0] == probe:
                    return _now()
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0:
                    return None
                select.select([self._probe], [], [], left)

    def close(self) -> None:
        """Close its sockets."""
        for sock in (*self._sockets, self._probe):
            sock.close()
