"""The blocks of a pcapng file, as bytes (draft-ietf-opsawg-pcapng). Pure: no files, no clock."""

from __future__ import annotations

import struct

__all__ = ["enhanced_packet", "interface_description", "interface_statistics", "section_header"]

_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
_ETHERNET = 1
_PACKET_HEAD = struct.Struct("<IIIIIII")
_INBOUND_MULTICAST = struct.pack("<HHI", 2, 4, 0b010_01)  # epb_flags
_END = bytes(4)
_PADDING = (b"", bytes(3), bytes(2), bytes(1))


def section_header(application: str) -> bytes:
    """Return the block that begins a file, which says what wrote it."""
    return _block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1), _option(4, application.encode()))


def interface_description(name: str) -> bytes:
    """Return the block of the next interface: Ethernet, stamps in nanoseconds."""
    return _block(
        _INTERFACE, struct.pack("<HHI", _ETHERNET, 0, 0), _option(2, name.encode()) + _option(9, b"\x09")
    )


def enhanced_packet(number: int, stamp_ns: int, frame: bytes, dropped: int = 0, comment: str = "") -> bytes:
    """Return the block of a frame that came in on interface `number`, after `dropped` that were lost."""
    options = _INBOUND_MULTICAST
    if dropped:
        options += _option(4, struct.pack("<Q", dropped))
    if comment:
        options += _option(1, comment.encode())
    size = len(frame)
    padding = _PADDING[size & 3]
    whole = 36 + size + len(padding) + len(options)
    head = _PACKET_HEAD.pack(_PACKET, whole, number, stamp_ns >> 32, stamp_ns & 0xFFFFFFFF, size, size)
    return b"%b%b%b%b%b%b" % (head, frame, padding, options, _END, whole.to_bytes(4, "little"))


def interface_statistics(number: int, stamp_ns: int, received: int, dropped: int) -> bytes:
    """Return the block of what came in on an interface and what was lost (isb_osdrop)."""
    fixed = struct.pack("<III", number, stamp_ns >> 32, stamp_ns & 0xFFFFFFFF)
    options = _option(4, struct.pack("<Q", received)) + _option(7, struct.pack("<Q", dropped))
    return _block(_STATISTICS, fixed, options)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + _PADDING[len(value) & 3]


def _block(kind: int, fixed: bytes, options: bytes) -> bytes:
    size = 12 + len(fixed) + len(options) + len(_END)
    return struct.pack("<II", kind, size) + fixed + options + _END + struct.pack("<I", size)
