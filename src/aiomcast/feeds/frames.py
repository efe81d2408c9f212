"""The Ethernet, IP and UDP headers of a packet that a socket gave without them. Pure."""

from __future__ import annotations

import ipaddress
import struct

from ..values import bounds
from ..values.packets import Flow, Packet

__all__ = ["Framer"]

_UDP = 17
_HOP_LIMIT = 1  # where the reader was not asked for it: what a multicast has by default (RFC 1112, 6.1)
_NO_MAC = bytes(6)  # a socket does not tell the sender's


def _sum(data: bytes) -> int:
    """Return the one's complement sum of 16-bit words (RFC 1071), of which a remainder is the whole of it."""
    return int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 0xFFFF


def _checksum(total: int) -> int:
    return -total % 0xFFFF


class Framer:
    """Puts headers before payloads, their checksums right. Keeps those of equal shape, a bounded number."""

    def __init__(self) -> None:
        self._known: dict[tuple[Flow, int, int | None, int | None], tuple[bytes, int]] = {}

    def frame(self, packet: Packet) -> bytes:
        """Return the Ethernet frame that may have carried `packet`."""
        data = packet.data
        shape = (packet.flow, len(data), packet.hop_limit, packet.traffic_class)
        known = self._known.get(shape)
        if known is None:
            if len(self._known) >= bounds.FRAME_SHAPES:
                self._known.clear()
            known = self._known[shape] = _headers(*shape)
        headers, total = known
        checksum = _checksum(total + _sum(data)) or 0xFFFF  # 0 says that there is none (RFC 768)
        return b"%b%b%b" % (headers, checksum.to_bytes(2, "big"), data)


def _headers(flow: Flow, size: int, hop_limit: int | None, traffic_class: int | None) -> tuple[bytes, int]:
    """Return all before the UDP checksum, and the sum of what that covers but for the payload."""
    source, group = ipaddress.ip_address(flow.source).packed, ipaddress.ip_address(flow.group).packed
    hops, tos, length = _HOP_LIMIT if hop_limit is None else hop_limit, traffic_class or 0, 8 + size
    if len(group) == 4:
        # RFC 1112, 6.4 for the address; an identification of 0 is that of what is whole (RFC 6864, 4.1).
        mac = b"\x01\x00\x5e" + bytes([group[1] & 0x7F]) + group[2:]
        ip = struct.pack("!BBHHHBBH", 0x45, tos, 20 + length, 0, 0x4000, hops, _UDP, 0) + source + group
        ip = ip[:10] + _checksum(_sum(ip)).to_bytes(2, "big") + ip[12:]
        kind = b"\x08\x00"
    else:
        mac = b"\x33\x33" + group[12:]  # RFC 2464, 7
        ip = struct.pack("!IHBB", 6 << 28 | tos << 20, length, _UDP, hops) + source + group
        kind = b"\x86\xdd"
    udp = struct.pack("!HHH", flow.source_port, flow.port, length)
    return mac + _NO_MAC + kind + ip + udp, _sum(source + group + udp) + _UDP + length
