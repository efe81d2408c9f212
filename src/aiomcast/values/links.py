"""Interfaces and their addresses as a system tells them, and what it announces of them, as values."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, TypeAlias, Union, final

import attrs

from .sealed import sealed

__all__ = [
    "IFF_LOOPBACK",
    "IFF_MULTICAST",
    "IFF_RUNNING",
    "IFF_UP",
    "AddressAdded",
    "AddressRemoved",
    "Announcement",
    "DeviceGroup",
    "Link",
    "LinkAddress",
    "LinkChanged",
    "LinkRemoved",
    "Missed",
    "Operstate",
    "RoutesChanged",
]

# linux/if.h
IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_RUNNING: Final = 0x40
IFF_MULTICAST: Final = 0x1000


class Operstate(enum.IntEnum):
    """The operational state of an interface (RFC 2863, ifOperStatus, with Linux's numbers)."""

    UNKNOWN = 0
    NOT_PRESENT = 1
    DOWN = 2
    LOWER_LAYER_DOWN = 3
    TESTING = 4
    DORMANT = 5
    UP = 6


@final
@sealed
@attrs.frozen(slots=True, kw_only=True)
class Link:
    """A network interface as the kernel tells it (rtnetlink(7), RTM_NEWLINK).

    Names are decoded as file names are (os.fsdecode), so that every one there can be is text.
    """

    index: int
    """Its number, which names it while it exists."""
    name: str
    alternative_names: tuple[str, ...] = ()
    """Its other names (ip-link(8), altname), which are as good to look it up by."""
    flags: int
    """IFF_..., see netdevice(7)."""
    mtu: int | None = None
    mac: str | None = None
    """Its address of 48 bits, in hexadecimal with colons; None where it has none, or one of another kind."""
    master: int | None = None
    """The index of the bridge, bond or VRF that it is part of."""
    role: str | None = None
    """As what it is part of its master: "bridge", "bond", "vrf", ..."""
    operstate: Operstate = Operstate.UNKNOWN
    has_carrier: bool | None = None
    """Whether there is a signal from the other end; None where it is down, or not told."""
    carrier_ups: int | None = None
    """How often the carrier came since the interface was made: what was lost and came at once shows here."""

    @property
    def is_up(self) -> bool:
        """Whether it was set up (IFF_UP); whether there is a carrier is another matter."""
        return self.flags & IFF_UP != 0

    @property
    def is_running(self) -> bool:
        """Whether it is up and operational (IFF_RUNNING)."""
        return self.flags & IFF_RUNNING != 0

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there comes back to this host and goes nowhere else (IFF_LOOPBACK)."""
        return self.flags & IFF_LOOPBACK != 0

    @property
    def has_multicast_flag(self) -> bool:
        """Whether it has IFF_MULTICAST. Loopback can multicast without."""
        return self.flags & IFF_MULTICAST != 0


@final
@sealed
@attrs.frozen(slots=True, kw_only=True)
class LinkAddress:
    """An address of an interface as the kernel tells it (rtnetlink(7), RTM_NEWADDR)."""

    index: int
    """The interface's."""
    address: str
    """Canonical text; on a point-to-point link this end's."""
    prefix_length: int
    label: str | None = None
    """The name that ifconfig(8) knows an IPv4 address by: the interface's own unless another was given."""


class DeviceGroup(NamedTuple):
    """The index of an interface, and a group, as canonical text, that it is a member of."""

    interface_index: int
    group: str


@final
@sealed
@attrs.frozen(slots=True)
class LinkChanged:
    """An interface is new, or something of it has changed; `link` tells how it is now."""

    link: Link


@final
@sealed
@attrs.frozen(slots=True)
class LinkRemoved:
    """An interface was deleted, or moved to another network namespace; `link` tells how it last was."""

    link: Link


@final
@sealed
@attrs.frozen(slots=True)
class AddressAdded:
    """An interface has an address, newly or with something of it changed."""

    address: LinkAddress


@final
@sealed
@attrs.frozen(slots=True)
class AddressRemoved:
    """An interface has lost an address."""

    address: LinkAddress


@final
@sealed
@attrs.frozen(slots=True)
class RoutesChanged:
    """Routes, or the rules by which they are chosen, have changed: those of `family` 4 or 6.

    The kernel announces no IPv4 routes that go because their interface goes or is set down: that it does
    so is announced, as `LinkRemoved` or `LinkChanged`.
    """

    family: int


@final
@sealed
@attrs.frozen(slots=True)
class Missed:
    """Something was announced and is lost, for want of room to wait in: everything has to be compared."""


Announcement: TypeAlias = Union[LinkChanged, LinkRemoved, AddressAdded, AddressRemoved, RoutesChanged, Missed]
