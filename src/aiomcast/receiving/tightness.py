"""Noticing that a receive buffer holds too little of what comes. Told once, of a whole receiver."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Final, NamedTuple, final

from ..loops.in_loop import weakly
from ..reading.buffers import BUFFER_SYSCTL, room_for
from ..reading.contract import Reading
from ..values import bounds
from ..values.events import EventKind
from ..values.statistics import Tally
from .membership import Membership
from .shards import Shards

__all__ = ["Tightness"]

_LEAST: Final = 0.05  # seconds of what comes that a buffer has to hold
_BETWEEN: Final = 1.0  # seconds between two looks at what has come


class _Come(NamedTuple):
    """What had come at a time, that which found no room included."""

    at: float
    datagrams: int
    octets: int


@final
class Tightness:
    """Compares the buffers that were asked for by default with the rate of what comes.

    It looks now and then where less was granted, and otherwise only once after something was dropped:
    a receiver that was granted everything, and drops nothing, pays nothing for it.
    """

    def __init__(self, memberships: Collection[Membership]) -> None:
        self._memberships = memberships
        self._reading: Reading | None = None
        self._come: dict[Shards, _Come] = {}
        self._is_waiting = self._is_told = False

    def joined(self, membership: Membership, reading: Reading) -> None:
        """Begin to look where it was granted less."""
        self._reading = reading
        if any(_is_short(shards) for shards in membership._presence.shards):
            self._await()

    def dropped(self, membership: Membership) -> None:
        """Look what comes in the next second: something was dropped."""
        if any(_is_default(shards) for shards in membership._presence.shards):
            self._await()

    def _await(self) -> None:
        if self._is_told or self._is_waiting or self._reading is None:
            return
        self._is_waiting = True
        now = self._reading.monotonic()
        for membership in self._memberships:
            for shards in membership._presence.shards:
                if _is_default(shards):
                    self._come[shards] = _come(shards, now)
        self._reading.call_later(_BETWEEN, weakly(self._look))

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
        if any(_is_short(shards) for one in self._memberships for shards in one._presence.shards):
            self._await()

    def _judge(self, membership: Membership, shards: Shards, before: _Come, after: _Come) -> None:
        seconds, datagrams = after.at - before.at, after.datagrams - before.datagrams
        if seconds <= 0 or datagrams <= 0:
            return
        granted = sum(reader.count_drops() for reader in shards.readers)
        rate = datagrams / seconds
        held = granted / (rate * room_for((after.octets - before.octets) / datagrams))
        if held >= _LEAST:
            return
        self._is_told = True
        said = (
            f"the receive buffer of {granted:,} bytes holds {held * 1000:.0f} ms of what comes, "
            f"{rate:,.0f} datagrams/s: {_remedy(shards)}"
        )
        membership._tell(EventKind.TIGHT, shards.interface, cause=said)
        where = f"{membership.group} port {membership.port} on {shards.interface.name}"
        warnings.warn(f"{where}: {said}", RuntimeWarning, stacklevel=1)


def _remedy(shards: Shards) -> str:
    if not _is_short(shards):
        return "ask for more by receive_buffer="
    if BUFFER_SYSCTL is None:
        return "the system has granted less than was asked for"
    return f"raise it with sysctl -w {BUFFER_SYSCTL}={bounds.RECEIVE_BUFFER}, or have CAP_NET_ADMIN"


def _is_default(shards: Shards) -> bool:
    return any(reader.sock.is_buffer_whole is not None for reader in shards.readers)


def _is_short(shards: Shards) -> bool:
    return any(reader.sock.is_buffer_whole is False for reader in shards.readers)


def _come(shards: Shards, now: float) -> _Come:
    tally = Tally()
    shards.count(tally)
    mean = tally.octets / tally.received if tally.received else 0.0
    return _Come(now, tally.received + tally.kernel_drops, tally.octets + round(mean * tally.kernel_drops))
