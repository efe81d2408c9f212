"""What is to be done about memberships when something has become of their interfaces. Pure.

What breaks, and what mends it (Linux 6.18, measured):

1. Carrier lost and back: the kernel tells the network nothing, so the memberships are reported again. Flaps
   that were merged show in the count of carriers.
2. Set down and up: the kernel reports by itself, but a list that was changed meanwhile is lost.
3. Made anew under its name with another index: join there, while it is down too.
4. Made anew with the same index, or moved to another network namespace and back: the sockets believe to
   be members and the device knows nothing of it. Such a ghost goes when all its sockets have left.
5. The MTU, or an address, has changed: the device may have lost groups, which its own list of them tells.
6. A first IPv4 address: what was reported before left from 0.0.0.0, and counts for nothing.
7. Another name and the same index: it is the same interface.
8. The index is another's: the kernel gives one that was freed to what comes next. The sockets believe to be
   members there.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from typing import final

import attrs

from ..values.links import (
    AddressAdded,
    AddressRemoved,
    Announcement,
    Link,
    LinkChanged,
    LinkRemoved,
    RoutesChanged,
)

__all__ = ["Action", "Healing", "Remedy"]


class Remedy(enum.Enum):
    """What is to be done."""

    RENAME = "rename"
    """The interface has another name."""
    LOSE = "lose"
    """Nothing can come there for now: tell, and wait."""
    GHOST = "ghost"
    """All sockets of each group leave there, then all join."""
    TAKEN = "taken"
    """Another interface has the index now: all sockets of each group leave there, and those that were on the
    one before wait for that by its name."""
    REPORT = "report again"
    """Have the network told of the memberships there once more."""
    COMPARE = "compare"
    """Compare with the device's own list of groups: what is missing there is a ghost."""
    FOLLOW = "follow"
    """Interfaces have come or gone: memberships that wait for one, or are on all, look for them."""
    REROUTE = "reroute"
    """Routes may have changed: memberships that follow one look it up."""


@final
@attrs.frozen(slots=True)
class Action:
    """One remedy, on the interface with this index; 0 for those that concern none in particular."""

    remedy: Remedy
    index: int = 0
    cause: str = ""
    families: frozenset[int] = frozenset({4, 6})
    """Of which groups, 4 and 6."""
    was_down: bool = False
    """Whether it was set down meanwhile."""
    name: str = ""
    """What it is called now, where it has another name."""


class _Found:
    """What a batch of announcements says of one interface."""

    __slots__ = ("cause", "families", "is_ghost", "is_suspect", "is_taken", "loss", "name")

    def __init__(self) -> None:
        self.loss = self.cause = self.name = ""
        self.families: set[int] = set()
        self.is_ghost = self.is_suspect = self.is_taken = False


@final
class Healing:
    """What is known of interfaces, and what follows of what is announced of them."""

    __slots__ = ("_addresses", "_downed", "_links", "_removed")

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}
        self._addresses: dict[int, set[str]] = {}
        self._removed: dict[int, Link | None] = {}  # how they were at last, as far as is known
        self._downed: set[int] = set()

    @property
    def links(self) -> Collection[Link]:
        """The interfaces that are known, as they were last."""
        return self._links.values()

    def link(self, index: int) -> Link | None:
        """Return how an interface was last, None for one that is not known, or is gone."""
        return self._links.get(index)

    def knows(self, index: int) -> bool:
        """Whether `know` was told of it, or something was announced."""
        return index in self._links or index in self._removed

    def know(self, index: int, link: Link | None, addresses: Iterable[str]) -> None:
        """Take note of an interface that is joined on: how it is now, None where it has gone meanwhile."""
        self._addresses[index] = set(addresses)
        if link is None:
            self._removed[index] = None
        else:
            self._links[index] = link
            self._removed.pop(index, None)
            self._note_down(link)

    def differences(self, links: Sequence[Link]) -> list[Announcement]:
        """Return what would have been announced where `links` are all interfaces as they are now."""
        now = {link.index for link in links}
        gone: list[Announcement] = [LinkRemoved(one) for one in self.links if one.index not in now]
        return gone + [LinkChanged(one) for one in links if self._links.get(one.index) != one]

    def decide(self, announced: Iterable[Announcement], joined: Collection[int]) -> list[Action]:
        """Return what is to be done, in order, where memberships are on the interfaces `joined`."""
        self._removed = {index: name for index, name in self._removed.items() if index in joined}
        found: dict[int, _Found] = {}
        follows = reroutes = False
        for one in announced:
            match one:
                case LinkChanged(link):
                    follows |= self._changed(link, found.setdefault(link.index, _Found()))
                case LinkRemoved(link):
                    follows = True
                    self._gone(link, found, link.index in joined)
                case AddressAdded(address):
                    known = self._addresses.setdefault(address.index, set())
                    if address.address not in known:  # else something of it has changed, as its lifetime
                        is_first = not any(":" not in one for one in known)
                        known.add(address.address)
                        at = found.setdefault(address.index, _Found())
                        at.is_suspect = True
                        if is_first and ":" not in address.address:
                            at.families.add(4)
                            at.cause = at.cause or "address"
                case AddressRemoved(address):
                    self._addresses.get(address.index, set()).discard(address.address)
                    found.setdefault(address.index, _Found()).is_suspect = True
                case RoutesChanged():
                    reroutes = True
                case _:  # what was missed is compared by who can look
                    pass
        actions = [
            action for index in found if index in joined for action in self._about(index, found[index])
        ]
        if follows:
            actions.append(Action(Remedy.FOLLOW))
        if follows or reroutes:
            actions.append(Action(Remedy.REROUTE, cause="route"))
        return actions

    def _changed(self, link: Link, found: _Found) -> bool:
        """Take note of an interface; say whether it may be one that others wait for."""
        before = self._links.get(link.index)
        self._links[link.index] = link
        self._note_down(link)
        if link.index in self._removed:
            last = self._removed.pop(link.index)
            if last is not None and not _is_same(last, link):
                found.is_taken = True
                return True
            if last is not None and last.name != link.name:
                found.name = link.name
            found.is_ghost, found.cause = True, "made anew"
            return True
        if before is None:
            return True
        if before.is_running and not link.is_running:
            found.loss = "carrier" if link.is_up else "down"
        if link.is_running and (not before.is_running or _has_flapped(before, link)):
            found.families |= {4, 6}
            found.cause = "carrier" if before.is_up else "down"
        if link.mtu != before.mtu:
            found.is_suspect = True
        names = (before.name, before.alternative_names) != (link.name, link.alternative_names)
        if before.name != link.name:
            found.name = link.name
        return names or _can_join(before) is not _can_join(link) or before.is_running is not link.is_running

    def _note_down(self, link: Link) -> None:
        if not link.is_up:
            self._downed.add(link.index)

    def _gone(self, link: Link, found: dict[int, _Found], is_joined: bool) -> None:
        index = link.index
        before = self._links.pop(index, link)
        self._addresses.pop(index, None)
        self._downed.discard(index)
        if is_joined:
            self._removed[index] = link
            told, at = found.get(index), _Found()
            at.loss = "gone"
            # It is waited for by the name that it had last.
            at.name = link.name if before.name != link.name else "" if told is None else told.name
            found[index] = at

    def _about(self, index: int, found: _Found) -> list[Action]:
        link = self._links.get(index)
        actions: list[Action] = []
        if found.name:
            actions.append(Action(Remedy.RENAME, index, name=found.name))
        if found.loss:
            actions.append(Action(Remedy.LOSE, index, found.loss))
        if link is None:
            return actions
        if found.is_taken:
            return [*actions, Action(Remedy.TAKEN, index)]
        if found.is_ghost:
            actions.append(Action(Remedy.GHOST, index, found.cause))
        elif found.is_suspect:
            actions.append(Action(Remedy.COMPARE, index, "device"))
        if found.families and not found.is_ghost and link.is_running:
            was_down = index in self._downed
            self._downed.discard(index)
            families = frozenset(found.families)
            actions.append(Action(Remedy.REPORT, index, found.cause, families, was_down))
        return actions


def _is_same(before: Link, link: Link) -> bool:
    """Whether what has the index again is what had it: by a name, or by its MAC where it was renamed."""
    names = {before.name, *before.alternative_names}
    return not names.isdisjoint((link.name, *link.alternative_names)) or (
        before.mac is not None and before.mac == link.mac
    )


def _has_flapped(before: Link, link: Link) -> bool:
    return None not in (before.carrier_ups, link.carrier_ups) and before.carrier_ups != link.carrier_ups


def _can_join(link: Link) -> bool:
    return link.is_up and link.has_multicast_flag
