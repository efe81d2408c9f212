"""Reading sockets in memory in an event loop, as `loops.read_loop` reads the system's."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import socket
import threading
from collections.abc import Callable
from functools import partial
from weakref import WeakSet

from ..errors import StateError, UnsupportedError
from ..loops.in_loop import rest, weakly
from ..reading.contract import Reader, Timer
from ..rfc3678.refusals import refusals
from ..values import bounds
from ..values.filters import SourceFilter
from ..values.interface import Interface
from ..values.options import Options
from .clock import nanoseconds
from .read_set import MemoryReadSet
from .reader import MemoryReader
from .sockets import MemorySocket
from .station import Station
from .watching import MemoryWatch, Told

__all__ = ["MemoryReading"]


class _Place:
    """Keeps `reading.contract.Place`."""

    __slots__ = ("__weakref__", "_reader", "_reading")

    def __init__(self, reading: MemoryReading, reader: MemoryReader) -> None:
        self._reading = reading
        self._reader = reader

    def add(self) -> None:
        """Read it from the next loop turn on."""
        self._reading.add(self._reader)

    def discard(self) -> None:
        """Read it no more for now."""
        self._reading.discard(self._reader)

    def forget(self) -> None:
        """Give the place up."""
        self._reading.forget(self._reader)

    def wake(self) -> None:
        """Read it in the next loop turn, if it is read at all: there is something in the socket."""
        self._reading.go_on()


class _Timer:
    """Calls once: when the network's clock comes to it, or when the loop's does, or never.

    It is one of `running` until then.
    """

    def __init__(self, due_ns: int, call: Callable[[], object], running: set[_Timer]) -> None:
        self.due_ns: int = due_ns
        self._call: Callable[[], object] | None = call
        self.waits: list[Timer] = []
        self._running = running
        running.add(self)

    def fire(self) -> None:
        """Call, if it was not called and not cancelled."""
        call = self._call
        self.cancel()
        if call is not None:
            call()

    def cancel(self) -> None:
        """Have it not come."""
        self._call = None
        self._running.discard(self)
        for wait in self.waits:
            wait.cancel()
        self.waits.clear()


class MemoryReading:
    """Keeps `reading.contract.Reading` for the running event loop. StateError where none is running.

    A datagram that arrives is read in the next turn of the loop, about 512 per turn.
    """

    shared_stamps: bool = True

    def __init__(self, station: Station, running: WeakSet[MemoryReading] | None = None) -> None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise StateError("no event loop is running", "call it in a coroutine") from None
        self._thread = threading.get_ident()
        self._station = station
        self._wire = station.wire
        self._set = MemoryReadSet()
        self._resting: dict[MemoryReader, Timer | None] = {}  # None: for ever
        self._timers: set[_Timer] = set()
        self._watches: set[MemoryWatch] = set()
        self._goes_on = self._closed = False
        self._running = WeakSet[MemoryReading]() if running is None else running  # those that are not closed
        self._running.add(self)

    @property
    def is_pending(self) -> bool:
        """Whether something is to be read in the next turns of the running loop."""
        return self._loop is asyncio.get_running_loop() and not self._set.is_stopped and self._set.is_pending

    @property
    def waits_until_ns(self) -> int | None:
        """When the next timer comes, if in the running loop something waits unread; else None."""
        is_here = self._loop is asyncio.get_running_loop()
        if not is_here or self._set.is_stopped or not self._set.is_left_unread:
            return None
        return min((timer.due_ns for timer in self._timers), default=None)

    def check(self) -> None:
        """Raise a StateError in another event loop, or another thread, than it was made in."""
        try:
            here = asyncio.get_running_loop() is self._loop and threading.get_ident() == self._thread
        except RuntimeError:
            here = False
        if not here:
            raise StateError("it belongs to another event loop or thread", "use it where it was first used")

    def time_ns(self) -> int:
        """Return the time of the network's clock, which stamps packets."""
        return self._wire.clock.time_ns()

    def monotonic(self) -> float:
        """Return the seconds that the network's clock was advanced by."""
        return self._wire.clock.monotonic()

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call in the loop's next turn, from whichever thread; never where the loop has closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call when the network's clock has passed `seconds`, inside the advance that does it.

        Unless the network was made without `real_timers`, it comes at the latest when as much time
        has really passed. With 0 seconds it comes in the loop's next turn.
        """
        clock = self._wire.clock
        timer = _Timer(clock.reached_ns + nanoseconds(max(seconds, 0)), call, self._timers)
        if seconds > 0:
            timer.waits.append(clock.call_at(timer.due_ns, timer.fire))
        if seconds <= 0 or self._wire.real_timers:
            timer.waits.append(self._loop.call_later(seconds, timer.fire))
        return timer

    async def prepare(self, group: str, port: int) -> None:
        """Return at once: nothing takes time here."""

    async def closed(self) -> None:
        """Return at once: there is nothing beside the sockets."""

    def open(
        self,
        group: str,
        port: int,
        interface: Interface,
        wanted: SourceFilter,
        options: Options,
        into: list[Reader],
        sock: socket.socket | int | None = None,
    ) -> None:
        """Append to `into` a reader of a new socket, which is a member of nothing yet and has a place.

        With port 0 the host chooses one that none of its sockets has. RefusedError where the network
        was told to refuse it, UnsupportedError for a `sock`, which could only be the system's; then
        `into` is as before.
        """
        if sock is not None:
            raise UnsupportedError("a network in memory has no socket to adopt", "leave sock out there")
        with refusals(f"opening a socket for {group} port {port} on {interface.name}"):
            self._wire.refusing.meet("open", interface.name)
        asked = options.receive_buffer
        size = asked if isinstance(asked, int) else self._wire.receive_buffer
        opened = MemorySocket(self._station, group, port or self._station.free_port(), interface, size)
        reader = MemoryReader(opened, wanted, options.ancillary)
        reader.place = place = _Place(self, reader)
        opened.wake = weakly(place.wake)  # the network is not to keep what nobody else does
        self._set.reserve(reader)
        into.append(reader)

    def watch(self, announced: Told) -> MemoryWatch:
        """Call `announced`, in the loop's next turn, with what becomes of interfaces."""
        told = weakly(announced) if inspect.ismethod(announced) else announced
        opened = MemoryWatch(told, lambda call: self.call_later(0, call))
        self._watches.add(opened)
        self._station.watchers.add(opened)
        return opened

    def add(self, reader: MemoryReader) -> None:
        """Read `reader` from the next loop turn on, unless its socket's failures make it rest."""
        if reader not in self._resting:
            self._set.add(reader)
            self.go_on()

    def discard(self, reader: MemoryReader) -> None:
        """Read `reader` no more for now."""
        timer = self._resting.get(reader)
        if timer is not None:
            timer.cancel()
            del self._resting[reader]
        self._set.discard(reader)

    def forget(self, reader: MemoryReader) -> None:
        """Give up its place."""
        timer = self._resting.pop(reader, None)
        if timer is not None:
            timer.cancel()
        self._set.forget(reader)

    def follow_end(self, ended: Callable[[Exception | None], None]) -> None:
        """Do nothing: there is no end to what can be sent."""

    def is_over(self, reader: Reader) -> bool:
        """Return False: more may come."""
        return False

    def pause(self) -> None:
        """Read nothing until `resume`; the buffers fill."""
        self._set.is_stopped = True

    def resume(self) -> None:
        """End a pause."""
        self._set.is_stopped = self._closed
        self.go_on()

    def close(self) -> None:
        """Stop for good. The sockets stay open."""
        self._closed = self._set.is_stopped = True
        self._running.discard(self)
        while self._watches:
            self._watches.pop().close()
        for timer in tuple(self._resting.values()):
            if timer is not None:
                timer.cancel()
        self._resting.clear()
        self._set.clear()

    def abandon(self) -> None:
        """Stop for good and close the sockets, from whichever thread."""
        readers = self._set.readers
        self.close()
        for reader in readers:
            reader.close()

    def go_on(self) -> None:
        """Read in the next loop turn where something is to be read."""
        if not self._goes_on and not self._set.is_stopped and self._set.is_pending:
            with contextlib.suppress(RuntimeError):  # the loop has closed, and nobody reads any more
                self._loop.call_soon(self._next_turn)
                self._goes_on = True

    def _next_turn(self) -> None:
        self._goes_on = False
        if self._set.is_stopped:
            return
        self._wire.happened += 1
        try:
            self._set.read(bounds.READ_PER_TURN)
        finally:
            self._let_rest()
            self.go_on()

    def _let_rest(self) -> None:
        for reader, error in self._set.failing:
            if error.errno == errno.EBADF:
                self._resting[reader] = None
                self._set.forget(reader)
            elif reader.failures > 1:
                self._set.discard(reader)
                self._resting[reader] = self.call_later(rest(reader.failures), partial(self._rested, reader))

    def _rested(self, reader: MemoryReader) -> None:
        del self._resting[reader]
        self.add(reader)
