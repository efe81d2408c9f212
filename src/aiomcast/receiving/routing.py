"""Following routes: memberships that were joined by one are where it leads now."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeAlias, final

from ..errors import MulticastError
from ..loops.in_loop import weakly
from ..reading.contract import Network, Reading
from ..rfc3678.limits import with_open_files
from ..values.interface import Interface
from .membership import Membership
from .turns import Turns, Work

__all__ = ["Routing"]

_Moved: TypeAlias = Callable[[Membership, Iterable[Interface], Iterable[Interface]], None]

_GATHERED: Final = 0.01  # seconds, of swaps
_RESTS: Final = 10  # times as long as routes were looked up, until they are again


@final
class Routing:
    """Looks routes up, and moves memberships: `moved` is told which, and what came and went."""

    def __init__(self, network: Network, turns: Turns, moved: _Moved) -> None:
        self._network = network
        self._turns = turns
        self._moved = weakly(moved)
        self.reading: Reading | None = None
        self._asked: set[Membership] = set()
        self._not_before = -math.inf

    def swapped(self, membership: Membership) -> None:
        """Look soon for one that lets others in: many swaps are one look."""
        self._look([membership], _GATHERED)

    def look(self, memberships: Iterable[Membership]) -> None:
        """Look for those that follow a route: however many change, for a part of the time only."""
        self._look(memberships, 0.0)

    def forget(self, membership: Membership) -> None:
        """Look for it no more."""
        self._asked.discard(membership)

    def _look(self, memberships: Iterable[Membership], seconds: float) -> None:
        following = {one for one in memberships if one._presence.is_by_route}
        if self.reading is None or not following:
            return
        waits = bool(self._asked)
        self._asked |= following
        now = self.reading.monotonic()
        due_at = max(now + seconds, self._not_before)
        if waits:
            return
        if due_at > now:
            self.reading.call_later(due_at - now, weakly(self._look_up))
        else:
            self._look_up()

    def _look_up(self) -> None:
        self._turns.do(self._looked_up)

    def _looked_up(self) -> Work:
        if self.reading is None:
            return
        begun = self.reading.monotonic()
        asked, self._asked = self._asked, set()
        for membership in asked:
            with contextlib.suppress(MulticastError):  # no route, or several: it stays where it is
                if not membership._is_ended:
                    with_open_files(partial(self._follow, membership))
            yield
        if self.reading is not None:
            ended = self.reading.monotonic()
            self._not_before = ended + _RESTS * (ended - begun)

    def _follow(self, membership: Membership) -> None:
        presence = membership._presence
        if presence.look_up_route():
            followed = presence.follow([self._network.find(name) for name in presence.missing(())])
            self._moved(membership, followed.came, followed.gone)
