"""A host of a network in memory, which a receiver takes in the place of the system."""

from __future__ import annotations

from typing import final
from weakref import WeakSet

from ..errors import ArgumentError
from ..memory.host import Host
from ..memory.reading import MemoryReading
from ..memory.station import Station
from ..reading.contract import Reading
from ..values.addresses import Address, check_port, group_address
from ..values.interface import Interface

__all__ = ["MemoryHost"]


@final
class MemoryHost(Host):
    """A host of a `MemoryNetwork`, which makes it: `Receiver(network=host)` receives there.

    It has interfaces, which come and go. Everything here belongs to the thread of the event loop.
    """

    def __init__(self, station: Station, running: WeakSet[MemoryReading]) -> None:
        super().__init__(station)
        self._running = running

    def __repr__(self) -> str:
        return f"<MemoryHost {self.name}: {', '.join(one.name for one in self.interfaces)}>"

    @property
    def name(self) -> str:
        """Its name."""
        return self._station.name

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

    def open(self) -> Reading:
        """Return what opens readers in the running event loop. StateError where none is running."""
        return MemoryReading(self._station, self._running)
