"""Which sockets of this process hold which sources of a group: for systems with limits over all of them.

FreeBSD and macOS go down when the sockets of a host come to list more sources of a group on an interface
than they have room for, and report nothing of a group that is joined too soon after the last socket has
left it. What other processes hold cannot be known. Elsewhere nothing is kept: `of_process` is None.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, TypeAlias, final
from weakref import ref

from ..errors import LimitError
from ..values.addresses import pack, unpack
from .abi import native
from .limits import host_source_limit

__all__ = [
    "Change",
    "Holdings",
    "Place",
    "added",
    "join_wait",
    "keeping",
    "left",
    "of_process",
    "removed",
    "replaced",
]

ABI = native()

Sources: TypeAlias = frozenset[bytes] | None
"""Packed sources that a socket lists in either mode; None: it is no member."""
Change: TypeAlias = Callable[[Sources], Sources]
"""From what a socket lists to what it lists after a call."""


def added(*sources: bytes) -> Change:
    """Be a member, and list `sources` too."""
    return lambda before: (before or frozenset()).union(sources)


def removed(source: bytes) -> Change:
    """List `source` no longer."""
    return lambda before: None if before is None else before - {source}


def replaced(sources: frozenset[str]) -> Change:
    """List `sources`, as text, instead; an empty list takes nothing away where these limits are."""
    listed = frozenset(map(pack, sources))
    return lambda before: listed or before


def left() -> Change:
    """Be no member."""
    return lambda before: None


class Place(NamedTuple):
    """A packed group on an interface, by its index or, as it was joined, its packed IPv4 address."""

    interface: int | bytes
    group: bytes


class _Held(NamedTuple):
    sock: ref[socket.socket] | Callable[[], socket.socket]
    sources: frozenset[bytes]

    @property
    def is_open(self) -> bool:
        sock = self.sock()
        return sock is not None and sock.fileno() >= 0


@final
class Holdings:
    """What sockets hold, from whichever thread. `pause` is how long a join has to wait for a leave."""

    def __init__(self, pause: float, now: Callable[[], float] = time.monotonic) -> None:
        self._pause = pause
        self._now = now
        self._guard = threading.Lock()
        self._held: dict[Place, dict[int, _Held]] = {}  # and by the identity of the socket
        self._left: dict[Place, float] = {}  # when the last socket left
        self._kept: dict[int, dict[Place, set[bytes]]] = {}  # given up for now, by thread
        self._closed: deque[tuple[int, float]] = deque()  # which sockets, and when: not looked at yet

    @contextmanager
    def changing(self, sock: socket.socket, place: Place, change: Change) -> Iterator[None]:
        """Make a call in this context that has `sock` list what `change` says, and take note of it.

        LimitError, before the call, where the sockets of this process would come to list too many, those
        that it lists before and those after it together. What the call refuses changes nothing. Whatever
        else ends it leaves both noted, until the next.
        """
        before, after = self._reserve(sock, place, change)
        try:
            yield
        except OSError as error:
            is_gone = after is None and error.errno == errno.EADDRNOTAVAIL
            self._settle(sock, place, None if is_gone else before)
            raise
        self._settle(sock, place, after, before)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep what sockets give up in this context from other threads: it may have to be put back."""
        thread = threading.get_ident()
        with self._guard:
            self._kept[thread] = {}
        try:
            yield
        finally:
            with self._guard:
                del self._kept[thread]

    def closed(self, sock: socket.socket) -> None:
        """Take note that `sock` was closed, and has left everything.

        Never waits: a collection, or a signal handler, may close one while this thread has the guard.
        """
        self._closed.append((id(sock), self._now()))
        if self._guard.acquire(blocking=False):
            try:
                self._look_at_closed()
            finally:
                self._guard.release()

    def wait(self, place: Place) -> float:
        """Return how many seconds have to pass before a join is reported."""
        with self._guard:
            self._look(place)
            left = self._left.get(place)
            if left is None or place in self._held:
                return 0.0
            return max(left + self._pause - self._now(), 0.0)

    def _reserve(self, sock: socket.socket, place: Place, change: Change) -> tuple[Sources, Sources]:
        with self._guard:
            self._look(place)
            held = self._held.get(place, {})
            mine = held.get(id(sock))
            before = None if mine is None else mine.sources
            after = change(before)
            both = (before or frozenset()) | (after or frozenset())
            if before is None or not both <= before:
                everyone = both.union(*(one.sources for one in held.values()))
                own = self._kept.get(threading.get_ident(), {}).get(place, set())
                if not both - (before or frozenset()) <= own:  # what is put back, others have left room for
                    everyone = everyone.union(*self._kept_of_others(place))
                self._check(place, len(everyone), len(both))
            if both or after is not None:
                self._note(sock, place, both)
            return before, after

    def _check(self, place: Place, count: int, listed: int) -> None:
        group = unpack(place.group)
        most = host_source_limit(group)
        if most is None or count <= most or not listed:
            return
        sysctl = ABI.facts.host_sources(4 if len(place.group) == 4 else 6).sysctl
        raise LimitError(
            errno.ENOSPC,
            f"the sockets of this process would list {count} sources of {group} on one interface, "
            "those that are replaced included",
            f"the system has room for {most}, of all processes together; list fewer"
            + (f", or raise it with sysctl -w {sysctl}=..." if sysctl is not None else ""),
            limit="sources per group, interface and host",
            value=most,
            sysctl=sysctl,
        )

    def _kept_of_others(self, place: Place) -> list[set[bytes]]:
        thread = threading.get_ident()
        return [kept[place] for one, kept in self._kept.items() if one != thread and place in kept]

    def _settle(self, sock: socket.socket, place: Place, sources: Sources, before: Sources = None) -> None:
        with self._guard:
            kept = self._kept.get(threading.get_ident())
            if kept is not None and before:
                kept.setdefault(place, set()).update(before)
            if sources is None:
                self._drop(place, id(sock))
            else:
                self._note(sock, place, sources)

    def _note(self, sock: socket.socket, place: Place, sources: frozenset[bytes]) -> None:
        self._held.setdefault(place, {})[id(sock)] = _Held(_weakly(sock), sources)

    def _look_at_closed(self) -> None:
        while self._closed:
            number, at = self._closed.popleft()
            for place in tuple(self._held):
                self._drop(place, number, at)

    def _look(self, place: Place) -> None:
        """Drop what was closed, also without a word: when that was is not known, so it is now."""
        self._look_at_closed()
        for number, one in tuple(self._held.get(place, {}).items()):
            if not one.is_open:
                self._drop(place, number)

    def _drop(self, place: Place, number: int, at: float | None = None) -> None:
        held = self._held.get(place, {})
        if held.pop(number, None) is None or held:
            return
        del self._held[place]
        now = self._now()
        self._left = {where: then for where, then in self._left.items() if then + self._pause > now}
        self._left[place] = now if at is None else at


def _weakly(sock: socket.socket) -> ref[socket.socket] | Callable[[], socket.socket]:
    try:
        return ref(sock)
    except TypeError:  # what an event loop hands out, which is kept until it is closed
        return lambda: sock


def _is_needed() -> bool:
    facts = ABI.facts
    return facts.rejoin_pause > 0 or any(facts.host_sources(kind).default is not None for kind in (4, 6))


of_process: Holdings | None = Holdings(ABI.facts.rejoin_pause) if _is_needed() else None
"""What the sockets of this process hold, None where the system needs nobody to know it."""


def join_wait(group: str, indexes: Iterable[int]) -> float:
    """Return how many seconds have to pass before a join of `group` on these interfaces is reported.

    0.0 where a socket of this process is a member still, or none has been just now.
    """
    if of_process is None:
        return 0.0
    packed = pack(group)
    return max((of_process.wait(Place(index, packed)) for index in indexes), default=0.0)


def keeping() -> AbstractContextManager[None]:
    """Keep what sockets give up in this context for them: see `Holdings.keeping`."""
    return nullcontext() if of_process is None else of_process.keeping()
