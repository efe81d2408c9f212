"""The live view of `aiomcast listen`: a report in, what rich draws out, at any width and height."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import add
from typing import TypeAlias

import attrs
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from aiomcast import Statistics

from .report import Account, ChannelReport, Report, SourceReport
from .silence import command_for
from .units import age, bits, count, duration

__all__ = ["View"]

LONGEST_NAME = len("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535") + 1
SILENT = 3.0  # seconds: who has been silent for so long is shown so


@attrs.frozen
class Row:
    """What a line of the table is about: a channel, one of its sources, or several channels."""

    name: str
    account: Account
    dropped: int | None = None
    is_source: bool = False


Cell: TypeAlias = Callable[[Report, Row], str]


@attrs.frozen
class Column:
    """A column: its head, its cells, how wide it is, and how wide a terminal has room for it."""

    head: str
    cell: Cell
    width: int
    at_least: int = 0
    is_fault: bool = False
    is_of_sequence: bool = False


COLUMNS = (
    Column("pkt/s", lambda report, row: count(report.rate(row.account.new.packets)), 6),
    Column("bit/s", lambda report, row: bits(report.rate(8 * row.account.new.octets)), 6, 48),
    Column("packets", lambda _, row: count(row.account.total.packets), 7, 100),
    Column("bytes", lambda _, row: count(row.account.total.octets), 7, 130),
    Column("lost", lambda _, row: count(row.account.total.sequence.lost), 6, 0, True, True),
    Column("dup", lambda _, row: count(row.account.total.sequence.duplicates), 6, 90, False, True),
    Column("reord", lambda _, row: count(row.account.total.sequence.reordered), 6, 90, False, True),
    Column("late", lambda _, row: count(row.account.total.sequence.late), 6, 130, False, True),
    Column("restart", lambda _, row: count(row.account.total.sequence.restarts), 7, 110, False, True),
    Column("unread", lambda _, row: count(row.account.total.sequence.unreadable), 6, 130, True, True),
    Column("drops", lambda _, row: "" if row.dropped is None else count(row.dropped), 6, 60, True),
    Column("jitter", lambda _, row: duration(row.account.jitter_ns), 7, 70),
    Column("last", lambda report, row: age(report.age(row.account)), 6),
)


@attrs.frozen
class View:
    """A report as it is drawn, within the width and height that there are: what is cut is told of."""

    report: Report
    is_whole: bool = False  # all rows, however many there are

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        notes = Group(*self._notes())
        room = (options.height or console.height) - len(console.render_lines(notes, options.reset_height()))
        yield self._table(options.max_width, None if self.is_whole else max(2, room))
        yield notes

    def _notes(self) -> Iterator[RenderableType]:
        report = self.report
        dropped = reduce(add, (one.dropped for one in report.channels), Statistics())
        yield Text.assemble(
            "dropped by kernel ",
            _fault(dropped.kernel_drops),
            ", queue ",
            _fault(dropped.queue_drops),
            f"; {count(dropped.filtered)} filtered, {count(dropped.truncated)} truncated",
        )
        silent = [one for one in report.channels if _is_silent(report, one.account)]
        if silent and report.passed >= SILENT:
            first = silent[0]
            rest = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
            yield Text(f"silent: {first.name}{rest}", "yellow")
            yield Text(f"why: {command_for(first.group, first.port, first.filter)}", "yellow")

    def _table(self, width: int, height: int | None) -> Table:
        has_sequence = self.report.has_sequence
        columns = [
            one for one in COLUMNS if width >= one.at_least and (has_sequence or not one.is_of_sequence)
        ]
        widest = LONGEST_NAME + sum(1 + one.width for one in columns)
        table = Table(
            box=None, width=min(width, widest), pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
        )
        table.add_column(f"{self.report.passed:.0f} s", no_wrap=True, overflow="ellipsis", ratio=1)
        for column in columns:
            table.add_column(column.head, justify="right", width=column.width, no_wrap=True)
        for row in self._rows(None if height is None else height - 1):
            name = Text(f"  {row.name}") if row.is_source else Text(row.name, "bold")
            style = "dim" if _is_silent(self.report, row.account) else ""
            table.add_row(name, *(self._cell(column, row) for column in columns), style=style)
        return table

    def _cell(self, column: Column, row: Row) -> Text:
        text = column.cell(self.report, row)
        return Text(text, "bold red" if column.is_fault and text not in ("", "0") else "")

    def _rows(self, room: int | None) -> Iterator[Row]:
        """Yield what there is room for: channels with their sources, or without them, or as many as fit."""
        channels = self.report.channels
        totals = len(channels) > 1
        with_sources = room is None or sum(1 + len(one.sources) for one in channels) + totals <= room
        shown = channels if room is None or len(channels) + totals <= room else channels[: max(0, room - 2)]
        for channel in shown:
            yield _of_channels(channel.name, (channel,))
            for source in channel.sources if with_sources else ():
                yield _of_source(source)
        if hidden := channels[len(shown) :]:
            yield _of_channels(f"{len(hidden)} more channels", hidden)
        if totals:
            yield _of_channels(f"all {len(channels)} channels", channels)


def _of_source(source: SourceReport) -> Row:
    return Row(source.source, source.account, is_source=True)


def _of_channels(name: str, channels: tuple[ChannelReport, ...]) -> Row:
    account = reduce(add, (one.account for one in channels), Account())
    dropped = sum(one.dropped.kernel_drops + one.dropped.queue_drops for one in channels)
    return Row(name, account, dropped)


def _fault(number: int) -> Text:
    return Text(count(number), "bold red" if number else "")


def _is_silent(report: Report, account: Account) -> bool:
    passed = report.age(account)
    return passed is None or passed >= SILENT
