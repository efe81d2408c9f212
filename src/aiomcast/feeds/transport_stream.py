"""MPEG transport streams in datagrams, and the continuity of their counters. Pure: bytes in, counts out.

The rules are those of ISO/IEC 13818-1 (ITU-T H.222.0), 2.4.3.3 and 2.4.3.5; in RTP as RFC 2250 has it.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from ..values.packets import Packet

__all__ = ["Continuity", "Found", "TransportStream"]

_SIZE: Final = 188  # bytes of a transport packet
_SYNC: Final = 0x47
_NULL: Final = 0x1FFF  # the PID of stuffing, whose counter means nothing
_MASK: Final = 15


@final
class TransportStream:
    """Where transport packets stand in a payload: all of it, or what follows an RTP header.

    It has many counters and no number of its own: `number` is the counter that comes first.
    """

    __slots__ = ("is_rtp",)

    def __init__(self, *, is_rtp: bool) -> None:
        self.is_rtp: bool = is_rtp

    def span(self, data: bytes) -> range | None:
        """Return where each transport packet begins, None where there are none or half ones."""
        begin, end = 0, len(data)
        if self.is_rtp:
            if end < 12 or data[0] >> 6 != 2:
                return None
            begin = 12 + 4 * (data[0] & 15)
            if data[0] & 0x10:  # an extension (RFC 3550, section 5.3.1)
                if end < begin + 4:
                    return None
                begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
            if data[0] & 0x20:
                end -= data[-1]
        if begin >= end or (end - begin) % _SIZE:
            return None
        packets = range(begin, end, _SIZE)
        return packets if all(data[start] == _SYNC for start in packets) else None

    def number(self, data: bytes) -> int | None:
        """Return the first counter of what has a payload, None where there is none."""
        for start in self.span(data) or ():
            if data[start + 3] & 0x10 and _pid(data, start) != _NULL:
                return data[start + 3] & _MASK
        return None

    def numbers(self, batch: list[Packet]) -> list[int | None]:
        """Return that of each packet."""
        return [self.number(packet.data) for packet in batch]

    def row(self, batch: list[Packet]) -> int | None:
        """Return None: every counter has to be looked at."""
        return None


class Found(NamedTuple):
    """What the counters of one datagram tell.

    `jump` is the counter before and the one at hand of the first PID that jumps.
    """

    received: int = 0
    lost: int = 0
    duplicates: int = 0
    restarts: int = 0
    jump: tuple[int, int] | None = None


@final
class Continuity:
    """The counters of one stream, of each PID."""

    __slots__ = ("_pids", "_source", "_stream")

    def __init__(self, stream: TransportStream) -> None:
        self._stream = stream
        # PID to the counter, the payload and whether it has come twice; there are 8,191 at most.
        self._pids: dict[int, tuple[int, bytes, bool]] = {}
        self._source = b""  # of RTP

    def take(self, data: bytes) -> Found | None:
        """Count what a payload holds; None where that is no transport stream."""
        span = self._stream.span(data)
        if span is None:
            return None
        received = lost = duplicates = restarts = 0
        jump: tuple[int, int] | None = None
        if self._stream.is_rtp and data[8:12] != self._source:  # another stream
            restarts += bool(self._source)
            self._source = data[8:12]
            self._pids.clear()
        for start in span:
            pid, control = _pid(data, start), data[start + 3]
            if pid == _NULL or data[start + 1] & 0x80:  # a transport error: nothing in it is sure
                continue
            received += 1
            length = data[start + 4] if control & 0x20 else -1
            is_announced = length > 0 and bool(data[start + 5] & 0x80)  # discontinuity_indicator
            if not control & 0x10:  # no payload: the counter does not count
                if is_announced:
                    self._pids.pop(pid, None)
                continue
            counter = control & _MASK
            payload = data[min(start + 5 + length, start + _SIZE) : start + _SIZE]
            known = self._pids.get(pid)
            is_twice = False
            if known is not None:
                before, earlier, was_twice = known
                skipped = (counter - before - 1) & _MASK
                if skipped and is_announced:
                    restarts += 1
                elif skipped == _MASK and payload == earlier and not was_twice:
                    duplicates += 1
                    is_twice = True
                elif skipped:
                    lost += skipped
                    jump = jump or (before, counter)
            self._pids[pid] = counter, payload, is_twice
        return Found(received, lost, duplicates, restarts, jump)


def _pid(data: bytes, start: int) -> int:
    return (data[start + 1] & 0x1F) << 8 | data[start + 2]
