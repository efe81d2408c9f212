"""Which filter judges a packet: the one in force when it arrived, as far as that was promised."""

from __future__ import annotations

from collections import deque
from typing import final

from ..filters import SourceFilter

__all__ = ["Gate"]

_MOST_PAST = 1024  # swaps that spare what had arrived, without a packet read since
_MARGIN_NS = 1_000_000_000  # packets stamped on several processors may be queued a little out of order


@final
class Gate:
    """The filter in force at a socket, and which times of arrival are the socket's to deliver.

    `past` holds (cut, filter), oldest first: a packet stamped at or before `cut` is judged by
    that filter, one stamped after every cut by `current`. What is stamped at or before
    `since_ns` or after `until_ns` is another socket's: two sockets joined to one group see the
    same stamp for the same packet, so with one's `until_ns` the other's `since_ns` each packet
    passes once. All times are nanoseconds of CLOCK_REALTIME; a packet without a stamp is
    judged by `current` alone.
    """

    __slots__ = ("current", "past", "since_ns", "until_has_passed", "until_ns")

    def __init__(self, current: SourceFilter) -> None:
        self.current = current
        self.past: deque[tuple[int, SourceFilter]] = deque()
        self.since_ns: int | None = None
        self.until_ns: int | None = None
        self.until_has_passed = False
        """Whether a packet stamped after `until_ns` was seen."""

    @property
    def timed(self) -> bool:
        """Whether the time of arrival matters; else `current` judges alone."""
        return bool(self.past) or self.since_ns is not None or self.until_ns is not None

    def change(self, wanted: SourceFilter, until_ns: int | None = None) -> None:
        """Let `wanted` judge from now on.

        With `until_ns` what was stamped up to then stays with the filter in force so far;
        with None nothing does, and older exceptions end too.
        """
        if until_ns is None:
            self.past.clear()
        else:
            self.past.append((until_ns, self.current))
            if len(self.past) > _MOST_PAST:
                self.past.popleft()
        self.current = wanted

    def allows(self, source: str, timestamp_ns: int | None) -> bool:
        """Whether a packet of `source` (canonical) with this kernel timestamp passes."""
        judge = self.current
        if timestamp_ns is not None:
            self._forget(timestamp_ns - _MARGIN_NS)
            if self.until_ns is not None and timestamp_ns > self.until_ns:
                self.until_has_passed = True
                return False
            if self.since_ns is not None and timestamp_ns <= self.since_ns:
                return False
            for cut, then in self.past:
                if timestamp_ns <= cut:
                    judge = then
                    break
        return (source in judge.sources) is judge.is_include

    def _forget(self, before_ns: int) -> None:
        while self.past and self.past[0][0] < before_ns:
            self.past.popleft()
        if self.since_ns is not None and self.since_ns < before_ns:
            self.since_ns = None
