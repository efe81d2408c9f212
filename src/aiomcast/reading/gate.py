"""Which filter judges a packet: the one in force when it arrived, as far as that can be known.

A time of arrival is read off the wall clock, which can be set while packets wait. So no decision
rests on it for longer than the packets concerned can be there, and none of them alone refuses a
packet that no other socket delivers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import final

from ..values import bounds
from ..values.filters import SourceFilter

__all__ = ["Gate", "Heard"]

_MARGIN_NS = 1_000_000_000  # packets stamped on several processors may be queued a little out of order
_IN_FLIGHT_NS = 100_000_000  # a packet is at its socket that long after its arrival at the very latest

Heard = tuple[str, int]
"""What tells one packet from any other: its source and the time at which the kernel stamped it."""


@final
class Gate:
    """The filter in force at a socket, and which packets are the socket's to deliver.

    `past` holds (cut, filter, what it refused beyond the kernel), oldest first. The kernel has judged
    every packet when it arrived, but for sources that its list had no room for: of those the filter
    at arrival judges alone. So one of the others that is stamped at or before a cut passes if that
    filter or a later one lets it in, one stamped after every cut if `current` does. The exceptions
    end with the packets they are for: once the socket was found empty after the cut, or a packet
    came that is well beyond it.

    Two sockets joined to one group see the same stamp for the same packet. What is stamped after
    `until_ns` is left to the socket that comes after this one; what passes up to then is
    remembered in `heard`. What is stamped at or before `since_ns` is left to the socket before
    this one if that can deliver it (`elsewhere`), and, once that has closed, if it did (`told`).
    Of the other sources nothing passes that is stamped from `begun_ns` on, when this socket had
    not joined yet, up to the cut: it would come after later packets of the old socket.

    Times are nanoseconds, of CLOCK_REALTIME where they are compared with stamps, else of
    CLOCK_MONOTONIC. A packet without a stamp came when the kernel was not stamping yet: it passes
    if any of the filters lets it in, and the socket before, which has it too, goes first.
    """

    __slots__ = (
        "_past_over_ns",
        "begun_ns",
        "beyond_kernel",
        "current",
        "elsewhere",
        "heard",
        "past",
        "since_ns",
        "told",
        "until_has_passed",
        "until_ns",
    )

    def __init__(self, current: SourceFilter) -> None:
        self.current: SourceFilter = current
        self.beyond_kernel: frozenset[str] = frozenset()
        """What `current` refuses and the kernel lets in, as its list has no room for more."""
        self.past: deque[tuple[int, SourceFilter, frozenset[str]]] = deque()
        self._past_over_ns = 0
        self.until_ns: int | None = None
        self.until_has_passed: bool = False
        """Whether a packet stamped after `until_ns` was seen."""
        self.heard: deque[Heard] = deque(maxlen=bounds.HEARD)
        self.begun_ns: int = 0
        self.since_ns: int | None = None
        self.elsewhere: SourceFilter = SourceFilter.none()
        self.told: frozenset[Heard] | None = None

    @property
    def timed(self) -> bool:
        """Whether the time of arrival matters; else `current` judges alone."""
        return bool(self.past) or self.since_ns is not None or self.until_ns is not None

    @property
    def passing(self) -> SourceFilter:
        """What may pass here, whenever it arrived."""
        united = self.current
        for _, then, _ in self.past:
            united |= then
        return united

    def change(self, wanted: SourceFilter, until_ns: int | None = None, now_ns: int = 0) -> None:
        """Let `wanted` judge from now on; `now_ns` is the monotonic time.

        With `until_ns` what was stamped up to then may also pass by the filter in force so far;
        with None nothing does, and older exceptions end too.
        """
        if until_ns is None:
            self.past.clear()
        else:
            self.past.append((until_ns, self.current, self.beyond_kernel))
            self._past_over_ns = now_ns + _IN_FLIGHT_NS
            if len(self.past) > bounds.FILTERS_KEPT:
                self.past.popleft()
        self.current, self.beyond_kernel = wanted, frozenset()

    def begin(self, begun_ns: int, since_ns: int, elsewhere: SourceFilter) -> None:
        """Leave what is stamped up to `since_ns` to the sockets before this one, which pass `elsewhere`."""
        self.begun_ns, self.since_ns, self.elsewhere, self.told = begun_ns, since_ns, elsewhere, None

    def end(self, until_ns: int) -> None:
        """Deliver only what is stamped up to `until_ns`, and remember what that was."""
        self.until_ns = until_ns

    def alone(self, heard: Iterable[Heard]) -> None:
        """Take up what the sockets before this one have not delivered: they have closed."""
        if self.since_ns is not None:
            self.told = frozenset(heard)

    def allows(self, source: str, timestamp_ns: int | None) -> bool:
        """Whether a packet of `source` (canonical) with this kernel timestamp passes."""
        if self.since_ns is not None and self._is_anothers(source, timestamp_ns):
            return False
        if timestamp_ns is None:
            return _lets_in(self.current, source) or any(_lets_in(then, source) for _, then, _ in self.past)
        if self.until_ns is not None and timestamp_ns > self.until_ns:
            self.until_has_passed = True
            return False
        passes = _lets_in(self.current, source)
        if self.past:
            while self.past and self.past[0][0] < timestamp_ns - _MARGIN_NS:
                self.past.popleft()
            at_arrival = next((one for one in self.past if timestamp_ns <= one[0]), None)
            if at_arrival is not None and source in at_arrival[2]:
                return False
            passes = passes or any(
                timestamp_ns <= cut and _lets_in(then, source) for cut, then, _ in self.past
            )
        if passes and self.until_ns is not None:
            self.heard.append((source, timestamp_ns))
        return passes

    def _is_anothers(self, source: str, timestamp_ns: int | None) -> bool:
        since = self.since_ns
        assert since is not None
        if timestamp_ns is not None and timestamp_ns > since:
            if timestamp_ns - _MARGIN_NS > since:
                self.since_ns = None
            return False
        if not _lets_in(self.elsewhere, source):
            return timestamp_ns is not None and timestamp_ns >= self.begun_ns
        return self.told is None or timestamp_ns is None or (source, timestamp_ns) in self.told

    def emptied(self, now_ns: int) -> None:
        """Note that there was nothing in the socket at the monotonic time `now_ns`."""
        if self.past and now_ns >= self._past_over_ns:
            self.past.clear()
        if self.told is not None:
            self.since_ns = self.told = None


def _lets_in(judge: SourceFilter, source: str) -> bool:
    return (source in judge.sources) is judge.is_include
