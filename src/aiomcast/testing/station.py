"""A host, as its sockets and readers know it: interfaces by name and index, and what is open."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakKeyDictionary

from ..errors import InterfaceError
from ..values.addresses import Address
from ..values.interface import Interface
from ..values.shown import shown
from .wire import Attachment, Wire

__all__ = ["OpenSocket", "Station"]


_DYNAMIC_PORTS = range(49152, 65536)  # RFC 6335, 6


class OpenSocket(Protocol):
    """A socket, as the host that it is open on knows it."""

    @property
    def group(self) -> str:
        """The group it is bound to."""

    @property
    def port(self) -> int:
        """The port it is bound to."""

    @property
    def interface(self) -> Interface:
        """The interface it joins on."""

    def fail(self, error: OSError) -> None:
        """Report `error` at the next read."""


class Station:
    """The interfaces of one host. An index is given once: what comes again comes with another."""

    def __init__(self, name: str, wire: Wire) -> None:
        self.name: str = name
        self.wire: Wire = wire
        self.sockets: WeakKeyDictionary[OpenSocket, None] = WeakKeyDictionary()
        self._attachments: dict[str, Attachment] = {}
        self._indexes = itertools.count(1)
        self._ports = itertools.cycle(_DYNAMIC_PORTS)

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces there are, by index."""
        return tuple(one.interface for one in self._attachments.values())

    def add(self, name: str, addresses: Iterable[Address], link: str) -> Interface:
        """Attach a new interface to `link`. InterfaceError if the name is taken."""
        if name in self._attachments:
            raise InterfaceError(f"{self.name} has an interface {shown(name)}", "choose another name")
        interface = Interface(next(self._indexes), name, tuple(addresses), multicast=True)
        self._attachments[name] = Attachment(interface, link)
        self.wire.attach(self._attachments[name])
        return interface

    def remove(self, name: str) -> None:
        """Take an interface away, and all memberships on it. InterfaceError if there is none."""
        self.wire.detach(self.named(name))
        del self._attachments[name]

    def named(self, name: str) -> Attachment:
        """Return the attachment of this name. InterfaceError if there is none."""
        found = self._attachments.get(name)
        if found is None:
            known = ", ".join(self._attachments) or "none"
            raise InterfaceError(f"{self.name} has no interface {shown(name)}", f"there are {known}")
        return found

    def free_port(self) -> int:
        """Return a port that no socket here is bound to, the one after that given last, where it is free."""
        taken = {sock.port for sock in tuple(self.sockets)}
        return next(port for port in self._ports if port not in taken)

    def at(self, index: int) -> Attachment | None:
        """Return the attachment with this index, None where there is none any more."""
        return next((one for one in self._attachments.values() if one.interface.index == index), None)
