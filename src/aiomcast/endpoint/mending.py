"""Keeping an endpoint joined through what becomes of its interfaces: what `healing` says, done.

It is the small form of what receivers have: an endpoint has one group, one filter, and a socket for each
interface.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, final

import attrs

from ..errors import InterfaceError, InterfaceGoneError, MulticastError, UnsupportedError
from ..loops import beside
from ..loops.network import SystemNetwork
from ..loops.timetable import Timetable
from ..reading import Reader
from ..reading.contract import Reading, Watch
from ..rfc3678.limits import with_open_files
from ..system import looking
from ..system.device_groups import device_groups
from ..system.healing import Action, Healing, Remedy
from ..system.interfaces import find_interface, placed
from ..system.queries import report_again
from ..values.addresses import family
from ..values.events import EventKind
from ..values.filters import SourceFilter
from ..values.interface import ALL_INTERFACES, Interface, no_index
from ..values.links import AddressAdded, AddressRemoved, Announcement, DeviceGroup, Link, LinkChanged, Missed
from .opener import Opener

__all__ = ["Endpoint", "Follows", "Mending"]

_TOLD_WITHIN: Final = 0.02  # seconds: what is announced to two of a loop
_UNJOINED = ("gone", "device")


class Follows(NamedTuple):
    """What an endpoint is to be on, where that is not the interfaces that it was opened on."""

    all: bool
    route: bool


class Endpoint(Protocol):
    """What is mended, and told."""

    @property
    def members(self) -> Sequence[Reader]:
        """What receives, one on each interface."""

    @property
    def filter(self) -> SourceFilter:
        """What each is to hold."""

    def exchange(self, old: Reader | None, new: Reader | None) -> None:
        """Read `new` in the place of `old`, which is read out and closed."""

    def renamed(self, reader: Reader, name: str) -> None:
        """Its interface has another name."""

    def renumbered(self) -> None:
        """Addresses of the interfaces have changed."""

    def changed(
        self, interface: Interface, kind: EventKind, cause: str | None, seconds: float | None = None
    ) -> None:
        """Something has become of an interface."""

    def error_received(self, error: OSError) -> None:
        """The system refuses to join again."""


class _Member:
    """One socket of an endpoint. See `beside.Joined`."""

    def __init__(self, mending: Mending, reader: Reader) -> None:
        self.mending = mending
        self.reader = reader

    @property
    def in_device(self) -> DeviceGroup:
        return _in_device(self.reader)

    def withdraw(self) -> None:
        self.reader.sock.leave()

    def restore(self) -> None:
        self.mending.restore(self.reader)


@final
class Mending:
    """Mends one endpoint, from `begin` on. It costs nothing while nothing is announced."""

    def __init__(self, endpoint: Endpoint, opener: Opener, follows: Follows) -> None:
        self._endpoint = endpoint
        self._opener = opener
        self._follows = follows
        self._healing = Healing()
        self._timetable = Timetable(self._look)
        self._reading: Reading | None = None
        self._watch: Watch | None = None
        self._lost: dict[Reader, tuple[str, float]] = {}  # why, and since when
        self._anew: dict[Reader, float] = {}  # when it has last joined again
        self._complained: set[str] = set()  # of interfaces, by their names
        self.network: object = SystemNetwork()
        self.thread: int = threading.get_ident()

    def begin(self, reading: Reading) -> None:
        """Listen to what is announced, and take note of how the interfaces are."""
        self._watch = with_open_files(lambda: reading.watch(self._announced))
        self._reading = self._timetable.reading = reading
        self._watch.follow_routes(self._follows.route)
        for reader in self._endpoint.members:
            self._know(reader)
        beside.enter(self)
        if self._lost:
            self._timetable.later()  # it may have gone while it was opened

    def end(self) -> None:
        """Stop for good."""
        if self._watch is not None:
            self._watch.close()
        self._watch = self._reading = self._timetable.reading = None

    def is_lost(self, reader: Reader) -> bool:
        """Whether it is not joined now, and is to be once that is possible."""
        return reader in self._lost and self._lost[reader][0] in _UNJOINED

    def lose(self, reader: Reader) -> None:
        """Take note that a call was refused as its interface is gone."""
        self._lose(reader, "gone")
        self._timetable.later()

    def swapped(self) -> None:
        """Look soon where the route to the sources leads."""
        if self._reading is not None and self._follows.route:
            self._reading.call_soon(self._reroute)

    # What is joined, for others of the thread

    def joined(self, groups: Collection[DeviceGroup]) -> list[_Member]:
        """See `beside.Holder`."""
        if self._reading is None or self._endpoint.filter.is_none:
            return []
        return [_Member(self, one) for one in self._endpoint.members if _in_device(one) in groups]

    def restore(self, reader: Reader) -> None:
        """Join again with the filter in force."""
        reader.sock.set_filter(self._endpoint.filter)
        self._anew[reader] = self._now()

    # What is announced

    def _announced(self, announced: Sequence[Announcement]) -> None:
        if self._reading is not None:
            with self._timetable.guarded():
                self._mend(announced)
            self._timetable.end_pass()

    def _look(self) -> None:
        """Compare everything, and try again what was refused."""
        with self._timetable.guarded():
            self._compare(self._endpoint.members)
            self._follow()
        self._timetable.end_pass()

    def _mend(self, announced: Sequence[Announcement]) -> None:
        heard_at = self._now() - _TOLD_WITHIN
        is_missed = any(isinstance(one, Missed) for one in announced)
        if is_missed:
            announced = self._healing.differences(with_open_files(looking.links))
        indexes = {_index(one) for one in self._endpoint.members}
        actions = self._healing.decide(announced, indexes)
        if is_missed:
            actions += [Action(Remedy.COMPARE, index) for index in indexes]
            actions += [Action(Remedy.FOLLOW), Action(Remedy.REROUTE)]
        of_all: list[tuple[Reader, str]] = []
        for action in actions:
            at = [one for one in self._endpoint.members if _index(one) == action.index]
            with self._timetable.guarded():
                match action.remedy:
                    case Remedy.RENAME:
                        for reader in at:
                            self._endpoint.renamed(reader, action.name)
                    case Remedy.LOSE if self._follows.all and action.cause != "carrier":
                        of_all += [(reader, action.cause) for reader in at]  # it may be on others
                    case Remedy.LOSE:
                        for reader in at:
                            self._lose(reader, action.cause)
                    case Remedy.GHOST:
                        self._revive(at, heard_at)
                    case Remedy.TAKEN:
                        self._disown(at)
                    case Remedy.COMPARE:
                        self._compare(at)
                    case Remedy.REPORT:
                        self._report(action, at, heard_at)
                    case Remedy.FOLLOW:
                        self._follow()
                    case Remedy.REROUTE:
                        self._reroute()
        for reader, cause in of_all:
            if reader in self._endpoint.members:
                self._lose(reader, cause)
        if is_missed or any(
            isinstance(one, (AddressAdded, AddressRemoved, LinkChanged)) for one in announced
        ):
            self._endpoint.renumbered()

    def _compare(self, readers: Sequence[Reader]) -> None:
        there = [one for one in readers if self._healing.link(_index(one)) is not None]
        if not there or self._endpoint.filter.is_none:
            return
        since = self._now()
        try:
            held = with_open_files(lambda: device_groups(family(there[0].sock.group)))
        except UnsupportedError:
            return
        self._revive([one for one in there if _in_device(one) not in held or self.is_lost(one)], since)

    def _report(self, action: Action, at: Sequence[Reader], heard_at: float) -> None:
        number = family(at[0].sock.group) if at else 0
        if number not in action.families or self._endpoint.filter.is_none:
            return
        # A list that was changed while the interface was down is another in the kernel.
        if not action.was_down and with_open_files(lambda: report_again(action.index, number)):
            for reader in at:
                self._heal(reader)
        else:
            self._revive(at, heard_at)

    def _disown(self, readers: Sequence[Reader]) -> None:
        """Have these leave, and wait for their interface by its name: another one has its index now."""
        each = [one for alike in beside.beside(self, set(map(_in_device, readers))).values() for one in alike]
        refused: dict[object, MulticastError] = {}
        for one in each:
            with self._noting(one, refused):
                one.withdraw()
        for reader in readers:
            sock = reader.sock
            sock.interface = attrs.evolve(sock.interface, index=no_index(_index(reader)))
        for one in each:
            if not (isinstance(one, _Member) and one.mending is self):
                with self._noting(one, refused):
                    one.restore()

    def _revive(self, readers: Sequence[Reader], since: float) -> None:
        """Have all sockets of the thread that have joined the same leave, then all join."""
        dead = [one for one in readers if self._anew.get(one, -math.inf) <= since or self.is_lost(one)]
        groups = {_in_device(one) for one in dead}
        each = [one for alike in beside.beside(self, groups).values() for one in alike]
        refused: dict[object, MulticastError] = {}
        for one in each:
            with self._noting(one, refused):
                one.withdraw()
        for one in each:
            with self._noting(one, refused):
                one.restore()
        for one in each:
            if isinstance(one, _Member) and one.mending is self and one in refused:
                self._timetable.is_owed = True
                error = refused[one]
                if isinstance(error, InterfaceGoneError):  # which is to be announced
                    self._lose(one.reader, "gone")
                else:
                    self._lose(one.reader, "device", error)
        failed = {one.reader for one in refused if isinstance(one, _Member)}
        for reader in readers:
            if reader not in failed:
                self._heal(reader)
        if each:
            self._timetable.again()

    @staticmethod
    @contextlib.contextmanager
    def _noting(one: object, refused: dict[object, MulticastError]) -> Iterator[None]:
        try:
            yield
        except MulticastError as error:
            refused[one] = error

    # Interfaces and routes

    def _follow(self) -> None:
        if self._follows.all:
            self._follow_all()
            return
        held = {_index(one) for one in self._endpoint.members}
        for reader in tuple(self._endpoint.members):
            if self._healing.link(_index(reader)) is None:
                before = reader.sock.interface
                back = [link.index for link in self._healing.links if _is_meant(before, link)]
                if back and back[0] not in held:
                    with self._complaining(before.name):
                        self._open(reader, find_interface(back[0]))

    def _follow_all(self) -> None:
        members = tuple(self._endpoint.members)
        try:
            found = placed(members[0].sock.group, self._endpoint.filter, ALL_INTERFACES)[1]
        except InterfaceError:
            return  # none at all: it stays where it was
        self._complained &= {one.name for one in found}
        held = {_index(one) for one in members}
        for one in found:
            if one.index not in held:
                with self._complaining(one.name):
                    self._open(None, one)
                    self._endpoint.changed(one, EventKind.JOINED, None)
        indexes = {one.index for one in found}
        for reader in members:
            if _index(reader) not in indexes and len(self._endpoint.members) > 1:
                self._endpoint.exchange(reader, None)
                self._forget(reader)
                self._endpoint.changed(reader.sock.interface, EventKind.LEFT, None)

    def _reroute(self) -> None:
        if not self._follows.route or self._reading is None:
            return
        (reader,) = self._endpoint.members
        with contextlib.suppress(MulticastError):  # no route, or several: it stays where it is
            (found,) = placed(reader.sock.group, self._endpoint.filter, None)[1]
            if found.index != _index(reader):
                self._open(reader, found)
                self._endpoint.changed(found, EventKind.MOVED, "route")

    def _open(self, old: Reader | None, interface: Interface) -> None:
        """Have a new socket receive there, in the place of `old`."""
        port = self._endpoint.members[0].sock.port
        with self._opener.opening(port, interface, self._endpoint.filter) as new:
            new.sock.set_filter(self._endpoint.filter)
            self._endpoint.exchange(old, new)
        lost = None if old is None else self._forget(old)
        self._anew[new] = self._now()
        self._know(new)
        if lost is not None:
            self._lost[new] = lost
            self._heal(new)
        self._timetable.again()

    @contextlib.contextmanager
    def _complaining(self, name: str) -> Iterator[None]:
        """Tell what the system refuses once, until it does no longer."""
        try:
            yield
            self._complained.discard(name)
        except MulticastError as error:
            self._timetable.is_owed = True
            if name not in self._complained:
                self._complained.add(name)
                self._tell_refused(error)

    # What is known, and told

    def _know(self, reader: Reader) -> None:
        index = _index(reader)
        if not self._healing.knows(index):
            link = with_open_files(lambda: looking.link(index))
            self._healing.know(index, link, reader.sock.interface.addresses)
        link = self._healing.link(index)
        if link is None or not link.is_running:
            cause = "gone" if link is None else "carrier" if link.is_up else "down"
            self._lost[reader] = (cause, self._now())

    def _forget(self, reader: Reader) -> tuple[str, float] | None:
        self._anew.pop(reader, None)
        return self._lost.pop(reader, None)

    def _lose(self, reader: Reader, cause: str, error: MulticastError | None = None) -> None:
        before = self._lost.get(reader)
        self._lost[reader] = (cause, self._now() if before is None else before[1])
        if before is None:
            self._endpoint.changed(reader.sock.interface, EventKind.LOST, cause)
        if error is not None and (before is None or before[0] != cause):
            self._tell_refused(error)

    def _heal(self, reader: Reader) -> None:
        link = self._healing.link(_index(reader))
        if link is not None and link.is_running and (lost := self._lost.pop(reader, None)) is not None:
            seconds = self._now() - lost[1]
            self._endpoint.changed(reader.sock.interface, EventKind.HEALED, lost[0], seconds)

    def _tell_refused(self, error: MulticastError) -> None:
        if isinstance(error, OSError):
            self._endpoint.error_received(error)

    def _now(self) -> float:
        return 0.0 if self._reading is None else self._reading.monotonic()


def _is_meant(before: Interface, link: Link) -> bool:
    """Whether `link` has a name that an interface had that is gone."""
    return not {before.name, *before.alternative_names}.isdisjoint((link.name, *link.alternative_names))


def _index(reader: Reader) -> int:
    return reader.sock.interface.index


def _in_device(reader: Reader) -> DeviceGroup:
    return DeviceGroup(_index(reader), reader.sock.group)
