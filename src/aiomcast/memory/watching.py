"""Being told, in an event loop, what becomes of the interfaces of a host in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, final

from ..reading.contract import Timer
from ..values.links import Announcement

__all__ = ["MemoryWatch", "Told"]

Told: TypeAlias = Callable[[Sequence[Announcement]], None]


@final
class MemoryWatch:
    """Keeps `reading.contract.Watch`: tells in the loop's next turn what was announced until then."""

    def __init__(self, told: Told, call_soon: Callable[[Callable[[], object]], Timer]) -> None:
        self._told: Told | None = told
        self._call_soon = call_soon
        self._timer: Timer | None = None
        self._heard: list[Announcement] = []

    def hear(self, announcement: Announcement) -> None:
        """Take note of something, to tell it."""
        if self._told is not None:
            self._heard.append(announcement)
            if self._timer is None:
                self._timer = self._call_soon(self._tell)

    def follow_routes(self, wanted: bool) -> None:
        """Do nothing: a host in memory has no routes that could change."""

    def close(self) -> None:
        """Tell nothing more."""
        self._told = None
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        heard, self._heard = self._heard, []
        if self._told is not None:
            self._told(heard)
