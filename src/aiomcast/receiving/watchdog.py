"""Listening for silence: what has flowed, and comes no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, final

from ..diagnosis.examining import Case, likely
from ..diagnosis.facts import Look
from ..diagnosis.verdicts import Verdict
from ..errors import MulticastError
from ..loops.in_loop import weakly
from ..reading.contract import Network, Reading
from ..system.healing import Healing
from ..values.events import EventKind
from ..values.filters import SourceFilter
from .rejoining import Rejoining, Spot
from .shards import Shards
from .silence import Silence

__all__ = ["Watchdog"]

_Silent: TypeAlias = Callable[[Sequence[Spot], bool], None]

_LOOKS: Final = 5  # in the time after which it is silent
_GLANCES: Final = (
    2  # at the system at a time, of some ms: where very many are silent, it is not asked for all
)


class _Heard:
    """Of one: its silence, by which filter it was judged, and since when it is told to be silent.

    `before` is what the system told when it was about to be silent.
    """

    __slots__ = ("before", "judged_by", "silence", "since")

    def __init__(self, least: float, judged_by: SourceFilter) -> None:
        self.silence = Silence(least)
        self.judged_by = judged_by
        self.since: float | None = None
        self.before: Look | None = None


@final
class Watchdog:
    """Looks at the counts of packets now and then, tells of silence and of its end.

    `silent` is called with those that are to be mended now, and whether for the first time, or each other
    time after it.
    """

    def __init__(
        self,
        network: Network,
        reading: Reading,
        rejoining: Rejoining,
        healing: Healing,
        least: float,
        silent: _Silent,
    ) -> None:
        self._network = network
        self._reading = reading
        self._rejoining = rejoining
        self._healing = healing
        self._least = least
        self._silent = weakly(silent)
        self._heard: dict[Shards, _Heard] = {}
        self._glances = _GLANCES
        self._await()

    def _await(self) -> None:
        self._reading.call_later(self._least / _LOOKS, weakly(self._look))

    def _look(self) -> None:
        self._glances = _GLANCES
        try:
            spots = self._rejoining.spots()
            before = self._heard
            self._heard = {
                one.shards: before.get(one.shards) or _Heard(self._least, one.shards.filter) for one in spots
            }
            asking = [spot for spot in spots if self._asks(spot, self._heard[spot.shards])]
            for is_gentle in (True, False):
                some = [one for one in asking if self._heard[one.shards].silence.tries % 2 == is_gentle]
                if some:
                    self._silent(some, is_gentle)
        finally:
            self._await()

    def _asks(self, spot: Spot, heard: _Heard) -> bool:
        """Listen to one, and say whether it is to be mended now."""
        count, now = spot.shards.received, self._reading.monotonic()
        link, silence = self._healing.link(spot.index), heard.silence
        is_same, heard.judged_by = heard.judged_by is spot.shards.filter, spot.shards.filter
        if not is_same or not spot.shards.is_received or link is None or not link.is_running:
            silence.begin(count, now)
        elif silence.look(count, now):
            if heard.since is None:
                heard.since = silence.last_at
                verdict = self._likely(spot, heard.before)
                spot.membership._tell(EventKind.SILENT, spot.interface, cause="silence", verdict=verdict)
            return True
        elif silence.flows and heard.since is not None:
            seconds, heard.since = now - heard.since, None
            spot.membership._tell(EventKind.HEALED, spot.interface, cause="silence", seconds=seconds)
        if not silence.is_late(now):
            heard.before = None
        elif heard.before is None and spot.membership._keeper.is_heard(EventKind.SILENT):
            heard.before = self._glance(spot)
        return False

    def _likely(self, spot: Spot, before: Look | None) -> Verdict | None:
        after = self._glance(spot) if before is not None else None
        if before is None or after is None:
            return None
        shards = spot.shards
        case = Case(shards.group, shards.port, shards.filter, spot.interface)
        try:
            doubts = self._network.doubts(spot.interface, shards.group, shards.filter)
            return likely(case, before, after, doubts)
        except MulticastError:  # it is to be mended all the same
            return None

    def _glance(self, spot: Spot) -> Look | None:
        if self._glances <= 0:
            return None
        self._glances -= 1
        try:
            return self._network.look(spot.interface, spot.shards.group, spot.shards.port)
        except MulticastError:
            return None
