"""`Sequence`: where the number of a packet stands, and how it wraps. A pure value."""

from __future__ import annotations

import functools
import re
from typing import Final, Literal, Self, TypeAlias, final

import attrs

from ..errors import ArgumentError, ArgumentTypeError
from ..values.sealed import sealed
from ..values.shown import shown
from .numbering import Place
from .places import Called, Numbers, Read
from .transport_stream import TransportStream

__all__ = ["Sequence"]

ByteOrder: TypeAlias = Literal["big", "little"]

_WIDEST = 64  # bits
_FURTHEST = 65535  # bytes: no datagram is longer
_TEXT = re.compile(r"u(?P<bits>\d+)(?P<order>be|le)?@(?P<offset>\d+)", re.ASCII)
_HINT = (
    "write rtp, ts, rtp+ts, or u32@0, u64be@8, u16le@2: the width in bits, the byte order, where it begins"
)


@final
@sealed
@attrs.frozen(slots=True)
class Sequence:
    """Where a packet has its number: `Sequence.at`, `.rtp`, `.mpegts`, `.read_by`, `.parse`.

    `bits` is its width: after 2**bits - 1 comes 0. Two are equal that read the same number.
    """

    bits: int
    _numbers: Numbers = attrs.field(repr=False)
    _text: str = attrs.field(eq=False)
    _is_rtp: bool = attrs.field(default=False, repr=False, eq=False)

    def __str__(self) -> str:
        return self._text

    def number(self, data: bytes) -> int | None:
        """Return the number of the packet with this payload, None where it has none (it is too short)."""
        return self._numbers.number(data)

    @classmethod
    def at(cls, offset: int, kind: str = "u32", byteorder: ByteOrder = "big") -> Self:
        """Return that of an unsigned number `offset` bytes into the payload.

        `kind` is "u" and the width in bits, 1 to 64. A width that is no whole number of bytes is
        that of the low bits of as few bytes as hold it: "u4" at 3 is the low half of byte 3.
        ArgumentError for what cannot be.
        """
        found = re.fullmatch(r"u([0-9]{1,2})", kind) if isinstance(kind, str) else None
        if found is None or not 1 <= int(found[1]) <= _WIDEST:
            raise ArgumentError(f"kind {shown(kind)}", f"give u1 to u{_WIDEST}, as in u32")
        if isinstance(offset, bool) or not isinstance(offset, int):
            raise ArgumentTypeError(f"offset {shown(offset)}", "give a number of bytes")
        if not 0 <= offset <= _FURTHEST:
            raise ArgumentError(f"offset {offset}", f"give a number of bytes from 0 to {_FURTHEST}")
        if byteorder not in ("big", "little"):
            raise ArgumentError(f"byteorder {shown(byteorder)}", 'give "big" or "little"')
        bits = int(found[1])
        order = "le" if byteorder == "little" and bits > 8 else ""
        return cls(bits, _place(offset, bits, byteorder), f"u{bits}{order}@{offset}")

    @classmethod
    def rtp(cls) -> Self:
        """Return that of RTP: 16 bits at byte 2 of what has RTP's version (RFC 3550, section 5.1).

        What counts them counts each synchronization source (SSRC) by itself.
        """
        return cls(16, _RTP, "rtp", True)

    @classmethod
    def mpegts(cls, *, rtp: bool = False) -> Self:
        """Return the continuity counters of an MPEG transport stream, in RTP or bare: 4 bits for each PID.

        A datagram holds whole transport packets of 188 bytes, seven of them mostly, and with `rtp` RTP's
        header before them (RFC 2250). Counted are those with a payload, by ISO/IEC 13818-1, 2.4.3.3: one
        may come twice, and a jump that the stream announces is none; stuffing does not count. `number` is
        the first counter. Lines cannot be merged by it.
        """
        return cls(4, _IN_RTP if rtp else _BARE, "rtp+ts" if rtp else "ts", rtp)

    @classmethod
    def read_by(cls, read: Read, bits: int) -> Self:
        """Return one of `bits` bits that `read` takes from a payload; it returns None where there is none.

        What it raises comes out wherever the number is asked for. ArgumentError for a width that cannot be.
        """
        if not callable(read):
            raise ArgumentTypeError(f"read {shown(read)}", "give a function of the payload")
        if isinstance(bits, bool) or not isinstance(bits, int):
            raise ArgumentTypeError(f"bits {shown(bits)}", f"give 1 to {_WIDEST}")
        if not 1 <= bits <= _WIDEST:
            raise ArgumentError(f"bits {shown(bits)}", f"give 1 to {_WIDEST}")
        return cls(bits, Called(read, bits), f"u{bits} by {getattr(read, '__qualname__', shown(read))}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the one that `text` names: `rtp`, `ts`, `rtp+ts`, or `u32@0`, `u64be@8`, `u16le@2`.

        ArgumentError for any other.
        Without `be` or `le` it is big-endian, as the network's byte order is.
        """
        if text in ("ts", "rtp+ts"):
            return cls.mpegts(rtp=text == "rtp+ts")
        if text == "rtp":
            return cls.rtp()
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is None or len(found["offset"]) > len(str(_FURTHEST)):
            raise ArgumentError(f"sequence {shown(text)}", _HINT)
        return cls.at(
            int(found["offset"]), f"u{found['bits']}", "little" if found["order"] == "le" else "big"
        )


@functools.lru_cache(256)  # so that equal places are read by the same object
def _place(offset: int, bits: int, byteorder: ByteOrder) -> Numbers:
    return Place(offset, bits, byteorder == "little")


_BARE: Final[Numbers] = TransportStream(is_rtp=False)
_IN_RTP: Final[Numbers] = TransportStream(is_rtp=True)
_RTP: Final[Numbers] = Place(2, 16, False, is_rtp=True)
