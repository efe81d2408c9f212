"""Which interface of a host in memory is meant, as the system's own look-up has it. Pure."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from ..errors import AddressError, InterfaceError, InterfaceTypeError, NoRouteError
from ..values.addresses import Address, group_address, split_zone
from ..values.filters import SourceFilter, Sources, filter_for, listed_sources
from ..values.interface import Interface, InterfaceLike
from ..values.shown import shown

__all__ = ["placed"]


def placed(
    known: Sequence[Interface], group: Address, sources: Sources, interface: InterfaceLike
) -> tuple[SourceFilter, Interface]:
    """Return the filter and the one of the `known` interfaces that the arguments of a join mean.

    Errors are those of `system.interfaces.placed`. All routes lead by the first interface, unless
    a zone of the first source or of the group names another.
    """
    text = group_address(group)
    if sources is None or isinstance(sources, (SourceFilter, str, bytes)):
        wanted = filter_for(text, sources)
        named: list[Address] = sorted(wanted.sources)
    else:
        named = listed_sources(sources)  # with their zones, which the filter does not keep
        wanted = filter_for(text, named)
    if isinstance(interface, Interface):
        found = interface
    elif interface is None:
        found = _by_route(known, [*(named if wanted.is_include else [])[:1], group])
    else:
        found = _by_likeness(known, interface)
    zone = split_zone(group)[1]
    if zone is not None and zone not in (found.name, str(found.index)):
        raise InterfaceError(
            f"{shown(group)} is on {shown(zone)}, but the interface is {found.name}", "name one of the two"
        )
    return wanted, found


def _by_route(known: Sequence[Interface], targets: Sequence[Address]) -> Interface:
    zones = [zone for _, zone in map(split_zone, targets) if zone is not None]
    if zones:
        return _the_one([one for one in known if zones[0] in (one.name, str(one.index))], zones[0], known)
    if not known:
        doing = f"looking up the route to {shown(targets[0])}"
        raise NoRouteError(errno.ENETUNREACH, f"{doing}: the host has no interface", "add one")
    return known[0]


def _by_likeness(known: Sequence[Interface], wanted: Address | int) -> Interface:
    if isinstance(wanted, bool) or not isinstance(wanted, (int, str, IPv4Address, IPv6Address)):
        raise InterfaceTypeError(f"{shown(wanted)} is no interface", f"there are {_names(known)}")
    if isinstance(wanted, int):
        matching = [one for one in known if one.index == wanted]
    else:
        matching = [one for one in known if one.name == wanted] or _holding(known, wanted)
    return _the_one(matching, shown(wanted), known)


def _holding(known: Sequence[Interface], wanted: Address) -> list[Interface]:
    try:
        address, zone = split_zone(wanted)
    except AddressError:
        return []
    return [one for one in known if address in one.addresses and zone in (None, one.name, str(one.index))]


def _the_one(matching: Sequence[Interface], meant: str, known: Sequence[Interface]) -> Interface:
    if not matching:
        raise InterfaceError(f"there is no interface {meant}", f"there are {_names(known)}")
    if len(matching) > 1:
        raise InterfaceError(f"{meant} could be any of {_names(matching)}", "name one of them")
    return matching[0]


def _names(interfaces: Sequence[Interface]) -> str:
    return ", ".join(one.name for one in interfaces)
