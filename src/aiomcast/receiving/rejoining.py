"""Leaving and joining again, so that a device or a network hears of memberships that it has forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TypeAlias, final

import attrs

from ..errors import InconsistentError, LimitError, MulticastError, RefusedError
from ..loops import beside
from ..loops.beside import Joined
from ..reading.contract import Network, Reading
from ..rfc3678.limits import with_open_files
from ..streams.pausing import pass_pause
from ..values.addresses import family
from ..values.interface import Interface
from ..values.links import DeviceGroup
from .changes import make_all
from .membership import Membership
from .shards import Shards

__all__ = ["Refusals", "Refused", "Rejoining", "Spot"]


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

    def withdraw(self) -> None:
        """See `beside.Joined`."""
        self.shards.withdraw()

    def restore(self) -> None:
        """See `beside.Joined`."""
        shards = self.shards
        try:
            shards.restore()
        except LimitError:
            # The limit may be lower than when these parts were made: then the list is spread anew.
            if not shards.ask_limit():
                raise
            make_all([(shards, shards.filter)], "deliver")
        if shards.is_ahead:
            make_all([(shards, shards.filter)], "deliver")


Refusals: TypeAlias = list[tuple[Joined, MulticastError]]

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
        self.network: Network = network
        self._memberships = memberships
        self.thread: int = 0
        self._pauses = 0

    def enter(self) -> None:
        """Be found by what else is of this thread."""
        self.thread = threading.get_ident()
        beside.enter(self)

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
            held = self.network.device_groups(number)
            if held is not None:
                found |= groups - held
        return found

    def asked(self, index: int, number: int) -> bool:
        """Have the host report its groups of family `number` again, if it can without leaving any."""
        try:
            return with_open_files(lambda: self.network.report_again(index, number))
        except RefusedError:  # there is the other way
            return False

    @property
    def pause(self) -> float:
        """Seconds that have to pass between `withdraw` and `restore`."""
        return self.network.rejoin_pause

    @property
    def is_pausing(self) -> bool:
        """Whether some have left, and have to wait until they join again."""
        return self._pauses > 0

    def after_pause(self, reading: Reading, spots: Collection[Joined], call: Callable[[], None]) -> None:
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

    def withdraw(self, groups: Collection[DeviceGroup]) -> tuple[list[Joined], Refusals]:
        """Have all sockets of these leave; return where they were, and what refuses to."""
        joined = beside.beside(self, groups)
        each = [one for group in groups for one in joined.get(group, ())]
        return each, _each(each, lambda one: one.withdraw())

    def restore(self, each: Collection[Joined], refused: Refusals) -> tuple[list[Spot], Refused]:
        """Have them join again. Return what of this receiver was joined, and what refuses, or has before."""
        refused = refused + _each(each, lambda one: one.restore())
        failed = {id(one) for one, _ in refused}
        own = [one for one in each if isinstance(one, Spot) and self.has(one)]
        return (
            [one for one in own if id(one) not in failed],
            [(one, error) for one, error in refused if isinstance(one, Spot) and self.has(one)],
        )

    def rejoin(self, spots: Collection[Spot], *, with_others: bool) -> tuple[list[Spot], Refused]:
        """Leave and join with one group after the other. Return what was joined, and what refuses.

        Those of `spots` alone, unless `with_others` has leave what others have joined alike.
        """
        done: list[Spot] = []
        refused: Refused = []
        groups, chosen = {spot.in_device: None for spot in spots}, set(spots)
        joined = beside.beside(self, groups)
        for group in groups:
            alike = joined.get(group, ())
            if len(alike) > 1 and (with_others or chosen.issuperset(alike)):
                mended, refusals = self.restore(*self.withdraw({group}))
                done += mended
                refused += refusals
                continue
            for spot in [one for one in alike if isinstance(one, Spot) and one in chosen]:
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

    async def _restored(self, spots: Collection[Joined], refused: Refusals) -> Refused:
        self._pauses += 1
        try:
            await asyncio.sleep(self.pause)
            await pass_pause(lambda: self._wait(spots))  # others may have left meanwhile
        finally:
            self._pauses -= 1
            still = self.restore(spots, refused)[1]
        return still

    def _wait(self, spots: Collection[Joined]) -> float:
        each = (spot.in_device for spot in spots)
        waits = (self.network.join_wait(one.group, [one.interface_index]) for one in each)
        return max(waits, default=0.0)

    def joined(self, groups: Collection[DeviceGroup]) -> list[Spot]:
        """See `beside.Holder`."""
        return [spot for spot in self.spots({one.group for one in groups}) if spot.in_device in groups]


def _each(each: Iterable[Joined], call: Callable[[Joined], None]) -> Refusals:
    refused: Refusals = []
    for one in each:
        try:
            call(one)
        except (RefusedError, InconsistentError) as error:
            refused.append((one, error))
    return refused
