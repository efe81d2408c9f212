"""Where numbers stand in packets: read one by one, by batches, and found to be in a row. Pure.

`_numbers` does the same in compiled code for a fixed place; the tests hold both to one behaviour.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import itemgetter
from typing import Final, Literal, Protocol, TypeAlias, final

from ..values.packets import Flow, Packet

__all__ = ["Called", "Numbers", "Place", "Read", "only_flow", "smoothed"]

Read: TypeAlias = Callable[[bytes], int | None]

_STRUCTS: Final = {8: "B", 16: "H", 32: "I", 64: "Q"}
_RTP_HEADER: Final = 12  # bytes
_data = itemgetter(0)  # of a packet


class Numbers(Protocol):
    """What reads the numbers of packets."""

    def number(self, data: bytes) -> int | None:
        """Return the number in a payload, None where it has none."""

    def numbers(self, batch: list[Packet]) -> list[int | None]:
        """Return that of each packet."""

    def row(self, batch: list[Packet]) -> int | None:
        """Return the first number if each of the others is one above that before it; else None."""


class Called:
    """Numbers that a function reads."""

    __slots__ = ("_mask", "number")

    number: Read

    def __init__(self, read: Read, bits: int) -> None:
        self.number = read
        self._mask = (1 << bits) - 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Called):
            return NotImplemented
        return (self.number, self._mask) == (other.number, other._mask)

    def __hash__(self) -> int:
        return hash((self.number, self._mask))

    def numbers(self, batch: list[Packet]) -> list[int | None]:
        """See `Numbers.numbers`."""
        return list(map(self.number, map(_data, batch)))

    def row(self, batch: list[Packet]) -> int | None:
        """See `Numbers.row`."""
        return _row(self.numbers(batch), self._mask)


@final
class Place(Called):
    """A number of `bits` bits in as few bytes as hold it, `offset` bytes into the payload.

    With `is_rtp` there is one only in what has RTP's version and header (RFC 3550, section 5.1).
    """

    __slots__ = ("_is_rtp",)

    def __init__(self, offset: int, bits: int, is_little: bool, *, is_rtp: bool = False) -> None:
        read = _read(offset, bits, is_little)
        super().__init__(_in_rtp(read) if is_rtp else read, bits)
        self._is_rtp = is_rtp

    def row(self, batch: list[Packet]) -> int | None:
        """See `Numbers.row`. Those of RTP have one synchronization source."""
        first = super().row(batch)
        if self._is_rtp and first is not None and len({bytes(packet.data[8:12]) for packet in batch}) > 1:
            return None
        return first


def only_flow(batch: list[Packet]) -> Flow | None:
    """Return the flow that all of a batch have, None where it is not one object."""
    if not batch:
        return None
    flow = batch[0][1]
    return flow if all(packet[1] is flow for packet in batch) else None


def smoothed(
    stamps: list[int | None], before: int | None, gap: float | None, jitter: float | None
) -> tuple[int | None, float | None, float | None]:
    """Return the stamp before, the mean gap and the jitter of `Jitter` after these arrivals."""
    for stamp in stamps:
        if stamp is None:
            continue
        if before is not None:
            step = float(stamp - before)
            if gap is None:
                gap = step
            else:
                jitter = (jitter or 0.0) + (abs(step - gap) - (jitter or 0.0)) / 16
                gap += (step - gap) / 16
        before = stamp
    return before, gap, jitter


def _row(numbers: list[int | None], mask: int) -> int | None:
    first = numbers[0] if numbers else None
    if first is None:
        return None
    return first if numbers == [number & mask for number in range(first, first + len(numbers))] else None


def _read(offset: int, bits: int, is_little: bool) -> Read:
    if bits in _STRUCTS:
        unpack = struct.Struct(("<" if is_little else ">") + _STRUCTS[bits]).unpack_from

        def read_struct(data: bytes) -> int | None:
            try:
                return unpack(data, offset)[0]  # type: ignore[no-any-return]  # struct knows no types
            except struct.error:
                return None

        return read_struct
    end, mask = offset + (bits + 7) // 8, (1 << bits) - 1
    order: Literal["little", "big"] = "little" if is_little else "big"

    def read(data: bytes) -> int | None:
        return int.from_bytes(data[offset:end], order) & mask if len(data) >= end else None

    return read


def _in_rtp(read: Read) -> Read:
    def read_rtp(data: bytes) -> int | None:
        return read(data) if len(data) >= _RTP_HEADER and data[0] >> 6 == 2 else None

    return read_rtp
