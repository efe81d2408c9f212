"""`Stream`: a queue as an async iterator, which ends when it is closed."""

from __future__ import annotations

import asyncio
import warnings
from typing import Self, TypeVar

from ..errors import StateError
from ..reading import PacketQueue
from ..values.closing import Closing

__all__ = ["Stream"]

T = TypeVar("T")


class Stream(PacketQueue[T], Closing):
    """Items in order, awaited by one task at a time, until it is closed.

    `async for` goes on where it stopped. An async context manager, which closes it at the end.
    One that is dropped without having been closed is a ResourceWarning; nothing more is put in.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._waits_by_future = True
        self._ended = False
        self._error: Exception | None = None

    def __aiter__(self) -> Self:
        return self

    async def receive(self) -> T:
        """Return the next item, waiting for it.

        StateError once the stream is closed and empty, or while another task waits; else what
        iterating raises. It can be cancelled, or time out, and loses nothing then.
        """
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise self._closed_error() from None

    def receive_nowait(self) -> T:
        """Return the next item. StateError when nothing is queued, or another task waits for it."""
        if self._waiter is not None:
            raise StateError("another task is waiting on this stream", "give each task its own: packets()")
        if self._advance():
            return self._take()
        self._raise_error()
        if self._ended:
            raise self._closed_error()
        raise StateError("nothing is queued", "await receive()")

    async def aclose(self) -> None:
        """End the stream: nothing is queued any more, iterations end after what is queued."""
        self._end()

    def _end(self) -> None:
        self._ended = True
        if self._waiter is not None:
            self._wake()

    def _fail(self, error: Exception) -> None:
        """Raise `error` in the iteration once what is queued has been received."""
        if self._error is None:  # the first is the cause
            self._error = error
        if self._waiter is not None:
            self._wake()

    def _begin_waiting(self) -> asyncio.Future[None]:
        """Return a future that is done when it is worth looking again.

        StopAsyncIteration when nothing will ever come, a StateError where waiting would be in vain.
        """
        self._raise_error()
        if self._ended:
            raise StopAsyncIteration
        waiter = self._new_waiter()
        self._waiter = waiter
        return waiter

    def _raise_error(self) -> None:
        """Raise what was to be raised once all that was queued has been received, once."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _wake(self) -> None:
        waiter = self._waiter
        if isinstance(waiter, asyncio.Future) and not waiter.done():
            waiter.set_result(None)

    def _new_waiter(self) -> asyncio.Future[None]:
        """Return a future of the loop in which this is awaited. StateError where that is a wrong one."""
        raise AssertionError("a stream knows where it is awaited")

    def _closed_error(self) -> StateError:
        return StateError(f"{self!r} is closed", "open another one")

    def _forgotten(self) -> None:
        """Warn of a stream that was dropped open. Called last: a warning may be an exception."""
        warnings.warn(
            f"{self!r} was never closed: use `async with`, or aclose()", ResourceWarning, 2, source=self
        )
