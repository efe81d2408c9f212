"""Two hosts on one cable, of which the test's thread is on one: for what a single interface hears."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from aiomcast import MulticastSocket, SourceFilter, open_socket
from aiomcast.system.doubts import look
from aiomcast.values.doubts import Doubt, DoubtKind

from .place import Place

__all__ = [
    "ANY",
    "FAR",
    "GROUPS",
    "NEAR",
    "PORT",
    "Wire",
    "each_family",
    "family",
    "joined",
    "kinds",
    "sender",
    "two_hosts",
    "wire",
]

PORT = 5000
GROUPS = ("239.1.1.1", "ff1e::1:1")
ANY = SourceFilter.any()
FAR = {4: "192.0.2.2", 6: "2001:db8::2"}
NEAR = {4: "192.0.2.1", 6: "2001:db8::1"}

each_family = pytest.mark.parametrize("group", GROUPS, ids=["ipv4", "ipv6"])


def family(group: str) -> int:
    return 6 if ":" in group else 4


def sender(interface: str, version: int, source: str = "") -> socket.socket:
    """A socket that sends to groups on an interface, from `source` or what the system chooses."""
    index = socket.if_nametoindex(interface)
    if version == 4:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=8xi", index))
    else:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    if source:
        sock.bind((source, 0))
    return sock


class Wire:
    """v0 in the namespace of the test's thread, `near`, and another host at its other end, p0 in `far`."""

    def __init__(self, far: Place, near: Place, far_senders: dict[int, socket.socket]) -> None:
        self.far, self.near = far, near
        self.senders = far_senders

    @property
    def v0(self) -> int:
        return socket.if_nametoindex("v0")

    def doubts(self, group: str, wanted: SourceFilter = ANY, interface: str = "v0") -> list[Doubt]:
        return look(socket.if_nametoindex(interface), group, wanted)

    def send(self, payload: bytes, group: str, by: socket.socket | None = None) -> None:
        """Send it from the other host if that is possible."""
        with contextlib.suppress(OSError):
            (by or self.senders[family(group)]).sendto(payload, (group, PORT))

    def first(
        self, sock: MulticastSocket, group: str, by: socket.socket | None = None, payload: bytes = b"after"
    ) -> bytes:
        """Send `payload` until something comes, and return what it is."""
        sock.settimeout(0.1)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.send(payload, group, by)
            with contextlib.suppress(TimeoutError):
                return sock.recv(100)
        pytest.fail(f"nothing of {group} comes")


@contextlib.contextmanager
def two_hosts() -> Iterator[Wire]:
    """The cable and its hosts, of which the calling thread is on the near one meanwhile."""
    with ExitStack() as stack:
        far = stack.enter_context(Place())
        far.ip("link add p0 type veth peer name v0", "link set p0 up")
        senders = {version: stack.enter_context(sender("p0", version)) for version in (4, 6)}
        near = stack.enter_context(Place())
        far.ip(f"link set v0 netns {near.namespace}")
        near.ip("link set v0 up")
        for place, interface, addresses in ((near, "v0", NEAR), (far, "p0", FAR)):
            place.ip(f"addr add {addresses[4]}/24 dev {interface}")
            place.ip(f"addr add {addresses[6]}/64 dev {interface} nodad")
        yield Wire(far, near, senders)


@pytest.fixture
def wire(lab: None) -> Iterator[Wire]:
    with two_hosts() as built:
        yield built


def joined(group: str, interface: str = "v0", wanted: SourceFilter = ANY) -> MulticastSocket:
    sock = open_socket(group, PORT, interface)
    sock.set_filter(wanted)
    return sock


def kinds(found: list[Doubt]) -> list[DoubtKind]:
    return [one.kind for one in found]
