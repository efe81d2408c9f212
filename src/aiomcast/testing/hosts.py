"""A host of a network in memory, which a receiver takes in the place of the system."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final
from weakref import WeakSet

from ..errors import ArgumentError
from ..memory.lookup import placed
from ..memory.reading import MemoryReading
from ..memory.station import Station
from ..reading.contract import Reading
from ..values.addresses import Address, check_port, group_address
from ..values.capabilities import Capabilities
from ..values.doubts import Doubt
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface, InterfacesLike
from ..values.links import DeviceGroup, Link
from ..values.lookup import by_likeness

__all__ = ["IN_MEMORY", "MemoryHost"]

IN_MEMORY = Capabilities(
    timestamps=True, lossless_switch=True, kernel_drops=True, coalescing=False, kept_out_by_kernel=True
)
"""What a network in memory has."""


@final
class MemoryHost:
    """A host of a `MemoryNetwork`, which makes it: `Receiver(network=host)` receives there.

    It has interfaces, which come and go. Everything here belongs to the thread of the event loop.
    """

    def __init__(self, station: Station, running: WeakSet[MemoryReading]) -> None:
        self._station = station
        self._running = running

    def __repr__(self) -> str:
        return f"<MemoryHost {self.name}: {', '.join(one.name for one in self.interfaces)}>"

    @property
    def name(self) -> str:
        """Its name."""
        return self._station.name

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces it has now, by index."""
        return self._station.interfaces

    def add_interface(self, name: str, *addresses: Address, link: str | None = None) -> Interface:
        """Attach an interface with these addresses to `link`, or to the link of its own name.

        Its index is one that no interface of this host has had. InterfaceError if the name is
        taken, AddressError for what is no address.
        """
        return self._station.add(name, addresses, name if link is None else link)

    def remove_interface(self, name: str) -> None:
        """Take an interface away. Its memberships hear nothing more, whatever comes under its name.

        Every change of such a membership is refused with ENODEV, an `InterfaceGoneError`.
        InterfaceError if there is no such interface.
        """
        self._station.remove(name)

    def set_down(self, name: str) -> None:
        """Take the carrier away: nothing arrives; memberships stay. InterfaceError if there is none."""
        self._station.set_carrier(name, False)

    def set_up(self, name: str) -> None:
        """Give the carrier back. InterfaceError if there is no such interface."""
        self._station.set_carrier(name, True)

    def fail(self, group: Address, port: int, error: OSError, *, interface: str | None = None) -> None:
        """Have every socket of `group` and `port` report `error` when it is read next.

        With `interface` only those on interfaces of this name. ArgumentError where there is none.
        """
        text = group_address(group)
        check_port(port)
        concerned = [
            one
            for one in tuple(self._station.sockets)
            if (one.group, one.port) == (text, port) and interface in (None, one.interface.name)
        ]
        if not concerned:
            where = "" if interface is None else f" on {interface}"
            raise ArgumentError(f"{self.name} has no socket of {text} port {port}{where}", "join it first")
        for sock in concerned:
            sock.fail(error)

    # What a receiver asks of a network

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

    def open(self) -> Reading:
        """Return what opens readers in the running event loop. StateError where none is running."""
        return MemoryReading(self._station, self._running)

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
        return by_likeness(self.interfaces, wanted)

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
