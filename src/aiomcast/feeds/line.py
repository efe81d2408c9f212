"""`Line`: what one line of a merge has brought, and what it has not; what is told of all. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Mapping
from typing import Final, final

import attrs

from ..values.packets import Packet
from ..values.sealed import sealed

__all__ = ["Line", "LineStatistics", "MergeStatistics"]

_SMOOTHING: Final = 16  # as the jitter of RFC 3550


@final
@sealed
@attrs.frozen(slots=True)
class LineStatistics:
    """What came of the packets of one line of a merge, and what it did not bring.

    Of `received` packets, `won` were the first with their number, `copies` came after another line's,
    `late` when their number had been given up or was before the first, `duplicates` when this line had
    brought their number already; `unreadable` had none; `astray` had one that has nothing to do with the
    others', and were dropped. What is in none of these waits: the next of this line tell if it began anew.

    `lost_here` numbers came on another line and not on this one, `lost_everywhere` on none, since the line
    began. A number counts once this line has brought a higher one, or is the merge's window behind.

    `behind` is how many seconds it is behind the first copy of a packet, smoothed: by the kernel's stamps
    where there are some. Below 0 it was taken second although it came first. None before it was measured.
    `is_silent`: it brings nothing while others do. `is_apart`: its numbers have nothing to do with the
    others'. `is_ended`: its stream was closed.
    """

    received: int = 0
    won: int = 0
    copies: int = 0
    late: int = 0
    duplicates: int = 0
    unreadable: int = 0
    astray: int = 0
    lost_here: int = 0
    lost_everywhere: int = 0
    behind: float | None = None
    is_silent: bool = False
    is_apart: bool = False
    is_ended: bool = False


@final
@sealed
@attrs.frozen(slots=True)
class MergeStatistics:
    """Counters of a merge since it was made.

    `delivered` packets, `lost` numbers that were given up: what the gaps have said; of these `late` came
    afterwards. `restarts` is how often the numbers went on elsewhere; `waiting` packets wait for what is
    missing now. `lines` has those of each line, in the order of the arguments.
    """

    delivered: int
    lost: int
    late: int
    restarts: int
    waiting: int
    lines: tuple[LineStatistics, ...]


@final
class Line:
    """The books of one line. Numbers are extended: they do not wrap."""

    __slots__ = (
        "_lost_everywhere",
        "_lost_here",
        "_missing",
        "_since",
        "apart",
        "apart_since",
        "astray",
        "behind",
        "copies",
        "duplicates",
        "heard_arrivals",
        "heard_at",
        "is_apart",
        "is_ended",
        "is_silent",
        "late",
        "next",
        "received",
        "silent_since",
        "unreadable",
        "won",
    )  # fmt: skip

    received: int
    won: int
    copies: int
    late: int
    duplicates: int
    unreadable: int
    astray: int
    is_silent: bool
    is_apart: bool
    is_ended: bool
    heard_arrivals: int
    """How many packets had come on all lines when it was last heard."""
    apart_since: float
    """When the first of `apart`, or of those before it, has come."""
    silent_since: float
    """When it was last heard, where it is silent."""

    def __init__(self, window: int) -> None:
        self.next: int | None = None
        """One above the highest that it has brought, None before the first."""
        self.apart: deque[tuple[int, Packet]] = deque(maxlen=window)
        """Its latest packets, with their raw numbers, where these are far from what is due."""
        self.apart_since = self.silent_since = 0.0
        self.heard_at: float | None = None
        self.heard_arrivals = 0
        self.behind: float | None = None
        self.is_silent = self.is_apart = self.is_ended = False
        self.received = self.won = self.copies = self.late = 0
        self.duplicates = self.unreadable = self.astray = 0
        self._since = 0  # what is below was before its time
        self._missing: dict[int, None] = {}  # in reach, not brought, and below `next`
        self._lost_here = self._lost_everywhere = 0

    def begin(self, number: int, first: int, lowest: int) -> None:
        """It begins at `number`; from `lowest` on others may come yet that were reordered.

        What was before the merge's `first` is lost to nobody.
        """
        self.next = number
        self._since = max(number, first)
        self._missing = dict.fromkeys(range(lowest, number))

    def takes(self, number: int) -> bool:
        """Enter that it brings `number`; False if it has brought it before."""
        due = self.next
        assert due is not None
        if number >= due:
            if number > due:
                self._missing.update(dict.fromkeys(range(due, number)))
            self.next = number + 1
            return True
        if number in self._missing:
            del self._missing[number]
            return True
        self.duplicates += 1
        return False

    def settle(self, limit: int, given_up: Mapping[int, None]) -> None:
        """What is below `limit` and was not brought is lost: nothing below comes any more."""
        if self.next is None:
            return
        for number in [number for number in self._missing if number < limit]:
            del self._missing[number]
            if number >= self._since:
                self._lose(number, given_up)
        if self.next < limit:
            everywhere = sum(self.next <= number < limit for number in given_up)
            self._lost_everywhere += everywhere
            self._lost_here += limit - self.next - everywhere
            self.next = limit

    def stray_is_over(self) -> None:
        """Drop what was kept of numbers apart."""
        self.astray += len(self.apart)
        self.apart.clear()

    def measure(self, behind: float) -> None:
        """Take in by how much one of its packets was behind the first copy."""
        self.behind = behind if self.behind is None else self.behind + (behind - self.behind) / _SMOOTHING

    def statistics(self, due: int, given_up: Container[int]) -> LineStatistics:
        """Return the counters, where `due` is the number that the merge waits for."""
        open_ = [number for number in self._missing if self._since <= number < due]
        everywhere = sum(number in given_up for number in open_)
        return LineStatistics(
            received=self.received,
            won=self.won,
            copies=self.copies,
            late=self.late,
            duplicates=self.duplicates,
            unreadable=self.unreadable,
            astray=self.astray,
            lost_here=self._lost_here + len(open_) - everywhere,
            lost_everywhere=self._lost_everywhere + everywhere,
            behind=self.behind,
            is_silent=self.is_silent,
            is_apart=self.is_apart,
            is_ended=self.is_ended,
        )

    def _lose(self, number: int, given_up: Mapping[int, None]) -> None:
        if number in given_up:
            self._lost_everywhere += 1
        else:
            self._lost_here += 1
