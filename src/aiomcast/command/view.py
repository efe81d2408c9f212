"""The live view of `aiomcast listen`: a report in, what rich draws out, at any width and height."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from .report import ChannelReport, Report, SourceReport, Traffic
from .units import age, bits, count, duration

__all__ = ["View"]

SILENT = 3.0  # seconds: who has been silent for so long is shown so


@attrs.frozen
class Row:
    """What a line of the table is about: a channel, one of its sources, or all."""

    name: Text
    traffic: Traffic
    jitter_ns: float | None = None
    dropped: int | None = None


Cell: TypeAlias = Callable[[Report, Row], str]


@attrs.frozen
class Column:
    """A column: its head, its cells, and from which width of the terminal on there is room for it."""

    head: str
    cell: Cell
    width: int
    at_least: int = 0
    is_fault: bool = False
    is_of_sequence: bool = False


def _rate(report: Report, row: Row) -> str:
    return count(row.traffic.new_packets / report.interval if report.interval else 0)


def _bits(report: Report, row: Row) -> str:
    return bits(8 * row.traffic.new_octets / report.interval if report.interval else 0)


def _dropped(report: Report, row: Row) -> str:
    return "" if row.dropped is None else count(row.dropped)


def _last(report: Report, row: Row) -> str:
    return age(report.age(row.traffic))


def _jitter(report: Report, row: Row) -> str:
    return "-" if row.jitter_ns is None else duration(row.jitter_ns)


COLUMNS = (
    Column("pkt/s", _rate, 6),
    Column("bit/s", _bits, 6),
    Column("packets", lambda _, row: count(row.traffic.packets), 7, 100),
    Column("bytes", lambda _, row: count(row.traffic.octets), 7, 130),
    Column("lost", lambda _, row: count(row.traffic.sequence.lost), 6, 0, True, True),
    Column("dup", lambda _, row: count(row.traffic.sequence.duplicates), 6, 90, False, True),
    Column("reord", lambda _, row: count(row.traffic.sequence.reordered), 6, 90, False, True),
    Column("late", lambda _, row: count(row.traffic.sequence.late), 6, 130, False, True),
    Column("restart", lambda _, row: count(row.traffic.sequence.restarts), 7, 110, False, True),
    Column("drops", _dropped, 6, 60, True),
    Column("jitter", _jitter, 7, 70),
    Column("last", _last, 6),
)


@attrs.frozen
class View:
    """A report as it is drawn, within the width and height that there are: cut rows are told of."""

    report: Report
    is_whole: bool = False  # all rows, however many there are

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        height = None if self.is_whole else options.height or console.height
        notes = list(self._notes())
        table = self._table(options.max_width, height and max(3, height - len(notes) - 1))
        yield Group(table, *notes)

    def _notes(self) -> Iterator[RenderableType]:
        report = self.report
        dropped = report.dropped
        yield Text.assemble(
            "dropped: ",
            _fault(dropped.kernel_drops, "by the kernel"),
            ", ",
            _fault(dropped.queue_drops, "by the queue"),
            f"; {count(dropped.filtered)} filtered, {count(dropped.truncated)} truncated",
            style="dim",
            overflow="ellipsis",
            no_wrap=True,
        )
        silent = [one for one in report.channels if _is_silent(report, one.traffic)]
        if silent and report.passed >= SILENT:
            first = silent[0]
            rest = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
            yield Text(f"silent: {first.name}{rest}", "yellow", overflow="ellipsis", no_wrap=True)
            yield Text(
                f"why: aiomcast doctor {first.group} {first.port}",
                "yellow",
                overflow="ellipsis",
                no_wrap=True,
            )

    def _table(self, width: int, height: int | None) -> Table:
        report = self.report
        columns = [
            one
            for one in COLUMNS
            if width >= one.at_least and (report.has_sequence or not one.is_of_sequence)
        ]
        table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column(f"{report.passed:.0f} s", no_wrap=True, overflow="ellipsis", ratio=1)
        for column in columns:
            table.add_column(column.head, justify="right", width=column.width, no_wrap=True)
        for row in self._rows(None if height is None else height - 1):
            table.add_row(row.name, *(self._cell(column, row) for column in columns), style=self._style(row))
        return table

    def _cell(self, column: Column, row: Row) -> Text:
        text = column.cell(self.report, row)
        return Text(text, "bold red" if column.is_fault and text not in ("", "0", "-") else "")

    def _style(self, row: Row) -> str:
        return "dim" if _is_silent(self.report, row.traffic) else ""

    def _rows(self, room: int | None) -> Iterator[Row]:
        """Yield what there is room for: channels with their sources, or without them, or as many as fit."""
        channels = self.report.channels
        wanted = sum(1 + len(one.sources) for one in channels) + (len(channels) > 1)
        with_sources = room is None or wanted <= room
        shown = channels if with_sources or room is None or len(channels) < room else channels[: room - 2]
        for channel in shown:
            yield _of_channel(channel)
            for source in channel.sources if with_sources else ():
                yield _of_source(source)
        if len(shown) < len(channels):
            hidden = channels[len(shown) :]
            yield _of_all(f"... {len(hidden)} more channels", hidden)
        if len(channels) > 1:
            yield _of_all(f"all {len(channels)} channels", channels)


def _of_channel(channel: ChannelReport) -> Row:
    return Row(Text(channel.name, "bold"), channel.traffic, channel.jitter_ns, _drops(channel))


def _of_source(source: SourceReport) -> Row:
    return Row(Text(f"  {source.source}"), source.traffic, source.jitter_ns)


def _of_all(name: str, channels: tuple[ChannelReport, ...]) -> Row:
    traffic = sum((one.traffic for one in channels), Traffic())
    jitters = [one.jitter_ns for one in channels if one.jitter_ns is not None]
    return Row(Text(name, "bold"), traffic, max(jitters, default=None), sum(map(_drops, channels)))


def _drops(channel: ChannelReport) -> int:
    return channel.dropped.kernel_drops + channel.dropped.queue_drops


def _fault(number: int, text: str) -> Text:
    return Text(f"{count(number)} {text}", "bold red" if number else "")


def _is_silent(report: Report, traffic: Traffic) -> bool:
    passed = report.age(traffic)
    return passed is None or passed >= SILENT
