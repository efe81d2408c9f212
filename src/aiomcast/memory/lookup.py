"""Which interface of a host in memory is meant, as the system's own look-up has it. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from functools import partial

from ..errors import InterfaceError, NoRouteError
from ..values.addresses import Address
from ..values.filters import SourceFilter, Sources
from ..values.interface import AllInterfaces, Interface, InterfacesLike
from ..values.lookup import (
    by_likeness,
    by_zone,
    check_source_zones,
    check_zone,
    each_of,
    the_same,
    wanted_by,
    zones_of,
)
from ..values.shown import shown

__all__ = ["placed"]


def placed(
    known: Sequence[Interface], group: Address, sources: Sources, interface: InterfacesLike
) -> tuple[SourceFilter, tuple[Interface, ...]]:
    """Return the filter and those of the `known` interfaces that the arguments of a join mean.

    Errors are those of `system.interfaces.placed`. All routes lead by the first interface, unless
    a zone of a source or of the group names another.
    """
    wanted, named = wanted_by(group, sources)
    found: tuple[Interface, ...]
    if isinstance(interface, Interface):
        found = (interface,)
    elif interface is None:
        found = (_by_route(known, [*named, group]),)
    elif isinstance(interface, AllInterfaces):
        found = tuple(known)
        if not found:
            raise InterfaceError("the host has no interface", "add one")
    elif isinstance(interface, Iterable) and not isinstance(interface, str):
        found = each_of(partial(by_likeness, known), interface)
    else:
        found = (by_likeness(known, interface),)
    for one in found:
        check_zone(group, one)
    check_source_zones(named, found)
    return wanted, found


def _by_route(known: Sequence[Interface], targets: Sequence[Address]) -> Interface:
    zones = zones_of(targets)
    if zones:
        return the_same([(address, by_zone(known, zone)) for zone, address in zones.items()])
    if not known:
        doing = f"looking up the route to {shown(targets[0])}"
        raise NoRouteError(errno.ENETUNREACH, f"{doing}: the host has no interface", "add one")
    return known[0]
