"""Interfaces looked up for many memberships at a time: each once."""

from __future__ import annotations

from typing import final

from ..reading.contract import Network
from ..values.filters import SourceFilter
from ..values.interface import ALL_INTERFACES, Interface
from ..values.links import Link

__all__ = ["LookedUp"]


@final
class LookedUp:
    """What a network has said of interfaces since this was made."""

    __slots__ = ("_all", "_found", "_links", "_network")

    def __init__(self, network: Network) -> None:
        self._network = network
        self._all: tuple[Interface, ...] | None = None
        self._found: dict[str | int, Interface] = {}
        self._links: dict[int, Link | None] = {}

    def all(self, group: str, wanted: SourceFilter) -> tuple[Interface, ...]:
        """Return all that can multicast. InterfaceError where there is none.

        That they are the same for every group is what a network promises (`ALL_INTERFACES`).
        """
        if self._all is None:
            self._all = self._network.place(group, wanted, ALL_INTERFACES)[1]
        return self._all

    def find(self, wanted: str | int) -> Interface:
        """See `Network.find`."""
        if wanted not in self._found:
            self._found[wanted] = self._network.find(wanted)
        return self._found[wanted]

    def link(self, index: int) -> Link | None:
        """See `Network.link`."""
        if index not in self._links:
            self._links[index] = self._network.link(index)
        return self._links[index]
