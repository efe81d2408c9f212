"""What frames to groups say, from the network header on: UDP's ends, and IGMP and MLD. Pure.

It is read from the wire, and trusted in nothing: what is cut short or malformed is passed over.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Final, final

from ..values.addresses import unpack
from .facts import Capture, Reported, Seen

__all__ = ["MOST", "Frames"]

MOST: Final = 256
"""Kinds of frames that are told apart."""

_UDP, _IGMP, _ICMPV6 = 17, 2, 58
_HOP_BY_HOP, _FRAGMENT = 0, 44
# RFC 3376, 4; RFC 2236, 2; RFC 1112, appendix I: the version of each report.
_IGMP_QUERY = 0x11
_IGMP_REPORTS = {0x22: 3, 0x16: 2, 0x12: 1}
# RFC 3810, 5; RFC 2710, 3.
_MLD_QUERY = 130
_MLD_REPORTS = {143: 2, 131: 1}
_IGMPV3_QUERY_LENGTH = 12
_MLDV2_QUERY_LENGTH = 28
_CURRENT_STATE = (1, 2)  # the types of records that answer queries: RFC 3376, 4.2.12; RFC 3810, 5.2.12


@final
class Frames:
    """Counts what frames there were."""

    def __init__(self) -> None:
        self._seen: Counter[Seen] = Counter()
        self._queries: dict[int, str] = {}
        self._reported: set[Reported] = set()

    def add(self, packet: bytes, vlan: int, *, is_outgoing: bool = False, is_looped: bool = False) -> None:
        """Take note of a frame, from its IP header on; a query of its own that is looped back is none."""
        try:
            if packet[0] >> 4 == 4:
                self._add_ipv4(packet, vlan, is_outgoing, is_looped)
            elif packet[0] >> 4 == 6:
                self._add_ipv6(packet, vlan, is_outgoing, is_looped)
        except (IndexError, struct.error, ValueError):
            return

    def capture(self, is_whole: bool) -> Capture:
        """Return what there was."""
        return Capture(
            seen=dict(self._seen),
            queries=dict(self._queries),
            reported=frozenset(self._reported),
            is_whole=is_whole,
        )

    def _add_ipv4(self, packet: bytes, vlan: int, is_outgoing: bool, is_looped: bool) -> None:
        start, source = 4 * (packet[0] & 0x0F), unpack(packet[12:16])
        offset = struct.unpack_from("!H", packet, 6)[0] & 0x1FFF
        payload = packet[start : struct.unpack_from("!H", packet, 2)[0]]
        if packet[9] == _UDP and offset == 0:  # only the first fragment has ports
            self._add_udp(source, packet[16:20], payload, vlan, is_outgoing)
        elif packet[9] == _IGMP and is_outgoing and payload[0] in _IGMP_REPORTS:
            self._add_reports(_IGMP_REPORTS[payload[0]], payload, 4, payload[0] == 0x22)
        elif packet[9] == _IGMP and not (is_outgoing or is_looped) and payload[0] == _IGMP_QUERY:
            version = 3 if len(payload) >= _IGMPV3_QUERY_LENGTH else 2 if payload[1] else 1
            self._queries[version] = source

    def _add_ipv6(self, packet: bytes, vlan: int, is_outgoing: bool, is_looped: bool) -> None:
        kind, start, source = packet[6], 40, unpack(packet[8:24])
        end = start + struct.unpack_from("!H", packet, 4)[0]
        while kind in (_HOP_BY_HOP, _FRAGMENT):
            if kind == _FRAGMENT and struct.unpack_from("!H", packet, start + 2)[0] & 0xFFF8:
                return
            length = 8 if kind == _FRAGMENT else 8 * (packet[start + 1] + 1)
            kind, start = packet[start], start + length
        payload = packet[start:end]
        if kind == _UDP:
            self._add_udp(source, packet[24:40], payload, vlan, is_outgoing)
        elif kind == _ICMPV6 and is_outgoing and payload[0] in _MLD_REPORTS:
            self._add_reports(_MLD_REPORTS[payload[0]], payload, 16, payload[0] == 143)
        elif kind == _ICMPV6 and not (is_outgoing or is_looped) and payload[0] == _MLD_QUERY:
            self._queries[2 if len(payload) >= _MLDV2_QUERY_LENGTH else 1] = source

    def _add_udp(self, source: str, group: bytes, payload: bytes, vlan: int, is_outgoing: bool) -> None:
        port: int = struct.unpack_from("!H", payload, 2)[0]
        seen = Seen(source, unpack(group), port, vlan, is_outgoing)
        if seen in self._seen or len(self._seen) < MOST:
            self._seen[seen] += 1

    def _add_reports(self, version: int, payload: bytes, size: int, has_records: bool) -> None:
        if not has_records:
            at = 4 if size == 4 else 8
            self._reported.add(Reported(version, unpack(payload[at : at + size]), True))
            return
        at = 8
        for _ in range(struct.unpack_from("!H", payload, 6)[0]):
            kind, words, sources = struct.unpack_from("!BBH", payload, at)
            group = unpack(payload[at + 4 : at + 4 + size])
            self._reported.add(Reported(version, group, kind in _CURRENT_STATE))
            at += 4 + size + size * sources + 4 * words
