"""`EventStream`: events as an async iterator."""

from __future__ import annotations

from collections.abc import Callable

from ..values.events import Event
from .streams import Stream

__all__ = ["EventStream"]

_EVENTS_KEPT = 1024


class EventStream(Stream[Event]):
    """Events from the moment it was made; beyond 1,024 that nobody took, the oldest go."""

    def __init__(self, closed: Callable[[EventStream], None]) -> None:
        super().__init__(_EVENTS_KEPT)
        self._closed = closed

    def end(self) -> None:
        """What `aclose` does, without a loop turn."""
        super().end()
        self._closed(self)

    def put(self, event: Event) -> None:
        """Queue one event."""
        self.feed([event])
        self.drop_oldest(len(self) - self.capacity)
