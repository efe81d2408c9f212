"""A clock that stands still until it is advanced, and what is to happen when it is. Pure."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

from ..errors import ArgumentError, ArgumentTypeError
from ..values.shown import shown

__all__ = ["Alarm", "Clock", "nanoseconds"]


def nanoseconds(seconds: float) -> int:
    """Return `seconds` in nanoseconds. ArgumentError below 0 and where there is no end."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ArgumentTypeError(f"{shown(seconds)} is no time", "give a number of seconds")
    if not math.isfinite(seconds) or seconds < 0:
        raise ArgumentError(f"{shown(seconds)} seconds", "give a number of seconds, 0 or more")
    return round(seconds * 1_000_000_000)


class Alarm:
    """A call that the clock makes when it comes to `due_ns`, unless it was cancelled before."""

    __slots__ = ("call", "due_ns", "number")

    def __init__(self, due_ns: int, number: int, call: Callable[[], object]) -> None:
        self.due_ns: int = due_ns
        self.number: int = number  # of two that are due at the same time, the first made comes first
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Have it not come."""
        self.call = None

    def __lt__(self, other: Alarm) -> bool:
        return (self.due_ns, self.number) < (other.due_ns, other.number)


class Clock:
    """Nanoseconds since the epoch, from `start_ns` on. It moves by `advance_to` and, a little, by `stamp`.

    Stamps are distinct: each is 1 ns at least after every stamp and every time told before it. The
    steps do not add up: an advance by a second ends a second after the last advance has ended.
    """

    def __init__(self, start_ns: int) -> None:
        self.reached_ns: int = start_ns
        """Where the last advance has ended: what alarms go by."""
        self._start_ns = self._stamped_ns = start_ns
        self._alarms: list[Alarm] = []
        self._numbers = itertools.count()

    def time_ns(self) -> int:
        """Return the time: nothing was stamped later, and what comes will be."""
        return max(self.reached_ns, self._stamped_ns)

    def monotonic(self) -> float:
        """Return the seconds that it was advanced by since the start."""
        return (self.reached_ns - self._start_ns) / 1_000_000_000

    def stamp(self) -> int:
        """Return a time of arrival: now, and no other's."""
        self._stamped_ns = self.time_ns() + 1
        return self._stamped_ns

    def stamp_at(self, arrived_ns: int) -> int:
        """Return a time of arrival: this one, or where that is another's or past, the next."""
        self._stamped_ns = max(arrived_ns, self._stamped_ns + 1)
        return self._stamped_ns

    def call_at(self, due_ns: int, call: Callable[[], object]) -> Alarm:
        """Call when it comes to `due_ns`; at the next advance where that is past."""
        self._drop_cancelled()
        alarm = Alarm(due_ns, next(self._numbers), call)
        heapq.heappush(self._alarms, alarm)
        return alarm

    @property
    def next_ns(self) -> int | None:
        """When the next alarm is due, None where there is none."""
        self._drop_cancelled()
        return self._alarms[0].due_ns if self._alarms else None

    def advance_to(self, until_ns: int) -> None:
        """Move on to `until_ns`, making each call at its time.

        What a call raises comes out here; the clock then stands at that call's time.
        """
        while (due_ns := self.next_ns) is not None and due_ns <= until_ns:
            alarm = heapq.heappop(self._alarms)
            self.reached_ns = max(self.reached_ns, due_ns)
            call, alarm.call = alarm.call, None
            assert call is not None
            call()
        self.reached_ns = max(self.reached_ns, until_ns)

    def _drop_cancelled(self) -> None:
        while self._alarms and self._alarms[0].call is None:
            heapq.heappop(self._alarms)
