"""Results on the terminal, and as a page."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as RichTable

from .results import Result, Table
from .targets import TARGETS

__all__ = ["markdown", "show"]


def show(result: Result, console: Console) -> None:
    """Print the tables, which figures are reached, and the notes."""
    for table in result.tables:
        console.print(_rich(table))
    reached = _reached(result)
    if reached.rows:
        console.print(_rich(reached))
    for note in result.notes:
        console.print(f"note: {note}", highlight=False)


def markdown(result: Result, command: str, where: str) -> str:
    """Return the tables as Markdown, below the `command` that made them and `where` that was."""
    parts = [f"```\n{command}\n```", where]
    for table in result.tables:
        headings = table.headings
        lines = [headings, ("---", *["---:"] * (len(headings) - 1)), *table.rows]
        parts += [f"**{table.title}**", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join([*parts, *[f"{note[0].upper()}{note[1:]}." for note in result.notes]]) + "\n"


def _rich(table: Table) -> RichTable:
    made = RichTable(title=table.title, title_justify="left")
    for number, heading in enumerate(table.headings):
        last = number == len(table.headings) - 1 and heading == ""
        made.add_column(
            heading, justify="left" if number == 0 or last else "right", no_wrap=not last, overflow="fold"
        )
    for row in table.rows:
        made.add_row(*row)
    return made


def _reached(result: Result) -> Table:
    rows = []
    for (name, loop), value in result.measured.items():
        target = TARGETS.get(name)
        if target is not None:
            verdict = "reached" if target.holds(value, target.limit[loop]) else "missed"
            rows.append((target.name, loop, target.says(loop), f"{value:.2f}", verdict))
    return Table("Figures to reach", ("figure", "loop", "limit", "measured", ""), rows)
