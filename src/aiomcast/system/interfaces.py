"""Network interfaces: by name, index, address, or the route to a source. No asyncio.

Addresses come from ifaddr; only the flags and the route are asked of the system here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

import ifaddr

from ..errors import InterfaceError, NoRouteError
from ..rfc3678.abi import native
from ..rfc3678.refusals import refusals
from ..values.addresses import Address, canonical, family, split_zone
from ..values.filters import SourceFilter, Sources
from ..values.interface import AllInterfaces, Interface, InterfaceLike, InterfacesLike
from ..values.lookup import (
    by_likeness,
    by_zone,
    check_zone,
    each_of,
    holding,
    the_one,
    wanted_by,
)

__all__ = ["find_interface", "find_interfaces", "list_interfaces", "placed"]

ABI = native()


def _flags(name: str) -> int | None:
    """Return the flags of an interface, None where the system tells none, or it is gone."""
    request = ABI.SIOCGIFFLAGS
    if request is None:
        return None
    import fcntl  # there is none on a system without the request

    question = ABI.ifreq(os.fsencode(name))
    with refusals("asking for an interface's flags"):
        asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asked:
        try:
            answer = fcntl.ioctl(asked, request, question)
        except OSError:  # gone since it was listed
            return None
    return ABI.parse_ifreq(answer)[1]


def _can_multicast(name: str) -> bool | None:
    flags, loopback, multicast = _flags(name), ABI.IFF_LOOPBACK, ABI.IFF_MULTICAST
    if flags is None or loopback is None or multicast is None:
        return None
    return bool(flags & (loopback | multicast))


def _is_for_all(name: str) -> bool:
    """Whether ALL_INTERFACES means this one. Loopback works without the flag, but is meant only with it."""
    up, multicast = ABI.IFF_UP, ABI.IFF_MULTICAST
    if ABI.SIOCGIFFLAGS is None or up is None or multicast is None:
        return True
    flags = _flags(name)
    return flags is not None and flags & up != 0 and flags & multicast != 0


def list_interfaces() -> list[Interface]:
    """Return all interfaces, by index."""
    addresses: dict[int, list[str]] = {}
    with refusals("listing the interfaces"):
        adapters = list(ifaddr.get_adapters())
    for adapter in adapters:
        if adapter.index is None:
            continue
        held = addresses.setdefault(adapter.index, [])
        for address in adapter.ips:
            held.append(canonical(address.ip[0] if isinstance(address.ip, tuple) else address.ip))
    with refusals("listing the interfaces"):
        named = sorted(socket.if_nameindex())
    return [
        Interface(index, name, tuple(addresses.get(index, ())), _can_multicast(name)) for index, name in named
    ]


def find_interface(
    wanted: InterfaceLike, group: Address | None = None, sources: Iterable[Address] = ()
) -> Interface:
    """Return the interface that `wanted` means for `group` and its `sources`.

    A zone in a link-local `group` or source decides when `wanted` is None; otherwise the route
    to the first source, or without sources the route to the group, does. InterfaceError when
    there is none such, when several could be meant, or when it cannot multicast;
    NoRouteError when there is no route.
    """
    if isinstance(wanted, Interface):
        found = wanted
    elif wanted is None:
        found = _by_route(group, list(sources))
    else:
        found = by_likeness(list_interfaces(), wanted)
    return _checked(found, group)


def find_interfaces(
    wanted: InterfacesLike, group: Address | None = None, sources: Iterable[Address] = ()
) -> tuple[Interface, ...]:
    """Return the interfaces that `wanted` means, one at least, each once, in the order given.

    Those of `ALL_INTERFACES` come by index. Errors are those of `find_interface`, for each of them,
    and an InterfaceError for an empty list and where no interface can multicast.
    """
    found: tuple[Interface, ...]
    if isinstance(wanted, AllInterfaces):
        found = tuple(one for one in list_interfaces() if _is_for_all(one.name))
        if not found:
            raise InterfaceError("no interface is up and can multicast", "name one")
    elif isinstance(wanted, Iterable) and not isinstance(wanted, str):
        found = each_of(list_interfaces(), wanted)
    else:
        return (find_interface(wanted, group, sources),)
    return tuple(_checked(one, group) for one in found)


def _checked(found: Interface, group: Address | None) -> Interface:
    if group is not None:
        check_zone(group, found)
    if found.multicast is False:
        raise InterfaceError(
            f"interface {found.name} cannot multicast", "choose another, or set its MULTICAST flag"
        )
    return found


def placed(
    group: Address, sources: Sources, interface: InterfacesLike
) -> tuple[SourceFilter, tuple[Interface, ...]]:
    """Return the filter and the interfaces, one at least, that the arguments of a join mean.

    Errors are those of `filter_for` and `find_interfaces`.
    """
    wanted, named = wanted_by(group, sources)
    return wanted, find_interfaces(interface, group, named)


def _by_route(group: Address | None, sources: list[Address]) -> Interface:
    targets = [*sources[:1], *([group] if group is not None else [])]
    if not targets:
        raise InterfaceError("no interface was named", "name one: there is no address to look a route up for")
    for target in targets:
        _, zone = split_zone(target)
        if zone is not None:
            return by_zone(list_interfaces(), zone)
    return _route_to(canonical(targets[0]))


def _route_to(address: str) -> Interface:
    kind = socket.AF_INET if family(address) == 4 else socket.AF_INET6
    doing = f"looking up the route to {address}"
    with refusals(doing):
        asked = socket.socket(kind, socket.SOCK_DGRAM)
    with asked:
        try:
            asked.connect((address, 9))  # sends nothing: it only makes the kernel choose a way
        except OSError as error:
            raise NoRouteError(
                error.errno or 0, f"{doing}: {error.strerror}", "name the interface, or add a route"
            ) from error
        local = asked.getsockname()
    known = list_interfaces()
    if len(local) == 4 and local[3]:
        matching = [one for one in known if one.index == local[3]]
    else:
        matching = holding(known, local[0])
    return the_one(matching, f"with the route to {address} ({local[0]})", known)
