"""Leaving and joining again, so that a device or a network hears of memberships that it has forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TypeAlias, final
from weakref import WeakSet

import attrs

from ..errors import InconsistentError, LimitError, MulticastError, RefusedError
from ..reading.contract import Network, Reading
from ..rfc3678.limits import with_open_files
from ..streams.pausing import pass_pause
from ..values.addresses import family
from ..values.interface import Interface
from ..values.links import DeviceGroup
from .changes import Change, make_all
from .membership import Membership
from .shards import Shards

__all__ = ["Refused", "Rejoining", "Spot"]


@final
@attrs.frozen(slots=True)
class Spot:
    """A membership on one interface."""

    membership: Membership
    shards: Shards

    @property
    def interface(self) -> Interface:
        """The interface."""
        return self.shards.interface

    @property
    def index(self) -> int:
        """The index of the interface."""
        return self.interface.index

    @property
    def family(self) -> int:
        """The family of the group, 4 or 6."""
        return family(self.shards.group)

    @property
    def in_device(self) -> DeviceGroup:
        """What the device's list of groups has of it."""
        return self.shards.in_device


_all: WeakSet[Rejoining] = WeakSet()  # in every thread
_guard = threading.Lock()

Refused: TypeAlias = list[tuple[Spot, MulticastError]]


@final
class Rejoining:
    """Joins memberships of a receiver anew.

    Where the device has lost a group that its sockets believe to be members of, all of them leave before
    any joins, also those of the thread's other receivers: such a leave, once another has joined anew, takes
    that one's membership with it. Where the device has it, each leaves and joins before the next, so that
    little is lost; but what several have joined alike leaves together, as only then anything is reported.
    """

    def __init__(self, network: Network, memberships: Collection[Membership]) -> None:
        self._network = network
        self._memberships = memberships
        self._thread = 0
        self._pauses = 0

    def enter(self) -> None:
        """Be one of the receivers of this thread."""
        self._thread = threading.get_ident()
        with _guard:
            _all.add(self)

    def has(self, spot: Spot) -> bool:
        """Whether a membership of this receiver is there still."""
        return spot.membership in self._memberships and spot.shards in spot.membership._presence.shards

    def spots(self, groups: Collection[str] | None = None) -> list[Spot]:
        """Return where memberships let anything in: those of these `groups`, None: all."""
        return [
            Spot(membership, shards)
            for membership in self._memberships
            if groups is None or membership.group in groups
            for shards in membership._presence.shards
            if not shards.filter.is_none
        ]

    def by_index(self) -> dict[int, list[Spot]]:
        """Return the same by the index of the interface."""
        found: dict[int, list[Spot]] = {}
        for spot in self.spots():
            found.setdefault(spot.index, []).append(spot)
        return found

    def dead(self, spots: Iterable[Spot]) -> set[DeviceGroup]:
        """Return what of these the devices have lost; nothing where the system does not tell."""
        wanted: dict[int, set[DeviceGroup]] = {}
        for spot in spots:
            wanted.setdefault(spot.family, set()).add(spot.in_device)
        found: set[DeviceGroup] = set()
        for number, groups in wanted.items():
            held = self._network.device_groups(number)
            if held is not None:
                found |= groups - held
        return found

    def asked(self, index: int, number: int) -> bool:
        """Have the host report its groups of family `number` again, if it can without leaving any."""
        try:
            return with_open_files(lambda: self._network.report_again(index, number))
        except RefusedError:  # there is the other way
            return False

    @property
    def pause(self) -> float:
        """Seconds that have to pass between `withdraw` and `restore`."""
        return self._network.rejoin_pause

    @property
    def is_pausing(self) -> bool:
        """Whether some have left, and have to wait until they join again."""
        return self._pauses > 0

    def after_pause(self, reading: Reading, spots: Collection[Spot], call: Callable[[], None]) -> None:
        """Call once the pause is over, since the last socket has left."""
        self._pauses += 1
        wait = partial(self._wait, spots)

        def end() -> None:
            seconds = wait()
            if seconds > 0:  # others have left meanwhile
                reading.call_later(seconds, end)
                return
            self._pauses -= 1
            call()

        reading.call_later(self.pause, end)

    def withdraw(self, groups: Collection[DeviceGroup]) -> tuple[list[Spot], Refused]:
        """Have all sockets of these leave; return where they were, and what refuses to."""
        joined = self._joined(groups)
        spots = [spot for group in groups for spot in joined.get(group, ())]
        return spots, _each(spots, Shards.withdraw)

    def restore(self, spots: Collection[Spot], refused: Refused) -> tuple[list[Spot], Refused]:
        """Have them join again. Return what of this receiver was joined, and what refuses, or has before."""
        refused = refused + _each(spots, _restore)
        failed = {id(spot) for spot, _ in refused}
        joined = [spot for spot in spots if id(spot) not in failed and self.has(spot)]
        return joined, [one for one in refused if self.has(one[0])]

    def rejoin(self, spots: Collection[Spot], *, with_others: bool) -> tuple[list[Spot], Refused]:
        """Leave and join with one group after the other. Return what was joined, and what refuses.

        Those of `spots` alone, unless `with_others` has leave what others have joined alike.
        """
        done: list[Spot] = []
        refused: Refused = []
        groups, chosen = {spot.in_device: None for spot in spots}, set(spots)
        joined = self._joined(groups)
        for group in groups:
            alike = joined.get(group, ())
            if len(alike) > 1 and (with_others or chosen.issuperset(alike)):
                mended, refusals = self.restore(*self.withdraw({group}))
                done += mended
                refused += refusals
                continue
            for spot in chosen.intersection(alike):
                errors = spot.membership._presence.rejoin([spot.shards])
                refused += [(spot, error) for _, error in errors]
                if not errors:
                    done.append(spot)
        return done, refused

    async def anew(self, spots: Collection[Spot]) -> Refused:
        """Do what is right for each of `spots`. Return what refuses, and is not joined for now."""
        if self.pause:
            withdrawn = self.withdraw({spot.in_device for spot in spots})
            # Whoever waits for it may go: what has left has to join again.
            return await asyncio.shield(asyncio.ensure_future(self._restored(*withdrawn)))
        dead = self.dead(spots)
        refused = self.restore(*self.withdraw(dead))[1]
        return (
            refused
            + self.rejoin([spot for spot in spots if spot.in_device not in dead], with_others=False)[1]
        )

    async def _restored(self, spots: Collection[Spot], refused: Refused) -> Refused:
        self._pauses += 1
        try:
            await asyncio.sleep(self.pause)
            await pass_pause(lambda: self._wait(spots))  # others may have left meanwhile
        finally:
            self._pauses -= 1
            refused = self.restore(spots, refused)[1]
        return refused

    def _wait(self, spots: Collection[Spot]) -> float:
        waits = (self._network.join_wait(spot.shards.group, [spot.index]) for spot in spots)
        return max(waits, default=0.0)

    def _joined(self, groups: Collection[DeviceGroup]) -> dict[DeviceGroup, list[Spot]]:
        """Return what receivers of this thread have joined of these."""
        with _guard:
            everywhere = tuple(_all)
        peers = [one for one in everywhere if one is not self and one._is_beside(self)]
        found: dict[DeviceGroup, list[Spot]] = {}
        names = {one.group for one in groups}
        for one in (self, *peers):
            for spot in one.spots(names):
                if spot.in_device in groups:
                    found.setdefault(spot.in_device, []).append(spot)
        return found

    def _is_beside(self, other: Rejoining) -> bool:
        return self._network == other._network and self._thread == threading.get_ident()


def _restore(shards: Shards) -> None:
    try:
        shards.restore()
    except LimitError:
        # The limit may be lower than when these parts were made: then the list is spread anew.
        if not shards.ask_limit():
            raise
        make_all([Change(shards, shards.filter)], "deliver")
    if shards.is_ahead:
        make_all([Change(shards, shards.filter)], "deliver")


def _each(spots: Iterable[Spot], call: Callable[[Shards], None]) -> Refused:
    refused: Refused = []
    for spot in spots:
        try:
            call(spot.shards)
        except (RefusedError, InconsistentError) as error:
            refused.append((spot, error))
    return refused
