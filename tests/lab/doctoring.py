"""What a host is made ill with, frame by frame, and how it is examined."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from aiomcast import Diagnosis
from aiomcast.diagnosis import proc
from aiomcast.diagnosis.diagnose import diagnose_over
from aiomcast.values.filters import Sources
from tests.support.sandbox import apart, without_privilege

from .network import execute, wait_until
from .place import Place
from .two_hosts import FAR, PORT, Wire

__all__ = ["COUNT", "examined", "firewall", "fragment", "frame", "inject", "received", "sysctl"]

COUNT = 12
"""Datagrams that are sent of each kind: more than a quiet link has by itself."""

_HEADER = {4: 20, 6: 40}


def received(name: str = "v0") -> int:
    """How many frames have come to an interface, those that it has dropped included."""
    table = Path("/proc/thread-self/net/dev").read_text()
    counted = proc.interface_counters(table, name)
    return counted["rx_packets"] + counted["rx_dropped"]


def examined(
    group: str,
    send: Callable[[], object],
    *,
    sources: Sources = None,
    port: int = PORT,
    probe: bool = False,
    is_privileged: bool = True,
    expected: int = COUNT,
) -> Diagnosis:
    """What the doctor says of v0 when `send` is called between its two looks, and so many frames come."""
    found: list[Diagnosis] = []

    async def window() -> None:
        before = received()
        send()
        wait_until(lambda: received() >= before + expected, 20, "the frames are on the interface")

    def examine() -> None:
        looking = diagnose_over(window, group, port, sources=sources, interface="v0", probe=probe)
        found.append(asyncio.run(looking))

    apart(examine) if is_privileged else apart(without_privilege, examine)
    return found[0]


def firewall(place: Place, hook: str, rule: str) -> None:
    """Have a rule at a hook of a place; "ingress" and "egress" are those of v0."""
    at_device = hook in ("ingress", "egress")
    family, device = ("netdev", "device v0 ") if at_device else ("inet", "")
    chain = f"chain one {{\ntype filter hook {hook} {device}priority -300;\n{rule}\n}}\n"
    table = f"table {family} ill {{\n{chain}}}\n"
    execute(["ip", "netns", "exec", place.namespace, "nft", "-f", "-"], input=table)


def sysctl(name: str, value: int) -> None:
    """Set one of the namespace that the thread is in."""
    Path("/proc/sys", name).write_text(str(value))


def frame(
    group: str,
    *,
    port: int = PORT,
    source: str | None = None,
    vlan: int = 0,
    is_damaged: bool = False,
    payload: bytes = b"in",
) -> bytes:
    """A whole Ethernet frame with a datagram to a group, tagged, or with a wrong checksum."""
    to = ip_address(group).packed
    version = 4 if len(to) == 4 else 6
    ends = ip_address(source or FAR[version]).packed + to
    length = 8 + len(payload)
    pseudo = ends + (struct.pack("!xBH", 17, length) if version == 4 else struct.pack("!I3xB", length, 17))
    right = _checksum(pseudo + struct.pack("!HHHH", 7777, port, length, 0) + payload) or 0xFFFF
    udp = struct.pack("!HHHH", 7777, port, length, right ^ 0x0101 * is_damaged) + payload
    return _ethernet(to, vlan) + _network(version, ends, 17, udp, 0)


def fragment(group: str) -> bytes:
    """A frame with the first fragment of a datagram whose others are lost."""
    whole = frame(group, payload=bytes(64))
    version = whole[14] >> 4
    head = _HEADER[version]
    ends = whole[14 + head - (8 if version == 4 else 32) : 14 + head]
    piece = whole[14 + head : 14 + head + 32]
    if version == 6:
        piece = struct.pack("!BBHI", 17, 0, 1, 77) + piece
    return whole[:14] + _network(version, ends, 17 if version == 4 else 44, piece, 0x2000)


def inject(wire: Wire, data: bytes) -> Callable[[], None]:
    """What puts a frame on the wire COUNT times, from the other host."""
    with wire.far.inside():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sock.bind(("p0", 0))

    def send() -> None:
        with sock:
            for _ in range(COUNT):
                with suppress(OSError):  # one that the other end drops comes back as ENOBUFS
                    sock.send(data)

    return send


def _ethernet(group: bytes, vlan: int) -> bytes:
    to = b"\x01\0\x5e" + bytes([group[1] & 0x7F]) + group[2:] if len(group) == 4 else b"\x33\x33" + group[-4:]
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return to + b"\x02\0\0\0\0\x09" + tag + (b"\x08\0" if len(group) == 4 else b"\x86\xdd")


def _network(version: int, ends: bytes, protocol: int, payload: bytes, fragment: int) -> bytes:
    if version == 6:
        return struct.pack("!IHBB", 0x60000000, len(payload), protocol, 8) + ends + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 77, fragment, 8, protocol, 0) + ends
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + payload


def _checksum(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
