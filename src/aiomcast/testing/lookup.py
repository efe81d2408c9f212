"""Which interface of a host in memory is meant, as the system's own look-up has it. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence

from ..errors import InterfaceError, NoRouteError
from ..values.addresses import Address, split_zone
from ..values.filters import SourceFilter, Sources
from ..values.interface import AllInterfaces, Interface, InterfacesLike
from ..values.lookup import by_likeness, by_zone, check_zone, each_of, wanted_by
from ..values.shown import shown

__all__ = ["placed"]


def placed(
    known: Sequence[Interface], group: Address, sources: Sources, interface: InterfacesLike
) -> tuple[SourceFilter, tuple[Interface, ...]]:
    """Return the filter and those of the `known` interfaces that the arguments of a join mean.

    Errors are those of `system.interfaces.placed`. All routes lead by the first interface, unless
    a zone of the first source or of the group names another.
    """
    wanted, named = wanted_by(group, sources)
    found: tuple[Interface, ...]
    if isinstance(interface, Interface):
        found = (interface,)
    elif interface is None:
        found = (_by_route(known, [*named[:1], group]),)
    elif isinstance(interface, AllInterfaces):
        found = tuple(known)
        if not found:
            raise InterfaceError("the host has no interface", "add one")
    elif isinstance(interface, Iterable) and not isinstance(interface, str):
        found = each_of(known, interface)
    else:
        found = (by_likeness(known, interface),)
    for one in found:
        check_zone(group, one)
    return wanted, found


def _by_route(known: Sequence[Interface], targets: Sequence[Address]) -> Interface:
    zones = [zone for _, zone in map(split_zone, targets) if zone is not None]
    if zones:
        return by_zone(known, zones[0])
    if not known:
        doing = f"looking up the route to {shown(targets[0])}"
        raise NoRouteError(errno.ENETUNREACH, f"{doing}: the host has no interface", "add one")
    return known[0]
