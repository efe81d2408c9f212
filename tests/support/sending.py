"""Sockets that send to a group from a source of one's choice. Imports nothing but the standard library."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Self

__all__ = ["LO", "A", "B", "C", "D", "Sources", "by_index", "sending"]

A, B, C, D = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
_IS_WINDOWS = sys.platform == "win32"


LO = min(index for index, _ in socket.if_nameindex())  # the first there is, by whichever name


def by_index(ifindex: int) -> bytes:
    """Return the value of IP_MULTICAST_IF that names an interface by its index."""
    if _IS_WINDOWS:
        return ifindex.to_bytes(4, "big")  # an address in 0.0.0.0/8
    return struct.pack("=8xi", ifindex)  # struct ip_mreqn, of which the index alone counts here


def sending(source: str, group: str, port: int, ifindex: int = LO) -> socket.socket:
    """Return a blocking socket bound to `source` and connected to `group`, heard on this host."""
    v6 = ":" in group
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, ifindex)
            sock.bind((source, 0, 0, ifindex))
            sock.connect((group, port, 0, ifindex))
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, by_index(ifindex))
            sock.bind((source, 0))
            sock.connect((group, port))
    except BaseException:
        sock.close()
        raise
    return sock


class Sources:
    """Blocking sockets to one group by source, opened when first used: a context manager.

    What they send is in the kernel's buffers at once, before the loop turns. `sent` has all of it.
    """

    def __init__(self, group: str, port: int, ifindex: int = LO) -> None:
        self._group, self._port, self._ifindex = group, port, ifindex
        self._open: dict[tuple[str, int], socket.socket] = {}
        self._stack = ExitStack()
        self.sent: list[bytes] = []

    def send(self, source: str, *payloads: bytes, port: int | None = None) -> None:
        """Send each payload from `source`, to another port if one is named."""
        key = source, self._port if port is None else port
        if key not in self._open:
            sock = sending(source, self._group, key[1], self._ifindex)
            self._open[key] = self._stack.enter_context(sock)
        for payload in payloads:
            self._open[key].send(payload)
            self.sent.append(payload)

    def number(self, *sources: str, port: int | None = None) -> list[bytes]:
        """Send a packet from each that is told from all others by its number; return the payloads."""
        before = len(self.sent)
        for source in sources:
            self.send(source, b"%d" % len(self.sent), port=port)
        return self.sent[before:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()
