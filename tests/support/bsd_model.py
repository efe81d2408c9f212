"""A model of the membership and filter rules of FreeBSD's kernel, for one socket and one interface.

What each call refuses, and with which errno, was recorded on the network stack of FreeBSD 13.0 itself
(`tests/data/freebsd-calls.json`, to which `tests/unit/rfc3678/test_bsd_calls.py` holds this model); the
names in comments are of its sys/netinet/in_mcast.c, which in6_mcast.c follows.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from aiomcast import FilterMode, SourceFilter

from .seam import refusal

__all__ = ["BSD", "BsdLimits", "BsdSocket", "BsdState"]

INCLUDE, EXCLUDE = FilterMode.INCLUDE, FilterMode.EXCLUDE


class BsdLimits(NamedTuple):
    """How many sources a list, and how many groups a socket may have."""

    sources: int = 128  # net.inet.ip.mcast.maxsocksrc, net.inet6.ip6.mcast.maxsocksrc
    groups: int = 4095  # IP_MAX_MEMBERSHIPS


BSD = BsdLimits()


class BsdState(NamedTuple):
    """What a member holds: a mode, and each source with the mode under which it was listed.

    An entry of the other mode is not reported. Yet it is there for the delta calls, counts for the limit,
    and is judged when a packet comes.
    """

    mode: FilterMode
    entries: Mapping[str, FilterMode] = MappingProxyType({})

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that are reported."""
        return tuple(source for source, mode in self.entries.items() if mode is self.mode)

    @property
    def filter(self) -> SourceFilter:
        """The same as a value of the library."""
        return SourceFilter(self.mode, set(self.sources))

    def lets_in(self, source: str, *, excludes_block: bool = False) -> bool:
        """Whether a packet of `source` reaches the socket: imo_multi_filter().

        In 13.0 an entry lets its source in where it was listed under the present mode, whichever that is;
        `excludes_block` is as later versions have it.
        """
        listed = self.entries.get(source)
        if listed is None:
            return self.mode is EXCLUDE
        return listed is INCLUDE if excludes_block else listed is self.mode


class BsdSocket:
    """One socket: groups and what they hold. A refused call raises OSError, as the kernel's errno.

    It has the calls of `kernel_model.KernelSocket`. `passed` stays empty: the kernel puts mode and list in
    their places together.
    """

    def __init__(self, limits: BsdLimits = BSD, *, v6: bool = False) -> None:
        self.limits = limits
        self.v6 = v6
        self.held: dict[str, BsdState] = {}
        self.passed: list[BsdState] = []

    def get(self, group: str) -> BsdState:
        """Return mode and sources."""
        return self._member(group)

    def join_group(self, group: str) -> None:
        """Join any source."""
        if group in self.held:
            is_any = self.held[group].mode is EXCLUDE
            raise refusal(errno.EADDRINUSE if is_any and not self.v6 else errno.EINVAL)
        self._join(group, BsdState(EXCLUDE))

    def leave_group(self, group: str) -> None:
        """Leave, whatever is held."""
        self._member(group)
        del self.held[group]

    def join_source(self, group: str, source: str) -> None:
        """Add a source to INCLUDE, joining first where that is needed. No limit of sources is asked."""
        if group not in self.held:
            self._join(group, BsdState(INCLUDE, {source: INCLUDE}))
            return
        state = self.held[group]
        if state.mode is EXCLUDE:
            raise refusal(errno.EINVAL)
        self._add(group, source)

    def leave_source(self, group: str, source: str) -> None:
        """Take a source out of INCLUDE. The last one leaves INCLUDE {}, which is a membership still."""
        if self._member(group).mode is EXCLUDE:
            raise refusal(errno.EADDRNOTAVAIL)
        self._remove(group, source)

    def block(self, group: str, source: str) -> None:
        """Add a source to EXCLUDE. No limit is asked."""
        if self._member(group).mode is INCLUDE:
            raise refusal(errno.EINVAL)
        self._add(group, source)

    def unblock(self, group: str, source: str) -> None:
        """Take a source out of EXCLUDE."""
        if self._member(group).mode is INCLUDE:
            raise refusal(errno.EINVAL)
        self._remove(group, source)

    def set(self, group: str, mode: FilterMode, sources: Sequence[str]) -> None:
        """Set mode and list at once. A source that is listed twice is held once.

        An empty list takes nothing away: inp_set_source_filters() changes the mode alone then.
        """
        if len(sources) > self.limits.sources:
            raise refusal(errno.ENOBUFS)
        before = self._member(group)
        if not sources:
            self.held[group] = before._replace(mode=mode)
            return
        count = len(before.entries)
        for source in dict.fromkeys(sources):  # imf_graft(): the old ones are there until all are in
            if source not in before.entries:
                if count == self.limits.sources:  # not beyond: who has come to more is let through
                    raise refusal(errno.ENOSPC)
                count += 1
        self.held[group] = BsdState(mode, dict.fromkeys(sources, mode))

    def _join(self, group: str, state: BsdState) -> None:
        if len(self.held) >= self.limits.groups:
            raise refusal(errno.ENOMEM)
        self.held[group] = state

    def _add(self, group: str, source: str) -> None:
        state = self.held[group]
        if source in state.entries:
            raise refusal(errno.EADDRNOTAVAIL)
        self.held[group] = state._replace(entries={**state.entries, source: state.mode})

    def _remove(self, group: str, source: str) -> None:
        state = self.held[group]
        if source not in state.entries:
            raise refusal(errno.EADDRNOTAVAIL)
        left = {one: mode for one, mode in state.entries.items() if one != source}
        self.held[group] = state._replace(entries=left)

    def _member(self, group: str) -> BsdState:
        if group not in self.held:
            raise refusal(errno.EADDRNOTAVAIL)
        return self.held[group]
