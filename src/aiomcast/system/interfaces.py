"""Network interfaces: by name, index, address, or the routes to sources. No asyncio."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import TypeAlias, Union

from ..errors import (
    InterfaceError,
    InterfaceTypeError,
    NoRouteError,
    NoSuchInterfaceError,
    RefusedError,
)
from ..values.addresses import Address, Scope, canonical, scope
from ..values.filters import SourceFilter, Sources
from ..values.interface import AllInterfaces, Interface, InterfaceLike, InterfacesLike
from ..values.lookup import (
    check_source_zones,
    check_zone,
    each_of,
    is_likeness,
    needs_zone,
    the_one,
    the_same,
    there_are,
    wanted_by,
    zones_of,
)
from ..values.shown import shown
from .asking import System, asking

__all__ = ["find_interface", "find_interfaces", "list_interfaces", "placed"]

_Way: TypeAlias = Union[int, str]  # the index of an interface, or an address that it has


def list_interfaces() -> list[Interface]:
    """Return all interfaces, by index. RefusedError when the system refuses to list them."""
    with asking() as system:
        return [one.interface for one in system.all()]


def find_interface(
    wanted: InterfaceLike, group: Address | None = None, sources: Iterable[Address] = ()
) -> Interface:
    """Return the interface that `wanted` means for `group` and its `sources`.

    A text is a name, else an alternative name, else an address, else the label of one. When `wanted`
    is None the zones in the sources and in the group decide, else the routes to the sources, or without
    sources the route to the group. An address that is there on every link anew has no such route: for it
    the one interface that is up and can multicast is meant, loopback aside.

    InterfaceError when there is none such, when several could be meant, when zones or routes name different
    ones, and when it cannot multicast; NoRouteError when there is no route to one of the sources, or to the
    group; RefusedError when the system refuses to tell.
    """
    given = list(sources)
    return _checked((_one(wanted, group, given),), group, given)[0]


def find_interfaces(
    wanted: InterfacesLike, group: Address | None = None, sources: Iterable[Address] = ()
) -> tuple[Interface, ...]:
    """Return the interfaces that `wanted` means, one at least, each once, in the order given.

    Those of `ALL_INTERFACES` come by index. Errors are those of `find_interface`, for each of them,
    and an InterfaceError for an empty list and where no interface can multicast.
    """
    given = list(sources)
    found: tuple[Interface, ...]
    if isinstance(wanted, AllInterfaces):
        with asking() as system:
            found = tuple(one.interface for one in system.all() if one.is_for_all)
        if not found:
            raise InterfaceError("no interface is up and can multicast", "name one")
    elif isinstance(wanted, Iterable) and not isinstance(wanted, str):
        found = each_of(_named, wanted)
    else:
        found = (_one(wanted, group, given),)
    return _checked(found, group, given)


def placed(
    group: Address, sources: Sources, interface: InterfacesLike
) -> tuple[SourceFilter, tuple[Interface, ...]]:
    """Return the filter and the interfaces, one at least, that the arguments of a join mean.

    Errors are those of `filter_for` and `find_interfaces`.
    """
    wanted, named = wanted_by(group, sources)
    return wanted, find_interfaces(interface, group, named)


def _checked(
    found: tuple[Interface, ...], group: Address | None, sources: Sequence[Address]
) -> tuple[Interface, ...]:
    for one in found:
        if group is not None:
            check_zone(group, one)
        if one.multicast is False:
            raise InterfaceError(
                f"interface {one.name} cannot multicast", "choose another, or set its MULTICAST flag"
            )
    check_source_zones(sources, found)
    return found


def _one(wanted: InterfaceLike, group: Address | None, sources: Sequence[Address]) -> Interface:
    if isinstance(wanted, Interface):
        return wanted
    return _by_way(group, sources) if wanted is None else _named(wanted)


def _named(wanted: Address | int) -> Interface:
    if not is_likeness(wanted):
        raise InterfaceTypeError(f"{shown(wanted)} is no interface", _hint())
    with asking() as system:
        return the_one(system.called(wanted), shown(wanted), _hint)


def _by_way(group: Address | None, sources: Sequence[Address]) -> Interface:
    targets = [*sources, *([] if group is None else [group])]
    if not targets:
        raise InterfaceError("no interface was named", "name one: there is no address to look a route up for")
    zones = zones_of(targets)
    asked = sorted({canonical(one) for one in sources}) or [canonical(targets[0])]
    with asking() as system:
        ways = {} if zones else _ways(system, asked, are_sources=bool(sources))
        places = [(one, the_one(system.in_zone(zone), shown(zone), _hint)) for zone, one in zones.items()]
        places += [(one, _at_the_end(system, way, one)) for way, one in ways.items()]
        return the_same(places) if places else _only_one(system, asked[0])


def _ways(system: System, asked: Sequence[str], are_sources: bool) -> dict[_Way, str]:
    """Return the ways to sources or a group, each with the first that lies by it; none where none tells."""
    if not are_sources and needs_zone(asked[0]):
        return {}
    try:
        routes = system.routes_to(asked)
    except NoRouteError as error:
        if are_sources or error.errno != errno.ENETUNREACH or scope(asked[0]) is not Scope.LINK_LOCAL:
            raise
        return {}
    ways: dict[_Way, str] = {}
    for address, route in zip(asked, routes, strict=True):
        if route.index is None and route.source is not None:
            ways.setdefault(route.source, address)
        elif route.index is not None and not needs_zone(address):
            ways.setdefault(route.index, address)
    return ways


def _at_the_end(system: System, way: _Way, address: str) -> Interface:
    if isinstance(way, int):
        return the_one(system.called(way), f"{way}, by which {address} lies", _hint)
    return the_one(system.holding(way), f"with the route to {address} ({way})", _hint)


def _only_one(system: System, address: str) -> Interface:
    able = [one.interface for one in system.all() if one.is_for_all and not one.interface.is_loopback]
    if not able:
        raise NoSuchInterfaceError(
            f"{address} is on a link, but no interface to one is up and can multicast", "name the interface"
        )
    return the_one(able, f"the link of {address}", _hint)


def _hint() -> str:
    try:
        with asking() as system:
            return there_are(system.names())
    except RefusedError:  # what this was to be the hint for matters more
        return "give the name or the index of one that there is"
