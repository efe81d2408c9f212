"""Mending memberships: what `healing` says is to be done when something is announced, done."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final, final

from ..errors import MulticastError, RefusedError
from ..loops.in_loop import weakly
from ..reading.contract import Network, Reading, Watch
from ..rfc3678.limits import with_open_files
from ..values.events import EventKind
from ..values.filters import SourceFilter
from ..values.interface import Interface
from ..values.links import Announcement, Link, Missed
from .healing import Action, Healing, Loss, Remedy
from .looked_up import LookedUp
from .membership import Membership
from .rejoining import Refused, Rejoining, Spot
from .shards import Shards
from .silence import Silence

__all__ = ["Mending"]

# Seconds after something was mended: another process that lets go of its ghost may take the group with it.
_LOOKS: Final = (0.1, 1.0, 5.0)
_SILENCE: Final = "silence"
_LOOKS_PER_SILENCE = 5
_TURN = 0.02  # seconds: what is announced to two receivers of a thread, they are told within
_GATHERED = 0.01  # seconds, of swaps
_RESTS = 10  # times as long as it has looked up routes, until it does so again
_PATIENCE: Final = 1.0  # seconds between two looks of who waits for an interface, if nothing is announced


@final
class Mending:
    """Keeps the memberships of a receiver joined through what becomes of their interfaces.

    It begins when something is announced, and costs nothing before. Everything here is done in the
    thread of the event loop.
    """

    def __init__(
        self, network: Network, memberships: Collection[Membership], silence: float | None = None
    ) -> None:
        self._network = network
        self._silence = silence
        self._silences: dict[Shards, tuple[Silence, SourceFilter]] = {}
        self._memberships = memberships
        self._rejoining = Rejoining(network, memberships)
        self._healing = Healing()
        self._losses: dict[tuple[Membership, int], Loss] = {}
        self._reading: Reading | None = None
        self._watch: Watch | None = None
        self._to_look: set[int] = set()
        self._to_reroute: set[Membership] = set()
        self._reroute_at = -math.inf
        self._waiting: list[asyncio.Future[None]] = []

    # Beginning and ending

    def begin(self, reading: Reading) -> None:
        """Listen to what is announced from now on. RefusedError when the system refuses."""
        if self._watch is None:
            self._reading = reading
            self._watch = with_open_files(lambda: reading.watch(self._announced))
            self._listen()

    def joined(self, membership: Membership) -> None:
        """Take note of a membership, and of how its interfaces are."""
        if self._watch is None:
            return
        presence = membership._presence
        if presence.is_by_route:
            self._watch.follow_routes(True)
        for shards in presence.shards:
            self._know(Spot(membership, shards))

    def swapped(self, membership: Membership) -> None:
        """Look soon if the route to its sources is another: many swaps are one look."""
        self._reroute_soon([membership], _GATHERED)

    def left(self, membership: Membership) -> None:
        """Forget a membership."""
        self._to_reroute.discard(membership)
        for key in [key for key in self._losses if key[0] is membership]:
            del self._losses[key]

    def end(self) -> None:
        """Stop for good."""
        if self._watch is not None:
            self._watch.close()
        self._watch = self._reading = None
        self._wake()

    async def change(self) -> None:
        """Wait until something was announced, or a second has passed."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await future

    # By hand

    async def refresh(self, memberships: Sequence[Membership]) -> None:
        """See `Membership.refresh`. The first error of all is raised when all is done."""
        errors: list[MulticastError] = []
        kept: list[Spot] = []
        known = LookedUp(self._network)
        for membership in memberships:
            presence = membership._presence
            before = presence.shards
            try:
                presence.tell_followed(presence.follow(presence.look_up(known)))
            except MulticastError as error:
                errors.append(error)
                continue
            kept += [Spot(membership, shards) for shards in presence.shards if shards in before]
            self.joined(membership)
        refused = await self._rejoining.anew(kept)
        failed = [spot for spot, _ in refused]
        for membership in memberships:
            refusals = [one for one in refused if one[0].membership is membership]
            if refusals and len(refusals) == len(membership._presence.shards):
                errors.append(refusals[0][1])
                continue
            for spot in kept:
                if spot.membership is membership and spot not in failed:
                    self._losses.pop((membership, spot.index), None)
                    membership._tell(EventKind.REFRESHED, spot.interface)
            for spot, refusal in refusals:
                membership._tell(EventKind.FAILED, spot.interface, refusal)
        if errors:
            raise errors[0]

    # What is announced

    def _announced(self, announced: Sequence[Announcement]) -> None:
        if self._reading is None:
            return
        actions: list[Action] = []
        with contextlib.suppress(MulticastError):  # looks that are refused: the next announcement is soon
            if any(isinstance(one, Missed) for one in announced):
                announced = [*announced, *self._healing.differences(self._links_now())]
                actions = [Action(Remedy.COMPARE, index) for index in self._indexes()]
                actions += [Action(Remedy.FOLLOW), Action(Remedy.REROUTE)]
        decided = self._healing.decide(announced, self._indexes())
        for action in dict.fromkeys([*decided, *actions]):
            with contextlib.suppress(MulticastError):
                with_open_files(partial(self._do, action))
        self._wake()

    def _links_now(self) -> list[Link]:
        """Return how interfaces are: all, or those that matter where the system lists none (a sandbox)."""
        try:
            return self._network.links()
        except RefusedError:
            indexes = {link.index for link in self._healing.links}
            looked = {index: self._network.link(index) for index in indexes}
            there = {index for index, link in looked.items() if link is not None}
            names = {name for one in self._memberships for name in one._presence.missing(there)}
            found = [*looked.values(), *map(self._network.link, names)]
            return [link for link in found if link is not None]

    def _indexes(self) -> set[int]:
        return {index for membership in self._memberships for index in membership._indexes}

    def _do(self, action: Action) -> None:
        spots = self._rejoining.spots(action.index) if action.index else []
        match action.remedy:
            case Remedy.RENAME:
                self._rename(action.index)
            case Remedy.LOSE:
                for spot in spots:
                    if not spot.membership._presence.is_left_when(action.cause):
                        self._lose(spot, action.cause)
            case Remedy.GHOST:
                # Another receiver of this thread, which hears of it in the same turn, may have done it.
                fresh = [one for one in spots if one.shards.anew.at > self._now() - _TURN]
                self._tell_mended(fresh, [])
                self._revive([one for one in spots if one not in fresh])
            case Remedy.COMPARE:
                self._compare(spots)
            case Remedy.REPORT:
                self._report([one for one in spots if one.family in action.families], action)
            case Remedy.FOLLOW:
                known = LookedUp(self._network)
                for membership in tuple(self._memberships):
                    with contextlib.suppress(MulticastError):
                        self._follow(membership, known)
            case Remedy.REROUTE:
                self._reroute_soon(tuple(self._memberships))

    def _rename(self, index: int) -> None:
        link = self._healing.link(index)
        if link is not None:
            for membership in self._memberships:
                membership._presence.rename(index, link.name)

    def _compare(self, spots: Sequence[Spot]) -> None:
        dead = self._rejoining.dead(spots)
        self._revive([spot for spot in spots if spot.in_device in dead])

    def _revive(self, spots: Sequence[Spot]) -> None:
        if not spots:
            return
        found = Loss("device", self._now())
        withdrawn, refused = self._rejoining.withdraw({spot.in_device for spot in spots})
        if self._rejoining.pause and self._reading is not None:
            restore = weakly(self._restore)
            self._reading.call_later(self._rejoining.pause, lambda: restore(withdrawn, refused, found))
        else:
            self._restore(withdrawn, refused, found)

    def _restore(self, withdrawn: Sequence[Spot], refused: Refused, found: Loss) -> None:
        mended, refused = self._rejoining.restore(withdrawn, refused)
        self._tell_mended(mended, refused, found)
        self._look_again({spot.index for spot in withdrawn})

    def _report(self, spots: Sequence[Spot], action: Action) -> None:
        # A list that was changed while the interface was down is another in the kernel.
        changed = [
            one for one in spots if action.was_down and one.shards.anew.joined_with != one.shards.filter
        ]
        others = [one for one in spots if one not in changed]
        for number in {one.family for one in others}:
            if self._network.report_again(action.index, number):
                self._tell_mended([one for one in others if one.family == number], [])
                others = [one for one in others if one.family != number]
        self._rejoin([*changed, *others])
        self._look_again({action.index})

    def _rejoin(self, spots: Sequence[Spot]) -> None:
        if self._rejoining.pause:
            self._revive(spots)
        else:
            self._tell_mended(*self._rejoining.rejoin(spots))

    def _follow(self, membership: Membership, known: LookedUp) -> None:
        presence = membership._presence
        if presence.is_on_all:
            presence.tell_followed(presence.follow(presence.look_up(known)))
            self.joined(membership)
            return
        present = {link.index for link in self._healing.links}
        missing = presence.missing(present)
        back = [link for link in self._healing.links if set(missing) & {link.name, *link.alternative_names}]
        if not back:
            return
        held = [shards.interface for shards in presence.shards if shards.interface.index in present]
        followed = presence.follow([*held, *(known.find(link.index) for link in back)])
        was = {one.name: one.index for one in followed.gone}
        for one in followed.came:
            loss = self._losses.pop((membership, was.get(one.name, 0)), None)
            self._tell_healed(membership, one, loss or Loss("gone", self._now()))
        for interface, error in followed.refusals:
            membership._tell(EventKind.FAILED, interface, error)
        self.joined(membership)
        self._look_again({one.index for one in followed.came})

    def _reroute(self, membership: Membership) -> None:
        presence = membership._presence
        if presence.is_by_route and presence.look_up_route():
            followed = presence.follow([self._network.find(name) for name in presence.missing(())])
            for one in followed.came:
                membership._tell(EventKind.MOVED, one, cause="route")
            for one in followed.gone:
                self._losses.pop((membership, one.index), None)
            self.joined(membership)

    def _reroute_soon(self, memberships: Iterable[Membership], seconds: float = 0.0) -> None:
        """Look up the routes of those that follow one: however many change, for a part of the time only."""
        following = {one for one in memberships if one._presence.is_by_route}
        if self._reading is None or not following:
            return
        waits = bool(self._to_reroute)
        self._to_reroute |= following
        due_at = max(self._now() + seconds, self._reroute_at)
        if not waits and due_at > self._now():
            self._reading.call_later(due_at - self._now(), weakly(self._reroute_all))
        elif not waits:
            self._reroute_all()

    def _reroute_all(self) -> None:
        begun = self._now()
        following, self._to_reroute = self._to_reroute, set()
        for membership in following:
            with contextlib.suppress(MulticastError):
                with_open_files(partial(self._reroute, membership))
        self._reroute_at = self._now() + _RESTS * (self._now() - begun)

    # Looking again

    def _look_again(self, indexes: Iterable[int]) -> None:
        """Compare what the devices have some times from now on: once for all that is mended in this turn."""
        if self._reading is not None:
            if not self._to_look:
                self._reading.call_soon(weakly(self._begin_looks))
            self._to_look.update(indexes)

    def _begin_looks(self) -> None:
        indexes, self._to_look = self._to_look, set()
        look, reading = weakly(self._look), self._reading
        if reading is not None:
            for seconds in _LOOKS:
                reading.call_later(seconds, lambda: look(indexes))

    def _look(self, indexes: set[int]) -> None:
        with contextlib.suppress(MulticastError):
            for index in indexes:
                if self._reading is not None and self._healing.link(index) is not None:
                    self._compare(self._rejoining.spots(index))

    # Silence

    def _listen(self) -> None:
        """Look at the counts of packets now and then."""
        if self._reading is not None and self._silence is not None:
            self._reading.call_later(self._silence / _LOOKS_PER_SILENCE, weakly(self._hear))

    def _hear(self) -> None:
        if self._reading is None or self._silence is None:
            return
        spots = self._rejoining.spots()
        before, self._silences = self._silences, {}
        for spot in spots:
            shards = spot.shards
            silence, judged_by = before.get(shards) or (Silence(self._silence), shards.filter)
            self._silences[shards] = (silence, shards.filter)
            with contextlib.suppress(MulticastError):
                self._hear_one(spot, silence, judged_by is shards.filter)
        self._listen()

    def _hear_one(self, spot: Spot, silence: Silence, is_same: bool) -> None:
        count, now, key = spot.shards.received, self._now(), (spot.membership, spot.index)
        link = self._healing.link(spot.index)
        if not is_same or not spot.shards.is_received or link is None or not link.is_running:
            silence.begin(count, now)
        elif silence.look(count, now):
            if key not in self._losses:
                self._losses[key] = Loss(_SILENCE, silence.last_at)
                spot.membership._tell(EventKind.SILENT, spot.interface, cause=_SILENCE)
            self._end_silence(spot, silence.tries)
        elif silence.flows and (loss := self._losses.get(key)) is not None and loss.cause == _SILENCE:
            del self._losses[key]
            self._tell_healed(spot.membership, spot.interface, loss)

    def _end_silence(self, spot: Spot, tries: int) -> None:
        """Tell the network again: the gentle way first, and then in turn."""
        if self._rejoining.dead([spot]):
            self._revive([spot])
        elif tries % 2 == 0 or not self._network.report_again(spot.index, spot.family):
            self._rejoining.rejoin([spot])

    # What is known, and told

    def _know(self, spot: Spot) -> None:
        index = spot.index
        if not self._healing.knows(index):
            link = with_open_files(lambda: self._network.link(index))
            self._healing.know(index, link, spot.interface.addresses)
        link = self._healing.link(index)
        if link is None or not link.is_running:
            cause = "gone" if link is None else "carrier" if link.is_up else "down"
            self._losses.setdefault((spot.membership, index), Loss(cause, self._now()))

    def _lose(self, spot: Spot, cause: str, error: MulticastError | None = None) -> None:
        key = (spot.membership, spot.index)
        known = self._losses.get(key)
        self._losses[key] = Loss(cause, self._now() if known is None else known.since)
        if known is None:
            spot.membership._tell(EventKind.LOST, spot.interface, error, cause=cause)

    def _tell_mended(self, mended: Iterable[Spot], refused: Refused, found: Loss | None = None) -> None:
        for spot in mended:
            loss = self._losses.pop((spot.membership, spot.index), found)
            if loss is None:
                spot.membership._tell(EventKind.REFRESHED, spot.interface)
            else:
                self._tell_healed(spot.membership, spot.interface, loss)
        for spot, error in refused:
            self._lose(spot, "device", error)

    def _tell_healed(self, membership: Membership, interface: Interface, loss: Loss) -> None:
        seconds = self._now() - loss.since
        membership._tell(EventKind.HEALED, interface, cause=loss.cause, seconds=seconds)

    def _now(self) -> float:
        return 0.0 if self._reading is None else self._reading.monotonic()

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.pop()
            if not future.done():
                future.set_result(None)
