"""Who says that a set of sockets can be read: the event loop that watches it, or a thread that waits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol, final
from weakref import WeakKeyDictionary

from ..system.readiness import alarm, ready

__all__ = ["ByLoop", "ByThread", "Waking"]

_KEEPS_PLACE = sys.platform == "linux"
_AFTER_A_FAILURE = 0.05  # seconds
_LOOKS = 5.0  # seconds, after which it sees that the loop has closed though nothing has come


class Waking(Protocol):
    """Who calls when one of some sockets can be read, between `begin` and `pause`."""

    def begin(self) -> None:
        """Call from now on. OSError when the system refuses, which it does at the first time alone."""

    def pause(self) -> None:
        """Call no more for now."""

    def end(self) -> None:
        """Call no more, for good; from whichever thread, if the event loop has closed."""

    def changed(self) -> None:
        """Take note that there is one more socket."""


@final
class ByLoop:
    """By `add_reader`: the event loop watches the one descriptor that there is for all of them.

    A descriptor that is taken out of an event loop and put back needs a new place in the loop's epoll
    set, and the system may refuse it. So on Linux it stays in, as one to be told of when it can be written
    to, which an epoll set never can.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int, call: Callable[[], None]) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._call = call
        if _KEEPS_PLACE:
            loop.add_writer(descriptor, _nothing)

    def begin(self) -> None:
        """See `Waking`."""
        self._loop.add_reader(self._descriptor, self._call)

    def pause(self) -> None:
        """See `Waking`."""
        self._loop.remove_reader(self._descriptor)

    def end(self) -> None:
        """See `Waking`."""
        self._loop.remove_reader(self._descriptor)
        if _KEEPS_PLACE:
            self._loop.remove_writer(self._descriptor)

    def changed(self) -> None:
        """Do nothing: the descriptor stands for all of them."""


def _nothing() -> None:
    """Never called."""


@final
class ByThread:
    """By a thread that waits, for an event loop that watches no descriptors; there is one for each loop.

    `waited_for` returns the descriptors, from that thread. Once one of them can be read `call` is called in
    the loop's thread, and only when it has returned the thread waits for them again. Both are held as long
    as it calls, so that whoever is to be forgotten gives weak ones.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        waited_for: Callable[[], Sequence[int]],
        call: Callable[[], None],
    ) -> None:
        self.waited_for = waited_for
        self._call = call
        self._is_on = self._is_called = False
        self._waiter = _Waiter.of(loop)
        self._waiter.users.add(self)

    def begin(self) -> None:
        """See `Waking`."""
        self._is_on = True
        if not self._is_called:
            self._waiter.wait_for(self)

    def pause(self) -> None:
        """See `Waking`."""
        self._is_on = False
        self._waiter.forget(self)

    def end(self) -> None:
        """See `Waking`."""
        self.pause()
        self._waiter.users.discard(self)
        if not self._waiter.users:
            self._waiter.end()

    def changed(self) -> None:
        """See `Waking`."""
        self._waiter.ring()

    def called(self) -> None:
        """Note, in the thread, that a call is on its way."""
        self._is_called = True

    def turn(self) -> None:
        """Call, in the loop's thread, and wait again."""
        self._is_called = False
        if not self._is_on:
            return
        try:
            self._call()
        finally:
            if self._is_on:
                self._waiter.wait_for(self)


@final
class _Waiter:
    """The thread of one event loop. It ends with the last of its `users`, or with the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.users: set[ByThread] = set()
        self._loop = weakref.ref(loop)
        self._waits: dict[ByThread, None] = {}  # what is done with it is one step each: no lock
        self._is_over = False
        self._bell, self._rung = alarm()
        try:
            threading.Thread(target=self._run, name="aiomcast: waits for sockets", daemon=True).start()
        except RuntimeError as error:
            self._bell.close()
            self._rung.close()
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> _Waiter:
        """Return that of `loop`, made if it is the first. OSError when the system refuses."""
        found = _waiters.get(loop)
        if found is None or found._is_over:
            found = _waiters[loop] = _Waiter(loop)
        return found

    def wait_for(self, one: ByThread) -> None:
        """Wait for `one`, until it can be read."""
        self._waits[one] = None
        self.ring()

    def forget(self, one: ByThread) -> None:
        """Wait for it no more."""
        if self._waits.pop(one, self) is None:
            self.ring()

    def ring(self) -> None:
        """Have the thread look again at what it waits for."""
        with contextlib.suppress(OSError):  # it is full of rings, or has ended
            self._bell.send(b"\0")

    def end(self) -> None:
        """Have the thread end."""
        self._is_over = True
        self.ring()

    def _run(self) -> None:
        with self._bell, self._rung:
            while not self._is_over and self._is_wanted():
                self._wait()
        self._is_over = True
        self._waits.clear()
        self.users.clear()

    def _is_wanted(self) -> bool:
        loop = self._loop()
        return loop is not None and not loop.is_closed()

    def _wait(self) -> None:
        waits = {one: frozenset(one.waited_for()) for one in self._waits.copy()}
        rung = self._rung.fileno()
        try:
            found = ready({rung}.union(*waits.values()), _LOOKS)
        except OSError:  # for want of memory
            found = ready([rung], _AFTER_A_FAILURE)
        if rung in found:
            with contextlib.suppress(BlockingIOError):
                while self._rung.recv(4096):
                    pass
        for one, numbers in waits.items():
            if not numbers.isdisjoint(found) and self._waits.pop(one, self) is None:
                self._hand_over(one)

    def _hand_over(self, one: ByThread) -> None:
        one.called()
        loop = self._loop()
        with contextlib.suppress(RuntimeError):  # the loop has closed
            if loop is not None:
                loop.call_soon_threadsafe(one.turn)


_waiters: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiter] = WeakKeyDictionary()
