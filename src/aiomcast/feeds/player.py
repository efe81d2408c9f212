"""Who takes a capture off its file and puts it before sockets in memory: at its pace, or as they read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias, final
from weakref import WeakSet

from ..errors import StateError
from ..memory.station import Station
from ..memory.wire import Hearing
from ..reading.contract import Timer
from ..values import bounds
from .capture import Capture
from .captured import Captured

__all__ = ["PaceClock", "Player", "Told"]

_LOG = logging.getLogger("aiomcast")
_EARLY = 0.0005  # seconds: a loop's timers count milliseconds
_AT_A_TIME = 1 << 17  # bytes of the file: nothing else of the loop runs meanwhile
_AT_A_TIME_PACED = 1 << 14
_STANDS_STILL = 1.0  # seconds without room for the next packet, after which that is said


class PaceClock(Protocol):
    """What a replay goes by: an event loop has both."""

    def time(self) -> float:
        """Return the time in seconds."""

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Call at that time."""


class Told(Protocol):
    """Who is told of the end."""

    def look_for_end(self) -> None:
        """The capture is over, and what came of it may have been read."""


_Place: TypeAlias = tuple[str, str, int]


@final
class Player:
    """Plays one capture once, in one event loop, to the sockets of a host in memory.

    With `speed` each packet comes when it is due, and a full socket drops it, as on the wire. With None
    a packet waits for room in all sockets that let it in.
    """

    def __init__(
        self, capture: Capture, station: Station, speed: float | None, clock: PaceClock | None
    ) -> None:
        self.readings: WeakSet[Told] = WeakSet()
        """Those that are open."""
        self.is_over: bool = False
        self.error: Exception | None = None
        self._station = station
        self._speed = speed
        self._clock: PaceClock | None = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batches: Iterator[list[Captured]] = capture.batches(
            octets=_AT_A_TIME if speed is None else _AT_A_TIME_PACED
        )
        self._batch: list[Captured] = []
        self._at = 0
        self._begun: float | None = None
        self._first_ns: int | None = None
        self._timer: Timer | None = None
        self._goes_on = False
        self._waits_for: Hearing | None = None
        self._is_telling = False

    def bind(self) -> None:
        """Belong to the running event loop. StateError where there is none, another, or it is over."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            raise StateError("no event loop is running", "call it in a coroutine") from None
        if self._loop is not None and running is not self._loop:
            raise StateError("a replay belongs to one event loop", "make another of the same file")
        if self.is_over:
            raise StateError("the replay is over", "make another of the same file")
        self._loop = running

    def begin(self) -> None:
        """Play from here on. Nothing happens where it has begun."""
        if self._begun is None and self._loop is not None:
            self._clock = self._clock or self._loop
            self._begun = self._clock.time()
            self._go_on()

    def left(self, reading: Told) -> None:
        """Stop where nobody is left, from whichever thread."""
        self.readings.discard(reading)
        if not self.readings and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed, and nothing is called any more
                self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if not self.readings:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        self.is_over, self.error = True, error
        if self._timer is not None:
            self._timer.cancel()
        self._batches = iter(())  # which closes the file
        self._batch = []
        for reading in tuple(self.readings):
            reading.look_for_end()

    def _go_on(self) -> None:
        self._waits_for = self._timer = None
        if not self._goes_on and not self.is_over and self._loop is not None:
            self._goes_on = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._goes_on = False
        if self.is_over:
            return
        try:
            if self._play():
                self._go_on()
        except StopIteration:
            self._end(None)
        except Exception as error:  # whatever is wrong with the file: those who wait are told
            self._end(error)

    def _play(self) -> bool:
        """Put some packets before the sockets; say if more can follow at once. StopIteration at the end."""
        if self._at >= len(self._batch):
            self._batch, self._at = next(self._batches), 0
        batch, at = self._batch, self._at
        end = min(at + bounds.READ_PER_TURN, len(batch))
        known: dict[_Place, tuple[Hearing, ...]] = {}
        stamp_at, is_fast = self._station.wire.clock.stamp_at, self._speed is None
        try:
            while at < end:
                one = batch[at]
                if not is_fast and not self._is_due(one.timestamp_ns):
                    return False
                place = one.interface, one.group, one.port
                members = known.get(place)
                if members is None:
                    members = known[place] = self._members(place)
                if members:
                    if is_fast:
                        for member in members:
                            if not member.has_room(one):
                                self._wait_for(member)
                                return False
                    arrived_ns = stamp_at(one.timestamp_ns or 0)
                    for member in members:
                        member.arrive(one, arrived_ns)
                at += 1
        finally:
            self._at = at
        return True

    def _members(self, place: _Place) -> tuple[Hearing, ...]:
        name, group, port = place
        return tuple(self._station.named(name).members.get((group, port), ()))

    def _is_due(self, stamp_ns: int | None) -> bool:
        """Whether a packet is due; else it will be waited for. One that is earlier than the first is."""
        if stamp_ns is None:
            return True
        clock, begun, speed = self._clock, self._begun, self._speed
        assert clock is not None
        assert begun is not None
        assert speed is not None
        if self._first_ns is None:
            self._first_ns = stamp_ns
        due = begun + (stamp_ns - self._first_ns) / 1e9 / speed
        if due <= clock.time() + _EARLY:
            return True
        self._timer = clock.call_at(due, self._go_on)
        return False

    def _wait_for(self, member: Hearing) -> None:
        member.drained = self._go_on
        self._waits_for = member
        if not self._is_telling and self._loop is not None:
            self._is_telling = True
            at, batch = self._at, self._batch
            self._loop.call_later(_STANDS_STILL, lambda: self._tell(at, batch))

    def _tell(self, at: int, batch: list[Captured]) -> None:
        """Say it where it has stood still since."""
        self._is_telling = False
        if self._waits_for is None or self.is_over:
            return
        one = self._batch[self._at]
        if self._at == at and self._batch is batch:
            _LOG.warning(
                "the replay stands still until somebody receives from %s port %d: its buffer is full",
                one.group,
                one.port,
            )
        else:
            self._wait_for(self._waits_for)
