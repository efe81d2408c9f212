"""What every way of reading in an event loop has in common."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

from ..errors import StateError
from ..reading import contract
from ..reading.buffers import give_buffer
from ..rfc3678.refusals import refusals
from ..system.sockets import MulticastSocket, opening
from ..values.filters import SourceFilter
from ..values.interface import Interface
from ..values.options import Options
from .watching import PeriodicWatch, Told

__all__ = ["InLoop", "rest", "weakly"]

R = TypeVar("R", bound=contract.Reader)
P = ParamSpec("P")


_FIRST_REST = 0.01  # seconds until a socket is read again whose reads fail, doubled up to the longest
_LONGEST_REST = 1.0


def rest(failures: int) -> float:
    """Return the seconds that a socket rests whose last `failures` reads, 2 or more, have failed."""
    return min(_FIRST_REST * 2.0 ** (failures - 2), _LONGEST_REST)


def weakly(method: Callable[P, None]) -> Callable[P, None]:
    """Return a call of a bound method that does not keep its object alive, and does nothing after it."""
    held = weakref.WeakMethod(method)

    def call(*arguments: P.args, **keywords: P.kwargs) -> None:
        alive = held()
        if alive is not None:
            alive(*arguments, **keywords)

    return call


class _Place(Generic[R]):
    """See `contract.Place`: one reader's, in one loop."""

    __slots__ = ("_loop", "_reader")

    def __init__(self, loop: InLoop[R], reader: R) -> None:
        self._loop = loop
        self._reader = reader

    def add(self) -> None:
        """Read it from the next loop turn on; nothing happens once the place was given up."""
        self._loop._add(self._reader)

    def discard(self) -> None:
        """Read it no more for now."""
        self._loop._discard(self._reader)

    def forget(self) -> None:
        """Give the place up; nothing happens if it was."""
        self._loop._forget(self._reader)


class InLoop(ABC, Generic[R]):
    """A `contract.Reading` in `loop`, but for who wakes the reading: a subclass knows that.

    `_placed` are the readers that have a place.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()  # in which it was last seen to run
        self._placed: set[R] = set()
        self._watches: set[contract.Watch] = set()

    def check(self) -> None:
        """Raise a StateError unless its event loop runs in this thread, and no other."""
        # What runs here is asked for last: on Python 3.11 that is a system call.
        if self._thread == threading.get_ident() and self._loop.is_running():
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            raise StateError(
                "its event loop does not run in this thread",
                "hand the call to it: asyncio.run_coroutine_threadsafe, or loop.call_soon_threadsafe",
            ) from None
        if running is not self._loop:
            raise StateError("it belongs to another event loop", "make and use it in one event loop")
        self._thread = threading.get_ident()

    @staticmethod
    def time_ns() -> int:
        """Return the time of the clock that stamps packets."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return the time of the clock that `call_later` goes by, in seconds."""
        return time.monotonic()  # a loop may keep the time of its last turn

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call in the loop's next turn, from whichever thread; never where the loop has closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    def call_later(self, seconds: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        """Call once `seconds` have passed."""
        return self._loop.call_later(seconds, call)

    def watch(self, announced: Told) -> contract.Watch:
        """Call `announced` with what becomes of interfaces, addresses and routes. See `contract.Reading`."""
        opened = self._opened_watch(weakly(announced) if inspect.ismethod(announced) else announced)
        self._watches.add(opened)
        return opened

    def _opened_watch(self, told: Told) -> contract.Watch:
        return PeriodicWatch(self._loop, told)

    def _end_watches(self) -> None:
        while self._watches:
            self._watches.pop().close()

    def follow_end(self, ended: Callable[[Exception | None], None]) -> None:
        """Do nothing: what a system may receive has no end."""

    def is_over(self, reader: contract.Reader) -> bool:
        """Return False: more may come."""
        return False

    async def prepare(self, group: str, port: int) -> None:
        """Return at once: a system joins in one call."""

    async def closed(self) -> None:
        """Return at once: there is nothing beside the sockets."""

    def open(
        self,
        group: str,
        port: int,
        interface: Interface,
        wanted: SourceFilter,
        options: Options,
        into: list[contract.Reader],
        sock: socket.socket | int | None = None,
    ) -> None:
        """Append to `into` a reader of a new socket, which is a member of nothing yet and has a place.

        `port` 0 and `sock` are as for `open_socket`. RefusedError when the system refuses,
        UnsupportedError for options that cannot be met here; whatever is raised, `into` is as before
        and the socket is closed, or a `sock` left as it was.
        """
        asked = options.socket_options
        with opening(group, port, interface, sock=sock, socket_options=asked) as opened:
            try:
                give_buffer(opened, options, is_adopted=sock is not None)
                reader = self._reader_of(opened, wanted, options)
                into.append(reader)
                with refusals(f"watching a socket of {group} port {opened.port}"):
                    self.reserve(reader)
            except BaseException:
                if into and into[-1].sock is opened:
                    failed = into.pop()
                    if failed.place is not None:
                        failed.place.forget()
                    failed.close()
                raise

    def reserve(self, reader: R) -> contract.Place:
        """Give `reader` its place and return it. OSError when the system refuses."""
        place = _Place(self, reader)
        reader.place = place
        self._placed.add(reader)
        try:
            self._reserve(reader)
        except BaseException:
            place.forget()
            raise
        return place

    @abstractmethod
    def _reader_of(self, sock: MulticastSocket, wanted: SourceFilter, options: Options) -> R:
        """Return a new reader of `sock`."""

    @abstractmethod
    def _reserve(self, reader: R) -> None:
        """See to it that `_add` cannot be refused. OSError when the system refuses."""

    @abstractmethod
    def _add(self, reader: R) -> None:
        """Read `reader`, if it has a place, from the next loop turn on."""

    @abstractmethod
    def _discard(self, reader: R) -> None:
        """Read `reader` no more for now."""

    @abstractmethod
    def _forget(self, reader: R) -> None:
        """Give up its place, if it has one."""
