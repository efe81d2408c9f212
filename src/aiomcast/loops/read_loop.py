"""Reading in an event loop: by itself where it has `add_reader`, else with a thread that waits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import weakref
from collections.abc import Sequence

from ..errors import UnsupportedError
from ..reading import Reader, ReadSet
from ..reading.contract import Watch
from ..reading.options import SHARED_STAMPS, are_stamps_told
from ..rfc3678.refusals import refusals
from ..system.sockets import MulticastSocket
from ..values import bounds
from ..values.filters import SourceFilter
from ..values.options import Options
from .in_loop import InLoop, rest, weakly
from .waking import ByLoop, ByThread, Waking
from .watching import PeriodicWatch, SharedWatch, Told

__all__ = ["ReadLoop"]

_FATAL = frozenset({errno.EBADF, errno.ENOTSOCK})
"""What a socket reports that somebody has closed: it will never be read again."""


# The sockets that have a place. A garbage collector that finds a loop and its sockets forgotten finalizes
# them in an order of its own: held from here, no socket goes before `abandon` has closed it.
_anchored: set[MulticastSocket] = set()


class ReadLoop(InLoop[Reader]):
    """Reads the readers added to it whenever the loop says that one of them is readable.

    Only making it, `open` and `reserve` can be refused by the system. With `is_held` the loop keeps
    it alive, and through it the readers and their sinks, until `close`; else it does not, and who
    lets go of it calls `close` or `abandon` before.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, budget: int = bounds.READ_PER_TURN, *, is_held: bool = False
    ) -> None:
        super().__init__(loop)
        self._paused = self._closed = self._goes_on = False
        self._resting: dict[Reader, asyncio.TimerHandle | None] = {}  # None: for ever
        with refusals("watching sockets"):
            self.shared_stamps: bool = SHARED_STAMPS and are_stamps_told()
            """Whether two sockets see the same time of arrival for the same packet."""
            self._set = ReadSet()
            self._read = self._set.reading(budget, self._after if is_held else weakly(self._after), is_held)
            try:
                self._watch()
            except BaseException:
                self._set.close()
                raise

    def pause(self) -> None:
        """Read nothing until `resume`; the kernel's buffers fill."""
        if not self._paused:
            self._paused = True
            self._waking.pause()

    def resume(self) -> None:
        """End a pause."""
        if self._paused and not self._closed:
            self._paused = False
            self._waking.begin()
            self._go_on()

    def close(self) -> None:
        """Stop for good, in the loop's thread. The sockets stay open."""
        if self._closed:
            return
        self._closed = self._paused = True
        self._end_watches()
        for timer in self._resting.values():
            if timer is not None:
                timer.cancel()
        self._waking.end()
        self._set.close()
        _anchored.difference_update(reader.sock for reader in self._placed)

    def abandon(self) -> None:
        """Stop for good and close the sockets, from whichever thread: nobody holds it any more.

        The sockets are closed objects at once. Their descriptors, and the one that is watched, close
        in the loop's next turn, or now where the loop has closed.
        """
        descriptors = []
        for reader in tuple(self._placed):
            descriptors.append(reader.sock.fileno())
            reader.sock.abandon()
            _anchored.discard(reader.sock)
        self._placed.clear()
        self._set.stop()  # the event loop watches it still
        watched = [] if self._closed else [(self._waking, self._set)]
        self._closed = self._paused = True
        timers = [timer for timer in self._resting.values() if timer is not None]
        left = _Left(watched, timers, descriptors, self._watches)
        try:
            self._loop.call_soon_threadsafe(left.close)
        except RuntimeError:  # the loop has closed
            left.close()

    def _opened_watch(self, told: Told) -> Watch:
        try:
            return SharedWatch(self._loop, told)
        except (UnsupportedError, NotImplementedError):  # no netlink, as in a sandbox, or no add_reader
            return PeriodicWatch(self._loop, told)

    def _reader_of(self, sock: MulticastSocket, wanted: SourceFilter, options: Options) -> Reader:
        return Reader(sock, wanted, ancillary=options.ancillary, gro=options.gro)

    def _reserve(self, reader: Reader) -> None:
        self._set.reserve(reader)
        self._follow()
        tell, held = weakly(self._taken_away), weakref.ref(reader)
        reader.sock.taken_away = lambda: tell(held())
        _anchored.add(reader.sock)

    def _taken_away(self, reader: Reader | None) -> None:
        """Give up the place of a socket that somebody else closes, while the set can still let go of it."""
        if reader is None:
            return
        self._forget(reader)
        reader.failed(OSError(errno.EBADF, os.strerror(errno.EBADF)))

    def _add(self, reader: Reader) -> None:
        if self._closed or reader not in self._placed or reader in self._resting:
            return
        self._begin(reader)
        if reader.lanes is not None:
            self._go_on()

    def _begin(self, reader: Reader) -> None:
        """Have it read; somebody has closed its descriptor where the system refuses that."""
        try:
            self._set.add(reader)
            self._waking.changed()
        except OSError as error:
            self._resting[reader] = None
            self._set.forget(reader)
            self._follow()
            reader.failed(error)

    def _discard(self, reader: Reader) -> None:
        timer = self._resting.get(reader)
        if timer is not None:
            timer.cancel()
            del self._resting[reader]
        self._set.discard(reader)

    def _forget(self, reader: Reader) -> None:
        if reader not in self._placed:
            return
        self._placed.discard(reader)
        reader.sock.taken_away = None
        _anchored.discard(reader.sock)
        timer = self._resting.pop(reader, None)
        if timer is not None:
            timer.cancel()
        self._set.forget(reader)
        self._follow()

    def _watch(self) -> None:
        self._watched = self._set.fileno()
        self._waking = self._made_waking()
        if not self._paused:
            self._waking.begin()

    def _made_waking(self) -> Waking:
        if self._watched >= 0:
            try:
                self._loop.remove_reader(self._watched)
            except NotImplementedError:
                pass
            else:
                return ByLoop(self._loop, self._watched, self._read)
        return self._by_thread()

    def _by_thread(self) -> ByThread:
        waited_for = weakref.WeakMethod(self._waited_for)
        return ByThread(self._loop, lambda: of() if (of := waited_for()) is not None else (), self._read)

    def _waited_for(self) -> Sequence[int]:
        number = self._set.fileno()
        return [number] if number >= 0 else self._set.waited_for()

    def _follow(self) -> None:
        """Watch the set's new descriptor where it had to make one."""
        if self._set.fileno() != self._watched and not self._closed:
            self._waking.end()
            self._watch()
            self._set.renewed()

    def _after(self) -> None:
        """See to what a read has left."""
        if self._set.failing:
            self._let_rest()
        self._go_on()

    def _go_on(self) -> None:
        """Read once more in the next loop turn where packets are due although no socket is readable."""
        if not self._goes_on and not self._paused and self._set.is_pending:
            self._goes_on = True
            self._loop.call_soon(weakly(self._next_turn))

    def _next_turn(self) -> None:
        self._goes_on = False
        if not self._paused:
            self._read()

    def _let_rest(self) -> None:
        for reader, error in self._set.failing:
            if error.errno in _FATAL:
                self._resting[reader] = None
                self._set.forget(reader)
            elif reader.failures > 1:
                self._set.discard(reader)
                self._resting[reader] = self._loop.call_later(
                    rest(reader.failures), weakly(self._rested), reader
                )
        self._follow()

    def _rested(self, reader: Reader) -> None:
        del self._resting[reader]
        self._begin(reader)


class _Left:
    """What an abandoned loop has left open, until it is closed in the loop's thread."""

    def __init__(
        self,
        sets: list[tuple[Waking, ReadSet]],
        timers: list[asyncio.TimerHandle],
        descriptors: list[int],
        watches: set[Watch],
    ) -> None:
        self._sets = sets  # that which is watched still, or none
        self._timers = timers
        self._descriptors = descriptors
        self._watches = watches

    def close(self) -> None:
        """Close it, once."""
        while self._timers:
            self._timers.pop().cancel()
        while self._watches:
            with contextlib.suppress(RuntimeError):  # the loop has closed
                self._watches.pop().close()
        while self._sets:
            waking, watched = self._sets.pop()
            with contextlib.suppress(RuntimeError):  # the loop has closed
                waking.end()
            watched.close()
        while self._descriptors:
            number = self._descriptors.pop()
            if number >= 0:
                with contextlib.suppress(OSError):  # somebody has closed it
                    socket.close(number)

    def __del__(self) -> None:  # the loop has closed before it came to it
        self.close()
