"""What a test sends to its own group, and raw sockets that prove what reached the receiver."""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from .network import Network

IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29
MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP = 42, 46


class Traffic:
    """A group and port of one test. A context manager: the sockets it opened close at the end."""

    def __init__(self, network: Network, group: str, port: int) -> None:
        self.group = group
        self.port = port
        self.family = socket.AF_INET6 if ":" in group else socket.AF_INET
        self._network = network
        self._senders: dict[str, socket.socket] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()

    def address(self, name: str) -> str:
        """The address of a host in the group's family."""
        return self._network.hosts[name].address(self.family)

    def send(self, name: str, *payloads: bytes) -> None:
        """Send each payload to the group from a host."""
        if name not in self._senders:
            sender = self._network.sender(name, self.family)
            self._senders[name] = self._opened.enter_context(sender)
        for payload in payloads:
            self._senders[name].sendto(payload, (self.group, self.port))

    def forwarded(self, *names: str) -> None:
        """Wait until the bridge forwards the group from these hosts to the receiver."""
        for name in names:
            self._network.wait_for_member(self.group, self.address(name))

    def witness(self, *names: str, interfaces: tuple[str, ...] = ("v0",)) -> socket.socket:
        """A raw member beside the one under test, of these sources (none named: of any).

        What it receives did reach the receiver's IP stack. The bridge forwards already.
        """
        with self._network.inside("rcv"):
            sock = self._opened.enter_context(socket.socket(self.family, socket.SOCK_DGRAM))
            indices = [socket.if_nametoindex(interface) for interface in interfaces]
        level, everything = socket.IPPROTO_IP, IP_MULTICAST_ALL
        if self.family == socket.AF_INET6:
            level, everything = socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL
        sock.setsockopt(level, everything, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.group, self.port))
        sock.settimeout(20)
        for index in indices:
            # struct group_req and group_source_req: the index, then one or two sockaddr_storage.
            request = struct.pack("@I4x", index) + _storage(self.group)
            for name in names:
                request_source = request + _storage(self.address(name))
                sock.setsockopt(level, MCAST_JOIN_SOURCE_GROUP, request_source)
            if not names:
                sock.setsockopt(level, MCAST_JOIN_GROUP, request)
        if "v0" in interfaces:
            self.forwarded(*names)
            if not names:
                self._network.wait_for_member(self.group, None)
        return sock


def witnessed(witness: socket.socket, *payloads: bytes) -> None:
    """Wait until the witness has received all of these; TimeoutError if it does not in 5 s."""
    missing = list(payloads)
    while missing:
        payload = witness.recv(2048)
        if payload in missing:
            missing.remove(payload)


def _storage(address: str) -> bytes:
    if ":" in address:
        raw = socket.inet_pton(socket.AF_INET6, address)
        return struct.pack("=HHI16s104x", socket.AF_INET6, 0, 0, raw)
    return struct.pack("=HH4s120x", socket.AF_INET, 0, socket.inet_aton(address))
