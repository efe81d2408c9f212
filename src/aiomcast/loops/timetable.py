"""When everything is looked at again: some times after something was mended, and while it is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final, final

from ..errors import MulticastError
from ..reading.contract import Reading, Timer
from .in_loop import weakly

__all__ = ["Timetable"]

# Seconds after something was mended: another process that lets go of its ghost may take the group with it.
_AGAIN: Final = (0.1, 1.0, 5.0)
_FIRST, _LONGEST = 0.1, 30.0  # seconds between two attempts of what is refused, doubled each time


@final
class Timetable:
    """Calls `look`, by one timer, however often it is asked to. `look` is a method, held weakly.

    What mends goes over things in passes. `is_owed` notes that something in one was refused, and
    `end_pass` sees to it that it is looked at again.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = weakly(look)
        self.reading: Reading | None = None
        self._due: list[float] = []
        self._retry_at: float | None = None
        self._patience = _FIRST
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self.is_owed: bool = False

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """What is refused, as for want of files, is owed, and keeps nothing else back."""
        try:
            yield
        except MulticastError:
            self.is_owed = True

    def end_pass(self) -> None:
        """Look again later where something is owed."""
        if self.is_owed:
            self.later()
        else:
            self._retry_at, self._patience = None, _FIRST
        self.is_owed = False

    def again(self) -> None:
        """Look 0.1, 1 and 5 seconds from now."""
        if self.reading is not None:
            now = self.reading.monotonic()
            self._due = [now + seconds for seconds in _AGAIN]
            self._arm()

    def later(self) -> None:
        """Look because something is refused: soon, and then ever later."""
        if self.reading is not None:
            self._retry_at = self.reading.monotonic() + self._patience
            self._patience = min(2 * self._patience, _LONGEST)
            self._arm()

    def _arm(self) -> None:
        times = [*self._due, *([] if self._retry_at is None else [self._retry_at])]
        if self.reading is None or not times:
            return
        at = min(times)
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.reading.call_later(max(at - self.reading.monotonic(), 0.0), weakly(self._come))

    def _come(self) -> None:
        self._timer = None
        if self.reading is None:
            return
        now = self._timer_at
        is_due = any(at <= now for at in self._due) or (self._retry_at is not None and self._retry_at <= now)
        self._due = [at for at in self._due if at > now]
        if self._retry_at is not None and self._retry_at <= now:
            self._retry_at = None
        if is_due:
            self._look()
        self._arm()
