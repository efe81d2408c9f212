"""No gap: what every filter allowed, from before it was sent until it was due, comes to each stream.

A packet is due when one of the same source was taken from the stream that was sent after it had arrived:
packets come in order, so it was "skipped". Otherwise it is due when the run had come to rest: then it is
"lost". It must come only if until it is due its membership was joined, the stream open, and no filter
refused its source. Exceptions, each of them "may be lost":

refresh          in flight during `refresh()`, which leaves and joins again
refused sets     in flight during a change that an injected fault refused between its calls: what was
                 set had to be put back
met another limit  in flight during a change that was refused while another thread changed the limit
slow flight      longer on its way than replaced sockets stay members, during a change
unknown flight   nobody knows when it had arrived, and a change was made meanwhile
deliver          refused by a swap that delivers what had arrived, before which it may not have arrived;
                 or refused by a discarding one after that
drop policy      as many as the stream counts as dropped
stalled modes    several changes that replace sockets while nobody took packets, and the membership counts
                 drops (those of eight changes wait, the oldest are dropped)
first stamps     several changes of mode around one of the first packets, which have no time of arrival
kernel race      IPv6, filter mode EXCLUDE: another socket of the group on this interface, whose EXCLUDE
                 list has the source, is changing or leaving (at once, or after a change of sockets). Linux
                 counts down how many sockets exclude, then how many exclude this source, and looks at the
                 two without a lock: for a moment all seem to exclude it
system drops     the kernel says it has dropped some, at this membership's sockets or before any
"""

from __future__ import annotations

import itertools
from bisect import bisect_right

from ..history import Change, Datagram, History, Key, Membership, Stream, Violation
from .timeline import Timeline, latest

__all__ = ["SLOW", "check"]

SLOW = 50_000_000
"""Flight that is too long for a change of sockets: replaced ones stay members for 100 ms."""
_CLEARLY = 2_000_000
"""How long before a swap that delivers a packet must have arrived."""
_MOST_REPLACED = 4
_MOST_UNSTAMPED = 3
_FIRST_STAMPS = 20_000_000
"""How long after a run's first join, or after a packet without a time of arrival, there may be others."""
_REPLACED = 1_000_000_000
"""How long after a change a socket that it has replaced may leave the group."""


def check(history: History) -> list[Violation]:
    """Return what should have come and did not."""
    if history.rest is None or history.excuses:
        return []
    by_place: dict[tuple[str, int], list[Datagram]] = {}
    for datagram in history.datagrams.values():
        flow = history.flows[datagram.key[1]]
        by_place.setdefault((flow.group, flow.port), []).append(datagram)
    found: list[Violation] = []
    for stream in history.streams:
        if stream.forgotten is None and stream.opened is not None:
            found += _of_stream(history, stream, by_place)
    return found


def _of_stream(
    history: History, stream: Stream, by_place: dict[tuple[str, int], list[Datagram]]
) -> list[Violation]:
    missing: list[tuple[int, Datagram, Membership]] = []
    for membership in history.memberships:
        if membership.receiver != stream.receiver or stream.membership not in (None, membership.number):
            continue
        if membership.joined is None or membership.kernel_drops:
            continue
        owed = _Owed(history, stream, membership)
        for datagram in by_place.get((membership.group, membership.port), []):
            due = owed.since_when_missing(datagram)
            if due is not None:
                missing.append((due, datagram, membership))
    if not missing or (stream.drops and len(missing) <= stream.queue_drops):
        return []
    found = []
    for membership in history.memberships:
        mine = sorted((due, one) for due, one, whose in missing if whose is membership)
        text = f" (the stream counts {stream.queue_drops} drops in all)" if stream.drops else ""
        lost = [one.key for due, one in mine if due == history.rest]
        if lost:
            text = f"{len(lost)} packets did not come{text}"
            found.append(Violation("lost", history.rest or 0, text, stream.number, membership.number, lost))
        skipped = [one.key for due, one in mine if due != history.rest]
        if skipped:
            text = f"{len(skipped)} packets did not come, and one that was sent later did{text}"
            found.append(Violation("skipped", mine[0][0], text, stream.number, membership.number, skipped))
    return found


class _Owed:
    """What one membership owes one stream."""

    def __init__(self, history: History, stream: Stream, membership: Membership) -> None:
        self._history = history
        self._stream = stream
        self._membership = membership
        self._timeline = Timeline(membership)
        assert membership.joined is not None
        self._since = max(membership.joined, self._listening_since())
        assert history.rest is not None
        ends = (membership.leaving, stream.closing, membership.broken, history.rest)
        self._until = min(one for one in ends if one is not None)
        self._is_ended_early = self._until < history.rest
        self._unstamped_until = _unstamped_until(history)
        self._taken: set[Key] = set()
        # By flow: times of takes, and when the newest of those taken by then was sent
        self._times: dict[int, list[int]] = {}
        self._newest: dict[int, list[int]] = {}
        for time, key in stream.takes:
            self._taken.add(key)
            datagram = history.datagrams.get(key)
            if datagram is not None and datagram.begin > self._since:
                newest = self._newest.setdefault(key[1], [])
                newest.append(max([datagram.begin, *newest[-1:]]))
                self._times.setdefault(key[1], []).append(time)

    def _listening_since(self) -> int:
        """Return the time from which packets are kept for the stream.

        It is when the stream was made; but with nobody listening then packets wait in the kernel,
        since the join or since the last stream that had listened was closed.
        """
        stream, membership = self._stream, self._membership
        assert stream.opened is not None
        since = 0
        for other in self._history.streams:
            if other is stream or other.receiver != stream.receiver or other.opening >= stream.opened:
                continue
            if other.membership not in (None, membership.number):
                continue
            if other.forgotten is not None or other.closed is None or other.closed >= stream.opening:
                ended = membership.left if other.membership is not None else None
                if ended is None or ended >= stream.opening:
                    return stream.opened
            else:
                since = max(since, other.closed)
        return since

    def since_when_missing(self, datagram: Datagram) -> int | None:
        """Return when a packet was due that must have come and has not; None for all others."""
        if datagram.begin <= self._since or datagram.begin >= self._until or datagram.key in self._taken:
            return None
        flow = self._history.flows[datagram.key[1]]
        if self._stream.source not in (None, flow.source) or self._stream.group not in (None, flow.group):
            return None
        due = self._due(datagram)
        if due is None or self._excused(datagram, flow.source, due):
            return None
        return due

    def _due(self, datagram: Datagram) -> int | None:
        arrived = datagram.arrived
        if arrived is not None and arrived - datagram.begin < SLOW // 10:
            times = self._times.get(datagram.key[1], [])
            overtaken = bisect_right(self._newest.get(datagram.key[1], []), arrived)
            if overtaken < len(times) and times[overtaken] < self._until:
                return times[overtaken]
        return None if self._is_ended_early else self._until

    def _excused(self, datagram: Datagram, source: str, due: int) -> str:
        """Return the exception by which the packet may be lost, or ""."""
        changes = self._timeline.touching(datagram.begin, due)
        refused = self._refused(changes, datagram, source)
        if refused:
            return refused
        there = latest(datagram)
        lossy = self._timeline.loss_excused(datagram.begin, there)
        if lossy:
            return lossy
        if (
            there - datagram.begin > SLOW
            and len(self._timeline.touching(datagram.begin - SLOW * 4, there)) > 1
        ):
            return "unknown flight" if datagram.arrived is None else "slow flight"
        if self._membership.queue_drops and self._replaced(changes) >= _MOST_REPLACED:
            return "stalled modes"
        if datagram.begin < self._unstamped_until and self._replaced(changes) >= _MOST_UNSTAMPED:
            return "first stamps"
        if ":" in source and self._in_kernel_race(source, datagram.begin, there):
            return "kernel race"
        return ""

    def _in_kernel_race(self, source: str, begin: int, end: int) -> bool:
        def excludes(change: Change) -> bool:
            return not change.filter.include and source in change.filter.sources

        if all(one.filter.include for one in self._timeline.touching(begin, end)):
            return False
        for other in self._history.memberships:
            if other.group != self._membership.group:
                continue
            ends = [one.began for one in other.changes[1:]]
            ends.append(self._history.rest or end if other.leaving is None else other.leaving)
            for change, next_one in zip(other.changes, ends, strict=True):
                if excludes(change) and change.began <= end and begin <= next_one + _REPLACED:
                    return True
        return False

    def _refused(self, changes: list[Change], datagram: Datagram, source: str) -> str:
        spared = False
        for change in changes:
            if change.filter.allows(source):
                if spared and change.pending == "discard":
                    return "deliver"
                continue
            if change.pending == "discard" or change is changes[0]:
                return "refused"
            if datagram.arrived is None or datagram.arrived + _CLEARLY > change.began:
                return "deliver"
            spared = True
        return ""

    def _replaced(self, changes: list[Change]) -> int:
        return sum(
            after.pending == "deliver" or before.filter.include is not after.filter.include
            for before, after in itertools.pairwise(changes)
        )


def _unstamped_until(history: History) -> int:
    known = [history.datagrams[key].begin for key in history.unstamped if key in history.datagrams]
    joins = [one.changes[0].began for one in history.memberships]
    return max([*known, min(joins, default=0)]) + _FIRST_STAMPS
