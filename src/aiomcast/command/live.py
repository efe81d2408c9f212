"""The live view on a terminal: the whole screen while it lasts, and what there was at the end afterwards."""

from __future__ import annotations

from collections.abc import Callable

from aiomcast import Packet

from .output import TO_FINISH
from .report import Report
from .screen import Screen
from .view import View

__all__ = ["LiveView"]


class LiveView:
    """Draws each report."""

    is_live: bool = True
    is_piped = False
    done = "counted"
    to_finish: float = TO_FINISH
    wrong: tuple[str, ...] = ()

    def __init__(self, interval: float) -> None:
        self._screen = Screen()
        self.interval: float | None = interval
        self.taken: int = 0

    async def begin(self) -> None:
        """Nothing: the first report begins it."""

    async def take(self, batch: list[Packet], named: Callable[[Packet], str]) -> None:
        """Count them alone."""
        self.taken += len(batch)

    async def show(self, report: Report) -> None:
        """Draw it, in a screen of its own."""
        self._screen.draw(View(report))

    async def attend(self) -> None:
        """Draw it anew when the terminal has changed."""
        await self._screen.attend()

    async def end(self, report: Report) -> None:
        """Give the terminal back, and leave all rows there."""
        self.close()
        self._screen.console.print(View(report, is_whole=True))

    def close(self) -> None:
        """Give the terminal back."""
        self._screen.close()
