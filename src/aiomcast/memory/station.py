"""A host, as its sockets and readers know it: interfaces by name and index, and what is open."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakKeyDictionary, WeakSet

import attrs

from ..errors import InterfaceError, NoSuchInterfaceError
from ..values.addresses import Address
from ..values.interface import Interface
from ..values.links import (
    IFF_MULTICAST,
    IFF_RUNNING,
    IFF_UP,
    Announcement,
    DeviceGroup,
    Link,
    LinkChanged,
    LinkRemoved,
)
from ..values.shown import shown
from .wire import Attachment, Wire

__all__ = ["OpenSocket", "Station", "Watcher"]


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


class Watcher(Protocol):
    """Who is told what becomes of interfaces."""

    def hear(self, announcement: Announcement) -> None:
        """Take note of something."""


class Station:
    """The interfaces of one host. An index is given once: what comes again comes with another."""

    def __init__(self, name: str, wire: Wire) -> None:
        self.name: str = name
        self.wire: Wire = wire
        self.sockets: WeakKeyDictionary[OpenSocket, None] = WeakKeyDictionary()
        self.watchers: WeakSet[Watcher] = WeakSet()
        self._attachments: dict[str, Attachment] = {}
        self._indexes = itertools.count(1)
        self._ports = itertools.cycle(_DYNAMIC_PORTS)

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces there are, by index."""
        return tuple(attrs.evolve(one.interface, is_running=one.is_up) for one in self._attachments.values())

    def add(self, name: str, addresses: Iterable[Address], link: str) -> Interface:
        """Attach a new interface to `link`. InterfaceError if the name is taken."""
        if name in self._attachments:
            raise InterfaceError(f"{self.name} has an interface {shown(name)}", "choose another name")
        interface = Interface(
            next(self._indexes),
            name,
            tuple(addresses),
            multicast=True,
            is_up=True,
            is_running=True,
            is_loopback=False,
        )
        self._attachments[name] = Attachment(interface, link)
        self.wire.attach(self._attachments[name])
        self._announce(LinkChanged(_link(self._attachments[name])))
        return interface

    def remove(self, name: str) -> None:
        """Take an interface away, and all memberships on it. InterfaceError if there is none."""
        attachment = self.named(name)
        self.wire.detach(attachment)
        del self._attachments[name]
        self._announce(LinkRemoved(_link(attachment)))

    def set_carrier(self, name: str, is_up: bool) -> None:
        """Take the carrier of an interface away, or give it back. InterfaceError if there is none."""
        attachment = self.named(name)
        attachment.carrier_ups += is_up and not attachment.is_up
        attachment.is_up = is_up
        self._announce(LinkChanged(_link(attachment)))

    def link(self, wanted: str | int) -> Link | None:
        """Return how the interface with this name or index is, None where there is none."""
        return next((one for one in self.links if wanted in (one.index, one.name)), None)

    @property
    def links(self) -> list[Link]:
        """How the interfaces are, by index."""
        return [_link(one) for one in self._attachments.values()]

    def device_groups(self) -> frozenset[DeviceGroup]:
        """Return the groups that interfaces have members of."""
        return frozenset(
            DeviceGroup(one.interface.index, group)
            for one in self._attachments.values()
            for group, _ in tuple(one.members)
        )

    def _announce(self, announcement: Announcement) -> None:
        for watcher in tuple(self.watchers):
            watcher.hear(announcement)

    def named(self, name: str) -> Attachment:
        """Return the attachment of this name. InterfaceError if there is none."""
        found = self._attachments.get(name)
        if found is None:
            known = ", ".join(self._attachments) or "none"
            raise NoSuchInterfaceError(f"{self.name} has no interface {shown(name)}", f"there are {known}")
        return found

    def free_port(self) -> int:
        """Return a port that no socket here is bound to, the one after that given last, where it is free."""
        taken = {sock.port for sock in tuple(self.sockets)}
        return next(port for port in self._ports if port not in taken)

    def at(self, index: int) -> Attachment | None:
        """Return the attachment with this index, None where there is none any more."""
        return next((one for one in self._attachments.values() if one.interface.index == index), None)


def _link(attachment: Attachment) -> Link:
    interface, flags = attachment.interface, IFF_UP | IFF_MULTICAST
    return Link(
        index=interface.index,
        name=interface.name,
        flags=flags | IFF_RUNNING * attachment.is_up,
        has_carrier=attachment.is_up,
        carrier_ups=attachment.carrier_ups,
    )
