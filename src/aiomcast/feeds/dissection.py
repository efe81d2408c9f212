"""From a captured packet to the UDP datagram to a group that it carries. Pure: link, VLAN, IP, UDP headers.

Checksums are not looked at: where a host captures what it sends, its interface has yet to make them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, final

from ..values.addresses import unpack
from .captured import Captured
from .container import Record
from .fragments import Fragment, Fragments, Head

__all__ = ["Dissector"]

# Link types: https://www.tcpdump.org/linktypes.html
_NULL, _ETHERNET, _RAW, _LOOP, _SLL, _IPV4, _IPV6, _SLL2 = 0, 1, 101, 108, 113, 228, 229, 276
_RAW_OF_OLD = (12, 14)  # DLT_RAW as some systems number it
_IP_TYPES = (b"\x08\x00", b"\x86\xdd")
_VLANS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00", b"\x92\x00")  # 802.1Q, 802.1ad, and what came before that
_SNAP = b"\xaa\xaa\x03\x00\x00\x00"
_MOST_TAGS = 8

_UDP = 17
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_PASSED_OVER = (_HOP_BY_HOP, _ROUTING, _DESTINATION)
_MOST_HEADERS = 64
_MORE, _OFFSET = 0x2000, 0x1FFF

_FLOWS = 4096  # of which the addresses are remembered as text
_SHORT = struct.Struct("!H").unpack_from
_PLAIN = b"\x08\x00\x45"  # Ethernet's type of IPv4, and an IPv4 header without options


class _Cut(Exception):
    """The capture has less of a packet than its headers say."""


class _Malformed(Exception):
    """Headers that contradict themselves."""


class _Payload(NamedTuple):
    """What IP carries to a group, and from whom."""

    source: bytes
    group: bytes
    protocol: int
    data: bytes
    hop_limit: int
    traffic_class: int
    fragment: tuple[tuple[object, ...], int, bool] | None  # of which datagram, from where, is it the last


@final
class Dissector:
    """Finds datagrams in packets, and counts what is none."""

    def __init__(self) -> None:
        self.datagrams: int = 0
        self.fragmented: int = 0
        self.cut: int = 0
        self.malformed: int = 0
        self.other: int = 0
        self.unknown_link: int = 0
        self.joined: int = 0
        self.fragments: Fragments = Fragments()
        self._flows: dict[bytes, tuple[str, int, str, int] | None] = {}
        self._latest_ns = 0

    def dissect(self, records: Sequence[Record]) -> list[Captured]:
        """Return the datagrams of these packets, in order."""
        found: list[Captured] = []
        flows, plain, new, append = self._flows, 0, tuple.__new__, found.append
        for record in records:
            tap, stamp_ns, frame, _ = record
            # What nearly all of them are, without a look at anything twice.
            if (
                tap.link == _ETHERNET
                and frame[12:15] == _PLAIN
                and len(frame) >= 42
                and frame[23] == _UDP
                and not frame[21]
                and not frame[20] & 0x3F
                and 28 <= (total := _SHORT(frame, 16)[0]) <= len(frame) - 14
                and 8 <= (size := _SHORT(frame, 38)[0]) <= total - 20
                and (flow := flows.get(frame[26:38])) is not None
            ):
                source, source_port, group, port = flow
                data, name, hops, tos = frame[42 : 34 + size], tap.name, frame[22], frame[15]
                made = (data, source, source_port, group, port, name, stamp_ns, hops, tos)
                append(new(Captured, made))  # at half the cost of a call of the class
                plain += 1
                continue
            one = self._any(record)
            if one is not None:
                found.append(one)
        self.datagrams += plain
        return found

    def _any(self, record: Record) -> Captured | None:
        tap, stamp_ns, frame, length = record
        find = _LINKS.get(tap.link)
        if find is None:
            self.unknown_link += 1
            return None
        try:
            at = find(frame)
            carried = None if at is None else _carried(frame, at)
            if carried is None or carried.protocol != _UDP or not _is_to_group(carried):
                self.other += 1
                return None
            return self._of_payload(carried, tap.name, stamp_ns)
        except _Malformed:
            self.malformed += 1
        except (_Cut, IndexError, struct.error):  # what is missing at the end, whoever misses it
            if len(frame) < length:
                self.cut += 1
            else:
                self.malformed += 1
        return None

    def _of_payload(self, carried: _Payload, name: str, stamp_ns: int | None) -> Captured | None:
        source, group, protocol, data, hop_limit, traffic_class, fragment = carried
        self._latest_ns = self._latest_ns if stamp_ns is None else stamp_ns
        if fragment is None:
            made = self._datagram(carried, name, stamp_ns)
            self.datagrams += 1
            return made
        self.fragmented += 1
        key, start, is_last = fragment
        piece = Fragment(start, data, is_last, Head(hop_limit, traffic_class, protocol))
        family = 4 if len(group) == 4 else 6
        whole = self.fragments.add(family, (name, source, group, *key), piece, self._latest_ns)
        if whole is None:
            return None
        try:
            joined, head = whole
            now = carried._replace(
                data=joined, hop_limit=head.hop_limit, traffic_class=head.traffic_class, fragment=None
            )
            made = self._datagram(now, name, stamp_ns)
        except (_Malformed, struct.error):
            self.fragments.incomplete += 1
            return None
        self.joined += 1
        return made

    def _datagram(self, carried: _Payload, name: str, stamp_ns: int | None) -> Captured:
        data = carried.data
        (size,) = _SHORT(data, 4)
        if not 8 <= size <= len(data):
            raise _Malformed
        key = carried.source + carried.group + data[:4]
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= _FLOWS:
                self._flows.clear()
            source_port, port = struct.unpack_from("!HH", data)
            flow = self._flows[key] = (unpack(carried.source), source_port, unpack(carried.group), port)
        source, source_port, group, port = flow
        return Captured(
            data[8:size],
            source, source_port, group, port, name, stamp_ns, carried.hop_limit, carried.traffic_class,
        )  # fmt: skip


def _is_to_group(carried: _Payload) -> bool:
    if len(carried.group) == 4:
        return carried.group[0] & 0xF0 == 0xE0 and carried.source[0] & 0xF0 != 0xE0
    return carried.group[0] == 0xFF and carried.source[0] != 0xFF


# Links: each returns where the IP header begins, None where there is none.


def _ethernet(frame: bytes) -> int | None:
    return _typed(frame, 12)


def _typed(frame: bytes, at: int) -> int | None:
    """Return what comes after the type at `at`, and after VLAN tags."""
    for _ in range(_MOST_TAGS):
        kind = frame[at : at + 2]
        if len(kind) < 2:
            raise _Cut
        if kind in _IP_TYPES:
            return at + 2
        if kind in _VLANS:
            at += 4
        elif kind >= b"\x06\x00":
            return None
        elif len(frame) < at + 8:
            raise _Cut
        elif frame[at + 2 : at + 8] == _SNAP:  # a length, and LLC (RFC 1042)
            at += 8
        else:
            return None
    return None


def _cooked(frame: bytes) -> int | None:
    return _typed(frame, 14)


def _cooked2(frame: bytes) -> int | None:
    if len(frame) < 20:
        raise _Cut
    if frame[:2] in _IP_TYPES:
        return 20
    if frame[:2] in _VLANS:  # the tag comes after the header, and the type after that
        return _typed(frame, 22)
    return None


def _raw(frame: bytes) -> int | None:
    return 0


def _null(frame: bytes) -> int | None:
    # A protocol family, 4 bytes in whichever order: IPv4 is 2 everywhere, IPv6 differs by system.
    if len(frame) < 4:
        raise _Cut
    return 4 if {frame[:4], frame[3::-1]} & _FAMILIES else None


_FAMILIES = {number.to_bytes(4, "big") for number in (2, 10, 24, 28, 30)}

_LINKS: Final[dict[int, Callable[[bytes], int | None]]] = {
    _NULL: _null,
    _ETHERNET: _ethernet,
    _RAW: _raw,
    _LOOP: _null,
    _SLL: _cooked,
    _IPV4: _raw,
    _IPV6: _raw,
    _SLL2: _cooked2,
    **dict.fromkeys(_RAW_OF_OLD, _raw),
}


# IP


def _carried(frame: bytes, at: int) -> _Payload | None:
    """Return what the IP header at `at` has behind it, None where that is nothing for us."""
    version = frame[at] >> 4
    if version == 4:
        return _ipv4(frame, at)
    return _ipv6(frame, at) if version == 6 else None


def _ipv4(frame: bytes, at: int) -> _Payload:
    header = (frame[at] & 0x0F) * 4
    total, identification, position = struct.unpack_from("!HHH", frame, at + 2)
    hop_limit, protocol = frame[at + 8], frame[at + 9]
    source, group = frame[at + 12 : at + 16], frame[at + 16 : at + 20]
    if header < 20 or total < header:
        raise _Malformed
    if len(group) < 4:
        raise _Cut
    fragment = None
    if position & (_MORE | _OFFSET):
        fragment = ((protocol, identification), (position & _OFFSET) * 8, not position & _MORE)
    if protocol == _UDP and at + total > len(frame):
        raise _Cut
    data = frame[at + header : at + total]
    return _Payload(source, group, protocol, data, hop_limit, frame[at + 1], fragment)


def _ipv6(frame: bytes, at: int) -> _Payload:
    first, length, protocol, hop_limit = struct.unpack_from("!IHBB", frame, at)
    source, group = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
    if len(group) < 16:
        raise _Cut
    end, at = at + 40 + length, at + 40
    fragment = None
    for _ in range(_MOST_HEADERS):
        if protocol in _PASSED_OVER:
            protocol, at = frame[at], at + 8 + frame[at + 1] * 8
        elif protocol == _AUTHENTICATION:
            protocol, at = frame[at], at + 8 + frame[at + 1] * 4
        elif protocol == _FRAGMENT and fragment is None:
            follows, position, identification = struct.unpack_from("!BxHI", frame, at)
            protocol, at = follows, at + 8
            if position & 0xFFF9:  # else it is whole all the same (RFC 6946)
                fragment = ((identification,), position & 0xFFF8, not position & 1)
                break
        else:
            break
    if at > end:
        raise _Malformed
    if fragment is not None and protocol != _UDP:
        # What follows is told by the first fragment alone; of the others it may be anything.
        protocol = _UDP if fragment[1] else protocol
    if protocol == _UDP and end > len(frame):
        raise _Cut
    return _Payload(source, group, protocol, frame[at:end], hop_limit, first >> 20 & 0xFF, fragment)
