"""Captures by hand: blocks of either byte order, and packets of every kind of link."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence

from aiomcast.feeds.container import Record, parser_for

STAMP_NS = 1_700_000_000_123_456_789
Options = Sequence[tuple[int, bytes]]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Return a pcapng block."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def options(given: Options, order: str = "<") -> bytes:
    """Return them, and what ends them."""
    found = b"".join(
        struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in given
    )
    return found + bytes(4) if given else b""


def section(order: str = "<", major: int = 1) -> bytes:
    """Return a section header."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1), order)


def interface(link: int = 1, order: str = "<", snap: int = 0, given: Options = ((9, b"\x09"),)) -> bytes:
    """Return an interface description, with stamps in nanoseconds unless told otherwise."""
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options(given, order), order)


def packet(
    frame: bytes,
    order: str = "<",
    number: int = 0,
    units: int = STAMP_NS,
    length: int | None = None,
    given: Options = (),
) -> bytes:
    """Return an enhanced packet block."""
    whole = len(frame) if length is None else length
    head = struct.pack(order + "IIIII", number, units >> 32, units & 0xFFFFFFFF, len(frame), whole)
    return block(6, head + frame + bytes(-len(frame) % 4) + options(given, order), order)


def pcap(
    frames: Iterable[bytes], order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1, fraction: int = 5
) -> bytes:
    """Return a whole file of libpcap's own format."""
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    return head + b"".join(
        struct.pack(order + "IIII", 1_700_000_000, fraction, len(one), len(one)) + one for one in frames
    )


def records(data: bytes, size: int | None = None, nameless: str | None = None) -> list[Record]:
    """Return what the parser finds when it is fed so many bytes at a time."""
    found: list[Record] = []
    parser, rest = parser_for(data[:4], nameless), b""
    step = len(data) if size is None else size
    for at in range(0, len(data), step):
        chunk = data[at : at + step]
        if not rest:
            passed = min(parser.skip, len(chunk))
            parser.skip -= passed
            chunk = chunk[passed:]
        rest += chunk
        rest = rest[parser.feed(rest, found) :]
    return found


# Packets


def udp(payload: bytes, ports: tuple[int, int] = (4000, 5000), length: int | None = None) -> bytes:
    """Return a UDP datagram without a checksum."""
    return struct.pack("!HHHH", *ports, 8 + len(payload) if length is None else length, 0) + payload


def ipv4(
    data: bytes,
    source: str = "192.0.2.10",
    group: str = "232.1.1.1",
    *,
    protocol: int = 17,
    position: int = 0,
    ident: int = 7,
    given: bytes = b"",
    total: int | None = None,
) -> bytes:
    """Return an IPv4 packet; `position` are the flags and the offset of a fragment."""
    size = 20 + len(given)
    whole = size + len(data) if total is None else total
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0x28, whole, ident, position, 9, protocol, 0)
    return head + ipaddress.ip_address(source).packed + ipaddress.ip_address(group).packed + given + data


def ipv6(
    data: bytes,
    source: str = "2001:db8::5",
    group: str = "ff3e::8000:1",
    *,
    follows: int = 17,
    length: int | None = None,
) -> bytes:
    """Return an IPv6 packet, whose first header behind is of type `follows`."""
    size = len(data) if length is None else length
    head = struct.pack("!IHBB", 6 << 28 | 0x28 << 20, size, follows, 9)
    return head + ipaddress.ip_address(source).packed + ipaddress.ip_address(group).packed + data


def ethernet(data: bytes, tags: bytes = b"") -> bytes:
    """Return an Ethernet frame, with VLAN tags as they stand on the wire."""
    kind = b"\x08\x00" if data[0] >> 4 == 4 else b"\x86\xdd"
    return bytes(12) + tags + kind + data


def fragments4(data: bytes, size: int, **keywords: int) -> list[bytes]:
    """Return IPv4 packets with `size` bytes of `data` each."""
    return [
        ipv4(
            data[at : at + size],
            position=(0x2000 if at + size < len(data) else 0) | at // 8,
            **keywords,  # type: ignore[arg-type]  # those that are numbers
        )
        for at in range(0, len(data), size)
    ]


def fragments6(data: bytes, size: int, ident: int = 7, follows: int = 17) -> list[bytes]:
    """Return IPv6 packets with `size` bytes of `data` each."""
    return [
        ipv6(
            struct.pack("!BxHI", follows, at | (at + size < len(data)), ident) + data[at : at + size],
            follows=44,
        )
        for at in range(0, len(data), size)
    ]
