"""From the sockets of one filter mode to those of the other, without a packet lost or doubled.

A change of mode on one socket is two stores in the kernel, between which packets of a source
that both filters allow are refused. So new sockets join with the new filter first; the kernel's
time of arrival says which socket a packet is delivered from; and the old sockets are read out
before the new ones have their turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from .reading import Reader

if TYPE_CHECKING:
    from .membership import Membership

__all__ = ["Handover"]

# A packet stamped before the cut may still be on its way to the old socket: 60 µs were seen, and
# more must be expected of a busy machine. Within `_IN_ORDER` it comes in order; the old socket
# stays open for `_AT_ALL`, so that one later still is not lost, only late.
_IN_ORDER = 0.005
_AT_ALL = 0.1


class Handover:
    """The sockets of a membership that are being replaced, oldest first, and when they end."""

    __slots__ = ("_due", "_lingering", "_membership", "_timers", "_waiting")

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._waiting: deque[tuple[Reader, ...]] = deque()  # each read out before the next
        self._due = 0  # how many of those have waited long enough
        self._lingering: tuple[Reader, ...] = ()  # read out, still open for latecomers
        self._timers: set[asyncio.TimerHandle] = set()

    def begin(self, old: tuple[Reader, ...]) -> None:
        """Read out `old`, after what is being read out already and before what replaces it."""
        self._waiting.append(old)
        self._after(_IN_ORDER, self._come_due)

    @property
    def readers(self) -> tuple[Reader, ...]:
        """All old readers that are still open."""
        return (*self._lingering, *(reader for old in self._waiting for reader in old))

    @property
    def readable(self) -> tuple[Reader, ...]:
        """The readers whose turn it is; without any waiting, those of the membership itself."""
        current = self._waiting[0] if self._waiting else self._membership.readers
        return (*self._lingering, *current)

    def settle(self) -> None:
        """Read out what is due, as far as somebody takes it, and let the next have their turn."""
        while self._due and self._membership.is_taken:
            old = self._waiting[0]
            if not all(self._membership.read_out(reader) for reader in old):
                return  # full: goes on when the stream has drained
            self._waiting.popleft()
            self._due -= 1
            self._lingering += old
            self._after(_AT_ALL, self._retire, old)
            self._membership.redirect()

    def end(self) -> tuple[Reader, ...]:
        """Stop all timers and give up the readers, for the caller to retire."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        given = self.readers
        self._waiting.clear()
        self._lingering, self._due = (), 0
        return given

    def _come_due(self) -> None:
        self._due += 1
        self.settle()

    def _retire(self, old: tuple[Reader, ...]) -> None:
        self._lingering = tuple(reader for reader in self._lingering if reader not in old)
        for reader in old:
            self._membership.retire(reader)
        self._membership.settle()

    def _after(self, seconds: float, call: Callable[..., None], *arguments: tuple[Reader, ...]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            call(*arguments)

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(timer)
