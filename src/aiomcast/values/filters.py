"""`SourceFilter`: which sources a membership lets in (RFC 3376, 2; RFC 3678, 3). A pure value."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from typing import NoReturn, TypeAlias, Union, final

import attrs

from ..errors import AddressError, FilterError, FilterTypeError
from .addresses import Address, canonical, names_sources, pack, source_address, unicast
from .sealed import sealed
from .shown import shown

__all__ = [
    "FilterMode",
    "SourceFilter",
    "Sources",
    "blocked",
    "filter_for",
    "joined",
    "left",
    "listed_sources",
    "unblocked",
]


class FilterMode(enum.Enum):
    """INCLUDE lets in the listed sources only, EXCLUDE all but the listed (RFC 3376, 2)."""

    INCLUDE = "INCLUDE"
    EXCLUDE = "EXCLUDE"


_INCLUDE = FilterMode.INCLUDE  # looked up for every swap


class _Checked(frozenset[str]):
    """Sources that have been checked: the algebra need not parse what it takes from a filter."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(frozenset(self))


def _mode(given: FilterMode) -> FilterMode:
    if given.__class__ is not FilterMode:
        raise FilterTypeError(
            f"{shown(given)} is no filter mode", "choose FilterMode.INCLUDE or FilterMode.EXCLUDE"
        )
    return given


def _sources(given: Iterable[Address]) -> frozenset[str]:
    if isinstance(given, _Checked):
        return given
    each = listed_sources(given)
    try:
        listed = [unicast(one) for one in each]
    except TypeError:  # one of them cannot be hashed: this says which
        listed = [source_address(one) for one in each]
    known = _Checked(listed)
    if len(known) != len(listed):
        twice = next(one for one in listed if listed.count(one) > 1)
        raise FilterError(f"source {twice} is listed twice", "list each source once")
    if ":" in "".join(listed) and not all(":" in source for source in listed):
        raise AddressError(
            "a source filter with IPv4 and IPv6 sources", "a filter belongs to one group of one family"
        )
    return known


def listed_sources(given: Iterable[Address]) -> list[Address]:
    """Return what an iterable of addresses yields, unlooked at. FilterTypeError for no iterable."""
    if isinstance(given, (str, bytes)):
        raise FilterTypeError(f"{shown(given)} is one address, not several", "put it in a list or a set")
    try:
        each = iter(given)
    except TypeError:
        raise FilterTypeError(
            f"{shown(given)} is no list of sources", "give an iterable of addresses"
        ) from None
    return list(each)


@final
@sealed
@attrs.frozen(slots=True, repr=False, cache_hash=True)
class SourceFilter:
    """A filter mode and its sources, as canonical text of one family. Frozen, hashable.

    `SourceFilter(mode, sources)`: `sources` is any iterable of addresses. AddressError for an
    address no source can have or for two families in one filter, FilterError for a source
    that is listed twice; AddressTypeError or FilterTypeError for what has a wrong type.

    It is no container: `allows` says whether a source is let in, `sources` which are listed.
    """

    mode: FilterMode = attrs.field(converter=_mode)
    sources: frozenset[str] = attrs.field(converter=_sources)

    @classmethod
    def include(cls, sources: Iterable[Address]) -> SourceFilter:
        """Let in these sources and no others."""
        return cls(FilterMode.INCLUDE, sources)

    @classmethod
    def exclude(cls, sources: Iterable[Address]) -> SourceFilter:
        """Let in every source but these."""
        return cls(FilterMode.EXCLUDE, sources)

    @classmethod
    def any(cls) -> SourceFilter:
        """Let in every source: EXCLUDE nothing."""
        return _ANY

    @classmethod
    def none(cls) -> SourceFilter:
        """Let in no source: INCLUDE nothing. The kernel is then no member (RFC 3376, 3.1)."""
        return _NONE

    @property
    def is_include(self) -> bool:
        """Whether the mode is INCLUDE."""
        return self.mode is _INCLUDE

    @property
    def is_none(self) -> bool:
        """Whether no source is let in."""
        return not self.sources and self.mode is _INCLUDE

    def only(self, sources: Collection[str]) -> SourceFilter:
        """The same mode with some of its own `sources`."""
        try:
            kept = self.sources.intersection(sources)
        except TypeError:
            raise FilterTypeError(
                f"{shown(sources)} is no list of sources", "give some of the filter's own sources"
            ) from None
        return SourceFilter(self.mode, _Checked(kept))

    def allows(self, source: Address) -> bool:
        """Whether a packet from `source` (any accepted form) passes."""
        return (canonical(source) in self.sources) is self.is_include

    def __contains__(self, source: object) -> NoReturn:
        raise FilterTypeError(
            f"{shown(source)} in a source filter could mean two things",
            "ask filter.allows(source) whether it passes, or look into filter.sources",
        )

    def __or__(self, other: SourceFilter) -> SourceFilter:
        """What either lets through (the interface state of RFC 3376, 3.2)."""
        if not isinstance(other, SourceFilter):
            return NotImplemented
        if self.is_include and other.is_include:
            return SourceFilter(FilterMode.INCLUDE, self.sources | other.sources)
        if self.is_include:
            return SourceFilter(FilterMode.EXCLUDE, _Checked(other.sources - self.sources))
        if other.is_include:
            return SourceFilter(FilterMode.EXCLUDE, _Checked(self.sources - other.sources))
        return SourceFilter(FilterMode.EXCLUDE, _Checked(self.sources & other.sources))

    def __and__(self, other: SourceFilter) -> SourceFilter:
        """What both let through."""
        if not isinstance(other, SourceFilter):
            return NotImplemented
        return ~(~self | ~other)

    def __invert__(self) -> SourceFilter:
        """What this one refuses."""
        flipped = FilterMode.EXCLUDE if self.is_include else FilterMode.INCLUDE
        return SourceFilter(flipped, self.sources)

    def __repr__(self) -> str:
        listed = ", ".join(repr(source) for source in sorted(self.sources, key=pack))
        return f"SourceFilter.{self.mode.value.lower()}({{{listed}}})"


_ANY = SourceFilter(FilterMode.EXCLUDE, ())
_NONE = SourceFilter(FilterMode.INCLUDE, ())

Sources: TypeAlias = Union[Iterable[Address], SourceFilter, None]
"""What `sources=` takes: addresses to include, a `SourceFilter`, or None for any source."""


def filter_for(group: str, sources: Sources) -> SourceFilter:
    """Return the filter that `sources` means for `group` (canonical). Every filter is asked for here.

    AddressError where a source is of the other family, and where an any-source or EXCLUDE
    filter is asked for inside the source-specific ranges (RFC 4607, 1; RFC 4604, 2.2).
    """
    if sources is None:
        wanted = _ANY
    elif isinstance(sources, SourceFilter):
        wanted = sources
    else:
        wanted = SourceFilter(FilterMode.INCLUDE, sources)
    for source in wanted.sources:
        if (":" in source) is not (":" in group):
            source_address(source, group)  # which says what is wrong
        break  # the others are of the same family
    if wanted.mode is not _INCLUDE and names_sources(group):
        raise AddressError(
            f"{group} is in a source-specific range, where every source must be named",
            "name the sources to let in (RFC 4607); any-source and EXCLUDE filters belong to other groups",
        )
    return wanted


# What the delta calls of RFC 3678 (4.1, 5.1) make of a filter. Where a kernel would answer with
# one errno for several mistakes, these say which it was.


def joined(held: SourceFilter, group: str, source: Address) -> SourceFilter:
    """`held` with one more source let in. FilterError unless it is INCLUDE without that source."""
    text = source_address(source, group)
    if not held.is_include:
        raise FilterError(
            f"{group} is in EXCLUDE mode, where a source cannot be joined",
            "unblock the source, or swap to a list of sources",
        )
    if text in held.sources:
        raise FilterError(f"source {text} of {group} is joined already", "join each source once")
    return SourceFilter.include({*held.sources, text})


def left(held: SourceFilter, group: str, source: Address) -> SourceFilter:
    """`held` with one source less let in. FilterError unless it is INCLUDE with that source."""
    text = source_address(source, group)
    if not held.is_include or text not in held.sources:
        raise FilterError(
            f"source {text} of {group} is not joined", "only a joined source can be left, and once"
        )
    return SourceFilter.include(held.sources - {text})


def blocked(held: SourceFilter, group: str, source: Address) -> SourceFilter:
    """`held` with one more source refused. FilterError unless it is EXCLUDE without that source."""
    text = source_address(source, group)
    if held.is_include:
        raise FilterError(
            f"{group} is in INCLUDE mode, where a source cannot be blocked",
            "leave the source, or swap to SourceFilter.exclude(...)",
        )
    if text in held.sources:
        raise FilterError(f"source {text} of {group} is blocked already", "block each source once")
    return SourceFilter.exclude({*held.sources, text})


def unblocked(held: SourceFilter, group: str, source: Address) -> SourceFilter:
    """`held` with one source less refused. FilterError unless it is EXCLUDE with that source."""
    text = source_address(source, group)
    if held.is_include or text not in held.sources:
        raise FilterError(
            f"source {text} of {group} is not blocked", "only a blocked source can be unblocked, and once"
        )
    return SourceFilter.exclude(held.sources - {text})
