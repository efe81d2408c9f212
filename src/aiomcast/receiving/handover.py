"""From the sockets of one filter to those of the next, without a packet lost or doubled.

A change of mode on one socket is two stores in the kernel, between which packets of a source
that both filters allow are refused, and a source cannot be moved from socket to socket in one
call. So new sockets join with the new filter first, and for a while both hear the same. Which of
them delivers a packet is told by the kernel's time of arrival, which is the same on both: the old
sockets up to the cut, the new ones after it. The old ones are read out before the new ones have
their turn, which keeps the order.

The cut is a time of the wall clock, and that may be set meanwhile. All that is asked of it is that
old and new sockets decide alike while both are members, and they do, as they see the same stamps.
When the old ones have closed, the new ones refuse nothing any more but what those have delivered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..reading import Reader
from ..reading.gate import Heard
from ..reading.lanes import Lanes

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
_MOST_HEARD = 65536  # packets, as a gate remembers


class _Generation:
    """Sockets that were replaced together.

    They wait until the last packet before the cut must have come (`is_due`) and they are read
    out; then they linger for latecomers until that is over (`is_over`). When that takes too long
    they leave the group before (`has_left`), and have nothing to linger for.
    """

    __slots__ = ("has_left", "is_due", "is_over", "is_timed", "lanes", "readers")

    def __init__(self, readers: tuple[Reader, ...], lanes: Lanes | None) -> None:
        self.readers = readers
        self.lanes = lanes
        self.is_due = self.is_over = self.has_left = self.is_timed = False


class Handover:
    """The sockets of a membership that are being replaced, oldest first, and when they end."""

    __slots__ = ("_drained", "_goes_on", "_heard", "_lingering", "_membership", "_timers", "_waiting")

    def __init__(self, membership: MemberSockets) -> None:
        self._membership = membership
        self._waiting: deque[_Generation] = deque()  # each read out before the next
        self._lingering: deque[_Generation] = deque()  # read out, still open for latecomers
        self._drained: set[Reader] = set()  # left the group so long ago that nothing comes any more
        self._heard: deque[Heard] = deque(maxlen=_MOST_HEARD)  # what those that have closed delivered
        self._timers: set[asyncio.TimerHandle] = set()
        self._goes_on = False  # in the next loop turn

    def begin(self, old: tuple[Reader, ...], lanes: Lanes | None) -> None:
        """Read out `old`, after what is being read out already and before what replaces it."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting[0].is_due = True
            self._settle(at_once=True)
        if len(self._waiting) >= _MOST_WAITING:
            self._close(self._waiting.popleft())
        generation = next((one for one in self._waiting if old[0] in one.readers), None)
        if generation is None:
            generation = _Generation(old, lanes)
            self._waiting.append(generation)
        if not generation.is_timed:
            self._after(_IN_ORDER, partial(self._come_due, generation))
            self._after(_AT_ALL, partial(self._leave, generation))
            generation.is_timed = True

    def drain(self, gone: tuple[Reader, ...]) -> None:
        """Close `gone`, which have left the group, once they are read out among the others."""
        self._after(_AT_ALL, lambda: self._come_to_rest(gone))

    def look_later(self, readers: tuple[Reader, ...]) -> None:
        """End what a swap has spared once nothing can be under way, also where nothing comes any more."""

        def look() -> None:
            for reader in readers:
                reader.look()

        self._after(_AT_ALL * 1.1, look)  # when the gate takes an empty socket for the end of it

    @property
    def readers(self) -> tuple[Reader, ...]:
        """All old readers that are still open."""
        return tuple(reader for old in (*self._lingering, *self._waiting) for reader in old.readers)

    @property
    def readable(self) -> tuple[Reader, ...]:
        """The readers whose turn it is; without any waiting, those of the membership itself."""
        late = tuple(reader for old in self._lingering for reader in old.readers)
        return (*late, *(self._waiting[0].readers if self._waiting else self._membership.together))

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do."""
        return not (self._waiting or self._lingering or self._drained or self._timers)

    def settle(self) -> None:
        """Read out what is due, as far as somebody takes it, and let the next have their turn."""
        self._settle(at_once=False)

    def _settle(self, at_once: bool) -> None:
        membership = self._membership
        while self._waiting and self._waiting[0].is_due and membership.is_taken:
            old = self._waiting[0]
            if not self._read_out(old, at_once):
                if membership.is_taken:  # else it goes on when the stream has drained
                    self._go_on()
                return
            if self._waiting and self._waiting[0] is old:  # reading out may have come here again
                if old.has_left:
                    membership.flush(old.readers, old.lanes)
                    if not self._read_to_the_end(old):
                        return
                    self._waiting.popleft()
                    self._close(old)
                    membership.redirect()
                else:
                    self._waiting.popleft()
                    self._linger(old)
        while self._lingering and self._lingering[0].is_over:
            if not self._read_to_the_end(self._lingering[0]):
                return
            self._close(self._lingering.popleft())
        if self._drained and not self._waiting and membership.is_taken:
            self._end_drained()

    def _linger(self, old: _Generation) -> None:
        membership = self._membership
        membership.flush(old.readers, old.lanes)
        old.lanes = None
        for reader in old.readers:
            reader.lanes = None
            # What a swap has spared was here and is read. Of sources that are let in no longer
            # nothing is to come from here any more, whatever the clock makes of it.
            reader.set_filter(reader.gate.passing & membership.filter)
        self._lingering.append(old)
        self._after(_AT_ALL, lambda: self._come_over(old))
        while sum(len(one.readers) for one in self._lingering) > _MOST_LINGERING:
            self._close(self._lingering.popleft())
        membership.redirect()

    def _read_out(self, old: _Generation, at_once: bool) -> bool:
        """Read what came before the cut, a loop turn's worth unless `at_once`; say if that was all."""
        turns = 0
        while at_once or turns < _READS_PER_TURN:
            turns += 1
            if all(reader.gate.until_has_passed for reader in old.readers):
                return True
            if not self._membership.is_taken:
                return False
            if self._membership.read_some(old.readers, old.lanes):
                return True
        return False

    def _read_to_the_end(self, old: _Generation) -> bool:
        """Leave, and hand over what there still is, as far as somebody takes it; say if that was all."""
        membership = self._membership
        if not membership.is_taken:
            return False
        membership.leave_group(old.readers)
        for _ in range(_READS_PER_TURN):
            if membership.read_some(old.readers, old.lanes):
                membership.flush(old.readers, old.lanes)
                return True
            if not membership.is_taken:  # it goes on when the stream has drained
                return False
        self._go_on()
        return False

    def _end_drained(self) -> None:
        membership = self._membership
        self._drained.intersection_update(membership.draining)  # others belong to a generation by now
        for _ in range(_READS_PER_TURN if self._drained else 0):
            if not membership.is_taken:
                return
            membership.read_some(membership.together, membership.lanes)
            if all(reader.dry for reader in self._drained):
                gone, self._drained = self._drained, set()
                membership.end_draining(gone)
                return
        if self._drained:
            self._go_on()

    def all_apart(self) -> list[tuple[tuple[Reader, ...], Lanes | None]]:
        """Return the old readers, those together that are read together, in order."""
        return [(one.readers, one.lanes) for one in (*self._lingering, *self._waiting)]

    def stop(self) -> None:
        """Stop all timers and forget the readers, which the caller retires."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()
        self._lingering.clear()
        self._drained.clear()
        self._goes_on = False

    def _go_on(self) -> None:
        if not self._goes_on:
            self._goes_on = True
            self._after(0, self._next_turn)

    def _next_turn(self) -> None:
        self._goes_on = False
        self.settle()

    def _come_due(self, old: _Generation) -> None:
        old.is_due = True
        self.settle()

    def _come_over(self, old: _Generation) -> None:
        old.is_over = True
        self.settle()

    def _come_to_rest(self, gone: tuple[Reader, ...]) -> None:
        self._drained.update(reader for reader in gone if reader in self._membership.draining)
        self.settle()

    def _leave(self, old: _Generation) -> None:
        # Somebody may not be taking packets for long, and the network is to hear of it before. Once
        # they are read out, sockets leave when they close and no earlier: what comes when the old
        # ones have left and the new ones still count on them would be nobody's.
        if old not in self._waiting:
            return
        old.has_left = True
        self._membership.leave_group(old.readers)

    def _close(self, old: _Generation) -> None:
        """Close; from here on those that come next are alone."""
        self._membership.retire(old.readers, old.lanes)
        for reader in old.readers:
            self._heard += reader.gate.heard
        if self._lingering or not self._waiting:
            following = self._lingering[0].readers if self._lingering else self._membership.readers
        else:
            following = self._waiting[0].readers
        for reader in following:
            reader.gate.alone(self._heard)
        if not self._lingering and not self._waiting:
            self._heard.clear()
        self._membership.forget_if_settled()

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            call()
            self._membership.forget_if_settled()

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(timer)
