"""Who else has joined what in a thread, so that all sockets of a group can leave before any joins again."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from typing import Protocol
from weakref import WeakSet

from ..values.links import DeviceGroup

__all__ = ["Holder", "Joined", "beside", "enter"]


class Joined(Protocol):
    """What has joined a group on an interface by one socket or several."""

    @property
    def in_device(self) -> DeviceGroup:
        """What the device's list of groups has of it."""

    def withdraw(self) -> None:
        """Leave with all sockets, to `restore`. RefusedError when refused."""

    def restore(self) -> None:
        """Join again with what has withdrawn. RefusedError when refused: then it is tried again."""


class Holder(Protocol):
    """Who has such. Where two are of one thread and equal networks, they are beside each other."""

    @property
    def network(self) -> object:
        """Where the groups are joined."""

    @property
    def thread(self) -> int:
        """The thread (threading.get_ident)."""

    def joined(self, groups: Collection[DeviceGroup]) -> Iterable[Joined]:
        """Return what it has joined of these."""


_all: WeakSet[Holder] = WeakSet()  # in every thread
_guard = threading.Lock()


def enter(holder: Holder) -> None:
    """Be found from now on, as long as it is alive."""
    with _guard:
        _all.add(holder)


def beside(holder: Holder, groups: Collection[DeviceGroup]) -> dict[DeviceGroup, list[Joined]]:
    """Return what `holder`, and the others beside it, have joined of these groups."""
    with _guard:
        everywhere = tuple(_all)
    here = threading.get_ident()
    peers = [
        one
        for one in everywhere
        if one is not holder and one.thread == here and one.network == holder.network
    ]
    found: dict[DeviceGroup, list[Joined]] = {}
    for one in (holder, *peers) if groups else ():
        for joined in one.joined(groups):
            found.setdefault(joined.in_device, []).append(joined)
    return found
