"""Reading by an event loop that has `add_reader`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable

from ..reading import Reader, ReadSet
from ..reading.options import SHARED_STAMPS
from ..rfc3678.refusals import refusals

__all__ = ["ReadLoop", "can_watch"]

BUDGET = 512
"""Datagrams read per wake-up, about: then the other tasks of the loop have their turn."""


_FIRST_REST = 0.01  # seconds until a socket is read again whose reads fail, doubled up to the longest
_LONGEST_REST = 1.0
_FATAL = frozenset({errno.EBADF, errno.ENOTSOCK})
"""What a socket reports that somebody has closed: it will never be read again."""


class ReadLoop:
    """Reads the readers added to it whenever the loop says that one of them is readable.

    Only making it and `reserve` can be refused by the system.
    """

    reader = Reader
    shared_stamps = SHARED_STAMPS

    def __init__(self, loop: asyncio.AbstractEventLoop, budget: int = BUDGET) -> None:
        self._loop = loop
        self._budget = budget
        self._paused = self._closed = self._goes_on = False
        self._resting: dict[Reader, asyncio.TimerHandle | None] = {}  # None: for ever
        with refusals("watching sockets"):
            self._set = ReadSet()
            self._watched = -1
            try:
                self._watch()
            except BaseException:
                self._set.close()
                raise

    def reserve(self, reader: Reader) -> None:
        """Keep a place for `reader`, so that `add` cannot be refused. OSError when the system refuses."""
        self._set.reserve(reader)
        self._follow()
        reader.sock.taken_away = lambda: self._taken_away(reader)

    def _taken_away(self, reader: Reader) -> None:
        """Take note that somebody else closes the socket, while it can still be taken out."""
        self.forget(reader)
        reader.failed(OSError(errno.EBADF, os.strerror(errno.EBADF)))

    def add(self, reader: Reader) -> None:
        """Read `reader` from the next loop turn on."""
        if reader not in self._resting:
            self._set.add(reader)
            if reader.lanes is not None:
                self._go_on()

    def discard(self, reader: Reader) -> None:
        """Read `reader` no more for now."""
        timer = self._resting.get(reader)
        if timer is not None:
            timer.cancel()
            del self._resting[reader]
        self._set.discard(reader)

    def forget(self, reader: Reader) -> None:
        """Give up its place. Call it before its socket closes."""
        reader.sock.taken_away = None
        timer = self._resting.pop(reader, None)
        if timer is not None:
            timer.cancel()
        self._set.forget(reader)
        self._follow()

    def call_soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Call in the loop's next turn, from whichever thread; never where the loop has closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    def pause(self) -> None:
        """Read nothing until `resume`; the kernel's buffers fill."""
        if not self._paused:
            self._paused = True
            self._loop.remove_reader(self._watched)

    def resume(self) -> None:
        """End a pause."""
        if self._paused and not self._closed:
            self._paused = False
            self._loop.add_reader(self._watched, self._ready)
            self._go_on()

    def close(self) -> None:
        """Stop for good. The sockets stay open."""
        if self._closed:
            return
        self._closed = self._paused = True
        for timer in self._resting.values():
            if timer is not None:
                timer.cancel()
        self._unwatch()
        self._set.close()

    def _watch(self) -> None:
        self._watched = self._set.fileno()
        if _KEEPS_PLACE:
            self._loop.add_writer(self._watched, _nothing)
        if not self._paused:
            self._loop.add_reader(self._watched, self._ready)

    def _unwatch(self) -> None:
        self._loop.remove_reader(self._watched)
        if _KEEPS_PLACE:
            self._loop.remove_writer(self._watched)

    def _follow(self) -> None:
        """Watch the set's new descriptor where it had to make one."""
        if self._set.fileno() != self._watched and not self._closed:
            self._unwatch()
            self._watch()
            self._set.renewed()

    def _ready(self) -> None:
        try:
            self._set.read(self._budget)
        finally:
            if self._set.failing:
                self._let_rest()
            self._go_on()

    def _go_on(self) -> None:
        """Read once more in the next loop turn where packets are due although no socket is readable."""
        if not self._goes_on and not self._paused and self._set.is_pending:
            self._goes_on = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._goes_on = False
        if not self._paused:
            self._ready()

    def _let_rest(self) -> None:
        for reader, error in self._set.failing:
            if error.errno in _FATAL:
                self._resting[reader] = None
                self._set.forget(reader)
            elif reader.failures > 1:
                self._set.discard(reader)
                seconds = min(_FIRST_REST * 2 ** (reader.failures - 2), _LONGEST_REST)
                self._resting[reader] = self._loop.call_later(seconds, self._rested, reader)
        self._follow()

    def _rested(self, reader: Reader) -> None:
        del self._resting[reader]
        self._set.add(reader)


# A descriptor that is taken out of an event loop and put back needs a new place in the loop's epoll
# set, and the system may refuse it. So it stays in, as one to be told of when it can be written to,
# which an epoll set never can.
_KEEPS_PLACE = sys.platform == "linux"


def _nothing() -> None:
    """Never called."""


def can_watch(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` has `add_reader`, and the system a set of sockets that can itself be watched."""
    if sys.platform == "win32":
        return False
    with refusals("looking what the event loop can do"):
        one, other = socket.socketpair()
    with one, other:
        try:
            loop.remove_reader(one)
        except NotImplementedError:
            return False
        return True
