"""The terminal while a view has it: drawn on, and given back where it ends, fails, or is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable

import attrs
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.text import Text

from .output import STDOUT, say

__all__ = ["Screen"]

MOST_SAID = 100  # lines that are kept for the terminal as it was
MOST_SHOWN = 3  # of their rows


class Screen:
    """Draws views on a screen of their own, on the terminal that standard output is.

    Ctrl-Z gives the terminal back before the process stops, and Ctrl-\\ before it ends. When it goes on in
    the background nothing is drawn until it is in front again. What is said on standard error meanwhile is
    shown below the view, and written when the terminal is given back.
    """

    def __init__(self) -> None:
        self.console: Console = Console(highlight=False)
        self._live = Live(
            console=self.console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._view: RenderableType = ""
        self._is_due = asyncio.Event()
        self._said = _Said()
        self._stderr = sys.stderr
        self._handled: list[int] = []
        self._was_stopped = False
        self._is_job = False  # of a shell that may have put it into the background

    def draw(self, view: RenderableType) -> None:
        """Have this on the screen from now on."""
        if not self._handled:
            self._handle_signals()
        self._view = view
        self._draw()

    async def attend(self) -> None:
        """Draw anew whenever the terminal has changed, until it is cancelled."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            self._draw()

    def close(self) -> None:
        """Give the terminal back. Doing so twice is fine."""
        for number in self._handled:
            asyncio.get_running_loop().remove_signal_handler(number)
        self._handled = []
        self._leave()

    def _draw(self) -> None:
        if self._is_job and not _is_in_front():
            return
        if not self._live.is_started:
            self._stderr, sys.stderr = sys.stderr, self._said
            self._live.start()
        self._live.update(_Framed(self._view, self._said.lines), refresh=True)

    def _leave(self) -> None:
        if self._live.is_started:
            sys.stderr = self._stderr
            self._live.stop()
        for line in self._said.taken():
            say(line)

    def _handle_signals(self) -> None:
        """Those that the terminal sends, where there are such and nobody has had them ignored."""
        self._handle("SIGWINCH", lambda _: self._is_due.set())
        self._handle("SIGCONT", self._go_on)
        self._handle("SIGTSTP", self._by_default)
        self._handle("SIGQUIT", self._by_default)

    def _handle(self, name: str, act: Callable[[signal.Signals], None]) -> None:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, act, number)
                self._handled.append(number)

    def _go_on(self, _: signal.Signals) -> None:
        """Begin a screen anew where it was stopped without being asked: a shell has used this one."""
        self._is_job = True
        if not self._was_stopped:
            self._leave()
        self._was_stopped = False
        self._is_due.set()

    def _by_default(self, number: signal.Signals) -> None:
        """Have the signal do what it does, on the terminal as it was."""
        self._leave()
        loop = asyncio.get_running_loop()
        self._was_stopped = self._is_job = True
        loop.remove_signal_handler(number)
        signal.pthread_kill(threading.get_ident(), number)  # returns when the process goes on
        loop.add_signal_handler(number, self._by_default, number)
        self._is_due.set()


def _is_in_front() -> bool:
    """Whether this process has the terminal: it is no job in the background."""
    try:
        return os.tcgetpgrp(STDOUT) == os.getpgrp()
    except (AttributeError, OSError):  # there are no jobs on such a system, or on this terminal
        return True


class _Said(io.TextIOBase):
    """What is written to standard error, in lines, of which the latest are kept."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=MOST_SAID)
        self._rest = ""

    def write(self, text: str) -> int:
        """Take it."""
        *lines, self._rest = (self._rest + text).split("\n")
        self.lines.extend(lines)
        return len(text)

    def taken(self) -> list[str]:
        """Return all lines, and forget them."""
        lines = [*self.lines, *([self._rest] if self._rest else [])]
        self.lines.clear()
        self._rest = ""
        return lines


@attrs.frozen
class _Framed:
    """A view, and below it the last that was said."""

    view: RenderableType
    said: deque[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw them in the height that there is."""
        height = options.height or console.height
        rows: list[Text] = []
        for line in [*self.said][-MOST_SHOWN:]:
            rows += Text(line, "yellow").wrap(console, options.max_width)
        shown = rows[-MOST_SHOWN:]
        yield from console.render(self.view, options.update(height=max(1, height - len(shown))))
        yield from shown
