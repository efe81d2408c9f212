"""The fewest operations that still break a rule: delta debugging, within a time limit.

Timing differs from run to run, so each candidate is run several times before it counts as harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["fewest"]

T = TypeVar("T")


def fewest(
    listed: Sequence[T],
    fails: Callable[[list[T]], bool],
    *,
    until: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[T]:
    """Return a part of `listed`, in order, for which `fails` was true, as small as there is time for.

    `listed` itself is taken to fail. Nothing is tried once `clock()` has reached `until`.
    """
    best, parts = list(listed), 2
    while best and clock() < until:
        size = -(-len(best) // parts)
        starts = range(0, len(best), size)
        for start in starts:
            candidate = best[:start] + best[start + size :]
            if clock() >= until:
                return best
            if fails(candidate):
                best, parts = candidate, max(parts - 1, 2)
                break
        else:
            if size == 1:
                return best
            parts = min(parts * 2, len(best))
    return best
