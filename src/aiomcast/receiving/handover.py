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

`Handover` is this as a machine without I/O. It is told what begins (`begin`, `drain`, `look`), asked
what is to be done next (`next`), told when that is done (`done`), and says when to ask again though
nothing else has happened (`due_at`). It never looks into a member, and has no clock: so a test can
drive it through whatever order of events it can think of.

Every step may be done twice. A signal handler may raise between any two lines, and then `next`
names the same step again.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection
from typing import Generic, TypeVar, final

import attrs

from ..values import bounds

__all__ = ["Action", "Handover", "Step"]

M = TypeVar("M")

# A packet stamped before the cut may still be on its way to the old socket: 60 µs were seen, and
# more must be expected of a busy machine. Within `IN_ORDER` seconds it comes in order; the old
# socket stays a member for `AT_ALL`, so that one later still is not lost, only late.
IN_ORDER = 0.005
AT_ALL = 0.1


class Action(enum.Enum):
    """What is to be done with some members; those that are finished only after a while say so."""

    READ = "read what came before the cut"  # finished: all of it
    LINGER = "deliver latecomers of what the filter in force allows, and nothing else"
    LEAVE = "leave the group"
    READ_OUT = "leave the group, and read what is left"  # finished: all of it
    CLOSE = "leave the group, count what is left, and close"
    READ_AMONG = "read them among those in force"  # finished: they are empty
    CLOSE_AMONG = "close them, and go on with those in force"
    LOOK = "end what a swap has spared where nothing is left of it"


@final
class _Generation(Generic[M]):
    """Members that were replaced together.

    They wait until the last packet before the cut must have come (`due_at`) and are read out;
    then they linger for latecomers (`over_at`). Where they wait for longer, since nobody receives
    packets, they leave the group before that (`leave_at`): the network is to hear of it. Else they
    leave when they close and no earlier: what comes when the old ones have left and the new ones
    still count on them would be nobody's.
    """

    __slots__ = ("due_at", "has_left", "is_empty", "is_read", "leave_at", "members", "over_at")

    def __init__(self, members: tuple[M, ...], now: float) -> None:
        self.members = members
        self.due_at = now + IN_ORDER
        self.leave_at = now + AT_ALL
        self.over_at = now + AT_ALL  # counted anew when it begins to linger
        self.is_read = self.is_empty = self.has_left = False


@final
@attrs.frozen(slots=True, eq=False)
class Step(Generic[M]):
    """One thing to do. `is_urgent`: at once, however long it takes."""

    action: Action
    members: tuple[M, ...]
    is_urgent: bool = False
    _generation: _Generation[M] | None = None


@final
class Handover(Generic[M]):
    """Members that are being replaced, oldest first, and what is to be done with them when.

    Times are seconds of whatever clock the caller has; it does not go back.
    """

    __slots__ = ("_among", "_lingering", "_looks", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[_Generation[M]] = deque()  # each read out before the next
        self._lingering: deque[_Generation[M]] = deque()  # read out, still open for latecomers
        self._among: dict[M, float] = {}  # left the group, and until when something may come
        self._looks: deque[tuple[float, tuple[M, ...]]] = deque()

    # What happens

    def begin(self, old: tuple[M, ...], now: float) -> None:
        """Replace `old`: they are read out after what is waiting, and before what replaces them."""
        for member in old:
            self._among.pop(member, None)
        if not any(old[0] in one.members for one in self._waiting):
            self._waiting.append(_Generation(old, now))

    def drain(self, gone: Collection[M], now: float) -> None:
        """Close `gone`, which have left the group, once they are empty, among those in force."""
        for member in gone:
            self._among.setdefault(member, now + AT_ALL)

    def look(self, members: tuple[M, ...], now: float) -> None:
        """End what a swap has spared once nothing can be under way, also where nothing comes any more."""
        self._looks.append((now + AT_ALL * 1.1, members))  # when a gate believes an empty socket

    def stop(self) -> None:
        """Forget everything: the caller closes the members."""
        self._waiting.clear()
        self._lingering.clear()
        self._among.clear()
        self._looks.clear()

    # What is to be done

    def next(self, now: float, is_received: bool) -> Step[M] | None:
        """Return what is to be done now, None for nothing; `is_received`: somebody receives what is read."""
        if self._looks and now >= self._looks[0][0]:
            return Step(Action.LOOK, self._looks[0][1])
        for old in self._waiting:
            if now >= old.leave_at and not old.has_left:
                return Step(Action.LEAVE, old.members, generation=old)
        return self._with_waiting(now, is_received) or self._with_lingering(now, is_received)

    def _with_waiting(self, now: float, is_received: bool) -> Step[M] | None:
        if not self._waiting:
            return None
        old = self._waiting[0]
        # Sockets are not to pile up, however fast the mode changes: the oldest is read out before its
        # time. Its packets are dropped and counted only when nobody receives any.
        is_crowded = len(self._waiting) > bounds.CHANGES_WAITING
        if is_crowded and not is_received:
            return Step(Action.CLOSE, old.members, generation=old)
        if not is_received or not (is_crowded or now >= old.due_at):
            return None
        if not old.is_read:
            return Step(Action.READ, old.members, is_crowded, old)
        if not old.has_left:
            return Step(Action.LINGER, old.members, generation=old)
        return Step(Action.CLOSE if old.is_empty else Action.READ_OUT, old.members, is_crowded, old)

    def _with_lingering(self, now: float, is_received: bool) -> Step[M] | None:
        if self._lingering:
            old = self._lingering[0]
            if sum(len(one.members) for one in self._lingering) > bounds.SOCKETS_LINGERING:
                return Step(Action.CLOSE, old.members, generation=old)
            if now >= old.over_at and is_received:
                action = Action.CLOSE if old.is_empty else Action.READ_OUT
                return Step(action, old.members, generation=old)
        if self._among and not self._waiting and is_received:
            at_rest = tuple(member for member, until in self._among.items() if now >= until)
            if at_rest:
                return Step(Action.READ_AMONG, at_rest)
        return None

    def done(self, step: Step[M], now: float, is_finished: bool = True) -> Step[M] | None:
        """Note that `step` was done; return what has to follow it at once."""
        old = step._generation
        match step.action:
            case Action.LOOK:
                if self._looks and self._looks[0][1] is step.members:
                    self._looks.popleft()
            case Action.READ_AMONG if is_finished:
                return Step(Action.CLOSE_AMONG, step.members)
            case Action.CLOSE_AMONG:
                for member in step.members:
                    self._among.pop(member, None)
        if old is None:
            return None
        match step.action:
            case Action.LEAVE:
                old.has_left = True
            case Action.READ:
                old.is_read = old.is_read or is_finished
            case Action.READ_OUT:
                old.is_empty = old.is_empty or is_finished
            case Action.LINGER:
                if old in self._waiting:
                    self._waiting.remove(old)
                    old.over_at = now + AT_ALL
                    self._lingering.append(old)
            case Action.CLOSE:
                for generations in (self._waiting, self._lingering):
                    if old in generations:
                        generations.remove(old)
        return None

    # What it stands at

    def due_at(self, now: float) -> float | None:
        """Return the next time at which to ask, None where only what happens can bring something to do."""
        times = [
            *(when for when, _ in self._looks),
            *(old.leave_at for old in self._waiting if not old.has_left),
            *(old.due_at for old in self._waiting),
            *(old.over_at for old in self._lingering),
            *self._among.values(),
        ]
        return min((one for one in times if one > now), default=None)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do."""
        return not (self._waiting or self._lingering or self._among or self._looks)

    @property
    def members(self) -> tuple[M, ...]:
        """All that were replaced and not closed yet, oldest first."""
        return tuple(member for old in (*self._lingering, *self._waiting) for member in old.members)

    @property
    def generations(self) -> list[tuple[M, ...]]:
        """The same, those together that were replaced together."""
        return [old.members for old in (*self._lingering, *self._waiting)]

    def readable(self, in_force: tuple[M, ...]) -> tuple[M, ...]:
        """Return the members whose turn it is to be read; `in_force` only when none waits before them."""
        late = tuple(member for old in self._lingering for member in old.members)
        return (*late, *(self._waiting[0].members if self._waiting else in_force))

    def after(self, closed: tuple[M, ...], in_force: tuple[M, ...]) -> tuple[M, ...]:
        """Return those that have nobody before them any more when `closed` are gone."""
        for old in (*self._lingering, *self._waiting):
            if old.members is not closed:
                return old.members
        return in_force
