"""Which of some interfaces is meant, and what the arguments of a join come to. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TypeGuard

from ..errors import AddressError, InterfaceError, InterfaceTypeError, NoSuchInterfaceError
from . import bounds
from .addresses import Address, Scope, family, group_address, pack, scope, split_zone
from .filters import SourceFilter, Sources, filter_for, listed_sources
from .interface import Interface
from .shown import shown

__all__ = [
    "alike",
    "by_likeness",
    "by_zone",
    "check_source_zones",
    "check_zone",
    "each_of",
    "filter_on",
    "holding",
    "index_in",
    "is_address",
    "is_likeness",
    "needs_zone",
    "the_one",
    "the_same",
    "there_are",
    "wanted_by",
    "zones_of",
]

_PLAIN = frozenset({list, tuple, set, frozenset})  # what can be gone through more than once, and is no text
_SHOWN = 10  # names in a hint


def wanted_by(group: Address, sources: Sources) -> tuple[SourceFilter, list[Address]]:
    """Return the filter that `sources` means for `group`, and those whose routes matter, with their zones.

    Errors are those of `filter_for`.
    """
    text = group_address(group)
    if sources is None or isinstance(sources, (SourceFilter, str, bytes)):
        wanted = filter_for(text, sources)
        named: list[Address] = sorted(wanted.sources)
    else:
        named = listed_sources(sources)  # with their zones, which the filter does not keep
        wanted = filter_for(text, named)
    return wanted, named if wanted.is_include else []


# Zones (RFC 4007)


def check_zone(address: Address, found: Interface) -> None:
    """Raise an InterfaceError when a zone in `address` names another interface than `found`."""
    zone = split_zone(address)[1]
    if zone is not None and not _is_called(found, zone):
        raise _elsewhere(address, zone, [found])


def filter_on(group: str, sources: Sources, interfaces: Callable[[], Iterable[Interface]]) -> SourceFilter:
    """Return the filter that `sources` means for `group` (canonical) on what `interfaces` returns.

    Of a list that was given lately it is the same object. Errors are those of `filter_for`, and an
    InterfaceError for a source in the zone of another interface.
    """
    if sources is None or isinstance(sources, SourceFilter):
        return filter_for(group, sources)
    listed = sources if sources.__class__ in _PLAIN else listed_sources(sources)
    if len(listed) <= bounds.FILTER_SOURCES:
        try:
            known, version, has_zones = _included(tuple(listed))
        except TypeError:  # one of them cannot be hashed, or is no address: what follows says which
            pass
        else:
            if version != (6 if ":" in group else 4):
                filter_for(group, known)  # which says what is wrong, if anything is
            if has_zones:
                check_source_zones(listed, interfaces())
            return known
    wanted = filter_for(group, listed)
    check_source_zones(listed, interfaces())
    return wanted


@lru_cache(maxsize=bounds.FILTERS)
def _included(sources: tuple[Address, ...]) -> tuple[SourceFilter, int | None, bool]:
    """Return the filter that lets these in, their family if there is one, and if one of them has a zone."""
    return SourceFilter.include(sources), family(sources[0]) if sources else None, bool(zones_of(sources))


def check_source_zones(sources: Sources, interfaces: Iterable[Interface]) -> None:
    """Raise an InterfaceError when a zone in a source names an interface that is none of `interfaces`.

    Costs next to nothing where no source has a zone, as in a `SourceFilter`, which keeps none. `sources`
    is gone through: no iterator that is needed again. Errors are else those of `listed_sources`.
    """
    if sources is None or isinstance(sources, SourceFilter):
        return
    listed = listed_sources(sources)
    with contextlib.suppress(TypeError):  # some are no text, and may have a zone or be anything
        if "%" not in "".join(listed):  # type: ignore[arg-type]  # see above
            return
    among = list(interfaces)
    for zone, source in zones_of(listed).items():
        if not any(_is_called(one, zone) for one in among):
            raise _elsewhere(source, zone, among)


def zones_of(addresses: Iterable[Address]) -> dict[str, Address]:
    """Return the zones in `addresses`, each with the first that has it. AddressError for what is none."""
    zones: dict[str, Address] = {}
    for address in addresses:
        zone = split_zone(address)[1]
        if zone is not None:
            zones.setdefault(zone, address)
    return zones


def needs_zone(address: str) -> bool:
    """Whether `address` (canonical, IPv6) is there on every link anew, so that no route tells on which.

    Those are the unicast addresses of fe80::/10, and the groups of link-local scope and less (RFC 4007, 5).
    """
    packed = pack(address)
    if len(packed) == 4:
        return False
    if packed[0] == 0xFF:
        return scope(address) <= Scope.LINK_LOCAL
    return packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


def index_in(text: str) -> int | None:
    """Return the index that `text` is, as a zone may be (RFC 4007, 11.2), None where it is none."""
    return int(text) if len(text) <= 10 and text.isascii() and text.isdecimal() and text[0] != "0" else None


def _is_called(one: Interface, zone: str) -> bool:
    return zone == one.name or zone == str(one.index) or zone in one.alternative_names


def _elsewhere(address: Address, zone: str, interfaces: Sequence[Interface]) -> InterfaceError:
    which = "interface is" if len(interfaces) == 1 else "interfaces are"
    return InterfaceError(
        f"{shown(address)} is on {shown(zone)}, but the {which} {_names(interfaces)}", "name one of the two"
    )


# Out of those there are


def each_of(
    find: Callable[[Address | int], Interface], wanted: Iterable[Interface | Address | int]
) -> tuple[Interface, ...]:
    """Return those that `wanted` lists, in its order and each once. InterfaceError for an empty list.

    `find` returns the one that is named, and raises where that is no way to name one.
    """
    if isinstance(wanted, (bytes, bytearray)):  # whose elements are numbers, but no indexes
        return (find(wanted),)  # type: ignore[arg-type]  # which says so
    by_index: dict[int, Interface] = {}
    for one in wanted:
        found = one if isinstance(one, Interface) else find(one)
        by_index.setdefault(found.index, found)
    if not by_index:
        raise InterfaceError("the list of interfaces is empty", "name one, or give ALL_INTERFACES")
    return tuple(by_index.values())


def is_likeness(wanted: object) -> bool:
    """Whether `wanted` is of a type that names an interface: a name, an index, an address."""
    return isinstance(wanted, (int, str, IPv4Address, IPv6Address)) and not isinstance(wanted, bool)


def is_address(wanted: object) -> TypeGuard[Address]:
    """Whether `wanted` is an address in any accepted form."""
    try:
        split_zone(wanted)  # type: ignore[arg-type]  # that is the question
    except AddressError:
        return False
    return True


def by_likeness(known: Sequence[Interface], wanted: Address | int) -> Interface:
    """Return the one with this name, index or address. InterfaceError for none and for several."""
    if not is_likeness(wanted):
        raise InterfaceTypeError(f"{shown(wanted)} is no interface", there_are(one.name for one in known))
    return the_one(alike(known, wanted), shown(wanted), lambda: there_are(one.name for one in known))


def alike(known: Sequence[Interface], wanted: Address | int) -> list[Interface]:
    """Return those with this index, or name, or else alternative name, or else address.

    An alternative name is one without regard to case: they are the friendly names of Windows, where the
    system itself does not look names up.
    """
    if isinstance(wanted, int):
        return [one for one in known if one.index == wanted]
    if isinstance(wanted, str):
        folded = wanted.casefold()
        named = (
            [one for one in known if one.name == wanted]
            or [one for one in known if wanted in one.alternative_names]
            or [one for one in known if folded in map(str.casefold, one.alternative_names)]
        )
        if named:
            return named
    return holding(known, wanted)


def by_zone(known: Sequence[Interface], zone: str) -> Interface:
    """Return the one that the zone of an address names. InterfaceError for none."""
    matching = [one for one in known if one.name == zone] or [one for one in known if _is_called(one, zone)]
    return the_one(matching, shown(zone), lambda: there_are(one.name for one in known))


def holding(known: Sequence[Interface], wanted: Address) -> list[Interface]:
    """Return those that have this address, in its zone if it has one; none for what is no address."""
    if not is_address(wanted):
        return []
    address, zone = split_zone(wanted)
    return [one for one in known if address in one.addresses and (zone is None or _is_called(one, zone))]


def the_one(matching: Sequence[Interface], meant: str, hint: Callable[[], str]) -> Interface:
    """Return what `meant` has turned out to be. InterfaceError for none, with the `hint`, and for several."""
    if not matching:
        raise NoSuchInterfaceError(f"there is no interface {meant}", hint())
    if len(matching) > 1:
        raise InterfaceError(f"{meant} could be any of {_names(matching)}", "name the interface")
    return matching[0]


def the_same(places: Sequence[tuple[Address, Interface]]) -> Interface:
    """Return the interface that all addresses lie by. InterfaceError, with two of each, where they differ."""
    address, one = places[0]
    for other_address, other in places:
        if other.index != one.index:
            raise InterfaceError(
                f"{shown(address)} lies by {one.name}, but {shown(other_address)} by {other.name}",
                "name the interface, or join for those of one interface at a time",
            )
    return one


def there_are(names: Iterable[str]) -> str:
    """Return the hint that says which interfaces there are: their names, or some where they are many."""
    return f"there are {_some(list(names)) or 'none'}"


def _names(interfaces: Sequence[Interface]) -> str:
    return _some([one.name for one in interfaces])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
    return ", ".join(names[:_SHOWN]) + more
