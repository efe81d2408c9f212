"""The demonstration on a terminal, as a table that is whole from 60 columns up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .verdict import MOST_COLUMNS, SOURCES, Demonstration, Show

__all__ = ["as_table"]

WIDTHS = {"source": len(SOURCES[0]), "filter": len("● shut out"), "sent": 6, "received": 8}
FRAME = 3 * (len(WIDTHS) + 1) + 1  # lines and spaces around the columns


@contextlib.contextmanager
def as_table(run: Demonstration) -> Iterator[Show]:
    """Show the run as it stands, and at the end the verdict in its colour."""
    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False) as live:
        yield lambda _: live.update(_table(run, console.width, console.encoding), refresh=True)
    console.print(Text(run.verdict(), "bold green" if run.is_right else "bold red"))


def _table(run: Demonstration, width: int, encoding: str) -> Table:
    came, nothing, mark, no_mark = "█·●○" if encoding.lower().startswith("utf") else "#.*-"
    columns = min(MOST_COLUMNS, max(1, width - sum(WIDTHS.values()) - FRAME))
    table = Table(
        title=f"{run.group} port {run.port} on loopback",
        caption=f"{run.passed:.1f} of {run.seconds:g} s, swaps of the source list: {run.swaps}",
    )
    for name, wide in WIDTHS.items():
        table.add_column(name, width=wide, no_wrap=True, justify="right" if wide < 9 else "left")
    table.add_column("coming in", width=columns, no_wrap=True)
    for address, source in run.sources.items():
        let_in = address in run.in_force
        picture = "".join(came if column else nothing for column in source.history)
        table.add_row(
            address,
            f"{mark} let in" if let_in else f"{no_mark} shut out",
            str(source.sent),
            str(source.received),
            picture[-columns:],
            style="green" if let_in else "dim",
        )
    return table
