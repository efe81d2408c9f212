"""Doing what a handover says is to be done, when it is due."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Protocol, final

from ..reading.contract import Reader, Reading, Timer
from ..reading.gate import Heard
from ..values import bounds
from ..values.filters import SourceFilter
from .handover import Action, Handover, Step
from .sockets import Sockets

__all__ = ["InForce", "Replacing"]

_READS_PER_TURN = 8  # of 64 datagrams: then the other tasks of the loop have their turn


class InForce(Protocol):
    """The sockets that others are replaced with."""

    @property
    def filter(self) -> SourceFilter:
        """What they hold."""

    @property
    def readers(self) -> tuple[Reader, ...]:
        """Their readers."""

    @property
    def together(self) -> tuple[Reader, ...]:
        """The same, and those that are read out among them."""

    def end_draining(self, gone: Collection[Reader]) -> None:
        """Close `gone`, which were read out among them."""

    def redirect(self) -> None:
        """Have read what is to be read now, and do what is to be done."""


@final
class Replacing:
    """The sockets of a membership that are being replaced: a `Handover`, with a clock, and done.

    Every method can be gone through once more: a signal handler may raise between any two lines.
    """

    __slots__ = (
        "_asked_at",
        "_goes_on",
        "_handover",
        "_heard",
        "_in_force",
        "_reached",
        "_reading",
        "_sockets",
        "_timer",
        "_timer_at",
        "_waits",
    )

    def __init__(self, reading: Reading, sockets: Sockets, in_force: InForce) -> None:
        self._reading = reading
        self._sockets = sockets
        self._in_force = in_force
        self._handover: Handover[Reader] = Handover()
        self._heard: deque[Heard] = deque(maxlen=bounds.HEARD)  # what those that have closed delivered
        self._goes_on = False  # in the next loop turn
        self._waits = False  # also for all reading to go on
        self._timer: Timer | None = None
        self._timer_at = self._reached = 0.0
        self._asked_at = 0.0  # when the handover was last asked what is to be done

    # What happens; `settle` has to follow

    def begin(self, old: tuple[Reader, ...]) -> None:
        """Replace `old`. See `Handover.begin`."""
        self._handover.begin(old, self._now())

    def drain(self, gone: Collection[Reader]) -> None:
        """Close `gone` once they are empty. See `Handover.drain`."""
        self._handover.drain(gone, self._now())

    def look(self, readers: tuple[Reader, ...]) -> None:
        """End what a swap has spared, in time. See `Handover.look`."""
        self._handover.look(readers, self._now())
        self._arm()

    def stop(self) -> None:
        """Forget everything: the caller closes the sockets."""
        self._handover.stop()
        self._heard.clear()
        self._arm()

    # What it stands at

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do."""
        return self._handover.is_over

    @property
    def members(self) -> tuple[Reader, ...]:
        """All that were replaced and not closed yet, oldest first."""
        return self._handover.members

    @property
    def generations(self) -> list[tuple[Reader, ...]]:
        """The same, those together that were replaced together."""
        return self._handover.generations

    @property
    def readable(self) -> tuple[Reader, ...]:
        """The readers that are to be read now; none while nobody listens."""
        return self._handover.readable(self._in_force.together) if self._sockets.outlet.is_read else ()

    # Doing it

    def settle(self) -> None:
        """Do what is to be done now about sockets that are being replaced."""
        handover = self._handover
        if handover.is_over:
            if self._timer is not None or self._waits:
                self._arm()
            return
        try:
            self._work_off(handover)
        finally:
            self._read_on()
            self._arm()

    def _work_off(self, handover: Handover[Reader]) -> None:
        reads = 0
        while reads < _READS_PER_TURN:
            self._asked_at = self._now()
            step = handover.next(self._asked_at, self._sockets.outlet.is_received)
            if step is None:
                return
            while step is not None:
                is_finished = self._do(step)
                reads += not is_finished and not step.is_urgent
                step = handover.done(step, self._now(), is_finished)
        if not self._goes_on:
            self._goes_on = True
            self._reading.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        self.settle()

    def _read_on(self) -> None:
        """Have read those whose turn it has become."""
        outlet = self._sockets.outlet
        for reader in self.readable:
            reader.sink = outlet.sink
            if reader.place is not None:
                reader.place.add()

    def _do(self, step: Step[Reader]) -> bool:
        """Do one step of a handover; say if it is finished."""
        sockets, members = self._sockets, step.members
        match step.action:
            case Action.READ:
                return all(one.gate.until_has_passed for one in members) or sockets.read_some(members)
            case Action.LINGER:
                sockets.flush(members)
                for reader in members:
                    reader.lanes = None
                    # What a swap has spared was here and is read. Of sources that are let in no longer
                    # nothing is to come from here any more, whatever the clock makes of it.
                    reader.set_filter(reader.gate.passing & self._in_force.filter)
            case Action.LEAVE:
                sockets.leave(members)
            case Action.READ_OUT:
                sockets.leave(members)
                if not sockets.read_some(members):
                    return False
                sockets.flush(members)
            case Action.CLOSE:
                sockets.retire(members)
                self._let_alone(members)
            case Action.READ_AMONG:
                sockets.read_some(self._in_force.together)
                return all(reader.dry for reader in members)
            case Action.CLOSE_AMONG:
                self._in_force.end_draining(members)
            case Action.LOOK:
                for reader in members:
                    reader.look()
        return True

    def _let_alone(self, closed: tuple[Reader, ...]) -> None:
        """Have those that come next take up what the sockets before them have not delivered."""
        for reader in closed:
            self._heard += reader.gate.heard
        following = self._handover.after(closed, self._in_force.readers)
        for reader in following:
            reader.gate.alone(self._heard)
        if following is self._in_force.readers:
            self._heard.clear()

    def _now(self) -> float:
        return max(self._reading.monotonic(), self._reached)

    def _arm(self) -> None:
        """Ask again when time alone brings something to do, or when all reading goes on."""
        if self._waits is self._handover.is_over:
            self._sockets.outlet.wait(self._in_force.redirect, not self._waits)
            self._waits = not self._waits
        # What has come due since the handover was asked is to be asked for, too.
        due_at = self._handover.due_at(self._asked_at)
        if self._timer is not None:
            if due_at is not None and due_at >= self._timer_at:
                return  # it asks again
            self._timer.cancel()
            self._timer = None
        if due_at is not None:
            self._timer_at = due_at
            self._timer = self._reading.call_later(max(due_at - self._now(), 0.0), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._reached = self._timer_at
        self.settle()
