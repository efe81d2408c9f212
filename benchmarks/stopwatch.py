"""Time that was really ours: a reading during which the core went to somebody else is taken again."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

__all__ = ["ATTEMPTS", "Stopwatch"]

ATTEMPTS = 8
"""How often a disturbed measurement is tried; then the least disturbed one counts."""

_TOLERANCE = 0.03  # share of the wall clock that nobody used for us
_GRACE_NS = 20_000


class Stopwatch:
    """`with` it: `ns` is the wall clock's time. In a drain nothing waits, so all of it is processor time.

    `away_ns` is what was not: another process, or another machine of the host, had the core.
    """

    ns = 0
    away_ns = 0

    def __enter__(self) -> Self:
        self._used = time.process_time_ns()
        self._start = time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.ns = time.perf_counter_ns() - self._start
        self.away_ns = max(0, self.ns - (time.process_time_ns() - self._used))

    @property
    def undisturbed(self) -> bool:
        """Whether the core was ours for as good as all of the time."""
        return self.away_ns <= _GRACE_NS + self.ns * _TOLERANCE

    def better(self, other: Stopwatch | None) -> bool:
        """Whether this one was disturbed less than `other`, in proportion."""
        return other is None or self.away_ns * other.ns < other.away_ns * self.ns
