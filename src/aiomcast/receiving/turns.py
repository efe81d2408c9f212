"""Work that is done in turns of the event loop, so that it holds nobody up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, final

from ..loops.in_loop import weakly
from ..reading.contract import Reading

__all__ = ["Turns", "Work"]

Work: TypeAlias = Iterator[None]
"""Yields where it may be interrupted. The loop has turned meanwhile: anything may have happened."""

_TURN: Final = 0.01  # seconds, then the other tasks of the loop have their turn


@final
class Turns:
    """Does one piece of work after the other, in the order given, for 10 ms of each turn of the loop.

    What needs no longer is done when `do` returns, where nothing else was begun.
    """

    def __init__(self) -> None:
        self.reading: Reading | None = None
        self._works: deque[Work] = deque()
        self._is_waiting = self._is_at_it = False

    def do(self, work: Callable[[], Work]) -> None:
        """Do this, once what was given before is done; nothing before there is a `reading`."""
        if self.reading is None:
            return
        self._works.append(work())
        if not self._is_waiting and not self._is_at_it:
            self._go_on()

    def end(self) -> None:
        """Do nothing more."""
        self.reading = None
        self._works.clear()

    def _next_turn(self) -> None:
        self._is_waiting = False
        self._go_on()

    def _go_on(self) -> None:
        if self.reading is None:
            return
        until = self.reading.monotonic() + _TURN
        self._is_at_it = True
        try:
            while self._works and self.reading is not None:
                if not self._is_done(self._works[0], until):
                    break
        finally:
            self._is_at_it = False
            if self._works and self.reading is not None:
                self._is_waiting = True
                self.reading.call_soon(weakly(self._next_turn))

    def _is_done(self, work: Work, until: float) -> bool:
        """Go on with it; say whether it is done. False when the time is up."""
        try:
            for _ in work:
                if self.reading is None or self.reading.monotonic() >= until:
                    return False
        except BaseException:
            self._drop(work)
            raise
        self._drop(work)
        return True

    def _drop(self, work: Work) -> None:
        if self._works and self._works[0] is work:
            self._works.popleft()
