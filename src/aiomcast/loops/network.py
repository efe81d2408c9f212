"""`SystemNetwork`: the system's own sockets, read in the running event loop."""

from __future__ import annotations

import asyncio

from ..reading.contract import Reading
from ..rfc3678.limits import source_limit
from ..system.interfaces import find_interface, placed
from ..values.addresses import Address
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface, InterfacesLike
from .read_loop import ReadLoop, can_watch
from .stock_loop import StockLoop

__all__ = ["SystemNetwork"]


class SystemNetwork:
    """See `contract.Network`."""

    def open(self) -> Reading:
        """Return what opens readers in the running event loop. RefusedError when the system refuses."""
        loop = asyncio.get_running_loop()
        return ReadLoop(loop) if can_watch(loop) else StockLoop(loop)

    def place(
        self, group: Address, sources: Sources, interface: InterfacesLike
    ) -> tuple[SourceFilter, tuple[Interface, ...]]:
        """See `system.interfaces.placed`."""
        return placed(group, sources, interface)

    def find(self, name: str) -> Interface:
        """Return the interface that has this name now. InterfaceError where there is none."""
        return find_interface(name)

    def source_limit(self, group: str) -> int | None:
        """Return how many sources one socket may hold for `group`, None where nobody says."""
        return source_limit(group)
