"""The containers of captures, pcapng and pcap, from bytes to packets. Pure: bytes go in, no file is known.

Both parsers are fed bytes and say how many of them they have used; the rest is to come again, with more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, final

from ..values import bounds

__all__ = ["Malformed", "Parser", "Pcap", "Pcapng", "Record", "Tap", "parser_for"]

MAGIC_LENGTH: Final = 4

# draft-ietf-opsawg-pcapng
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 6
_KEPT = frozenset((_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS, _PACKET))
_PACKET_AT_LEAST = 32  # bytes of a packet block
_FEWEST = 12  # bytes of a block: its type, and its length twice
_SECTION_MAGIC = 0x1A2B3C4D
_ORDERS = {struct.pack(order + "I", _SECTION_MAGIC): order for order in "<>"}
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET = 2, 9, 14
_EPB_FLAGS, _EPB_DROPCOUNT = 2, 4
_ISB_IFDROP, _ISB_OSDROP = 5, 7
_SHORTEST_WITH_DROPS = 12  # bytes of options in which a drop count has room
_UNKNOWN = 0xFFFFFFFFFFFFFFFF  # a counter that is not known, as some writers have it
_NO_DROPS = 0xFFFF  # the same in an old packet block

# libpcap's savefile format, pcap-savefile(5)
_PCAP = {
    struct.pack(order + "I", magic): (order, factor)
    for order in "<>"
    for magic, factor in ((0xA1B2C3D4, 1000), (0xA1B23C4D, 1))
}
_PCAP_HEADER = 24
_REFUSED = {
    **dict.fromkeys(
        (struct.pack(order + "I", magic) for order in "<>" for magic in (0xA1B2CD34, 0xA1E2CB12)),
        "a modified form of pcap (of old Linux patches)",
    ),
    b"snoo": "a capture of snoop",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\x04\x22\x4d\x18": "compressed with lz4",
    b"\xfd7zX": "compressed with xz",
    b"BZh9": "compressed with bzip2",
}


class Malformed(Exception):
    """The bytes are none of the container's: `offset` within what was fed, and why."""

    def __init__(self, offset: int, why: str, hint: str = "") -> None:
        super().__init__(offset, why, hint)
        self.offset: int = offset
        self.why: str = why
        self.hint: str = hint


@final
class Tap:
    """An interface that was captured on: its name, its link type, and what its stamps mean."""

    __slots__ = ("divisor", "factor", "link", "name", "offset_ns", "snap_length")

    def __init__(
        self, name: str, link: int, snap_length: int, factor: int, divisor: int = 1, offset_ns: int = 0
    ) -> None:
        self.name: str = name
        self.link: int = link
        self.snap_length: int = snap_length
        self.factor: int = factor
        self.divisor: int = divisor
        self.offset_ns: int = offset_ns


_NONE = Tap("", 0, 0, 0)

Record: TypeAlias = tuple[Tap, int | None, bytes, int]
"""A packet as it stands in a capture: where, when, the bytes that were kept, and how many it had."""


class Parser(Protocol):
    """What both parsers have. With `only_names` no packet is made."""

    taps: list[Tap]
    skip: int
    dropped: int

    @property
    def interface_drops(self) -> int:
        """What was dropped by the summaries of interfaces."""

    def feed(self, data: bytes, into: list[Record]) -> int:
        """Append the packets of `data`; return how many bytes of it were used.

        `skip` says how many of those to come are to be left out. Malformed where they cannot be;
        `into` has what came before then.
        """


def parser_for(magic: bytes, nameless: str | None, only_names: bool = False) -> Parser:
    """Return the parser for what begins with these 4 bytes; Malformed where they are no capture's.

    An interface without a name is called `nameless`, or where that is None by its number.
    """
    if magic == struct.pack("<I", _SECTION):
        return Pcapng(nameless, only_names)
    if magic in _PCAP:
        return Pcap(nameless, only_names)
    if why := _REFUSED.get(magic):
        raise Malformed(0, f"it is {why}", "editcap -F pcapng writes one that can be read")
    shown = f"it begins with {magic.hex(' ')}" if magic else "it is empty"
    raise Malformed(0, f"it is neither pcapng nor pcap: {shown}")


@final
class Pcap:
    """The parser of libpcap's own format: one interface, stamps of microseconds or nanoseconds."""

    def __init__(self, nameless: str | None, only_names: bool) -> None:
        self.taps: list[Tap] = []
        self.skip: int = 0
        self.dropped: int = 0
        self.interface_drops: int = 0
        self._name = "interface 0" if nameless is None else nameless
        self._only_names = only_names
        self._head = struct.Struct("<IIII")
        self._factor = 1000

    def feed(self, data: bytes, into: list[Record]) -> int:
        """See `Parser.feed`."""
        at = 0 if self.taps else self._begin(data)
        if not self.taps or self._only_names:
            return len(data) if self.taps else 0
        tap, unpack, factor, size = self.taps[0], self._head.unpack_from, self._factor, len(data)
        while size - at >= 16:
            seconds, fraction, kept, length = unpack(data, at)
            if kept > bounds.CAPTURE_BLOCK:
                raise Malformed(at, f"a packet of {kept} bytes, where {bounds.CAPTURE_BLOCK} are the most")
            end = at + 16 + kept
            if end > size:
                break
            stamp_ns = seconds * 1_000_000_000 + fraction * factor
            into.append((tap, stamp_ns, data[at + 16 : end], length))
            at = end
        return at

    def _begin(self, data: bytes) -> int:
        if len(data) < _PCAP_HEADER:
            return 0
        order, self._factor = _PCAP[data[:MAGIC_LENGTH]]
        snap_length, link = struct.unpack_from(order + "II", data, 16)
        self._head = struct.Struct(order + "IIII")
        self.taps.append(Tap(self._name, link & 0xFFFF, snap_length, 1))  # above it: the length of an FCS
        return _PCAP_HEADER


@final
class Pcapng:
    """The parser of pcapng: sections of either byte order, each with interfaces of its own."""

    def __init__(self, nameless: str | None, only_names: bool) -> None:
        self.taps: list[Tap] = []
        self.skip: int = 0
        self.dropped: int = 0
        self._nameless = nameless
        self._only_names = only_names
        self._section: list[Tap] = []
        self._drops: dict[Tap, int] = {}  # the latest summary of an interface counts
        self._order = "<"
        self._two = struct.Struct("<II")
        self._seven = struct.Struct("<7I")
        self._one = struct.Struct("<I")
        self._flags = struct.pack("<HH", _EPB_FLAGS, 4)  # which most packets have, and nothing else

    @property
    def interface_drops(self) -> int:
        """What was dropped by the summaries of interfaces."""
        return sum(self._drops.values())

    def feed(self, data: bytes, into: list[Record]) -> int:
        """See `Parser.feed`."""
        at, size = 0, len(data)
        while size - at >= _FEWEST:
            if size - at > _PACKET_AT_LEAST:
                at = self._plain_packets(data, at, None if self._only_names else into)
                if size - at < _FEWEST:
                    break
            kind, length = self._two.unpack_from(data, at)
            if kind == _SECTION:
                order = _ORDERS.get(data[at + 8 : at + 12])
                if order is None:
                    raise Malformed(at + 8, "a section without a byte order")
                self._turn(order)
                kind, length = self._two.unpack_from(data, at)
            whole = (length + 3) & ~3  # some writers count no padding
            if length < _FEWEST:
                raise Malformed(at, f"a block of {length} bytes, where 12 are the fewest")
            if kind in _KEPT and whole > bounds.CAPTURE_BLOCK:
                raise Malformed(at, f"a block of {length} bytes, where {bounds.CAPTURE_BLOCK} are the most")
            if size - at < whole:
                if kind not in _KEPT:
                    self.skip = whole - (size - at)
                    at = size
                break
            end = at + whole - 4
            if int.from_bytes(data[end : end + 4], "little" if self._order == "<" else "big") != length:
                raise Malformed(at, f"a block of {length} bytes that has another length at its end")
            if kind == _PACKET:
                if not self._only_names:
                    self._packet(data, at, end, into)
            elif kind in _KEPT:
                self._other(kind, data, at, end, into)
            at += whole
        return at

    def _plain_packets(self, data: bytes, at: int, into: list[Record] | None) -> int:
        """Take (with None: pass over) packet blocks as they should be; return where another block begins.

        What nearly all of a capture is, without a call for each. Anything else is left to be looked at.
        """
        unpack, unpack_end, section, factor = self._seven.unpack_from, self._one.unpack_from, self._section, 0
        longest, flags = len(data) - _PACKET_AT_LEAST, self._flags
        if into is None:
            while at <= longest:
                kind, whole = self._two.unpack_from(data, at)
                if kind != _PACKET or whole < _PACKET_AT_LEAST or whole & 3 or at + whole > longest:
                    break
                at += whole
            return at
        last, tap, append, offset_ns = -1, _NONE, into.append, 0
        while at <= longest:
            kind, whole, number, high, low, kept, length = unpack(data, at)
            if kind != _PACKET:
                break
            if number != last:
                if number >= len(section) or section[number].divisor != 1:
                    break
                last, tap = number, section[number]
                factor, offset_ns = tap.factor, tap.offset_ns
            begin = at + 28
            options = begin + (kept + 3 & -4)
            end = at + whole
            if end > longest or options > end - 4 or whole & 3 or unpack_end(data, end - 4)[0] != whole:
                break
            spare = end - options - 4
            if spare >= _SHORTEST_WITH_DROPS and (
                spare > _SHORTEST_WITH_DROPS or data[options : options + 4] != flags
            ):
                self.dropped += self._counter(data, options, end - 4, (_EPB_DROPCOUNT,))
            append((tap, (high << 32 | low) * factor + offset_ns, data[begin : begin + kept], length))
            at = end
        return at

    def _turn(self, order: str) -> None:
        if order != self._order:
            self._order = order
            self._two = struct.Struct(order + "II")
            self._seven = struct.Struct(order + "7I")
            self._one = struct.Struct(order + "I")
            self._flags = struct.pack(order + "HH", _EPB_FLAGS, 4)

    def _packet(self, data: bytes, at: int, end: int, into: list[Record]) -> None:
        if end - at < 28:
            raise Malformed(at, "a packet block without room for its head")
        _, _, number, high, low, kept, length = self._seven.unpack_from(data, at)
        options = at + 28 + (kept + 3 & ~3)
        if options > end:
            raise Malformed(at, f"a packet of {kept} bytes in a block that is shorter")
        try:
            tap = self._section[number]
        except IndexError:
            raise Malformed(at, f"a packet of interface {number}, which is not described") from None
        stamp_ns = (high << 32 | low) * tap.factor // tap.divisor + tap.offset_ns
        into.append((tap, stamp_ns, data[at + 28 : at + 28 + kept], length))
        if end - options >= _SHORTEST_WITH_DROPS:
            self.dropped += self._counter(data, options, end, (_EPB_DROPCOUNT,))

    def _other(self, kind: int, data: bytes, at: int, end: int, into: list[Record]) -> None:
        _OF_KIND[kind](self, data, at, end, into)

    def _section_header(self, data: bytes, at: int, end: int, into: list[Record]) -> None:
        if end - at < 24:
            raise Malformed(at, "a section header without room for its head")
        (major,) = struct.unpack_from(self._order + "H", data, at + 12)
        if major != 1:
            raise Malformed(at, f"pcapng of version {major}, where 1 is known")
        self._section = []

    def _interface(self, data: bytes, at: int, end: int, into: list[Record]) -> None:
        if end - at < 16:
            raise Malformed(at, "an interface description without room for its head")
        if len(self.taps) >= bounds.CAPTURE_INTERFACES:
            raise Malformed(at, f"more than {bounds.CAPTURE_INTERFACES} interfaces")
        link, snap_length = struct.unpack_from(self._order + "HxxI", data, at + 8)
        options = dict(reversed(self._options(data, at + 16, end)))  # the first of each counts
        name = options.get(_IF_NAME, b"").rstrip(b"\0").decode(errors="replace")
        if not name:
            name = f"interface {len(self._section)}" if self._nameless is None else self._nameless
        factor, divisor = _resolution(options.get(_IF_TSRESOL, b"\x06")[:1] or b"\x06")
        offset = options.get(_IF_TSOFFSET, b"")
        seconds = struct.unpack(self._order + "q", offset)[0] if len(offset) == 8 else 0
        tap = Tap(name, link, snap_length, factor, divisor, seconds * 1_000_000_000)
        self._section.append(tap)
        self.taps.append(tap)

    def _simple_packet(self, data: bytes, at: int, end: int, into: list[Record]) -> None:
        if end - at < 12 or not self._section:
            raise Malformed(at, "a simple packet block without its head, or without an interface")
        if self._only_names:
            return
        tap = self._section[0]
        (length,) = struct.unpack_from(self._order + "I", data, at + 8)
        kept = min(length, tap.snap_length or length, end - at - 12)
        into.append((tap, None, data[at + 12 : at + 12 + kept], length))

    def _old_packet(self, data: bytes, at: int, end: int, into: list[Record]) -> None:
        if end - at < 28:
            raise Malformed(at, "an old packet block without room for its head")
        if self._only_names:
            return
        number, drops, high, low, kept, length = struct.unpack_from(self._order + "HHIIII", data, at + 8)
        if at + 28 + (kept + 3 & ~3) > end or number >= len(self._section):
            raise Malformed(at, f"an old packet block of {kept} bytes of interface {number}")
        tap = self._section[number]
        stamp_ns = (high << 32 | low) * tap.factor // tap.divisor + tap.offset_ns
        into.append((tap, stamp_ns, data[at + 28 : at + 28 + kept], length))
        self.dropped += drops if drops != _NO_DROPS else 0

    def _statistics(self, data: bytes, at: int, end: int, into: list[Record]) -> None:
        if end - at < 20:
            raise Malformed(at, "interface statistics without room for their head")
        (number,) = struct.unpack_from(self._order + "I", data, at + 8)
        if number < len(self._section):
            self._drops[self._section[number]] = self._counter(data, at + 20, end, (_ISB_IFDROP, _ISB_OSDROP))

    def _counter(self, data: bytes, at: int, end: int, codes: tuple[int, ...]) -> int:
        found = dict(self._options(data, at, end))
        counters = [
            struct.unpack(self._order + "Q", value)[0]
            for code, value in found.items()
            if code in codes and len(value) == 8
        ]
        return sum(one for one in counters if one != _UNKNOWN)

    def _options(self, data: bytes, at: int, end: int) -> list[tuple[int, bytes]]:
        """Return (code, value), as far as they can be read: what is wrong with them harms no packet."""
        found = []
        while end - at >= 4:
            code, length = struct.unpack_from(self._order + "HH", data, at)
            if code == 0 or at + 4 + length > end:
                break
            found.append((code, data[at + 4 : at + 4 + length]))
            at += 4 + (length + 3 & ~3)
        return found


_OF_KIND: Final[dict[int, Callable[[Pcapng, bytes, int, int, list[Record]], None]]] = {
    _SECTION: Pcapng._section_header,
    _INTERFACE: Pcapng._interface,
    _OLD_PACKET: Pcapng._old_packet,
    _SIMPLE_PACKET: Pcapng._simple_packet,
    _STATISTICS: Pcapng._statistics,
}


def _resolution(told: bytes) -> tuple[int, int]:
    """Return by what to multiply and divide a stamp to get nanoseconds (if_tsresol)."""
    power = told[0] & 0x7F
    if told[0] & 0x80:
        return 1_000_000_000, 1 << power
    return (10 ** (9 - power), 1) if power <= 9 else (1, 10 ** (power - 9))
