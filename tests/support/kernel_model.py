"""A model of the Linux kernel's membership and filter rules, for one socket and one interface.

The calls are those of RFC 3678; what each refuses, and with which errno, is read in net/ipv4/igmp.c and
net/ipv4/ip_sockglue.c. The functions of net/ipv6/mcast.c and net/ipv6/ipv6_sockglue.c decide alike.
`test_model_kernel` holds it against the kernel it runs on.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NamedTuple

from aiomcast import FilterMode, SourceFilter

from .seam import refusal

__all__ = ["IPV4", "IPV6", "KernelSocket", "Limits", "State"]

INCLUDE, EXCLUDE = FilterMode.INCLUDE, FilterMode.EXCLUDE


class Limits(NamedTuple):
    """How many sources a group, and how many groups a socket may have (None: any number)."""

    sources: int
    groups: int | None


IPV4 = Limits(sources=10, groups=20)  # net.ipv4.igmp_max_msf, net.ipv4.igmp_max_memberships
IPV6 = Limits(sources=64, groups=None)  # net.ipv6.mld_max_msf


class State(NamedTuple):
    """What a member holds.

    `sources` None is *fresh*: no source was ever listed since the join or the last full-state set
    (`sflist` is NULL). A list that has become empty is another state: it no longer lets the mode
    change, as ip_mc_source() asks whether there is a list and not what is in it.
    """

    mode: FilterMode
    sources: tuple[str, ...] | None = None

    def lets_in(self, source: str) -> bool:
        """Whether a packet of `source` reaches the socket."""
        return (source in (self.sources or ())) is (self.mode is INCLUDE)

    @property
    def filter(self) -> SourceFilter:
        """The same as a value of the library."""
        return SourceFilter(self.mode, set(self.sources or ()))


class KernelSocket:
    """One socket: groups and what they hold. A refused call raises OSError, as the kernel's errno.

    `passed` is what a group held for a moment during the last call.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held: dict[str, State] = {}
        self.passed: list[State] = []

    def get(self, group: str) -> State:
        """Return mode and sources."""
        return self._member(group, errno.EADDRNOTAVAIL)

    def join_group(self, group: str) -> None:
        """Join any source."""
        self._join(group, State(EXCLUDE))

    def leave_group(self, group: str) -> None:
        """Leave, whatever is held."""
        self._member(group, errno.EADDRNOTAVAIL)
        del self.held[group]

    def join_source(self, group: str, source: str) -> None:
        """Add a source to INCLUDE, joining first where that is needed."""
        if group not in self.held:
            self._join(group, State(INCLUDE))
        self._add(group, source, INCLUDE)

    def leave_source(self, group: str, source: str) -> None:
        """Take a source out of INCLUDE."""
        self._remove(group, source, INCLUDE)

    def block(self, group: str, source: str) -> None:
        """Add a source to EXCLUDE."""
        self._add(group, source, EXCLUDE)

    def unblock(self, group: str, source: str) -> None:
        """Take a source out of EXCLUDE."""
        self._remove(group, source, EXCLUDE)

    def set(self, group: str, mode: FilterMode, sources: Sequence[str]) -> None:
        """Set mode and list at once. A source that is listed twice is held twice."""
        self.passed = []
        if len(sources) > self.limits.sources:  # in ip_sockglue.c, before ip_mc_msfilter()
            raise refusal(errno.ENOBUFS)
        if mode is INCLUDE and not sources:  # ip_mc_msfilter(): (INCLUDE, empty) is the leave, with its errno
            self.leave_group(group)
            return
        before = self._member(group, errno.EINVAL)  # "must have a prior join"
        listed = tuple(sources) or None
        if before.mode is not mode:  # ip_mc_msfilter() stores `sflist`, then `sfmode`
            self.passed = [State(before.mode, listed)]
        self.held[group] = State(mode, listed)

    def _join(self, group: str, fresh: State) -> None:
        if group in self.held:  # __ip_mc_join_group(), and the next
            raise refusal(errno.EADDRINUSE)
        if self.limits.groups is not None and len(self.held) >= self.limits.groups:
            raise refusal(errno.ENOBUFS)
        self.held[group] = fresh

    def _add(self, group: str, source: str, mode: FilterMode) -> None:
        sources = self._listing(group, mode).sources or ()
        if len(sources) >= self.limits.sources:  # ip_mc_source() asks this before it looks for the source
            raise refusal(errno.ENOBUFS)
        if source in sources:
            raise refusal(errno.EADDRNOTAVAIL)
        self.held[group] = State(mode, (*sources, source))

    def _remove(self, group: str, source: str, mode: FilterMode) -> None:
        sources = list(self._listing(group, mode).sources or ())
        if source not in sources:
            raise refusal(errno.EADDRNOTAVAIL)
        sources.remove(source)
        if mode is INCLUDE and not sources:  # ip_mc_source(): leave with the last source
            del self.held[group]
        else:
            self.held[group] = State(mode, tuple(sources))

    def _listing(self, group: str, mode: FilterMode) -> State:
        state = self._member(group, errno.EINVAL)
        if state.mode is not mode:
            if state.sources is not None:  # ip_mc_source(): "must be the same mode as before"
                raise refusal(errno.EINVAL)
            state = self.held[group] = State(mode)  # a fresh one turns, also if the call then fails
        return state

    def _member(self, group: str, number: int) -> State:
        if group not in self.held:
            raise refusal(number)
        return self.held[group]
