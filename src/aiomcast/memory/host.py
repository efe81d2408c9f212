"""A host in memory, as a receiver asks it: which interfaces there are, and what a join there means."""

from __future__ import annotations

from collections.abc import Iterable

from ..values.addresses import Address
from ..values.capabilities import Capabilities
from ..values.doubts import Doubt
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface, InterfacesLike
from ..values.links import DeviceGroup, Link
from ..values.lookup import by_likeness
from .lookup import placed
from .station import Station

__all__ = ["IN_MEMORY", "Host"]

IN_MEMORY = Capabilities(
    timestamps=True, lossless_switch=True, kernel_drops=True, coalescing=False, kept_out_by_kernel=True
)
"""What a network in memory has."""


class Host:
    """What of `reading.contract.Network` is the same wherever there is no system: all but `open`."""

    def __init__(self, station: Station) -> None:
        self._station = station

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces it has now, by index."""
        return self._station.interfaces

    @property
    def capabilities(self) -> Capabilities:
        """Everything but coalescing."""
        return IN_MEMORY

    @property
    def rejoin_pause(self) -> float:
        """0: what is left can be joined again at once."""
        return 0.0

    def join_wait(self, group: str, indexes: Iterable[int]) -> float:
        """Return 0: nothing has to pass before a join."""
        return 0.0

    def place(
        self, group: Address, sources: Sources, interface: InterfacesLike
    ) -> tuple[SourceFilter, tuple[Interface, ...]]:
        """Return the filter that `sources` means for `group`, and the interfaces to join on.

        Without one named it is that of a zone, else the first of the host; `ALL_INTERFACES` are all
        that it has, with a carrier or not. AddressError, FilterError and InterfaceError for wrong
        arguments, NoRouteError without an interface.
        """
        return placed(self.interfaces, group, sources, interface)

    def find(self, wanted: str | int) -> Interface:
        """Return the interface that has this name or index now. InterfaceError where there is none."""
        return by_likeness(self._station.interfaces, wanted)

    def link(self, wanted: str | int) -> Link | None:
        """Return how the interface with this name or index is now, None where there is none."""
        return self._station.link(wanted)

    def links(self) -> list[Link]:
        """Return how all interfaces are now, by index."""
        return self._station.links

    def device_groups(self, family: int) -> frozenset[DeviceGroup]:
        """Return the groups of either family that interfaces have members of."""
        return self._station.device_groups()

    def doubts(self, interface: Interface, group: str, wanted: SourceFilter) -> tuple[Doubt, ...]:
        """Return nothing: what can be joined here can come."""
        return ()

    def look(self, interface: Interface, group: str, port: int) -> None:
        """Return None: there is no system behind it."""

    def report_again(self, index: int, family: int) -> bool:
        """Say that it is done: no network in memory forgets what was joined."""
        return True

    def source_limit(self, group: str) -> int | None:
        """Return how many sources one socket may hold, None for any number."""
        return self._station.wire.source_limit
