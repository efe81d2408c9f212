"""The interfaces that a membership is joined on, with the shards on each: which come and which go.

Knows no receiver: what another membership has, and what happens, is asked of and told to an `Owner`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol, TypeAlias, final

from ..errors import (
    InconsistentError,
    InterfaceError,
    InterfaceGoneError,
    MulticastError,
    RefusedError,
    StateError,
)
from ..reading.contract import Network, Reading
from ..rfc3678.limits import with_open_files
from ..streams.dispatcher import Outlet
from ..values.events import EventKind
from ..values.filters import SourceFilter
from ..values.interface import ALL_INTERFACES, Interface
from ..values.options import Options
from ..values.statistics import Statistics
from .changes import Change, Pending, make_all
from .limit import SourceLimit
from .shards import Shards
from .sockets import Binding

__all__ = ["Owner", "Presence"]

_Refusals: TypeAlias = list[tuple[Interface, MulticastError]]


class Owner(Protocol):
    """What is asked and told."""

    def check_free(self, interface: Interface) -> None:
        """Raise a StateError where another membership is joined on `interface`."""

    def tag(self, interface: Interface) -> None:
        """Packets come in on `interface` from now on."""

    def tell(self, kind: EventKind, interface: Interface, error: MulticastError | None = None) -> None:
        """Something happened on one interface."""

    def lost(self, interface: Interface, count: int) -> None:
        """The kernel has dropped `count` datagrams more that came in on `interface`."""


@final
class Presence:
    """The shards of one membership, one for each interface, which hold the same filter.

    `names` are the interfaces it is to be on, None for all that can multicast.
    """

    __slots__ = (
        "_failing",
        "_limit",
        "_names",
        "_network",
        "_of_left",
        "_options",
        "_outlet",
        "_owner",
        "_reading",
        "binding",
        "shards",
    )

    def __init__(
        self,
        network: Network,
        reading: Reading,
        options: Options,
        binding: Binding,
        outlet: Outlet,
        owner: Owner,
        interfaces: Iterable[Interface],
        is_on_all: bool,
    ) -> None:
        self._network = network
        self._reading = reading
        self._options = options
        self._outlet = outlet
        self._owner = owner
        self._limit = SourceLimit(network, binding.group)
        self._of_left = Statistics()  # of interfaces it is no longer on
        self._failing: dict[int, int] = {}  # by index: what had been read when a socket failed
        self.binding: Binding = binding
        self.shards: tuple[Shards, ...] = tuple(map(self._on, interfaces))
        self._names = None if is_on_all else tuple(one.interface.name for one in self.shards)

    @property
    def filter(self) -> SourceFilter:
        """The filter in force on each."""
        return self.shards[0].filter

    def statistics(self) -> Statistics:
        """Return the counters of all sockets and streams, those of interfaces that were left included."""
        total = self._of_left + Statistics(
            queue_drops=self._outlet.dropped_count,
            filtered=self._outlet.unwanted_count,
            queued=self._outlet.queued,
        )
        for shards in self.shards:
            total += shards.statistics()
        return total

    def kernel_filter(self) -> SourceFilter:
        """Return what the system lets in on every one of them."""
        first, *others = self.shards
        held = first.kernel_filter()
        for shards in others:
            held &= shards.kernel_filter()
        return held

    # Changing the filter

    def changes(self, wanted: SourceFilter) -> list[Change]:
        """Return the changes to `wanted`, one for each interface, which are to be made together."""
        return [Change(shards, wanted) for shards in self.shards]

    def change(self, wanted: SourceFilter, pending: Pending = "discard") -> None:
        """Change to `wanted` on all of them, or raise with nothing changed."""
        make_all(self.changes(wanted), pending)

    # Coming and going

    def establish(self, wanted: SourceFilter) -> _Refusals:
        """Hold the first filter on all of them, or raise with nothing joined.

        Where all that can multicast are meant: on those that do not refuse, one at least; return the others.
        """
        self._check_free()
        refusals: _Refusals = []
        if self._names is not None:
            with_open_files(lambda: self.change(wanted))
        else:
            came, refusals = self._join_each(self.shards, wanted)
            if not came:
                raise refusals[0][1]
            self.shards = came
        self._check_free()  # once more: the system may have chosen the port
        for shards in self.shards:
            self._owner.tag(shards.interface)
        return refusals

    def _check_free(self) -> None:
        for shards in self.shards:
            self._owner.check_free(shards.interface)

    def look_up(self) -> list[Interface]:
        """Return the interfaces there are now to be on. InterfaceError where there is none."""
        if self._names is None:
            return list(self._network.place(self.binding.group, self.filter, ALL_INTERFACES)[1])
        found: list[Interface] = []
        missing: list[InterfaceError] = []
        for name in self._names:
            try:
                found.append(with_open_files(partial(self._network.find, name)))
            except InterfaceError as error:
                missing.append(error)
        if not found:
            raise missing[0]
        return found

    def follow(self, present: Sequence[Interface]) -> None:
        """Be joined on those of the interfaces `present` that are wanted, and tell what comes and goes.

        One that was made anew under its name is REFRESHED. One that is gone is LEFT, or FAILED where
        it was asked for by name; what came in on it is still delivered. One that refuses is FAILED,
        and tried again the next time. Where it could be on none: raises, and nothing has changed.
        """
        wanted = [one for one in present if self._names is None or one.name in self._names]
        before = {shards.interface.index: shards for shards in self.shards}
        held = self.filter
        came, refusals = self._join_each([self._on(one) for one in wanted if one.index not in before], held)
        at = {shards.interface.index: shards for shards in came}
        now = tuple(
            shards for one in wanted if (shards := before.get(one.index) or at.get(one.index)) is not None
        )
        if not now:
            raise refusals[0][1] if refusals else self._gone(self.shards[0].interface)
        gone = [shards for shards in self.shards if shards not in now]
        for shards in came:
            self._owner.tag(shards.interface)
        self.shards = now
        for shards in gone:
            shards.end()
            self._of_left += shards.statistics()
            self._failing.pop(shards.interface.index, None)
        self._tell_following(came, gone, refusals)

    def _tell_following(self, came: Sequence[Shards], gone: Sequence[Shards], refusals: _Refusals) -> None:
        old, new = ({shards.interface.name for shards in some} for some in (gone, came))
        for shards in came:
            kind = EventKind.REFRESHED if shards.interface.name in old else EventKind.JOINED
            self._owner.tell(kind, shards.interface)
        for one in (shards.interface for shards in gone):
            if self._names is None and one.name not in new:
                self._owner.tell(EventKind.LEFT, one)
            elif one.name not in new and all(one.name != refused.name for refused, _ in refusals):
                self._owner.tell(EventKind.FAILED, one, self._gone(one))
        for refused, error in refusals:
            self._owner.tell(EventKind.FAILED, refused, error)

    def rejoin(self, among: Iterable[Shards]) -> _Refusals:
        """Leave and join again on those of `among` that it is on; return what refused and stays as it was."""
        refusals: _Refusals = []
        for shards in among:
            if shards in self.shards:
                try:
                    with_open_files(partial(self._rejoin, shards))
                except (RefusedError, InconsistentError) as error:
                    refusals.append((shards.interface, error))
        return refusals

    def _rejoin(self, shards: Shards) -> None:
        shards.ask_limit()
        if shards.is_over_limit:  # what was left could not be joined again
            make_all([Change(shards, shards.filter)], "deliver")
        shards.rejoin()
        self._failing.pop(shards.interface.index, None)

    # Ending

    def end(self) -> None:
        """Leave everywhere, hand over what can be, close the sockets. Can be gone through again."""
        for shards in self.shards:
            shards.end()

    def abandon(self) -> None:
        """Close everything of a membership that did not come to be."""
        for shards in self.shards:
            shards.abandon()

    # Inside

    def _on(self, interface: Interface) -> Shards:
        told = _Told(self, interface)
        return Shards(self._limit, self._reading, self._options, self.binding, interface, self._outlet, told)

    def _join_each(
        self, opened: Sequence[Shards], wanted: SourceFilter
    ) -> tuple[tuple[Shards, ...], _Refusals]:
        """Hold `wanted` with each that the system does not refuse; return these, and what refused."""
        came: list[Shards] = []
        refusals: _Refusals = []
        try:
            for shards in opened:
                try:
                    self._owner.check_free(shards.interface)
                    # What a swap has spared, and is queued, has nothing to do with it.
                    with_open_files(partial(make_all, [Change(shards, wanted)], "deliver"))
                    came.append(shards)
                except (RefusedError, InconsistentError, StateError) as error:
                    shards.abandon()
                    refusals.append((shards.interface, error))
        except BaseException:
            for shards in opened:
                shards.abandon()
            raise
        return tuple(came), refusals

    def _gone(self, interface: Interface) -> InterfaceGoneError:
        where = f"{self.binding.group} port {self.binding.port} on {interface.name}"
        return InterfaceGoneError(
            errno.ENODEV,
            f"receiving {where}: the interface is gone, or can multicast no more",
            "refresh() joins there again once it is back",
        )

    def failed(self, interface: Interface, error: RefusedError) -> None:
        """End what waits for this membership alone, unless it receives on another interface still."""
        read = {shards.interface.index: shards.received for shards in self.shards}
        self._failing[interface.index] = read.get(interface.index, 0)
        if all(self._failing.get(index) == count for index, count in read.items()):
            self._outlet.fail(error)
        self._owner.tell(EventKind.FAILED, interface, error)

    def lost(self, interface: Interface, count: int) -> None:
        """Tell of drops."""
        self._owner.lost(interface, count)


class _Told:
    """What the sockets on one interface tell."""

    __slots__ = ("_interface", "_presence")

    def __init__(self, presence: Presence, interface: Interface) -> None:
        self._presence = presence
        self._interface = interface

    def failed(self, error: RefusedError) -> None:
        """See `sockets.Told`."""
        self._presence.failed(self._interface, error)

    def lost(self, count: int) -> None:
        """See `sockets.Told`."""
        self._presence.lost(self._interface, count)
