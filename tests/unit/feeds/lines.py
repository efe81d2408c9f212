"""Numbered packets, and a merge that is told what its lines bring."""

from __future__ import annotations

from collections.abc import Iterable

from aiomcast import Flow, Packet
from aiomcast.feeds import Gap, LineEventKind, LineStatistics, Restart, Sequence
from aiomcast.feeds.items import Item
from aiomcast.feeds.merging import Merging
from aiomcast.feeds.notices import Notice

__all__ = ["FLOW", "Lines", "packet"]

FLOW = Flow("192.0.2.1", 40000, "232.1.1.1", 5000, 1)


def packet(number: int, line: int = 0, timestamp_ns: int | None = None) -> Packet:
    """A packet that says its number and its line."""
    return Packet(b"%d of %d" % (number, line), FLOW, timestamp_ns)


def numbered(bits: int) -> Sequence:
    """What reads the number that `packet` wrote, in so many bits; below 0 there is none."""

    def read(data: bytes) -> int | None:
        number = int(data.split()[0])
        return None if number < 0 else number & ((1 << bits) - 1)

    return Sequence.read_by(read, bits)


class Lines:
    """A merge of lines; `got` is what it put out: numbers, and gaps and restarts as tuples."""

    def __init__(
        self,
        count: int = 2,
        bits: int = 32,
        hold: float = 1.0,
        window: int = 100,
        passes_unreadable: bool = False,
    ) -> None:
        self.mask = (1 << bits) - 1
        self.machine = Merging(count, numbered(bits), hold, window, passes_unreadable=passes_unreadable)
        self.now = 0.0
        self.out: list[Item] = []

    def bring(self, line: int, *numbers: int | None) -> None:
        """The line brings these, one batch."""
        batch = [packet(-1 if number is None else number, line) for number in numbers]
        self.machine.take(line, batch, self.now, self.out)

    def each(self, line: int, numbers: Iterable[int]) -> None:
        """The line brings these, one by one."""
        for number in numbers:
            self.bring(line, number)

    def wait(self, seconds: float) -> None:
        """So much time passes."""
        self.now += seconds
        self.machine.expire(self.now, self.out)

    @property
    def got(self) -> list[object]:
        """What was put out since this was last asked."""
        out, self.out = self.out, []
        return [_shown(item) for item in out]

    @property
    def told(self) -> list[tuple[LineEventKind, int]]:
        """What the notices say since this was last asked."""
        return [(one.kind, one.line) for one in self.notices]

    @property
    def notices(self) -> list[Notice]:
        """The notices since this was last asked."""
        notices, self.machine.notices = self.machine.notices, []
        return notices

    def line(self, index: int) -> LineStatistics:
        """The counters of a line. Every packet of it is in one of them, or waits."""
        counted = self.machine.statistics().lines[index]
        gone = counted.won + counted.copies + counted.late + counted.duplicates
        gone += counted.unreadable + counted.astray + len(self.machine.lines[index].apart)
        assert counted.received == gone
        return counted


def _shown(item: Item) -> object:
    if isinstance(item, Gap):
        return ("gap", item.first, item.last, item.count)
    if isinstance(item, Restart):
        return ("restart", item.last, item.first)
    return int(item.data.split()[0])
