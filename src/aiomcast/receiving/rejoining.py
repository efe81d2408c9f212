"""Leaving and joining again, so that a device or a network hears of memberships that it has forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias, final
from weakref import WeakSet

import attrs

from ..errors import InconsistentError, MulticastError, RefusedError
from ..reading.contract import Network
from ..values.addresses import family
from ..values.interface import Interface
from ..values.links import DeviceGroup
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
        return DeviceGroup(self.index, self.shards.group)


_all: WeakSet[Rejoining] = WeakSet()

Refused: TypeAlias = list[tuple[Spot, MulticastError]]


@final
class Rejoining:
    """Joins memberships of a receiver anew.

    Where the device has lost a group that its sockets believe to be members of, all of them leave before
    any joins, also those of the thread's other receivers: such a leave, once another has joined anew, takes
    that one's membership with it. Where the device has it, each socket leaves and joins before the next, so
    that little is lost.
    """

    def __init__(self, network: Network, memberships: Collection[Membership]) -> None:
        self._network = network
        self._memberships = memberships
        self._thread = threading.get_ident()
        _all.add(self)

    def spots(self, index: int | None = None) -> list[Spot]:
        """Return where memberships let anything in: on the interface with this index, None for on all."""
        return [
            Spot(membership, shards)
            for membership in self._memberships
            for shards in membership._presence.shards
            if index in (None, shards.interface.index) and not shards.filter.is_none
        ]

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

    @property
    def pause(self) -> float:
        """Seconds that have to pass between `withdraw` and `restore`."""
        return self._network.rejoin_pause

    def withdraw(self, groups: Collection[DeviceGroup]) -> tuple[list[Spot], Refused]:
        """Have all sockets of these leave; return where they were, and what refuses to."""
        spots = self._of(groups)
        return spots, _each(spots, Shards.withdraw)

    def restore(self, spots: Collection[Spot], refused: Refused) -> tuple[list[Spot], Refused]:
        """Have them join again. Return what of this receiver was joined, and what refuses, or has before."""
        refused = refused + _each(spots, Shards.restore)
        failed = [spot for spot, _ in refused]
        joined = [spot for spot in spots if spot not in failed and self._has(spot)]
        return joined, [one for one in refused if self._has(one[0])]

    def rejoin(self, spots: Iterable[Spot]) -> tuple[list[Spot], Refused]:
        """Leave and join with one after the other. Return what was joined, and what refuses."""
        done: list[Spot] = []
        refused: Refused = []
        for spot in spots:
            refusals = spot.membership._presence.rejoin([spot.shards])
            refused += [(spot, error) for _, error in refusals]
            if not refusals:
                done.append(spot)
        return done, refused

    async def anew(self, spots: Collection[Spot]) -> Refused:
        """Do what is right for each of `spots`. Return what refuses, and stays as it was."""
        if self.pause:
            dead = {spot.in_device for spot in spots}
            withdrawn = self.withdraw(dead)
            await asyncio.sleep(self.pause)
        else:
            dead = self.dead(spots)
            withdrawn = self.withdraw(dead)
        refused = self.restore(*withdrawn)[1]
        return refused + self.rejoin(spot for spot in spots if spot.in_device not in dead)[1]

    def _of(self, groups: Collection[DeviceGroup]) -> list[Spot]:
        if not groups:
            return []
        peers = [one for one in tuple(_all) if one._network == self._network and one._thread == self._thread]
        return [spot for one in peers for spot in one.spots() if spot.in_device in groups]

    def _has(self, spot: Spot) -> bool:
        return spot.membership in self._memberships


def _each(spots: Iterable[Spot], call: Callable[[Shards], None]) -> Refused:
    refused: Refused = []
    for spot in spots:
        try:
            call(spot.shards)
        except (RefusedError, InconsistentError) as error:
            refused.append((spot, error))
    return refused
