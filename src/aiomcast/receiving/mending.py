"""Mending memberships: what `healing` says is to be done when something is announced, done."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final, final

from ..errors import InterfaceGoneError, MulticastError, RefusedError
from ..loops.beside import Joined
from ..loops.timetable import Timetable
from ..reading.contract import Network, Reading, Watch
from ..rfc3678.limits import with_open_files
from ..system.healing import Action, Healing, Remedy
from ..values.events import EventKind
from ..values.interface import Interface
from ..values.links import Announcement, DeviceGroup, Link, Missed
from .following import Followed, Following
from .looked_up import LookedUp
from .losses import Loss, Losses
from .membership import Membership
from .rejoining import Refusals, Refused, Rejoining, Spot
from .routing import Routing
from .turns import Turns, Work
from .watchdog import Watchdog

__all__ = ["Mending"]

_TOLD_WITHIN: Final = 0.02  # seconds: what is announced to two receivers of a loop
_AT_ONCE: Final = 16  # groups that leave and join in a row
_PATIENCE: Final = 1.0  # seconds between two looks of who waits for an interface where nothing is announced


@final
class Mending:
    """Keeps the memberships of a receiver joined through what becomes of their interfaces.

    It begins when something is announced, and costs nothing before. Everything here is done in the
    thread of the event loop, in as many of its turns as it takes.
    """

    def __init__(
        self, network: Network, memberships: Collection[Membership], silence: float | None = None
    ) -> None:
        self._network = network
        self._memberships = memberships
        self._silence = silence
        self._rejoining = Rejoining(network, memberships)
        self._healing = Healing()
        self._losses = Losses()
        self._turns = Turns()
        self._routing = Routing(network, self._turns, self._rerouted)
        self._timetable = Timetable(self._look)
        self._following = Following(network, memberships, self._healing, self._losses, self.joined)
        self._reading: Reading | None = None
        self._watch: Watch | None = None
        self._watchdog: Watchdog | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    # Beginning and ending

    def begin(self, reading: Reading) -> None:
        """Listen to what is announced from now on, once. RefusedError when the system refuses."""
        if self._watch is not None:
            return
        self._watch = with_open_files(lambda: reading.watch(self._announced))
        self._reading = reading
        self._losses.now = reading.monotonic
        self._routing.reading = self._timetable.reading = self._turns.reading = reading
        self._rejoining.enter()
        if self._silence is not None:
            self._watchdog = Watchdog(
                self._network, reading, self._rejoining, self._healing, self._silence, self._silent
            )

    @property
    def is_on(self) -> bool:
        """Whether it has begun, and not ended."""
        return self._watch is not None

    def joined(self, membership: Membership, came: Collection[Interface] | None = None) -> None:
        """Take note of a membership, and of how its interfaces are: all, or those that came."""
        if self._watch is None:
            return
        if membership._presence.is_by_route:
            self._watch.follow_routes(True)
        for shards in membership._presence.shards:
            if came is None or shards.interface in came:
                self._know(Spot(membership, shards))

    def look_later(self) -> None:
        """Look at everything once more, soon."""
        self._timetable.later()

    def refused(self, membership: Membership, refusals: Sequence[tuple[Interface, MulticastError]]) -> None:
        """Take note of what has refused a join, which was told: it is tried again."""
        if self._watch is not None and refusals:
            self._losses.are_told(membership, [interface for interface, _ in refusals])
            self._timetable.later()

    def _hear_of_routes(self) -> None:
        """Have routes announced while somebody follows one, or waits for one."""
        if self._watch is not None:
            is_followed = any(one._presence.is_by_route for one in self._memberships)
            self._watch.follow_routes(is_followed or bool(self._waiting))

    def swapped(self, membership: Membership) -> None:
        """Look soon if the route to its sources is another."""
        self._routing.swapped(membership)

    def left(self, membership: Membership) -> None:
        """Forget a membership."""
        self._losses.forget(membership)
        self._routing.forget(membership)
        if membership._presence.is_by_route:
            self._hear_of_routes()

    def end(self) -> None:
        """Stop for good."""
        if self._watch is not None:
            self._watch.close()
        self._watch = self._reading = self._watchdog = None
        self._routing.reading = self._timetable.reading = None
        self._turns.end()
        self._wake()

    async def change(self) -> None:
        """Wait until something was announced; where nothing is, for a second."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        self._hear_of_routes()
        try:
            async with asyncio.timeout(_PATIENCE if self._watch is None else None):
                await future
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(future)
            self._hear_of_routes()

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
                followed = presence.follow(presence.look_up(known))
                presence.tell_followed(followed)
                self._losses.forget(membership, followed.gone)
                self.joined(membership)
            except MulticastError as error:
                errors.append(error)
                continue
            kept += [Spot(membership, shards) for shards in presence.shards if shards in before]
        refused = await self._rejoining.anew(kept)
        if refused:
            self._timetable.later()
        failed = {spot for spot, _ in refused}
        for membership in memberships:
            refusals = [one for one in refused if one[0].membership is membership]
            if refusals and len(refusals) == len(membership._presence.shards):
                errors.append(refusals[0][1])
                continue
            for spot in kept:
                is_there = spot.membership is membership and membership in self._memberships
                if is_there and spot not in failed:
                    self._losses.pop(membership, spot.index)
                    membership._tell(EventKind.REFRESHED, spot.interface)
            for spot, refusal in refusals:
                membership._tell(EventKind.FAILED, spot.interface, refusal)
        if errors:
            raise errors[0]

    # What is announced

    def _announced(self, announced: Sequence[Announcement]) -> None:
        if self._reading is not None:
            self._turns.do(partial(self._mended, announced, self._losses.now() - _TOLD_WITHIN))
            self._wake()

    def _mended(self, announced: Sequence[Announcement], heard_at: float) -> Work:
        with self._timetable.guarded():
            yield from self._mend(announced, heard_at)
        self._timetable.end_pass()

    def _look(self) -> None:
        """Compare everything, and try again what was refused."""
        self._turns.do(self._looked)

    def _looked(self) -> Work:
        with self._timetable.guarded():
            yield from self._compare(self._rejoining.spots())
            yield from self._follow()
        self._timetable.end_pass()

    def _mend(self, announced: Sequence[Announcement], heard_at: float) -> Work:
        indexes = {index for membership in self._memberships for index in membership._indexes}
        actions: list[Action] = []
        if any(isinstance(one, Missed) for one in announced):  # what was told besides may be older
            announced = self._healing.differences(with_open_files(self._links_now))
            actions += [Action(Remedy.COMPARE, index) for index in indexes]
            actions += [Action(Remedy.FOLLOW), Action(Remedy.REROUTE)]
        actions = [*self._healing.decide(announced, indexes), *actions]
        at = self._rejoining.by_index()
        of_all: list[tuple[Spot, str]] = []
        for action in actions:
            if action.remedy is Remedy.RENAME:
                for membership in self._memberships:
                    membership._presence.rename(action.index, action.name)
            elif action.remedy is Remedy.LOSE:
                for spot in at.get(action.index, ()):
                    if spot.membership._presence.is_on_all and action.cause != "carrier":
                        of_all.append((spot, action.cause))  # it may be on others
                    else:
                        self._lose(spot, action.cause)
                        yield
        with self._timetable.guarded():
            ghosts = [one for i in _of(actions, Remedy.GHOST) for one in at.get(i, ())]
            yield from self._revive(ghosts, heard_at)
        for index in _of(actions, Remedy.TAKEN):
            self._disown(at.get(index, ()))
            yield
        with self._timetable.guarded():
            yield from self._compare([one for i in _of(actions, Remedy.COMPARE) for one in at.get(i, ())])
        for action in actions:
            if action.remedy is Remedy.REPORT:
                with self._timetable.guarded():
                    yield from self._report(action, at.get(action.index, ()), heard_at)
        if any(action.remedy is Remedy.FOLLOW for action in actions):
            yield from self._follow()
        for spot, cause in of_all:
            self._lose(spot, cause)
            yield
        if any(action.remedy is Remedy.REROUTE for action in actions):
            self._routing.look(self._memberships)

    def _follow(self) -> Work:
        for step in self._following.follow():
            self._timetable.is_owed |= step is Followed.REFUSED
            if step is Followed.CAME:
                self._timetable.again()
            yield

    def _links_now(self) -> list[Link]:
        """Return how interfaces are: all, or those that matter where the system lists none (a sandbox)."""
        try:
            return self._network.links()
        except RefusedError:
            looked = {link.index: self._network.link(link.index) for link in self._healing.links}
            there = {index for index, link in looked.items() if link is not None}
            names = {name for one in self._memberships for name in one._presence.missing(there)}
            found = [*looked.values(), *map(self._network.link, names)]
            return [link for link in found if link is not None]

    def _compare(self, spots: Sequence[Spot]) -> Work:
        present = [spot for spot in spots if self._healing.link(spot.index) is not None]
        if present and not self._rejoining.is_pausing:
            looked_at = self._losses.now()
            dead = with_open_files(partial(self._rejoining.dead, present))
            yield
            # Another process may have the device hold what the sockets here do not.
            ill = [spot for spot in present if spot.in_device in dead or spot.shards.is_owed]
            yield from self._revive(ill, looked_at)

    def _revive(self, spots: Sequence[Spot], since: float) -> Work:
        """Have what was dead at `since` leave and join, some groups at a time: nothing else is held up.

        Where a pause has to pass in between, all of it together. What was joined anew since, as by another
        receiver of this loop, is well.
        """
        now = self._losses.now()
        for part in [spots] if self._rejoining.pause else _by_groups(spots):
            fresh = {one for one in part if one.shards.anew.at > since and not one.shards.anew.is_withdrawn}
            self._tell_mended(filter(self._rejoining.has, fresh), [])
            groups = {spot.in_device for spot in part if spot not in fresh and self._rejoining.has(spot)}
            if groups and self._reading is not None:
                withdrawn, refused = self._rejoining.withdraw(groups)
                restore = partial(self._restore, withdrawn, refused, Loss("device", now))
                if self._rejoining.pause:
                    self._rejoining.after_pause(self._reading, withdrawn, restore)
                else:
                    restore()
            yield

    def _disown(self, spots: Iterable[Spot]) -> None:
        """Have these leave, and wait for their interface by its name: another one has its index now."""
        own = [spot for spot in spots if self._rejoining.has(spot)]
        withdrawn, refused = self._rejoining.withdraw({spot.in_device for spot in own})
        for spot in own:
            before = spot.index
            self._losses.move(spot.membership, before, spot.membership._presence.disown(before))
        others = [one for one in withdrawn if one not in own]
        self._rejoining.restore(others, [one for one in refused if one[0] in others])

    def _restore(self, withdrawn: Sequence[Joined], refused: Refusals, found: Loss) -> None:
        self._tell_mended(*self._rejoining.restore(withdrawn, refused), found)

    def _report(self, action: Action, at: Iterable[Spot], heard_at: float) -> Work:
        spots = [one for one in at if one.family in action.families]
        # A list that was changed while the interface was down is another in the kernel; and an IPv6 address
        # that came and went meanwhile leaves IPv6 groups that the device has and does not let in.
        changed = {one for one in spots if action.was_down and (one.family == 6 or one.shards.is_changed)}
        others = [one for one in spots if one not in changed]
        for number in {one.family for one in others}:
            if self._rejoining.asked(action.index, number):
                self._tell_mended([one for one in others if one.family == number], [])
                others = [one for one in others if one.family != number]
        spots = [*changed, *others]
        if self._rejoining.pause:
            yield from self._revive(spots, heard_at)
            return
        for part in _by_groups(spots):
            present = list(filter(self._rejoining.has, part))
            self._tell_mended(*self._rejoining.rejoin(present, with_others=True))
            yield

    def _rerouted(self, membership: Membership, came: Iterable[Interface], gone: Iterable[Interface]) -> None:
        for one in came:
            membership._tell(EventKind.MOVED, one, cause="route")
        self._losses.forget(membership, gone)
        self.joined(membership)
        self._timetable.again()

    # What is known, and told

    def _know(self, spot: Spot) -> None:
        index = spot.index
        if not self._healing.knows(index):
            link = with_open_files(lambda: self._network.link(index))
            self._healing.know(index, link, spot.interface.addresses)
        if not self._is_running(index):
            link = self._healing.link(index)
            self._losses.note(
                spot.membership, index, "gone" if link is None else "carrier" if link.is_up else "down"
            )

    def _is_running(self, index: int) -> bool:
        link = self._healing.link(index)
        return link is not None and link.is_running

    def _lose(self, spot: Spot, cause: str, error: MulticastError | None = None) -> None:
        if self._rejoining.has(spot) and self._losses.note(spot.membership, spot.index, cause):
            spot.membership._tell(EventKind.LOST, spot.interface, error, cause=cause)

    def _tell_mended(self, mended: Iterable[Spot], refused: Refused, found: Loss | None = None) -> None:
        for spot in mended:
            self._timetable.again()
            if not self._is_running(spot.index):
                continue  # nothing can come yet
            if self._losses.knows(spot.membership, spot.index) or found is not None:
                self._losses.heal(spot.membership, spot.interface, found)
            else:
                spot.membership._tell(EventKind.REFRESHED, spot.interface)
        for spot, error in refused:
            self._timetable.is_owed = True
            if isinstance(error, InterfaceGoneError):  # which is to be announced
                self._lose(spot, "gone")
            else:
                self._lose(spot, "device", error)

    def _silent(self, spots: Sequence[Spot], is_gentle: bool) -> None:
        """Tell the network again of what is silent: the gentle way first, and then in turn."""
        self._turns.do(partial(self._told_again, spots, is_gentle))

    def _told_again(self, spots: Sequence[Spot], is_gentle: bool) -> Work:
        with self._timetable.guarded():
            looked_at = self._losses.now()
            dead = with_open_files(partial(self._rejoining.dead, spots))
            yield from self._revive([spot for spot in spots if spot.in_device in dead], looked_at)
            others = [spot for spot in spots if spot.in_device not in dead]
            if is_gentle:
                asked = {one for one in {(o.index, o.family) for o in others} if self._rejoining.asked(*one)}
                others = [one for one in others if (one.index, one.family) not in asked]
            if self._rejoining.pause:
                yield from self._revive(others, looked_at)
                others = []
            for part in _by_groups(others):
                present = list(filter(self._rejoining.has, part))
                for spot, error in self._rejoining.rejoin(present, with_others=True)[1]:
                    self._timetable.is_owed = True
                    self._lose(spot, "device", error)
                yield
        self._timetable.end_pass()

    def _wake(self) -> None:
        for future in tuple(self._waiting):
            if not future.done():
                future.set_result(None)


def _by_groups(spots: Iterable[Spot]) -> Iterator[list[Spot]]:
    """Yield some at a time: those together that have a group and an interface in common."""
    found: dict[DeviceGroup, list[Spot]] = {}
    for spot in spots:
        found.setdefault(spot.in_device, []).append(spot)
    each = iter(found.values())
    while some := [spot for alike in islice(each, _AT_ONCE) for spot in alike]:
        yield some


def _of(actions: Iterable[Action], remedy: Remedy) -> dict[int, None]:
    return {action.index: None for action in actions if action.remedy is remedy}
