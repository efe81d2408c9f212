"""From what the sockets of a membership hold to what is wanted: the calls to make. Pure.

The rules of the kernels live here and nowhere else (Linux 6.18 and FreeBSD 13.0, measured; macOS as its
source has it):

1. A full-state set is EINVAL unless the socket is a member already: join first, then set.
2. Setting INCLUDE of nothing leaves the group: INCLUDE {} and "not a member" are one state.
3. Only the full-state set turns INCLUDE into EXCLUDE or back.
4. A source join or drop on an any-source membership silently makes it INCLUDE, at worst
   INCLUDE {}: so a source is joined only from INCLUDE {}, and every other change is a set.
5. One set from list to list never refuses a source that both allow. A leave and a new join do.
   A set that changes the mode does too, for a moment: the kernel writes the list, then the mode.
6. FreeBSD and macOS do not clear a list when the new one is empty: unblock one by one; from
   INCLUDE by way of EXCLUDE of one address that nobody has.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from typing import NamedTuple

import attrs

from ..values.filters import SourceFilter

__all__ = ["Action", "Rules", "Step", "moves", "needs_handover", "plan", "spread"]


class Action(enum.Enum):
    """Which call of RFC 3678 a step is."""

    JOIN_GROUP = "join group"
    LEAVE_GROUP = "leave group"
    JOIN_SOURCE = "join source"
    UNBLOCK_SOURCE = "unblock source"
    SET_FILTER = "set filter"


@attrs.frozen(slots=True)
class Rules:
    """How a platform differs: whether setting an empty EXCLUDE list clears the old one (rule 6)."""

    empty_set_clears: bool = True


class Step(NamedTuple):
    """One call. `after` is what the socket holds once it succeeded; `source` is for source calls."""

    action: Action
    after: SourceFilter
    source: str | None = None


def plan(held: SourceFilter, wanted: SourceFilter, rules: Rules = Rules()) -> tuple[Step, ...]:
    """Return the calls that bring a socket from `held` to `wanted`; none when they are equal.

    The undo of a plan that failed after some step is `plan(step.after, held)`.
    """
    if held == wanted:
        return ()
    if wanted.is_none:
        return (Step(Action.LEAVE_GROUP, wanted),)
    if held.is_none:
        return _from_nothing(wanted)
    if wanted.sources or rules.empty_set_clears:
        return (Step(Action.SET_FILTER, wanted),)
    return _unblock_all(held)


def _from_nothing(wanted: SourceFilter) -> tuple[Step, ...]:
    if not wanted.is_include:
        joined = Step(Action.JOIN_GROUP, SourceFilter.any())
    else:
        first = min(wanted.sources)
        joined = Step(Action.JOIN_SOURCE, wanted.only({first}), first)
    if joined.after == wanted:
        return (joined,)
    return (joined, Step(Action.SET_FILTER, wanted))


def _unblock_all(held: SourceFilter) -> tuple[Step, ...]:
    steps = []
    left = held
    if held.is_include:
        left = SourceFilter.exclude({_stranger(held.sources)})
        steps.append(Step(Action.SET_FILTER, left))
    for source in sorted(left.sources):
        left = left.only(left.sources - {source})
        steps.append(Step(Action.UNBLOCK_SOURCE, left, source))
    return tuple(steps)


def _stranger(sources: Collection[str]) -> str:
    """An address for documentation (RFC 5737, 3849) that is none of `sources`."""
    form = "2001:db8::{:x}" if ":" in next(iter(sources)) else "192.0.2.{}"
    return next(text for text in map(form.format, range(1, 255)) if text not in sources)


def spread(held: Sequence[SourceFilter], wanted: SourceFilter, limit: int | None) -> tuple[SourceFilter, ...]:
    """Return what each socket of a membership is to hold, so that together they hold `wanted`.

    `held` is what its sockets hold now; results beyond their number are new sockets (there is
    always one), a result of `SourceFilter.none()` beyond the first is a socket that is no longer
    needed. No result has more than `limit` sources (None: no limit).

    An INCLUDE list is split into disjoint parts, and a source that stays wanted stays on its
    socket: no packet comes twice, and none is lost while it moves. An EXCLUDE list cannot be
    split, as each part would let in what the others refuse: one socket holds as much of it as
    fits, and the gate refuses the rest.
    """
    none = SourceFilter.none()
    fits = limit is None or len(wanted.sources) <= limit
    if not wanted.is_include:
        part = wanted
        if not fits:
            already = held[0].sources if held else frozenset()
            kept = sorted(wanted.sources, key=lambda source: (source not in already, source))
            part = wanted.only(kept[:limit])
        return (part, *[none] * (len(held) - 1))
    if fits and len(held) < 2:
        return (wanted,)
    room = len(wanted.sources) if limit is None else max(limit, 1)
    parts = [set(sorted(one.sources & wanted.sources)[:room]) if one.is_include else set() for one in held]
    parts = parts or [set()]
    fresh = sorted(wanted.sources.difference(*parts))
    for part_now in parts:
        while fresh and len(part_now) < room:
            part_now.add(fresh.pop())
    while fresh:
        parts.append(set(fresh[:room]))
        del fresh[:room]
    return tuple(wanted.only(part_now) for part_now in parts)


def needs_handover(held: SourceFilter, wanted: SourceFilter) -> bool:
    """Whether one set could lose a packet of a source that both allow: a change of mode (rule 5)."""
    return held.is_include is not wanted.is_include and not (held & wanted).is_none


def moves(held: Sequence[SourceFilter], parts: Sequence[SourceFilter]) -> bool:
    """Whether `spread` had to take a source that stays from one socket to another: the limit was lowered.

    Between the two calls its packets would be lost, or come twice.
    """
    if len(parts) < 2 and len(held) < 2:
        return False
    wanted = frozenset[str]().union(*(part.sources for part in parts))
    return any(
        one.is_include and part.is_include and not one.sources.isdisjoint(wanted - part.sources)
        for one, part in zip(held, parts, strict=False)
    )
