"""All counters of a receiver at one moment, taken in its event loop whoever asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias, final

from ..errors import ArgumentError, ArgumentTypeError, StateError
from ..receiving.membership import Membership
from ..receiving.receiver import Receiver
from ..values.shown import shown
from ..values.statistics import SourceStatistics, Tally

__all__ = ["OTHER", "Name", "Snapshot", "Taking"]

OTHER = "other"  # the label of all sources beyond the bound
_PATIENCE = 5.0  # seconds that another thread waits for the event loop


Name: TypeAlias = tuple[str, int, str]
"""What tells a membership from others: group, port and interface; several are joined by commas."""


class Snapshot(NamedTuple):
    """The counters of the receiver, and how many memberships it has.

    Where they are told apart: the name and the counters of each, and what came from each of its sources.
    """

    receiver: Tally
    joined: int
    names: Sequence[Name]
    tallies: Sequence[Tally]
    sources: Sequence[Mapping[str, SourceStatistics]]


@final
class Taking:
    """Takes snapshots: exporters have threads of their own, and counting tells of drops in the loop."""

    def __init__(self, receiver: Receiver, *, memberships: bool, sources: int = 0) -> None:
        """Belong to the running event loop.

        `memberships` says if they are told apart, `sources` how many are, of each membership.
        """
        if not isinstance(memberships, bool):
            raise ArgumentTypeError(f"memberships {shown(memberships)}", "give True or False")
        if sources and not receiver.options.by_source:
            raise StateError("nothing is counted by source", "make the receiver with by_source=True")
        if sources < 0:
            raise ArgumentError(f"sources {sources}", "give a number from 0 up")
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise StateError("no event loop is running", "make it where the receiver is used") from None
        self._thread = threading.get_ident()
        self._receiver = receiver
        self._is_by_membership = memberships or sources > 0
        self._sources = sources

    def take(self) -> Snapshot:
        """Return the counters now. StateError when the loop is closed, or does not answer in 5 s."""
        if threading.get_ident() == self._thread:
            return self._take()
        taking = self._taking()
        try:
            return asyncio.run_coroutine_threadsafe(taking, self._loop).result(_PATIENCE)
        except (RuntimeError, TimeoutError) as error:
            taking.close()
            raise StateError(
                "the event loop of the receiver does not answer", "see if it is blocked"
            ) from error

    async def _taking(self) -> Snapshot:
        return self._take()

    def _take(self) -> Snapshot:
        memberships = self._receiver.memberships
        if not self._is_by_membership:
            return Snapshot(self._receiver._tally(), len(memberships), (), (), ())
        total = Tally()
        self._receiver._count_rest(total)
        tallies = []
        for membership in memberships:
            tally = Tally()
            membership._presence.count(tally)
            total.add(tally)
            tallies.append(tally)
        sources = [self._bounded(one) for one in memberships] if self._sources else []
        return Snapshot(total, len(memberships), [_name(one) for one in memberships], tallies, sources)

    def _bounded(self, membership: Membership) -> Mapping[str, SourceStatistics]:
        """Tell apart those that came first: so no counter ever falls."""
        told: dict[str, SourceStatistics] = {}
        for source, counted in membership.statistics_by_source().items():
            is_own = source is not None and len(told) - (OTHER in told) < self._sources
            label = source if is_own and source is not None else OTHER
            told[label] = told.get(label, SourceStatistics()) + counted
        return told


def _name(membership: Membership) -> Name:
    presence = membership._presence
    binding = presence.binding
    return binding.group, binding.port, ",".join([shards.interface.name for shards in presence.shards])
