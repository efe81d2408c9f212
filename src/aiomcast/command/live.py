"""The live view on a terminal: the whole screen while it lasts, and what there was at the end afterwards."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from aiomcast import Packet

from .report import Report
from .view import View

__all__ = ["LiveView"]

SIZE_CHANGED = getattr(signal, "SIGWINCH", None)  # Windows has none: the next report finds out


class LiveView:
    """Draws each report."""

    is_live: bool = True

    def __init__(self, interval: float) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self.interval: float | None = interval
        self.taken: int = 0

    async def take(self, batch: list[Packet], named: Callable[[Packet], str]) -> None:
        """Count them alone."""
        self.taken += len(batch)

    async def show(self, report: Report) -> None:
        """Draw it, in a screen of its own."""
        if not self._live.is_started:
            self._live.start()
            if SIZE_CHANGED is not None:
                asyncio.get_running_loop().add_signal_handler(SIZE_CHANGED, self._live.refresh)
        self._live.update(View(report), refresh=True)

    async def end(self, report: Report) -> None:
        """Give the terminal back, and leave all rows there."""
        self.close()
        self._console.print(View(report, is_whole=True))

    def close(self) -> None:
        """Give the terminal back."""
        if SIZE_CHANGED is not None:
            asyncio.get_running_loop().remove_signal_handler(SIZE_CHANGED)
        self._live.stop()
