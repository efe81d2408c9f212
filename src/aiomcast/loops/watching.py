"""Being told, in an event loop, what becomes of interfaces: as the kernel announces it, or now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias, final

from ..rfc3678.refusals import refusals
from ..system.announcements import Announcements
from ..values.links import Announcement, Missed

__all__ = ["AnnouncementWatch", "PeriodicWatch", "Told"]

Told: TypeAlias = Callable[[Sequence[Announcement]], None]

_GATHERED = 0.01  # seconds, within which nearly all comes that one change brings about
_BETWEEN_LOOKS = 1.0  # seconds


@final
class AnnouncementWatch:
    """Tells what the kernel announces: a `contract.Watch` for a loop that has `add_reader`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, told: Told) -> None:
        self._loop = loop
        self._told = told
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._announcements = Announcements()
        try:
            self._await_more()
        except BaseException:
            self._announcements.close()
            raise

    def follow_routes(self, wanted: bool) -> None:
        """See `contract.Watch`."""
        if not self._is_closed:
            self._announcements.follow_routes(wanted)

    def close(self) -> None:
        """See `contract.Watch`."""
        if not self._is_closed:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
            try:
                self._loop.remove_reader(self._announcements.fileno())
            finally:  # also of a loop that has closed
                self._announcements.close()

    def _await_more(self) -> None:
        with refusals("watching announcements of interfaces"):
            self._loop.add_reader(self._announcements.fileno(), self._gather)

    def _gather(self) -> None:
        self._loop.remove_reader(self._announcements.fileno())
        self._timer = self._loop.call_later(_GATHERED, self._tell)

    def _tell(self) -> None:
        self._timer = None
        found = self._announcements.read()
        self._await_more()
        if found:
            self._told(found)


@final
class PeriodicWatch:
    """Tells once a second that everything has to be compared: for where nothing is announced."""

    def __init__(self, loop: asyncio.AbstractEventLoop, told: Told) -> None:
        self._loop = loop
        self._told = told
        self._timer = loop.call_later(_BETWEEN_LOOKS, self._tell)

    def follow_routes(self, wanted: bool) -> None:
        """See `contract.Watch`. They are looked at in any case."""

    def close(self) -> None:
        """See `contract.Watch`."""
        self._timer.cancel()

    def _tell(self) -> None:
        self._timer = self._loop.call_later(_BETWEEN_LOOKS, self._tell)
        self._told([Missed()])
