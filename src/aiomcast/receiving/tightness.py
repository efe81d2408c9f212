"""Noticing that a receive buffer holds too little of what comes. Told once, of a whole receiver."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import final

from ..loops.in_loop import weakly
from ..reading import held
from ..reading.contract import Reading
from ..values.events import EventKind
from ..values.statistics import Tally
from .membership import Membership
from .shards import Shards

__all__ = ["Tightness"]


@final
class Tightness:
    """Compares the buffers that were asked for by default with the rate of what comes.

    It looks now and then where less was granted, and otherwise only once after something was dropped:
    a receiver that was granted everything, and drops nothing, pays nothing for it.
    """

    def __init__(self, memberships: Collection[Membership]) -> None:
        self._memberships = memberships
        self._reading: Reading | None = None
        self._come: dict[Shards, held.Come] = {}
        self._is_waiting = self._is_told = False

    def joined(self, membership: Membership, reading: Reading) -> None:
        """Begin to look where it was granted less."""
        self._reading = reading
        if any(held.are_short(shards.readers) for shards in membership._presence.shards):
            self._await()

    def dropped(self, membership: Membership) -> None:
        """Look what comes in the next second: something was dropped."""
        if any(held.are_default(shards.readers) for shards in membership._presence.shards):
            self._await()

    def _await(self) -> None:
        if self._is_told or self._is_waiting or self._reading is None:
            return
        self._is_waiting = True
        now = self._reading.monotonic()
        for membership in self._memberships:
            for shards in membership._presence.shards:
                if held.are_default(shards.readers):
                    self._come[shards] = _come(shards, now)
        self._reading.call_later(held.BETWEEN, weakly(self._look))

    def _look(self) -> None:
        self._is_waiting = False
        before, self._come = self._come, {}
        if self._reading is None:
            return
        now = self._reading.monotonic()
        for membership in self._memberships:
            for shards in membership._presence.shards:
                if shards in before and not self._is_told:
                    self._judge(membership, shards, before[shards], _come(shards, now))
        if any(
            held.are_short(shards.readers) for one in self._memberships for shards in one._presence.shards
        ):
            self._await()

    def _judge(self, membership: Membership, shards: Shards, before: held.Come, after: held.Come) -> None:
        said = held.told(shards.readers, before, after)
        if said is None:
            return
        self._is_told = True
        membership._tell(EventKind.TIGHT, shards.interface, cause=said)
        where = f"{membership.group} port {membership.port} on {shards.interface.name}"
        warnings.warn(f"{where}: {said}", RuntimeWarning, stacklevel=1)


def _come(shards: Shards, now: float) -> held.Come:
    tally = Tally()
    shards.count(tally)
    return held.come(tally, now)
