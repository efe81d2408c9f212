"""What the system tells of its interfaces: by netlink, or without it.

Linux is asked by netlink, for the one that is meant: the time does not grow with the number of the others.
Elsewhere `adapters` lists them, and in a sandbox, where nothing is listed, names and indexes are found.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, Union

import attrs

from ..errors import LimitError, RefusedError, UnsupportedError
from ..rfc3678.abi import native
from ..rfc3678.refusals import refusal, refusals
from ..values.addresses import Address, split_zone
from ..values.interface import Interface
from ..values.links import Link, LinkAddress
from ..values.lookup import alike, holding, index_in, is_address
from .adapters import index_of, list_adapters
from .links import find_address, find_label, find_link, list_addresses, list_links
from .netlink import Netlink
from .routes import Route, routes_to

if TYPE_CHECKING:
    from ifaddr import Adapter

__all__ = ["System", "as_interface", "asking"]

ABI = native()


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


_known = lru_cache(maxsize=64)(as_interface)


class _Told(NamedTuple):
    """An interface, and whether ALL_INTERFACES means it."""

    interface: Interface
    is_for_all: bool


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

    def routes_to(self, addresses: Iterable[Address]) -> list[Route]:
        """Return the routes to these. See `routes.routes_to`."""
        return routes_to(addresses, self._kernel)

    def _link(self, zone: str) -> Link | None:
        index = index_in(zone)
        return find_link(self._kernel, zone) or (None if index is None else find_link(self._kernel, index))

    def _of(self, held: Iterable[LinkAddress]) -> list[Interface]:
        indexes = dict.fromkeys(one.index for one in held)
        return [one for index in indexes for one in self._with_addresses(find_link(self._kernel, index))]

    def _with_addresses(self, link: Link | None) -> list[Interface]:
        return [] if link is None else [_known(link, tuple(list_addresses(self._kernel, link.index)))]


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

    def routes_to(self, addresses: Iterable[Address]) -> list[Route]:
        return routes_to(addresses)


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


System: TypeAlias = Union[_ByNetlink, _WithoutNetlink]


@contextlib.contextmanager
def asking() -> Iterator[System]:
    """Yield who answers. RefusedError when the system refuses to be asked."""
    try:
        with refusals("asking for interfaces"):
            kernel = Netlink()
    except UnsupportedError:
        yield _WithoutNetlink()
        return
    with kernel:
        yield _ByNetlink(kernel)
