"""Loss, duplicates, reordering and restarts by sequence number. Pure: numbers in, counters out.

The rules are those of RFC 3550, appendix A.1 (what a number means) and A.3 (what is lost), for any width.
"""

from __future__ import annotations

from typing import Final, final

import attrs

from ..values.sealed import sealed
from .sequence import Sequence
from .transport_stream import Continuity, TransportStream

__all__ = ["SequenceCounter", "SequenceStatistics"]

_MISORDER: Final = 100  # MAX_MISORDER: numbers behind the highest, of which it is known whether they came
_DROPOUT: Final = 3000  # MAX_DROPOUT, for 16 bits
_SOURCES: Final = 64  # of RTP in one flow of which it is known where they are


@final
@sealed
@attrs.frozen(slots=True)
class SequenceStatistics:
    """What the sequence numbers of one flow tell.

    `received` packets had a number, `unreadable` had none. `lost` were skipped and have not come since.
    `duplicates` had come before. `reordered` came after a higher number, and are not among the lost.
    `late` came alone and so far behind that it is no longer known whether they had come; `astray` came
    alone and so far ahead that it can be no loss. `restarts` is how often the numbers began anew
    elsewhere: what was lost between is not known.

    Of MPEG-TS all but `unreadable` are counts of transport packets; those that are stuffing or have an
    error are in none. `restarts` are the jumps that the stream announces. Counters of 4 bits tell no
    reordering from a loss.

    `a + b` is that of two flows, `later - earlier` what was counted in between: `lost` is below 0
    there where more of what was missing came than was skipped.
    """

    received: int = 0
    lost: int = 0
    duplicates: int = 0
    reordered: int = 0
    late: int = 0
    astray: int = 0
    restarts: int = 0
    unreadable: int = 0

    def __add__(self, other: SequenceStatistics) -> SequenceStatistics:
        if not isinstance(other, SequenceStatistics):
            return NotImplemented
        return SequenceStatistics(*map(int.__add__, attrs.astuple(self), attrs.astuple(other)))

    def __sub__(self, earlier: SequenceStatistics) -> SequenceStatistics:
        if not isinstance(earlier, SequenceStatistics):
            return NotImplemented
        return SequenceStatistics(*map(int.__sub__, attrs.astuple(self), attrs.astuple(earlier)))


@final
@sealed
class SequenceCounter:
    """Counts what the numbers of one flow tell: give it every payload in order of arrival.

    A number up to 100 behind the highest is reordered, or a duplicate if it has come. One ahead is a loss
    of those between, up to 3000 for 16 bits and in the same proportion to 2**bits for wider ones (for
    narrower ones up to 3000 and half of them). Anything else is a restart once its successor is the next
    to come, as RFC 3550, appendix A.1 has it; alone it is late or astray. It keeps 100 bits.

    Each synchronization source of RTP has numbers of its own: one that is new, but for the first, is a
    restart. It keeps those of 64.
    """

    __slots__ = (
        "_after_jump", "_astray", "_continuity", "_dropout", "_duplicates", "_highest", "_is_rtp", "_jump",
        "_jumped_ahead", "_late", "_lost", "_mask", "_misorder", "_others", "_read", "_received",
        "_reordered", "_restarts", "_seen", "_since", "_source", "_unreadable",
    )  # fmt: skip

    def __init__(self, sequence: Sequence) -> None:
        numbers = 1 << sequence.bits
        self._read = sequence.number
        self._is_rtp = sequence._is_rtp
        stream = sequence._numbers
        self._continuity = Continuity(stream) if isinstance(stream, TransportStream) else None
        self._mask = numbers - 1
        self._misorder = max(1, min(_MISORDER, numbers // 4))
        self._dropout = min(numbers // 2, max(_DROPOUT, numbers * _DROPOUT >> 16))
        self._begin_anew()
        self._jump: tuple[int, int, int] | None = None
        self._source = b""  # of RTP: that whose numbers are looked at
        self._others: dict[bytes, tuple[int | None, int, int, int | None, bool]] = {}
        self._received = self._lost = self._duplicates = self._reordered = 0
        self._late = self._astray = self._restarts = self._unreadable = 0

    def _begin_anew(self) -> None:
        self._highest: int | None = None
        self._seen = 1  # bit n: whether the number n below the highest has come
        self._since = 0  # how many numbers lie between the first one and the highest
        self._after_jump: int | None = None  # what makes the last jump a restart
        self._jumped_ahead = False

    @property
    def highest(self) -> int | None:
        """The highest number that has come, since the last restart; None before the first.

        Of RTP that of the source that was heard last, of MPEG-TS always None.
        """
        return self._highest

    @property
    def jump(self) -> tuple[int, int, int] | None:
        """Where the last packet that was taken has jumped: from, to, and how many are lost.

        With 0 lost it is a restart. None where it did not.
        """
        return self._jump

    def take(self, data: bytes) -> int:
        """Count the packet with this payload; return how many numbers before it have been lost."""
        self._jump = None
        if self._continuity is not None:
            return self._take_transport_stream(data, self._continuity)
        number = self._read(data)
        if number is None:
            self._unreadable += 1
            return 0
        self._received += 1
        if self._is_rtp and data[8:12] != self._source:
            self._change_source(data[8:12], number)
        if self._highest is None:
            self._highest = number
            return 0
        ahead = (number - self._highest) & self._mask
        if ahead == 1 or 0 < ahead < self._dropout:
            if ahead > 1:
                self._jump = self._highest, number, ahead - 1
            self._highest = number
            self._lost += ahead - 1
            self._advance(ahead, 1)
            return ahead - 1
        behind = -ahead & self._mask
        if behind < self._misorder:
            self._take_behind(behind)
        else:
            self._take_far(number, behind)
        return 0

    def take_row(self, first: int, count: int, data: bytes) -> bool:
        """Count `count` packets in a row from `first` on, the payload of one of which is `data`.

        False, and nothing is counted, where they have to be looked at one by one.
        """
        if self._highest is None or (first - self._highest) & self._mask != 1 or count >= self._dropout:
            return False
        if self._is_rtp and data[8:12] != self._source:
            return False
        self._received += count
        self._highest = (self._highest + count) & self._mask
        self._advance(count, (1 << min(count, self._misorder)) - 1)
        self._jump = None
        return True

    def _advance(self, ahead: int, came: int) -> None:
        self._since += ahead
        self._seen = (self._seen << min(ahead, self._misorder) | came) & ((1 << self._misorder) - 1)
        self._after_jump = None

    def _change_source(self, source: bytes, number: int) -> None:
        """Go on with the numbers of another synchronization source (RFC 3550, section 8)."""
        before = self._highest
        if before is not None:
            if len(self._others) >= _SOURCES:
                del self._others[next(iter(self._others))]
            self._others[self._source] = (
                before, self._seen, self._since, self._after_jump, self._jumped_ahead,
            )  # fmt: skip
        self._source = source
        known = self._others.pop(source, None)
        if known is not None:
            self._highest, self._seen, self._since, self._after_jump, self._jumped_ahead = known
            return
        self._begin_anew()
        if before is not None:
            self._restarts += 1
            self._jump = before, number, 0

    def _take_transport_stream(self, data: bytes, continuity: Continuity) -> int:
        found = continuity.take(data)
        if found is None:
            self._unreadable += 1
            return 0
        self._received += found.received
        self._lost += found.lost
        self._duplicates += found.duplicates
        self._restarts += found.restarts
        if found.jump is not None:
            self._jump = *found.jump, found.lost
        return found.lost

    def _take_behind(self, behind: int) -> None:
        if self._seen >> behind & 1:
            self._duplicates += 1
            return
        self._seen |= 1 << behind
        self._reordered += 1
        if behind <= self._since:  # what is older than the first one was never counted as lost
            self._lost -= 1

    def _take_far(self, number: int, behind: int) -> None:
        if number == self._after_jump:
            if self._jumped_ahead:
                self._astray -= 1
            else:
                self._late -= 1
            self._restarts += 1
            assert self._highest is not None
            self._jump = self._highest, number, 0
            self._highest, self._seen, self._since, self._after_jump = number, 0b11, 1, None
            return
        self._jumped_ahead = behind > self._mask >> 1
        if self._jumped_ahead:
            self._astray += 1
        else:
            self._late += 1
        self._after_jump = (number + 1) & self._mask

    def statistics(self) -> SequenceStatistics:
        """Return what has been counted since the start."""
        return SequenceStatistics(
            self._received,
            self._lost,
            self._duplicates,
            self._reordered,
            self._late,
            self._astray,
            self._restarts,
            self._unreadable,
        )
