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

__all__ = ["ALL_INTERFACES", "AllInterfaces", "Interface", "InterfaceLike", "InterfacesLike"]


def _index(given: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise InterfaceTypeError(f"{shown(given)} is no interface index", "give a whole number above 0")
    if not 0 < given < 1 << 31:
        raise InterfaceError(f"{shown(given)} is no interface index", "give a whole number above 0")
    return given


def _name(given: str) -> str:
    if not isinstance(given, str):
        raise InterfaceTypeError(f"{shown(given)} is no interface name", "give text, such as 'eth0'")
    return given


def _addresses(given: Iterable[Address]) -> tuple[str, ...]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise InterfaceTypeError(f"{shown(given)} is no list of addresses", "give an iterable of addresses")
    return tuple(canonical(address) for address in given)


def _multicast(given: bool | None) -> bool | None:
    if given is not None and not isinstance(given, bool):
        raise InterfaceTypeError(
            f"multicast {shown(given)}", "give True, False, or None where it is not known"
        )
    return given


@final
@sealed
@attrs.frozen(slots=True)
class Interface:
    """A network interface.

    `index` is its number (if_nametoindex(3)) and stays its identity here; `addresses` are its
    IPv4 and IPv6 addresses as canonical text; `multicast` says whether it can multicast
    (loopback counts: it works there), None where the system does not tell. InterfaceError for
    an index that none can have, InterfaceTypeError for a wrong type, AddressError for a wrong address.
    """

    index: int = attrs.field(converter=_index)
    name: str = attrs.field(converter=_name)
    addresses: tuple[str, ...] = attrs.field(default=(), converter=_addresses)
    multicast: bool | None = attrs.field(default=None, converter=_multicast)


InterfaceLike: TypeAlias = Union[Interface, Address, int, None]
"""What `interface=` takes: a name, an index, one of its addresses, an `Interface`, or None
for the interface of the route to the first source, else to the group."""


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
