"""`EventQueue`: what happens, as an async iterator with a limit; `Audience`: all of them that are open."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar, final

from ..values import bounds
from .stream import Stream

__all__ = ["Audience", "EventQueue"]

E = TypeVar("E")


class EventQueue(Stream[E]):
    """A stream of events with a limit: where it is full the oldest go."""

    def __init__(self, new_future: Callable[[], asyncio.Future[None]]) -> None:
        super().__init__(bounds.EVENTS)
        self._new_future = new_future

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'closed, ' if self._ended else ''}{len(self)} queued>"

    def __del__(self) -> None:
        if not getattr(self, "_ended", True):
            self._forgotten()

    def _new_waiter(self) -> asyncio.Future[None]:
        return self._new_future()

    def _put(self, event: E) -> None:
        self._feed([event])
        self._drop_oldest(len(self) - self.capacity)


@final
class Audience(Generic[E]):
    """The event streams of one teller, held weakly."""

    __slots__ = ("_streams",)

    def __init__(self) -> None:
        self._streams: tuple[weakref.ref[EventQueue[E]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self._streams)

    def add(self, stream: EventQueue[E]) -> None:
        """Tell it too, and those no more that have gone or were closed."""
        self._streams = (*(one for one in self._streams if _open(one) is not None), weakref.ref(stream))

    def tell(self, event: E) -> None:
        """Hand it to each."""
        for one in self._streams:
            if (stream := _open(one)) is not None:
                stream._put(event)

    def end(self) -> None:
        """End them."""
        for one in self._streams:
            if (stream := one()) is not None:
                stream._end()


def _open(one: weakref.ref[EventQueue[E]]) -> EventQueue[E] | None:
    stream = one()
    return None if stream is None or stream._ended else stream
