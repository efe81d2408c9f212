"""Following interfaces: memberships that wait for one, or are on all, join those that come."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeAlias, final

from ..errors import InterfaceError, MulticastError
from ..reading.contract import Network
from ..system.healing import Healing
from ..values.events import EventKind
from ..values.interface import Interface
from .looked_up import LookedUp
from .losses import Losses
from .membership import Membership

__all__ = ["Followed", "Following"]

_Joined: TypeAlias = Callable[[Membership, Sequence[Interface]], None]


@final
class Followed(enum.Enum):
    """What a step has come to."""

    NOTHING = "nothing"
    CAME = "came"
    """What was waited for is joined."""
    REFUSED = "refused"
    """It is to be tried again."""


@final
class Following:
    """Has memberships be on the interfaces there are; `joined` is told on which they are newly."""

    def __init__(
        self,
        network: Network,
        memberships: Collection[Membership],
        healing: Healing,
        losses: Losses,
        joined: _Joined,
    ) -> None:
        self._network = network
        self._memberships = memberships
        self._healing = healing
        self._losses = losses
        self._joined = joined

    def follow(self) -> Iterator[Followed]:
        """Do so in steps, between which anything may happen. What is refused is told once."""
        known = LookedUp(self._network)
        for membership in tuple(self._memberships):
            if membership not in self._memberships:  # left meanwhile
                continue
            try:
                if membership._presence.is_on_all:
                    yield from self._on_all(membership, known)
                else:
                    yield self._named(membership, known)
            except MulticastError as error:
                self._losses.complain(membership, membership.interface, error)
                yield Followed.REFUSED

    def _on_all(self, membership: Membership, known: LookedUp) -> Iterator[Followed]:
        presence = membership._presence
        try:
            present = presence.look_up(known)
        except InterfaceError:
            return  # none at all: it stays where it was
        self._losses.are_there(membership, present)
        refusing: set[int] = set()
        failed: MulticastError | None = None
        for part in presence.parts(present):
            if membership not in self._memberships:
                return
            try:
                followed = presence.follow([one for one in part if one.index not in refusing])
            except MulticastError as error:  # all of these refuse, and none was held
                failed = error
                continue
            failed = None
            for interface, refusal in followed.refusals:
                refusing.add(interface.index)
                self._losses.complain(membership, interface, refusal)
            self._losses.allow(membership, followed.came)
            if followed.came or followed.gone:
                presence.tell_followed(followed._replace(refusals=[]))
                self._losses.forget(membership, followed.gone)
                self._joined(membership, followed.came)
            yield Followed.REFUSED if followed.refusals else Followed.NOTHING
        if failed is not None:
            raise failed

    def _named(self, membership: Membership, known: LookedUp) -> Followed:
        presence = membership._presence
        there = {link.index for link in self._healing.links}
        back = presence.waiting(self._healing.links)
        if not back:
            return Followed.NOTHING
        held = [shards.interface for shards in presence.shards if shards.interface.index in there]
        followed = presence.follow([*held, *(known.find(link.index) for link in back.values())])
        was = {link.index: before for before, link in back.items()}
        for one in followed.came:
            self._losses.move(membership, was.get(one.index, 0), one.index)
        self._losses.forget(membership, followed.gone)
        for interface, error in followed.refusals:
            self._losses.complain(membership, interface, error)
        self._joined(membership, followed.came)
        for one in followed.came:
            if not self._losses.knows(membership, one.index):
                membership._tell(EventKind.JOINED, one)
            elif (link := self._healing.link(one.index)) is not None and link.is_running:
                self._losses.heal(membership, one)
        if followed.refusals:
            return Followed.REFUSED
        return Followed.CAME if followed.came else Followed.NOTHING
