"""`Interface`: a network interface, as a value, and what names one or several."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias, Union, final

import attrs

from ..errors import InterfaceError, InterfaceTypeError
from .addresses import Address, canonical
from .sealed import sealed
from .shown import shown

__all__ = ["ALL_INTERFACES", "AllInterfaces", "Interface", "InterfaceLike", "InterfacesLike", "no_index"]


def _index(given: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise InterfaceTypeError(f"{shown(given)} is no interface index", "give a whole number above 0")
    if not 0 < given < 1 << 31:
        raise InterfaceError(f"{shown(given)} is no interface index", "give a whole number above 0")
    return given


def no_index(index: int) -> int:
    """Return an index that no interface has, to know one by that is gone when another has its `index`."""
    return (1 << 31) - 1 - index


def _name(given: str) -> str:
    if not isinstance(given, str):
        raise InterfaceTypeError(f"{shown(given)} is no interface name", "give text, such as 'eth0'")
    return given


def _addresses(given: Iterable[Address]) -> tuple[str, ...]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise InterfaceTypeError(f"{shown(given)} is no list of addresses", "give an iterable of addresses")
    return tuple(canonical(address) for address in given)


def _flag(given: bool | None) -> bool | None:
    if given is not None and not isinstance(given, bool):
        raise InterfaceTypeError(
            f"{shown(given)} tells nothing", "give True, False, or None where it is not known"
        )
    return given


def _prefix_lengths(given: Iterable[int] | None) -> tuple[int, ...] | None:
    if given is None:
        return None
    hint = "give an iterable of whole numbers, one for each address"
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise InterfaceTypeError(f"{shown(given)} is no list of prefix lengths", hint)
    lengths = tuple(given)
    for one in lengths:
        if isinstance(one, bool) or not isinstance(one, int):
            raise InterfaceTypeError(f"{shown(one)} is no prefix length", hint)
    return lengths


def _mac(given: str | None) -> str | None:
    if given is not None and not isinstance(given, str):
        raise InterfaceTypeError(
            f"{shown(given)} is no MAC address", "give text, such as '02:00:00:00:00:01'"
        )
    return given


def _mtu(given: int | None) -> int | None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
        raise InterfaceTypeError(f"{shown(given)} is no MTU", "give a number of bytes")
    return given


def _names(given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise InterfaceTypeError(f"{shown(given)} is no list of names", "give an iterable of names")
    return tuple(_name(one) for one in given)


@final
@sealed
@attrs.frozen(slots=True)
class Interface:
    """A network interface, as it was when it was looked up.

    - `index`: its number (if_nametoindex(3)), which stays its identity here.
    - `name`, `alternative_names`: what it is called (ip-link(8), altname; on Windows the name in its
      settings, and its device).
    - `addresses`: its IPv4 and IPv6 addresses as canonical text.
    - `prefix_lengths`: of each of them, in the same order, the bits that are its network's.
    - `multicast`: whether it can multicast. Loopback counts: it works there.
    - `is_up`: whether it was set up (IFF_UP, netdevice(7)).
    - `is_running`: whether it is operational, as with a carrier (IFF_RUNNING).
    - `is_loopback`: whether what is sent there stays on this host.
    - `mtu`: in bytes.
    - `mac`: its address of 48 bits, in hexadecimal with colons.

    Each is None where the system does not tell, or there is none.

    Two are equal where index, name, addresses and multicast are: the rest is how it is at the moment.

    InterfaceError for an index that none can have, and where there is not one prefix length for each
    address; InterfaceTypeError for a wrong type, AddressError for a wrong address.
    """

    index: int = attrs.field(converter=_index)
    name: str = attrs.field(converter=_name)
    addresses: tuple[str, ...] = attrs.field(default=(), converter=_addresses)
    multicast: bool | None = attrs.field(default=None, converter=_flag)
    prefix_lengths: tuple[int, ...] | None = attrs.field(
        default=None, converter=_prefix_lengths, kw_only=True, eq=False
    )
    mac: str | None = attrs.field(default=None, converter=_mac, kw_only=True, eq=False)
    is_up: bool | None = attrs.field(default=None, converter=_flag, kw_only=True, eq=False)
    is_running: bool | None = attrs.field(default=None, converter=_flag, kw_only=True, eq=False)
    is_loopback: bool | None = attrs.field(default=None, converter=_flag, kw_only=True, eq=False)
    mtu: int | None = attrs.field(default=None, converter=_mtu, kw_only=True, eq=False)
    alternative_names: tuple[str, ...] = attrs.field(default=(), converter=_names, kw_only=True, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.prefix_lengths is not None and len(self.prefix_lengths) != len(self.addresses):
            raise InterfaceError(
                f"{len(self.prefix_lengths)} prefix lengths for {len(self.addresses)} addresses",
                "give one for each address, or None",
            )


InterfaceLike: TypeAlias = Union[Interface, Address, int, None]
"""What `interface=` takes: a name (also an alternative one, or the label of one of its addresses), an index,
one of its addresses, an `Interface`, or None for the interface that a zone names, else that the kernel's
routes to the sources lead by, the same for all of them, else that of its route to the group."""


@final
class AllInterfaces(enum.Enum):
    """The type of `ALL_INTERFACES`, its only member."""

    ALL_INTERFACES = "all interfaces"

    def __repr__(self) -> str:
        return self.name


ALL_INTERFACES: Final = AllInterfaces.ALL_INTERFACES
"""As `interface=`: every interface that is up and can multicast, by its flags IFF_UP and IFF_MULTICAST
(netdevice(7)). Loopback is one where it has the flag: Linux gives it none unless asked to. Addresses
do not matter, as groups are joined by index; nor does a carrier that is lost for now. Where the system
tells no flags: every interface there is."""

InterfacesLike: TypeAlias = Union[
    InterfaceLike, Iterable[Union[Interface, Address, int]], Literal[AllInterfaces.ALL_INTERFACES]
]
"""What `interface=` takes where one membership can be on several: an `InterfaceLike`, an iterable of
names, indexes, addresses and `Interface` objects (each interface counts once), or `ALL_INTERFACES`."""
