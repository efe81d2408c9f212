"""Network interfaces: by name, index, address, or the routes to sources. No asyncio.

Linux is asked by netlink, for the one that is meant: the time does not grow with the number of the others.
Elsewhere `adapters` lists them, and in a sandbox, where nothing is listed, names and indexes are found.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, Union

import attrs

from ..errors import (
    InterfaceError,
    InterfaceTypeError,
    LimitError,
    NoRouteError,
    NoSuchInterfaceError,
    RefusedError,
    UnsupportedError,
)
from ..rfc3678.abi import native
from ..rfc3678.refusals import refusal, refusals
from ..values.addresses import Address, Scope, canonical, scope, split_zone
from ..values.filters import SourceFilter, Sources
from ..values.interface import AllInterfaces, Interface, InterfaceLike, InterfacesLike
from ..values.links import Link, LinkAddress
from ..values.lookup import (
    alike,
    check_source_zones,
    check_zone,
    each_of,
    holding,
    index_in,
    is_address,
    is_likeness,
    needs_zone,
    the_one,
    the_same,
    there_are,
    wanted_by,
    zones_of,
)
from ..values.shown import shown
from .adapters import index_of, list_adapters
from .links import find_address, find_label, find_link, list_addresses, list_links
from .netlink import Netlink
from .routes import routes_to

if TYPE_CHECKING:
    from ifaddr import Adapter

__all__ = ["as_interface", "find_interface", "find_interfaces", "list_interfaces", "placed"]

ABI = native()

_Way: TypeAlias = Union[int, str]  # the index of an interface, or an address that it has


def as_interface(link: Link, addresses: Sequence[LinkAddress]) -> Interface:
    """Return the interface as users know it, with those of `addresses` that are its own."""
    own = [one for one in addresses if one.index == link.index]
    return Interface(
        link.index,
        link.name,
        tuple([one.address for one in own]),
        link.is_loopback or link.has_multicast_flag,
        prefix_lengths=tuple([one.prefix_length for one in own]),
        mac=link.mac,
        is_up=link.is_up,
        is_running=link.is_running,
        is_loopback=link.is_loopback,
        mtu=link.mtu,
        alternative_names=link.alternative_names,
    )


def list_interfaces() -> list[Interface]:
    """Return all interfaces, by index. RefusedError when the system refuses to list them."""
    with _asking() as system:
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
        with _asking() as system:
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
    with _asking() as system:
        return the_one(system.called(wanted), shown(wanted), _hint)


def _by_way(group: Address | None, sources: Sequence[Address]) -> Interface:
    targets = [*sources, *([] if group is None else [group])]
    if not targets:
        raise InterfaceError("no interface was named", "name one: there is no address to look a route up for")
    zones = zones_of(targets)
    asked = sorted({canonical(one) for one in sources}) or [canonical(targets[0])]
    ways = {} if zones else _ways(asked, are_sources=bool(sources))
    with _asking() as system:
        places = [(one, the_one(system.in_zone(zone), shown(zone), _hint)) for zone, one in zones.items()]
        places += [(one, _at_the_end(system, way, one)) for way, one in ways.items()]
        return the_same(places) if places else _only_one(system, asked[0])


def _ways(asked: Sequence[str], are_sources: bool) -> dict[_Way, str]:
    """Return the ways to sources or a group, each with the first that lies by it; none where none tells."""
    if not are_sources and needs_zone(asked[0]):
        return {}
    try:
        routes = routes_to(asked)
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


def _at_the_end(system: _System, way: _Way, address: str) -> Interface:
    if isinstance(way, int):
        return the_one(system.called(way), f"{way}, by which {address} lies", _hint)
    return the_one(system.holding(way), f"with the route to {address} ({way})", _hint)


def _only_one(system: _System, address: str) -> Interface:
    able = [one.interface for one in system.all() if one.is_for_all and not one.interface.is_loopback]
    if not able:
        raise NoSuchInterfaceError(
            f"{address} is on a link, but no interface to one is up and can multicast", "name the interface"
        )
    return the_one(able, f"the link of {address}", _hint)


def _hint() -> str:
    try:
        with _asking() as system:
            return there_are(system.names())
    except RefusedError:  # what this was to be the hint for matters more
        return "give the name or the index of one that there is"


# What the system tells


class _Told(NamedTuple):
    """An interface, and whether ALL_INTERFACES means it."""

    interface: Interface
    is_for_all: bool


_System: TypeAlias = Union["_ByNetlink", "_WithoutNetlink"]


@contextlib.contextmanager
def _asking() -> Iterator[_System]:
    try:
        with refusals("asking for interfaces"):
            kernel = Netlink()
    except UnsupportedError:
        yield _WithoutNetlink()
        return
    with kernel:
        yield _ByNetlink(kernel)


class _ByNetlink:
    def __init__(self, kernel: Netlink) -> None:
        self._kernel = kernel

    def all(self) -> list[_Told]:
        """Return all interfaces, by index."""
        own: dict[int, list[LinkAddress]] = {}
        for one in list_addresses(self._kernel):
            own.setdefault(one.index, []).append(one)
        return [
            _Told(as_interface(link, own.get(link.index, ())), link.is_up and link.has_multicast_flag)
            for link in list_links(self._kernel)
        ]

    def names(self) -> list[str]:
        """Return the names of all."""
        return [link.name for link in list_links(self._kernel)]

    def called(self, wanted: Address | int) -> list[Interface]:
        """Return those with this index, or name, or else address, or else label of an address."""
        if isinstance(wanted, (int, str)):
            link = find_link(self._kernel, wanted)
            if link is not None or isinstance(wanted, int):
                return self._with_addresses(link)
        if not is_address(wanted):
            return self._of(find_label(self._kernel, str(wanted)))
        address, zone = split_zone(wanted)
        held = find_address(self._kernel, address)
        if zone is None or not held:
            return self._of(held)
        link = self._link(zone)
        return self._of([one for one in held if link is not None and one.index == link.index])

    def in_zone(self, zone: str) -> list[Interface]:
        """Return what the zone of an address names."""
        return self._with_addresses(self._link(zone))

    def holding(self, address: str) -> list[Interface]:
        """Return those that have this address."""
        return self._of(find_address(self._kernel, address))

    def _link(self, zone: str) -> Link | None:
        index = index_in(zone)
        return find_link(self._kernel, zone) or (None if index is None else find_link(self._kernel, index))

    def _of(self, held: Iterable[LinkAddress]) -> list[Interface]:
        indexes = dict.fromkeys(one.index for one in held)
        return [one for index in indexes for one in self._with_addresses(find_link(self._kernel, index))]

    def _with_addresses(self, link: Link | None) -> list[Interface]:
        return [] if link is None else [as_interface(link, list_addresses(self._kernel, link.index))]


class _WithoutNetlink:
    """The same by `adapters`. In a sandbox, which refuses a list, one is found by its name or index alone."""

    def all(self) -> list[_Told]:
        try:
            adapters, named = list_adapters(), sorted(socket.if_nameindex())
        except OSError as error:
            raise _unlisted(error) from error
        flags = _flags(name for _, name in named)
        return [
            _told(index, name, flags.get(name), [one for one in adapters if index_of(one) == index])
            for index, name in named
            if name in flags or ABI.SIOCGIFFLAGS is None  # else it is gone since
        ]

    def names(self) -> list[str]:
        return [one.interface.name for one in self.all()]

    def called(self, wanted: Address | int) -> list[Interface]:
        try:
            known = [one.interface for one in self.all()]
            return alike(known, wanted) or _in_any_case(known, wanted)
        except LimitError:
            raise
        except RefusedError:
            found = _unlisted_one(wanted)
            if found or not is_address(wanted):
                return found
            raise

    def in_zone(self, zone: str) -> list[Interface]:
        index = index_in(zone)
        return self.called(zone) or ([] if index is None else self.called(index))

    def holding(self, address: str) -> list[Interface]:
        return holding([one.interface for one in self.all()], address)


def _in_any_case(known: Sequence[Interface], wanted: Address | int) -> list[Interface]:
    """Return those with this name on a system where case does not matter, as on Windows."""
    if ABI.SIOCGIFFLAGS is not None or not isinstance(wanted, str):
        return []
    return [one for one in known if one.name.casefold() == wanted.casefold()]


def _unlisted(error: OSError) -> RefusedError:
    refused = refusal(error, "listing the interfaces")
    refused.hint = refused.hint or "a sandbox may keep the list from this process: give a name or an index"
    return refused


def _unlisted_one(wanted: Address | int) -> list[Interface]:
    """Return the interface with a name (an alternative one too) or an index, without what only a list has."""
    try:
        if isinstance(wanted, int):
            index = wanted if 0 < wanted < 1 << 31 else 0
        elif isinstance(wanted, str) and ":" not in wanted:  # Linux takes what is before it for the name
            index = socket.if_nametoindex(wanted)
        else:
            return []
        name = socket.if_indextoname(index)
    except (OSError, ValueError):  # ValueError: what can be no name
        _flags(())  # raises where it was for want of a descriptor, which the calls do not tell
        return []
    found = _told(index, name, _flags([name]).get(name)).interface
    return [attrs.evolve(found, alternative_names=() if wanted in (index, name) else (str(wanted),))]


def _told(index: int, name: str, flags: int | None, adapters: Sequence[Adapter] | None = None) -> _Told:
    """Return what flags tell, None where there are none, and adapters, None where they were not listed."""
    held = [one for adapter in adapters or () for one in adapter.ips]
    # Windows: what the settings call it, which users know, and its device. Elsewhere it is the name again.
    called = list(
        dict.fromkeys([*(one.nice_name for one in held), name, *(one.nice_name for one in adapters or ())])
    )
    found = Interface(
        index,
        called[0],
        [one.ip[0] if isinstance(one.ip, tuple) else one.ip for one in held],
        _has(flags, ABI.IFF_LOOPBACK, ABI.IFF_MULTICAST),
        prefix_lengths=None if adapters is None else [one.network_prefix for one in held],
        is_up=_has(flags, ABI.IFF_UP),
        is_loopback=_has(flags, ABI.IFF_LOOPBACK),
        alternative_names=called[1:],
    )
    return _Told(found, found.is_up is not False and _has(flags, ABI.IFF_MULTICAST) is not False)


def _has(flags: int | None, *wanted: int | None) -> bool | None:
    """Return whether one of these is set, None where that is not told."""
    known = [one for one in wanted if one is not None]
    return None if flags is None or not known else any(flags & one for one in known)


def _flags(names: Iterable[str]) -> dict[str, int]:
    """Return the flags of interfaces: of those that are there, on a system that tells them."""
    request = ABI.SIOCGIFFLAGS
    if request is None:
        return {}
    import fcntl  # there is none on a system without the request

    flags: dict[str, int] = {}
    with refusals("asking for an interface's flags"):
        asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asked:
        for name in names:
            with contextlib.suppress(OSError):  # gone since it was listed
                flags[name] = ABI.parse_ifreq(fcntl.ioctl(asked, request, ABI.ifreq(os.fsencode(name))))[1]
    return flags
