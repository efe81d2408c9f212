"""Being told, in an event loop, what becomes of interfaces: as the kernel announces it, or now and then."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Sequence
from typing import TypeAlias, final
from weakref import WeakKeyDictionary

from ..errors import MulticastError, RefusedError
from ..rfc3678.refusals import refusals
from ..system.announcements import Announcements
from ..values.links import Announcement, Missed

__all__ = ["AnnouncementWatch", "PeriodicWatch", "SharedWatch", "Told"]

Told: TypeAlias = Callable[[Sequence[Announcement]], None]

_GATHERED = 0.01  # seconds, within which nearly all comes that one change brings about
_BETWEEN_LOOKS = 1.0  # seconds


@final
class AnnouncementWatch:
    """Tells what the kernel announces: a `contract.Watch` for a loop that has `add_reader`.

    Nothing that the system refuses later ends it: it then tells that everything has to be compared, and
    listens anew a second later.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, told: Told) -> None:
        self._loop = loop
        self._told = told
        self._heard: list[Announcement] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = self._follows_routes = False
        self._announcements: Announcements | None = None
        self._listen()

    def follow_routes(self, wanted: bool) -> None:
        """See `contract.Watch`."""
        if self._announcements is not None and wanted is not self._follows_routes:
            self._announcements.follow_routes(wanted)
        self._follows_routes = wanted

    def close(self) -> None:
        """See `contract.Watch`."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._stop()

    def _listen(self) -> None:
        opened = Announcements()
        try:
            if self._follows_routes:
                opened.follow_routes(True)
            with refusals("watching announcements of interfaces"):
                self._loop.add_reader(opened.fileno(), self._hear)
        except BaseException:
            opened.close()
            raise
        self._announcements = opened

    def _stop(self) -> None:
        opened, self._announcements = self._announcements, None
        if opened is not None:
            try:
                self._loop.remove_reader(opened.fileno())
            finally:  # also of a loop that has closed
                opened.close()

    def _hear(self) -> None:
        """Take what was announced at once, and tell it when all of it has come."""
        if self._announcements is None:
            return
        try:
            found = self._announcements.read()
        except RefusedError:
            found = [Missed()]
        if Missed() in found:  # uvloop watches no descriptor any more that has had an error
            self._stop()
        self._heard += found
        self._tell_in(_GATHERED)

    def _tell_in(self, seconds: float) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = self._loop.call_later(seconds, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self._announcements is None:
            self._heard.append(Missed())  # until it listens again
            try:
                self._listen()
            except MulticastError:
                self._tell_in(_BETWEEN_LOOKS)
        heard, self._heard = self._heard, []
        if heard:
            self._told(heard)


@final
class SharedWatch:
    """One of several that are told by the same `AnnouncementWatch`, of one loop and network namespace.

    A program with many receivers has everything announced once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, told: Told) -> None:
        of_loop = _shared.setdefault(loop, {})
        place = _namespace()
        shared = of_loop.get(place)
        if shared is None:
            shared = of_loop[place] = _Shared(loop)
        shared.told[self] = told
        self._shared = shared

    def follow_routes(self, wanted: bool) -> None:
        """See `contract.Watch`."""
        (self._shared.followers.add if wanted else self._shared.followers.discard)(self)
        self._shared.watch.follow_routes(bool(self._shared.followers))

    def close(self) -> None:
        """See `contract.Watch`."""
        self._shared.told.pop(self, None)
        self._shared.followers.discard(self)
        if not self._shared.told:
            self._shared.end()


class _Shared:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.told: dict[SharedWatch, Told] = {}
        self.followers: set[SharedWatch] = set()
        self.watch = AnnouncementWatch(loop, self._tell)
        self._loop = weakref.ref(loop)

    def _tell(self, announced: Sequence[Announcement]) -> None:
        loop = self._loop()
        if loop is not None:
            for told in tuple(self.told.values()):  # each by itself: what one raises is not another's
                loop.call_soon(told, announced)

    def end(self) -> None:
        loop = self._loop()
        of_loop = {} if loop is None else _shared.get(loop, {})
        for place in [place for place, shared in of_loop.items() if shared is self]:
            del of_loop[place]
        self.watch.close()


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, _Shared]] = WeakKeyDictionary()


def _namespace() -> int:
    """Return a number of the calling thread's network namespace, 0 where none is told."""
    try:
        return os.stat("/proc/thread-self/ns/net").st_ino
    except OSError:
        return 0


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
