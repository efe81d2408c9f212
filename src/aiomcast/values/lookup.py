"""Which of some interfaces is meant, and what the arguments of a join come to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

from ..errors import AddressError, InterfaceError, InterfaceTypeError, NoSuchInterfaceError
from .addresses import Address, group_address, split_zone
from .filters import SourceFilter, Sources, filter_for, listed_sources
from .interface import Interface
from .shown import shown

__all__ = ["by_likeness", "by_zone", "check_zone", "each_of", "holding", "the_one", "wanted_by"]


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


def check_zone(group: Address, found: Interface) -> None:
    """Raise an InterfaceError when a zone in `group` names another interface than `found`."""
    zone = split_zone(group)[1]
    if zone is not None and zone not in (found.name, str(found.index)):
        raise InterfaceError(
            f"{shown(group)} is on {shown(zone)}, but the interface is {found.name}", "name one of the two"
        )


def each_of(known: Sequence[Interface], wanted: Iterable[Interface | Address | int]) -> tuple[Interface, ...]:
    """Return those that `wanted` lists, in its order and each once. InterfaceError for an empty list."""
    if isinstance(wanted, (bytes, bytearray)):  # whose elements are numbers, but no indexes
        raise InterfaceTypeError(f"{shown(wanted)} is no interface", f"there are {_names(known)}")
    listed = [one if isinstance(one, Interface) else by_likeness(known, one) for one in wanted]
    if not listed:
        raise InterfaceError("the list of interfaces is empty", "name one, or give ALL_INTERFACES")
    by_index: dict[int, Interface] = {}
    for one in listed:
        by_index.setdefault(one.index, one)
    return tuple(by_index.values())


def by_likeness(known: Sequence[Interface], wanted: Address | int) -> Interface:
    """Return the one with this name, index or address. InterfaceError for none and for several."""
    if isinstance(wanted, bool) or not isinstance(wanted, (int, str, IPv4Address, IPv6Address)):
        raise InterfaceTypeError(f"{shown(wanted)} is no interface", f"there are {_names(known)}")
    if isinstance(wanted, int):
        matching = [one for one in known if one.index == wanted]
    else:
        matching = [one for one in known if one.name == wanted] or holding(known, wanted)
    return the_one(matching, shown(wanted), known)


def by_zone(known: Sequence[Interface], zone: str) -> Interface:
    """Return the one that the zone of an address names. InterfaceError for none."""
    return the_one([one for one in known if zone in (one.name, str(one.index))], shown(zone), known)


def holding(known: Sequence[Interface], wanted: Address) -> list[Interface]:
    """Return those that have this address, in its zone if it has one; none for what is no address."""
    try:
        address, zone = split_zone(wanted)
    except AddressError:
        return []
    return [one for one in known if address in one.addresses and zone in (None, one.name, str(one.index))]


def the_one(matching: Sequence[Interface], meant: str, known: Sequence[Interface]) -> Interface:
    """Return what `meant` has turned out to be. InterfaceError for none and for several."""
    if not matching:
        raise NoSuchInterfaceError(f"there is no interface {meant}", f"there are {_names(known)}")
    if len(matching) > 1:
        raise InterfaceError(f"{meant} could be any of {_names(matching)}", "name one of them")
    return matching[0]


def _names(interfaces: Sequence[Interface]) -> str:
    return ", ".join(one.name for one in interfaces)
