"""Noticing that a flow has stopped. Pure."""

from __future__ import annotations

import math
from typing import Final, final

from ..errors import ArgumentError, ArgumentTypeError
from ..values.shown import shown

__all__ = ["Silence", "check_silence"]

_GAPS = 8  # times the mean gap between packets
_LONGEST: Final = 30.0  # seconds between two attempts


def check_silence(given: float | None, heals: bool) -> float | None:
    """Return `given` seconds, above 0, or None. ArgumentError for another number, or if nothing heals."""
    if given is None:
        return None
    if not heals:
        raise ArgumentError("silence without healing", "leave one of silence= and heal=False out")
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise ArgumentTypeError(f"silence {shown(given)}", "give seconds, or None")
    if not 0 < given < math.inf:
        raise ArgumentError(f"silence {shown(given)}", "give seconds above 0, or None")
    return float(given)


@final
class Silence:
    """Watches one count of packets that is looked at now and then.

    It is silent when nothing has come for `least` seconds, and for 8 times the mean gap before, after
    something had. Then it asks to be mended at once, and after 1, 2, 4, ... 30 seconds again.
    """

    __slots__ = ("_count", "_first_at", "_first_count", "_least", "_next_at", "_tries", "last_at")

    def __init__(self, least: float) -> None:
        self._least = least
        self.last_at: float = 0.0
        """When the last packet came, as far as was looked."""
        self._count = -1
        self._first_count = self._tries = 0
        self._first_at = self._next_at = 0.0

    def begin(self, count: int, now: float) -> None:
        """Forget what has flowed: others are let in, or nobody reads for now."""
        self._count = self._first_count = count
        self._first_at = self.last_at = now
        self._tries = 0

    def look(self, count: int, now: float) -> bool:
        """Take note of how many have come; say whether it is silent and is to be mended now."""
        if self._count < 0:
            self.begin(0, now)
        if count != self._count:
            self._count, self.last_at, self._tries = count, now, 0
            return False
        has_flowed = count > self._first_count
        is_due = not self._tries or now >= self._next_at
        if not has_flowed or not is_due or now - self.last_at <= self._patience:
            return False
        self._next_at = now + min(2.0**self._tries, _LONGEST)
        self._tries += 1
        return True

    def is_late(self, now: float) -> bool:
        """Whether something has come, and half of the time after which it is silent is over since."""
        return self.flows and now - self.last_at > self._patience / 2

    @property
    def flows(self) -> bool:
        """Whether something has come, and it is not silent."""
        return self._count > self._first_count and not self._tries

    @property
    def tries(self) -> int:
        """How often it has asked to be mended since it is silent."""
        return self._tries

    @property
    def _patience(self) -> float:
        gap = (self.last_at - self._first_at) / (self._count - self._first_count)
        return max(self._least, _GAPS * gap)
