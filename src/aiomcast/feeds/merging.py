"""`Merging`: several lines into one, in order. A machine without a clock and without I/O.

It is told what a line brings and what time it is, and puts out what is to be delivered: packets, and gaps
in the place of what no line brought in time. Inside, numbers are extended (RFC 3550, appendix A.1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Final, final

from ..values.packets import Packet
from .items import Gap, Item, Restart
from .level import Level
from .line import Line, MergeStatistics
from .notices import LineEventKind, Notice
from .numbering import level_of
from .sequence import Sequence

__all__ = ["Merging"]

_SURE: Final = 16  # packets in a row that are no accident
_SILENCE: Final = 1.0  # seconds in which a line brings nothing while others do
_LOOK: Final = 0.25  # seconds between looks for silent lines
_LEAD: Final = 512  # numbers by which a line may get ahead of another that may have more to bring
_SAMPLED: Final = 7  # numbers without these bits are those by which lines are compared in time


@final
class Merging:
    """Merge `count` lines of packets that are numbered by `sequence`.

    What is ahead waits `hold` seconds at most for what is missing, and until it is `window` numbers ahead.
    `window` is below a quarter of all numbers. Time is in seconds of any clock that does not go back.
    """

    def __init__(
        self, count: int, sequence: Sequence, hold: float, window: int, *, passes_unreadable: bool = False
    ) -> None:
        self.lines: tuple[Line, ...] = tuple(Line(window) for _ in range(count))
        self.notices: list[Notice] = []
        """What has happened to lines. Whoever reads them takes them out."""
        self._numbers = sequence._numbers
        self._half = 1 << sequence.bits - 1
        self._mask = (1 << sequence.bits) - 1
        self._hold = hold
        self._window = window
        self._lead = max(1, min(window // 2, _LEAD))
        self._passes_unreadable = passes_unreadable
        self._has_begun = False
        self._first = self._next = 0  # the first of all; the one that is due
        self._highest = -1  # that has come; next - 1 where nothing is ahead
        self._ahead: dict[int, Packet] = {}
        self._holes: deque[tuple[float, int]] = deque()  # when what is missing below a number is given up
        self._given_up: dict[int, None] = {}  # in reach, and come on no line since
        self._level: Level = level_of(count, sequence._numbers, self._mask, self._sample_level)
        self._is_level = False  # then it knows what has come since, and what is here is from before
        self._settled = 0  # when `next` reaches it, books below the window are closed
        self._stamps: dict[int, tuple[int | None, float]] = {}  # of the first copy
        self._arrivals = 0
        self._look_at = float("-inf")
        self._lost = self._late = self._restarts = 0

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do if nothing comes before."""
        return self._holes[0][0] if self._holes else None

    def reached(self, index: int) -> float:
        """Up to which number the line of this index has brought some."""
        if self._is_level:
            self._leave_level()
        due = self.lines[index].next
        return float("-inf") if due is None else due

    def fitting(self, index: int, queued: Mapping[int, list[Packet]], dry: Collection[int]) -> int:
        """How many of the first that are queued of this line it may bring now: what is not too far ahead.

        So far that what is missing would be given up while another line is about to bring it, or would be
        taken for astray when it does. The lines in `dry` have nothing more to bring at the moment. Of the
        lines that have something queued one fits, unless another has to be waited for.
        """
        if self._is_level:
            self._leave_level()
        if not self._has_begun:
            return 1  # nobody knows yet where it begins
        batch = queued[index]
        limit: int | None = None
        for number, line in enumerate(self.lines):
            if number == index or line.is_silent or line.is_ended or line.apart:
                continue
            due: int | None
            if number in queued:
                raw = self._numbers.number(queued[number][0].data)
                due = None if raw is None else self._extended(raw)
            elif number in dry:
                continue
            else:
                due = line.next if line.received else self._next
            if due is not None and due <= self._highest + self._window and (limit is None or due < limit):
                limit = due
        if limit is None:
            return len(batch)
        limit += self._lead
        last = self._numbers.number(batch[-1].data)
        if last is not None and self._extended(last) < limit:
            return len(batch)
        for count, raw in enumerate(self._numbers.numbers(batch)):
            if raw is not None and limit <= self._extended(raw) <= self._highest + self._window:
                return count
        return len(batch)

    def hear(self, indexes: Iterable[int], now: float) -> None:
        """These lines have something to bring: none of them is silent, however long nobody has looked."""
        if self._is_level:
            self._leave_level()
        for index in indexes:
            line = self.lines[index]
            line.heard_at = now
            line.heard_arrivals = self._arrivals

    def take_next(self, queued: dict[int, list[Packet]], now: float, out: list[Item]) -> bool:
        """Take one packet of each of these lines where nothing is to be decided of it.

        So it is as long as each brings the number that follows its last, no line is far behind, and nothing
        is missing. Put into `out` what is due. False for anything else: then nothing is taken.
        """
        if now >= self._look_at or not (self._is_level or self._begin_level()):
            return False
        return self._level.take(queued, now, out)

    def take(self, index: int, batch: list[Packet], now: float, out: list[Item]) -> None:
        """The line of this index brings `batch`. Put into `out` what is due."""
        if self._is_level:
            self._leave_level()
        line = self.lines[index]
        line.received += len(batch)
        self._arrivals += len(batch)
        line.heard_at = now
        line.heard_arrivals = self._arrivals
        if line.is_silent or now >= self._look_at:
            self._look(index, now)
        first = self._numbers.row(batch)
        if first is None or not self._take_run(line, first, batch, now, out):
            for number, packet in zip(self._numbers.numbers(batch), batch, strict=True):
                if number is not None:
                    self._take_one(index, number, packet, now, out)
                    continue
                line.unreadable += 1
                if self._passes_unreadable:
                    out.append(packet)
        if self._next >= self._settled:
            self._settle(self._next - self._window)

    def expire(self, now: float, out: list[Item]) -> None:
        """Give up what has been missing for `hold`."""
        while self._holes and self._holes[0][0] <= now:
            self._give_up(self._holes[0][1], out)

    def end(self, index: int, now: float) -> None:
        """The line brings nothing more."""
        if self._is_level:
            self._leave_level()
        self.lines[index].is_ended = True
        self.notices.append(Notice(LineEventKind.ENDED, index, now))

    def flush(self, out: list[Item]) -> None:
        """Put out all that waits: nothing more comes."""
        if self._is_level:
            self._leave_level()
        self._give_up(self._highest + 1, out)

    def statistics(self) -> MergeStatistics:
        """Return what has been counted since the start."""
        if self._is_level:
            self._leave_level()
        lines = tuple(line.statistics(self._next, self._given_up) for line in self.lines)
        waiting = len(self._ahead)
        delivered = sum(line.won for line in lines) - waiting
        if self._passes_unreadable:
            delivered += sum(line.unreadable for line in lines)
        return MergeStatistics(delivered, self._lost, self._late, self._restarts, waiting, lines)

    # What comes in order, one packet of a line at a time

    def _begin_level(self) -> bool:
        """Have that taken by `_level`, up to where something is to be decided; say if it is not here."""
        if self._ahead:
            return False
        due = self._next
        room = self._settled - due
        back = due - max(self._first, next(reversed(self._given_up), -1) + 1)
        behind = []
        for line in self.lines:
            if line.next is None or line.is_silent or line.is_ended or line.apart:
                behind.append(back + 1)
            else:
                behind.append(due - line.next)
                room = min(room, line.next + self._lead - due)
        if room > 0:
            self._level.begin(due, behind, back, room, self._arrivals)
            self._is_level = True
        return self._is_level

    def _leave_level(self) -> None:
        """Enter what `_level` has taken."""
        self._is_level = False
        put_out, self._arrivals, each = self._level.end()
        self._next += put_out
        self._highest = self._next - 1
        for line, (brought, won, at, arrivals) in zip(self.lines, each, strict=True):
            if brought:
                assert line.next is not None
                line.next += brought
                line.received += brought
                line.won += won
                line.copies += brought - won
                line.heard_at, line.heard_arrivals = at, arrivals

    def _sample_level(self, index: int, ahead: int, packet: Packet, now: float) -> None:
        self._sample(self.lines[index], self._next + ahead, packet, now)

    # What else comes

    def _take_run(self, line: Line, first: int, batch: list[Packet], now: float, out: list[Item]) -> bool:
        """Take a batch whose numbers are in a row, and where nothing is to be decided; False for any other.

        It is what mostly comes, and costs nothing per packet in here.
        """
        due = self._next
        begin = due + ((first - due + self._half) & self._mask) - self._half
        if begin != line.next or begin > due or line.apart:
            return False
        end = begin + len(batch)
        new = end - due
        if new > 0 and (self._ahead or new > self._window):
            return False
        copies = min(end, due) - begin
        if copies:
            if begin < self._first or begin < due - self._window:
                return False
            if self._given_up and not self._given_up.keys().isdisjoint(range(begin, begin + copies)):
                return False
            line.copies += copies
        line.next = end
        if new > 0:
            line.won += new
            out += batch[copies:] if copies else batch
            self._next = end
            self._highest = end - 1
        sample = begin + (-begin & _SAMPLED)
        if sample < end:
            self._sample(line, sample, batch[sample - begin], now)
        return True

    def _take_one(self, index: int, raw: int, packet: Packet, now: float, out: list[Item]) -> None:
        line = self.lines[index]
        if not self._has_begun:
            self._begin(raw)
        number = self._extended(raw)
        if not self._next - self._window <= number <= self._highest + self._window:
            self._take_far(index, raw, packet, now, out)
            return
        if line.apart:
            self._end_stray(index, now)
        if line.next is None:
            line.begin(number, self._first, self._next - self._window)
        if not line.takes(number):
            return
        if not number & _SAMPLED:
            self._sample(line, number, packet, now)
        if number < self._next:
            self._take_past(line, number)
        elif number in self._ahead:
            line.copies += 1
        elif number == self._next and not self._ahead:
            line.won += 1
            out.append(packet)
            self._next = number + 1
            self._highest = number
        else:
            line.won += 1
            self._take_ahead(number, packet, now, out)

    def _take_past(self, line: Line, number: int) -> None:
        if number in self._given_up:
            del self._given_up[number]
            self._late += 1
            line.late += 1
        elif number < self._first:
            line.late += 1
        else:
            line.copies += 1

    def _take_ahead(self, number: int, packet: Packet, now: float, out: list[Item]) -> None:
        self._ahead[number] = packet
        if number > self._highest:
            if number > self._highest + 1:
                self._holes.append((now + self._hold, number))
            self._highest = number
        if number == self._next:
            self._advance(out)
        if self._highest - self._next >= self._window:
            self._give_up(self._highest - self._window + 1, out)

    # What is put out

    def _give_up(self, end: int, out: list[Item]) -> None:
        """Wait no longer for what is missing below `end`, and put out what that has held up."""
        while self._next < end:
            first = number = self._next
            while number < end and number not in self._ahead:
                self._given_up[number] = None
                number += 1
            following = self._ahead[number if number in self._ahead else min(self._ahead)]
            count = number - first
            self._lost += count
            self._next = number
            out.append(Gap(first & self._mask, (number - 1) & self._mask, count, following.flow))
            self._advance(out)

    def _advance(self, out: list[Item]) -> None:
        """Put out what is in a row from what is due."""
        number = self._next
        while (packet := self._ahead.pop(number, None)) is not None:
            out.append(packet)
            number += 1
        self._next = number
        while self._holes and self._holes[0][1] <= number:
            self._holes.popleft()

    # Numbers far from what is due

    def _take_far(self, index: int, raw: int, packet: Packet, now: float, out: list[Item]) -> None:
        """Keep what is far from what is due, until it is known whether the source began anew.

        It did if the next of this line are there too, and no other line still brings what is due:
        one that is ahead by an hour is no reason to silence the others. RFC 3550, appendix A.1,
        asks for two in a row as well.
        """
        line = self.lines[index]
        if line.apart and not self._are_near(raw, line.apart[-1][0]):
            self._end_stray(index, now)
        if line.apart and line.apart[-1][0] == raw:
            line.duplicates += 1
            return
        if len(line.apart) == self._window:
            line.astray += 1  # the oldest goes
        if not line.apart:
            line.apart_since = now
        line.apart.append((raw, packet))
        if len(line.apart) < 2:
            return
        if all(self._lets_go(other, raw, now) for other in self.lines if other is not line):
            self._restart(raw, now, out)
        elif len(line.apart) >= _SURE and not line.is_apart:
            line.is_apart = True
            self.notices.append(Notice(LineEventKind.APART, index, line.apart_since))

    def _lets_go(self, line: Line, raw: int, now: float) -> bool:
        """Whether this line does not bring what is due any more: it is near `raw`, elsewhere or silent."""
        if line.is_ended or not line.received:
            return True
        if line.apart:
            return len(line.apart) > 1 or self._are_near(line.apart[-1][0], raw)
        return self._is_silent(line, now, self._hold)

    def _restart(self, raw: int, now: float, out: list[Item]) -> None:
        """Go on where `raw` is, with all that was kept of the lines that are there."""
        self.flush(out)
        last = (self._next - 1) & self._mask
        self._settle(self._next)
        kept: list[tuple[int, int, Packet]] = []
        for index, line in enumerate(self.lines):
            line.next = None
            if line.apart and self._are_near(line.apart[-1][0], raw):
                kept += [(self._distance(number, raw), index, packet) for number, packet in line.apart]
                line.apart.clear()
        kept.sort(key=lambda one: one[0])
        first = (raw + kept[0][0]) & self._mask
        self._restarts += 1
        self._begin(first)
        out.append(Restart(last, first, kept[0][2].flow))
        for distance, index, packet in kept:
            if self.lines[index].is_apart:
                self._come_together(index, now)
            self._take_one(index, (raw + distance) & self._mask, packet, now, out)

    def _begin(self, raw: int) -> None:
        self._has_begun = True
        self._first = self._next = raw
        self._highest = raw - 1
        self._settled = raw + self._window
        self._given_up.clear()
        self._stamps.clear()

    def _end_stray(self, index: int, now: float) -> None:
        self.lines[index].stray_is_over()
        if self.lines[index].is_apart:
            self._come_together(index, now)

    def _come_together(self, index: int, now: float) -> None:
        line = self.lines[index]
        line.is_apart = False
        self.notices.append(Notice(LineEventKind.TOGETHER, index, now, now - line.apart_since))

    def _extended(self, raw: int) -> int:
        return self._next + self._distance(raw, self._next)

    def _distance(self, raw: int, origin: int) -> int:
        """By how much it is above `origin`, the short way round."""
        return ((raw - origin + self._half) & self._mask) - self._half

    def _are_near(self, raw: int, other: int) -> bool:
        return abs(self._distance(raw, other)) <= self._window

    # The books

    def _look(self, index: int, now: float) -> None:
        """Tell of a line that is back, and now and then of those that bring nothing."""
        line = self.lines[index]
        if line.is_silent:
            line.is_silent = False
            self.notices.append(Notice(LineEventKind.BACK, index, now, now - line.silent_since))
        if now < self._look_at:
            return
        self._look_at = now + _LOOK
        for number, other in enumerate(self.lines):
            if other.heard_at is None:
                other.heard_at = now
            elif not other.is_silent and not other.is_ended and self._is_silent(other, now, _SILENCE):
                other.is_silent, other.silent_since = True, other.heard_at
                self.notices.append(Notice(LineEventKind.SILENT, number, other.heard_at))

    def _is_silent(self, line: Line, now: float, seconds: float) -> bool:
        """Whether it has brought nothing for so long in which others have: a quiet feed is no dead line."""
        assert line.heard_at is not None
        return self._arrivals - line.heard_arrivals >= _SURE and now - line.heard_at >= seconds

    def _sample(self, line: Line, number: int, packet: Packet, now: float) -> None:
        first = self._stamps.setdefault(number, (packet.timestamp_ns, now))
        if first[0] is not None and packet.timestamp_ns is not None:
            line.measure((packet.timestamp_ns - first[0]) / 1e9)
        else:
            line.measure(now - first[1])

    def _settle(self, limit: int) -> None:
        """Close the books below `limit`."""
        for line in self.lines:
            line.settle(limit, self._given_up)
        for table in (self._given_up, self._stamps):
            for number in [number for number in table if number < limit]:
                del table[number]
        self._settled = self._next + self._window
