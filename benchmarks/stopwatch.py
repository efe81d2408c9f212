"""Time that was really ours, on a machine that others use too."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

__all__ = ["ATTEMPTS", "Stopwatch"]

ATTEMPTS = 3
"""How often a disturbed measurement is tried; then the least disturbed one counts."""

_TOLERANCE = 0.03  # share of the wall clock that nobody used for us
_GRACE_NS = 20_000


class Stopwatch:
    """`with` it, around what never waits: then all time that passes is processor time.

    What the wall clock shows beyond that, somebody else had the core.
    """

    wall_ns = 0
    processor_ns = 0

    def __enter__(self) -> Self:
        self._used = time.process_time_ns()
        self._start = time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.wall_ns = time.perf_counter_ns() - self._start
        self.processor_ns = time.process_time_ns() - self._used

    @property
    def undisturbed(self) -> bool:
        """Whether the core was ours for as good as all of the time."""
        return self.wall_ns - self.processor_ns <= _GRACE_NS + self.wall_ns * _TOLERANCE

    @property
    def ns(self) -> int:
        """What counts: the wall clock's time, or where others had the core meanwhile, our part of it."""
        return self.wall_ns if self.undisturbed else self.processor_ns

    def or_better(self, other: Stopwatch | None) -> Stopwatch:
        """Return the one that was disturbed less, in proportion."""
        if other is None or self.processor_ns * other.wall_ns > other.processor_ns * self.wall_ns:
            return self
        return other
