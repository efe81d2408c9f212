"""Waiting for several streams at once."""

from __future__ import annotations

import asyncio
from typing import final

from ..errors import StateError
from ..loops.in_loop import weakly
from .packet_stream import PacketStream

__all__ = ["AnyOf"]


@final
class AnyOf:
    """One task's waits for any of several streams: each takes one future, and many of them one timer."""

    __slots__ = ("__weakref__", "_streams", "_timer", "_turn", "_waiter")

    def __init__(self) -> None:
        self._streams: tuple[PacketStream, ...] = ()  # all of which were asked if waiting would be in vain
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None  # of this wait, or of one before it
        self._turn: asyncio.TimerHandle | None = None  # of this wait

    @property
    def is_waiting(self) -> bool:
        """Whether a wait has begun and not ended."""
        return self._waiter is not None

    def begin(self, streams: tuple[PacketStream, ...], seconds: float | None) -> asyncio.Future[None]:
        """Return a future that is done when one of these gets an item, an error or an end, or in `seconds`.

        There is one stream at least. `end` has to follow, whatever becomes of the future. It may be done
        before that; and after `seconds` only where a wait that was begun earlier had longer. With 0 the loop
        has a turn, in which what has come to sockets is read.

        StateError where another task waits on a stream, or waiting would be in vain.
        """
        for stream in streams:
            if stream._waiter is not None:
                raise StateError(
                    f"another task is waiting on {stream!r}", "give each task its own: packets()"
                )
        waiter = streams[0]._new_waiter()
        if streams is not self._streams:
            for stream in streams[1:]:
                stream._new_waiter()
            self._streams = streams
        if seconds is not None:
            if seconds <= 0:
                self._turn = waiter.get_loop().call_later(0, _end, waiter)
            elif self._timer is None:
                self._timer = waiter.get_loop().call_later(seconds, weakly(self._on_time))
        self._waiter = waiter
        for stream in streams:
            stream._waiter = waiter
        return waiter

    def end(self) -> None:
        """End the wait."""
        self._waiter = None
        for stream in self._streams:
            stream._waiter = None
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _on_time(self) -> None:
        self._timer = None
        if self._waiter is not None:
            _end(self._waiter)


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
