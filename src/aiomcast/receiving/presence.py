"""The interfaces that a membership is joined on, with the shards on each: which come and which go.

Knows no receiver: what another membership has, and what happens, is asked of and told to an `Owner`.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, final

import attrs

from ..errors import (
    InconsistentError,
    InterfaceError,
    InterfaceGoneError,
    NoSuchInterfaceError,
    RefusedError,
    StateError,
)
from ..reading.contract import Network, Reading
from ..rfc3678.limits import with_open_files
from ..streams.outlet import Outlet
from ..values.addresses import family
from ..values.events import EventKind
from ..values.filters import SourceFilter
from ..values.interface import Interface, no_index
from ..values.links import Link
from ..values.options import Options
from ..values.statistics import NOTHING, Statistics, Tally
from . import naming
from .changes import Pending, Wanted, make_all, make_straight
from .limit import SourceLimit
from .looked_up import LookedUp
from .naming import Named
from .owner import Followed, Owner, Refusals
from .shards import Shards
from .sockets import Binding

__all__ = ["Presence"]

_AT_ONCE: Final = 16  # interfaces that are joined in a row


@final
class Presence:
    """The shards of one membership, one for each interface, which hold the same filter.

    `interfaces` are those it is to be on by their names, which go with their indexes; with `is_on_all` it
    is to be on all that can multicast, and with `is_by_route` on the one that the route leads by.
    """

    __slots__ = (
        "_failing",
        "_limit",
        "_named",
        "_of_left",
        "_options",
        "_outlet",
        "_owner",
        "_reading",
        "binding",
        "is_by_route",
        "is_on_all",
        "network",
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
        *,
        is_on_all: bool,
        is_by_route: bool,
    ) -> None:
        self.network: Network = network
        self._reading = reading
        self._options = options
        self._outlet = outlet
        self._owner = owner
        self._limit = SourceLimit(network, binding.group)
        self._of_left: Statistics = NOTHING  # of interfaces it is no longer on
        self._failing: dict[int, int] = {}  # by index: what had been read when a socket failed
        self.binding: Binding = binding
        self.shards: tuple[Shards, ...] = tuple(map(self._on, interfaces))
        self._named = [naming.named(one.interface) for one in self.shards]
        self.is_on_all: bool = is_on_all
        self.is_by_route: bool = is_by_route

    @property
    def filter(self) -> SourceFilter:
        """The filter in force on each."""
        return self.shards[0].filter

    def interfaces(self) -> tuple[Interface, ...]:
        """Return those it is on now."""
        return tuple([shards.interface for shards in self.shards])

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come on any of them, and all that came was read."""
        is_over = self._reading.is_over
        return all(is_over(reader) for shards in self.shards for reader in shards.all_readers)

    def statistics(self) -> Statistics:
        """Return the counters of all sockets and streams, those of interfaces that were left included."""
        tally = Tally()
        self.count(tally)
        return tally.statistics()

    def count(self, into: Tally) -> None:
        """Add what `statistics` returns."""
        if self._of_left is not NOTHING:
            into.add(self._of_left)
        outlet = self._outlet
        into.queue_drops += outlet.dropped_count
        into.filtered += outlet.unwanted_count
        into.queued += outlet.queued
        for shards in self.shards:
            shards.count(into)

    def kernel_filter(self) -> SourceFilter:
        """Return what the system lets in on every one of them."""
        first, *others = self.shards
        held = first.kernel_filter()
        for shards in others:
            held &= shards.kernel_filter()
        return held

    def on_device(self) -> dict[str, bool | None]:
        """Return, by name, whether the interfaces themselves are members; None where that is not told."""
        held = self.network.device_groups(family(self.binding.group))
        return {one.interface.name: None if held is None else one.in_device in held for one in self.shards}

    # Changing the filter

    def changes(self, wanted: SourceFilter, but: Collection[Shards] = ()) -> list[Wanted]:
        """Return the changes to `wanted`, one for each interface, which are to be made together.

        None for those of `but`.
        """
        return [(shards, wanted) for shards in self.shards if shards not in but]

    def change_straight(self, wanted: SourceFilter, pending: Pending) -> bool:
        """Change to `wanted` where that takes a call for each and no pause: see `make_straight`."""
        shards = self.shards
        changes = [(shards[0], wanted)] if len(shards) == 1 else self.changes(wanted)
        return make_straight(changes, pending)

    def unjoined(self) -> list[Shards]:
        """Return those that are not joined as they believe: the interface is gone, or has lost the group."""
        held = self.network.device_groups(family(self.binding.group))
        return [
            one
            for one in self.shards
            if self.network.link(one.interface.index) is None
            or not (held is None or one.filter.is_none or one.in_device in held)
        ]

    def change(self, wanted: SourceFilter, pending: Pending = "discard") -> None:
        """Change to `wanted` on all of them, or raise with nothing changed."""
        make_all(self.changes(wanted), pending)

    def join_wait(self, wanted: SourceFilter) -> float:
        """Return how many seconds have to pass before a change to `wanted` is reported, where it joins."""
        indexes = (shards.interface.index for shards in self.shards)
        return 0.0 if wanted.is_none else self.network.join_wait(self.binding.group, indexes)

    # Coming and going

    def establish(self, wanted: SourceFilter) -> Refusals:
        """Hold the first filter on all of them, or raise with nothing joined.

        Where all that can multicast are meant: on those that do not refuse, one at least; return the others.
        """
        self._check_free()
        refusals: Refusals = []
        if not self.is_on_all:
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

    def look_up(self, known: LookedUp) -> list[Interface]:
        """Return the interfaces there are now to be on. InterfaceError where there is none.

        One that it is on stays what it is while there is one with its index, whatever it is called now.
        """
        if self.is_on_all:
            return list(known.all(self.binding.group, self.filter))
        if self.is_by_route:
            self.look_up_route()
        found: list[Interface] = []
        missing: list[InterfaceError] = []
        held = {shards.interface.index: shards.interface for shards in self.shards}
        for one in self._named:
            try:
                found.append(with_open_files(partial(self._present, known, one, held.get(one.index))))
            except InterfaceError as error:
                missing.append(error)
        if not found:
            raise missing[0]
        return found

    def _present(self, known: LookedUp, wanted: Named, held: Interface | None) -> Interface:
        if held is not None and (link := known.link(held.index)) is not None:
            return self.rename(held.index, link.name) or held
        for name in (wanted.name, *wanted.others):
            with contextlib.suppress(NoSuchInterfaceError):
                return known.find(name)
        return known.find(wanted.name)  # which says that there is none

    def look_up_route(self) -> bool:
        """Look up where the route leads now; say whether that is another interface than before.

        It is to be on that one from now on. Errors are those of `Network.place`.
        """
        found = self.network.place(self.binding.group, self.filter, None)[1][0]
        if found.index == self.shards[0].interface.index:
            return False
        self._named = [naming.named(found)]
        return True

    def rename(self, index: int, name: str) -> Interface | None:
        """Know the interface with this index by this name; return it where it was another."""
        for shards in self.shards:
            before = shards.interface
            if before.index == index and before.name != name:
                now = attrs.evolve(before, name=name)
                shards.rename(now)
                self._named = naming.renamed(self._named, index, name)
                self._owner.tell(EventKind.RENAMED, now, cause=before.name)
                return now
        return None

    def disown(self, index: int) -> int:
        """Be no more on what has this index now, having left; return the index to be known by meanwhile."""
        for shards in self.shards:
            before = shards.interface
            if before.index == index:
                shards.disown(attrs.evolve(before, index=no_index(index)))
                self._owner.untag(before)
        self._named = [
            attrs.evolve(one, index=no_index(index)) if one.index == index else one for one in self._named
        ]
        return no_index(index)

    def waiting(self, links: Collection[Link]) -> dict[int, Link]:
        """Return, by the index that they had, those of `links` that it is to be on and is not."""
        return {} if self.is_on_all else naming.waiting(self._named, list(links))

    def missing(self, present: Collection[int]) -> tuple[str, ...]:
        """Return the names of the interfaces it is to be on whose index is none of `present`."""
        return () if self.is_on_all else tuple(one.name for one in self._named if one.index not in present)

    def follow(self, present: Sequence[Interface]) -> Followed:
        """Be joined on those of the interfaces `present` that are wanted; return what came and went.

        What came in on one that is left is still delivered. One that refuses is tried again the next
        time. Where it could be on none: raises, and nothing has changed.
        """
        wanted = list(present) if self.is_on_all else naming.among(self._named, present)
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
            self._named = naming.came(self._named, shards.interface)
        self.shards = now
        tally = Tally()
        tally.add(self._of_left)
        for shards in gone:
            shards.end()
            shards.count(tally)
            self._of_left = tally.statistics()
            self._failing.pop(shards.interface.index, None)
            self._owner.untag(shards.interface)
        return Followed([one.interface for one in came], [one.interface for one in gone], refusals)

    def parts(self, present: Sequence[Interface]) -> Iterator[list[Interface]]:
        """Yield what to `follow` one after the other, to come to all `present` some at a time."""
        held = {shards.interface.index for shards in self.shards}
        new = [one.index for one in present if one.index not in held]
        for end in range(_AT_ONCE, len(new) + _AT_ONCE, _AT_ONCE):
            later = set(new[end:])
            yield [one for one in present if one.index not in later]
        if not new:
            yield list(present)

    def tell_followed(self, followed: Followed) -> None:
        """Tell of it: one that was made anew under its name is REFRESHED, others that came are JOINED.

        One that is gone is LEFT, or FAILED where it was asked for by name; one that refuses, FAILED.
        """
        came, gone, refusals = followed
        old, new = {one.name for one in gone}, {one.name for one in came}
        for one in came:
            self._owner.tell(EventKind.REFRESHED if one.name in old else EventKind.JOINED, one)
        for one in gone:
            if (self.is_on_all or self.is_by_route) and one.name not in new:
                self._owner.tell(EventKind.LEFT, one)
            elif one.name not in new and all(one.name != refused.name for refused, _ in refusals):
                self._owner.tell(EventKind.FAILED, one, self._gone(one))
        for refused, error in refusals:
            self._owner.tell(EventKind.FAILED, refused, error)

    def rejoin(self, among: Iterable[Shards]) -> Refusals:
        """Leave and join again on those of `among` that it is on; return what refused and stays as it was."""
        refusals: Refusals = []
        for shards in among:
            if shards in self.shards:
                try:
                    with_open_files(partial(self._rejoin, shards))
                except (RefusedError, InconsistentError) as error:
                    refusals.append((shards.interface, error))
        return refusals

    def _rejoin(self, shards: Shards) -> None:
        shards.ask_limit()
        if shards.is_over_limit or shards.is_ahead:  # what was left could not, or is not to be, joined again
            make_all([(shards, shards.filter)], "deliver")
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
        told = _Told(self)
        told.shards = Shards(
            self._limit, self._reading, self._options, self.binding, interface, self._outlet, told
        )
        return told.shards

    def _join_each(
        self, opened: Sequence[Shards], wanted: SourceFilter
    ) -> tuple[tuple[Shards, ...], Refusals]:
        """Hold `wanted` with each that the system does not refuse; return these, and what refused."""
        came: list[Shards] = []
        refusals: Refusals = []
        try:
            for shards in opened:
                try:
                    self._owner.check_free(shards.interface)
                    # What a swap has spared, and is queued, has nothing to do with it.
                    with_open_files(partial(make_all, [(shards, wanted)], "deliver"))
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


@final
class _Told:
    """What the sockets on one interface, those of `shards`, tell."""

    __slots__ = ("_presence", "shards")

    shards: Shards

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    def failed(self, error: RefusedError) -> None:
        """See `sockets.Told`."""
        self._presence.failed(self.shards.interface, error)

    def lost(self, count: int) -> None:
        """See `sockets.Told`."""
        self._presence.lost(self.shards.interface, count)
