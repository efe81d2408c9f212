"""The live view of `aiomcast gaps`: a table of the lines, and the gaps that were found last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import attrs
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from .screen import Screen
from .tally import Feed, Found, LineTally, named
from .units import age, bits, count, duration

__all__ = ["FeedView", "LiveFeed"]

LONGEST_NAME = 60


@attrs.frozen
class Column:
    """A column: its head, its cells, how wide it is, and from how wide a terminal on it is shown."""

    head: str
    cell: Callable[[Feed, LineTally], str]
    width: int = 6
    at_least: int = 0
    is_fault: bool = False
    is_of: bool | None = None  # several lines, or one; None: both


def _of(name: str) -> Callable[[Feed, LineTally], str]:
    return lambda _, line: count(line.total.get(name, 0))


COLUMNS = (
    Column("pkt/s", lambda feed, line: count(feed.rate(line.account.new.packets)), 6, 60),
    Column("bit/s", lambda feed, line: bits(feed.rate(8 * line.account.new.octets)), 6, 120),
    Column("packets", _of("received"), 7, 100),
    Column("won", _of("won"), 6, 0, is_of=True),
    Column("here", _of("lost_here"), 6, 0, True, True),
    Column("all", _of("lost_everywhere"), 6, 0, True, True),
    Column("lost", _of("lost"), 6, 0, True, False),
    Column("late", _of("late"), 6, 110, True),
    Column("dup", _of("duplicates"), 6, 120),
    Column("reord", _of("reordered"), 6, 80),
    Column("restart", _of("restarts"), 7, 130),
    Column("unread", _of("unreadable"), 6, 140, True),
    Column("drops", _of("dropped"), 6, 100, True),
    Column(
        "behind",
        lambda _, line: "-" if line.behind is None else duration(max(0.0, line.behind) * 1e9),
        7,
        70,
        is_of=True,
    ),
    Column("jitter", lambda _, line: duration(line.account.jitter_ns), 7, 90),
    Column("last", lambda feed, line: line.state or _age(feed, line), 6, 56),
)


def _age(feed: Feed, line: LineTally) -> str:
    latest = line.account.latest_ns
    return age(None if latest is None else max(0.0, (feed.now_ns - latest) / 1e9))


@attrs.frozen
class FeedView:
    """A report as it is drawn, within the width and height that there are."""

    feed: Feed
    is_whole: bool = False  # all lines, however many there are, and no gaps

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        feed = self.feed
        height = options.height or console.height
        style = "bold red" if feed.lost else "green" if feed.delivered else "yellow"
        words = Text(feed.verdict, style).wrap(console, options.max_width)
        room = max(1, height - len(words) - 1)
        lines = feed.lines if self.is_whole or len(feed.lines) <= room else feed.lines[: room - 1]
        yield self._table(lines, options.max_width)
        hidden = len(feed.lines) - len(lines)
        if hidden:
            yield Text(f"and {hidden} more lines", no_wrap=True)
        yield from words
        if not self.is_whole:
            left = height - len(words) - 1 - len(lines) - bool(hidden)
            for stamp_ns, found in feed.latest[-left:] if left > 0 else ():
                yield Text(f"{_clock(stamp_ns)} {named(found)}", no_wrap=True, overflow="ellipsis")

    def _table(self, lines: tuple[LineTally, ...], width: int) -> Table:
        columns = [*self._columns(width)]
        widest = LONGEST_NAME + sum(1 + one.width for one in columns)
        table = Table(
            box=None, width=min(width, widest), pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
        )
        table.add_column(f"{self.feed.passed:.0f} s", no_wrap=True, overflow="ellipsis", ratio=1)
        for column in columns:
            table.add_column(column.head, justify="right", width=column.width, no_wrap=True)
        for line in lines:
            cells = [(column, column.cell(self.feed, line)) for column in columns]
            table.add_row(
                Text(line.name, "bold"),
                *(
                    Text(text, "bold red" if column.is_fault and text != "0" else "")
                    for column, text in cells
                ),
                style="yellow" if line.state else "",
            )
        return table

    def _columns(self, width: int) -> Iterator[Column]:
        for one in COLUMNS:
            if width >= one.at_least and one.is_of in (None, self.feed.is_merged):
                yield one


def _clock(stamp_ns: int) -> str:
    return f"{datetime.fromtimestamp(stamp_ns / 1e9):%H:%M:%S}"


class LiveFeed:
    """Draws each report on a screen of its own."""

    is_live: bool = True

    def __init__(self, interval: float) -> None:
        self._screen = Screen()
        self.interval: float = interval

    async def found(self, stamp_ns: int, found: Found) -> None:
        """Nothing: the next report has it."""

    async def show(self, feed: Feed) -> None:
        """Draw it."""
        self._screen.draw(FeedView(feed))

    async def attend(self) -> None:
        """Draw it anew when the terminal has changed."""
        await self._screen.attend()

    async def end(self, feed: Feed) -> None:
        """Give the terminal back, and leave all lines there."""
        self.close()
        self._screen.console.print(FeedView(feed, is_whole=True))

    def close(self) -> None:
        """Give the terminal back."""
        self._screen.close()
