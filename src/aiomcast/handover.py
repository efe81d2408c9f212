"""From the sockets of one filter mode to those of the other, without a packet lost or doubled.

A change of mode on one socket is two stores in the kernel, between which packets of a source
that both filters allow are refused. So new sockets join with the new filter first; the kernel's
time of arrival says which socket a packet is delivered from; and the old sockets are read out
before the new ones have their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from .errors import RefusedError
from .filters import SourceFilter
from .reading import Reader

if TYPE_CHECKING:
    from .member_sockets import MemberSockets

__all__ = ["Handover"]

# A packet stamped before the cut may still be on its way to the old socket: 60 µs were seen, and
# more must be expected of a busy machine. Within `_IN_ORDER` seconds it comes in order; the old
# socket stays a member for `_AT_ALL`, so that one later still is not lost, only late.
_IN_ORDER = 0.005
_AT_ALL = 0.1
# Sockets are not to pile up, however fast the mode changes. Beyond this many changes the oldest is
# read out before its time; its packets are dropped and counted only when nobody takes any.
_MOST_WAITING = 8
_MOST_LINGERING = 64  # sockets
_READS_PER_TURN = 8  # of 64 datagrams: then the other tasks of the loop have their turn


class _Generation:
    """Sockets that were replaced together; `due` once their last packet must have come."""

    __slots__ = ("due", "readers")

    def __init__(self, readers: tuple[Reader, ...]) -> None:
        self.readers = readers
        self.due = False


class Handover:
    """The sockets of a membership that are being replaced, oldest first, and when they end."""

    __slots__ = ("_lingering", "_membership", "_timers", "_waiting")

    def __init__(self, membership: MemberSockets) -> None:
        self._membership = membership
        self._waiting: deque[_Generation] = deque()  # each read out before the next
        self._lingering: tuple[Reader, ...] = ()  # read out, still open for latecomers
        self._timers: set[asyncio.TimerHandle] = set()

    def begin(self, old: tuple[Reader, ...]) -> None:
        """Read out `old`, after what is being read out already and before what replaces it."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting[0].due = True
            self._settle(at_once=True)
        if len(self._waiting) >= _MOST_WAITING:
            for reader in self._waiting.popleft().readers:
                self._membership.retire(reader)
        generation = _Generation(old)
        self._waiting.append(generation)
        self._after(_IN_ORDER, self._come_due, generation)
        self._after(_AT_ALL, self._leave, generation)

    @property
    def readers(self) -> tuple[Reader, ...]:
        """All old readers that are still open."""
        return (*self._lingering, *(reader for old in self._waiting for reader in old.readers))

    @property
    def readable(self) -> tuple[Reader, ...]:
        """The readers whose turn it is; without any waiting, those of the membership itself."""
        current = self._waiting[0].readers if self._waiting else self._membership.readers
        return (*self._lingering, *current)

    def settle(self) -> None:
        """Read out what is due, as far as somebody takes it, and let the next have their turn."""
        self._settle(at_once=False)

    def _settle(self, at_once: bool) -> None:
        while self._waiting and self._waiting[0].due and self._membership.is_taken:
            old = self._waiting[0]
            if not all(self._read_out(reader, at_once) for reader in old.readers):
                if self._membership.is_taken:  # else it goes on when the stream has drained
                    self._after(0, self._come_due, old)
                return
            if self._waiting and self._waiting[0] is old:  # reading out may have come here again
                self._waiting.popleft()
                self._lingering += old.readers
                self._after(_AT_ALL, self._end_lingering, old)
                self._end_lingering(_Generation(self._lingering[:-_MOST_LINGERING]))
                self._membership.redirect()

    def _read_out(self, reader: Reader, at_once: bool) -> bool:
        """Read what came before the cut, a loop turn's worth unless `at_once`; say if that was all."""
        turns = 0
        while at_once or turns < _READS_PER_TURN:
            turns += 1
            if reader.gate.until_has_passed:
                return True
            if not self._membership.is_taken:
                return False
            if self._membership.read_some(reader):
                return True
        return False

    def end(self) -> None:
        """Stop all timers and forget the readers, which the caller retires."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()
        self._lingering = ()

    def _come_due(self, old: _Generation) -> None:
        old.due = True
        self.settle()

    def _leave(self, old: _Generation) -> None:
        # Somebody may not be taking packets for long, and the network is to hear of it before.
        for reader in old.readers:
            with contextlib.suppress(RefusedError):
                if reader.sock.fileno() >= 0:
                    reader.sock.set_filter(SourceFilter.none())

    def _end_lingering(self, old: _Generation) -> None:
        ended = tuple(reader for reader in self._lingering if reader in old.readers)
        self._lingering = tuple(reader for reader in self._lingering if reader not in old.readers)
        for reader in ended:  # what it holds unread came after the cut: the new sockets have it
            self._membership.close_reader(reader)
        self._membership.forget_if_settled()

    def _after(self, seconds: float, call: Callable[[_Generation], None], old: _Generation) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            call(old)

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(timer)
