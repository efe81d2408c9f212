"""Loss, duplicates, reordering and restarts by sequence number. Pure: numbers in, counters out.

The rules are those of RFC 3550, appendix A.1 (what a number means) and A.3 (what is lost), for any width.
"""

from __future__ import annotations

from typing import Final, final

import attrs

from ..values.sealed import sealed
from .sequence import Sequence

__all__ = ["SequenceCounter", "SequenceStatistics"]

_MISORDER: Final = 100  # MAX_MISORDER: numbers behind the highest, of which it is known whether they came
_DROPOUT: Final = 3000  # MAX_DROPOUT, for 16 bits


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
    """

    __slots__ = (
        "_after_jump", "_astray", "_dropout", "_duplicates", "_highest", "_jumped_ahead", "_late", "_lost",
        "_mask", "_misorder", "_read", "_received", "_reordered", "_restarts", "_seen", "_since",
        "_unreadable",
    )  # fmt: skip

    def __init__(self, sequence: Sequence) -> None:
        numbers = 1 << sequence.bits
        self._read = sequence.number
        self._mask = numbers - 1
        self._misorder = max(1, min(_MISORDER, numbers // 4))
        self._dropout = min(numbers // 2, max(_DROPOUT, numbers * _DROPOUT >> 16))
        self._highest: int | None = None
        self._seen = 1  # bit n: whether the number n below the highest has come
        self._since = 0  # how many numbers lie between the first one and the highest
        self._after_jump: int | None = None  # what makes the last jump a restart
        self._jumped_ahead = False
        self._received = self._lost = self._duplicates = self._reordered = 0
        self._late = self._astray = self._restarts = self._unreadable = 0

    @property
    def highest(self) -> int | None:
        """The highest number that has come, since the last restart; None before the first."""
        return self._highest

    def take(self, data: bytes) -> int:
        """Count the packet with this payload; return how many numbers between the highest and it are lost."""
        number = self._read(data)
        if number is None:
            self._unreadable += 1
            return 0
        self._received += 1
        if self._highest is None:
            self._highest = number
            return 0
        ahead = (number - self._highest) & self._mask
        if ahead == 1 or 0 < ahead < self._dropout:
            self._highest = number
            self._lost += ahead - 1
            self._since += ahead
            self._seen = (self._seen << min(ahead, self._misorder) | 1) & ((1 << self._misorder) - 1)
            self._after_jump = None
            return ahead - 1
        behind = -ahead & self._mask
        if behind < self._misorder:
            self._take_behind(behind)
        else:
            self._take_far(number, behind)
        return 0

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
