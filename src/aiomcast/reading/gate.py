"""Which filter judges a packet: the one in force when it arrived, as far as that was promised."""

from __future__ import annotations

from collections import deque
from typing import final

from ..filters import SourceFilter

__all__ = ["Gate"]

_MARGIN_NS = 1_000_000_000  # packets stamped on several processors may be queued a little out of order


@final
class Gate:
    """The filter in force, and for a while those that were in force before.

    `past` holds (cut, filter), oldest first: a packet stamped at or before `cut` is judged by
    that filter, one stamped after every cut by `current`. Without a timestamp `current` judges.
    """

    __slots__ = ("current", "past")

    def __init__(self, current: SourceFilter) -> None:
        self.current = current
        self.past: deque[tuple[int, SourceFilter]] = deque()

    def change(self, wanted: SourceFilter, until_ns: int | None = None) -> None:
        """Let `wanted` judge from now on.

        With `until_ns` (nanoseconds of CLOCK_REALTIME) what was stamped up to then stays with
        the filter in force so far; with None nothing does, and older exceptions end too.
        """
        if until_ns is None:
            self.past.clear()
        else:
            self.past.append((until_ns, self.current))
        self.current = wanted

    def allows(self, source: str, timestamp_ns: int | None) -> bool:
        """Whether a packet of `source` (canonical) with this kernel timestamp passes."""
        judge = self.current
        if timestamp_ns is not None:
            while self.past and self.past[0][0] + _MARGIN_NS < timestamp_ns:
                self.past.popleft()
            for cut, then in self.past:
                if timestamp_ns <= cut:
                    judge = then
                    break
        return (source in judge.sources) is judge.is_include
