"""All counters of a receiver at one moment, taken in its event loop whoever asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import final

import attrs

from ..errors import ArgumentError, StateError
from ..receiving.receiver import Receiver
from ..values.statistics import SourceStatistics, Statistics, Tally

__all__ = ["OTHER", "Snapshot", "Taking"]

OTHER = "other"  # the label of all sources beyond the bound
_PATIENCE = 5.0  # seconds that another thread waits for the event loop


@final
@attrs.frozen(slots=True)
class Snapshot:
    """The counters of the receiver, and of each membership by its labels: group, port, interface."""

    receiver: Statistics
    memberships: Mapping[tuple[str, str, str], Statistics]
    sources: Mapping[tuple[str, str, str], Mapping[str, SourceStatistics]]


@final
class Taking:
    """Takes snapshots: exporters have threads of their own, and counting tells of drops in the loop."""

    def __init__(self, receiver: Receiver, sources: int) -> None:
        """Belong to the running event loop. `sources` is how many are told apart, of each membership."""
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
        memberships, sources = {}, {}
        total = Tally()
        self._receiver._count_rest(total)
        for membership in self._receiver.memberships:
            on = ",".join([one.name for one in membership.interfaces])
            labels = (membership.group, str(membership.port), on)
            memberships[labels] = counted = membership.statistics()
            total.add(counted)
            if self._sources:
                sources[labels] = self._bounded(membership.statistics_by_source())
        return Snapshot(total.statistics(), memberships, sources)

    def _bounded(self, by_source: Mapping[str | None, SourceStatistics]) -> Mapping[str, SourceStatistics]:
        """Tell apart those that came first: so no counter ever falls."""
        told: dict[str, SourceStatistics] = {}
        for source, counted in by_source.items():
            is_own = source is not None and len(told) - (OTHER in told) < self._sources
            label = source if is_own and source is not None else OTHER
            told[label] = told.get(label, SourceStatistics()) + counted
        return told
