"""No leak: once a swap has returned, nothing comes that its filter refuses; after an end, nothing new.

Exceptions, each of them "may come":

deliver          `pending="deliver"`: what was sent before the swap returned, if a filter since the last
                 swap that discards allowed it
first stamps     the same of a packet without a time of arrival, whenever it was sent
in progress      a swap that has not returned: both filters
left             after a leave, what was sent before the leave returned and its last filter allowed
"""

from __future__ import annotations

from ..history import Datagram, Flow, History, Stream, Violation
from .timeline import Timeline, latest

__all__ = ["check"]


def check(history: History) -> list[Violation]:
    """Return packets that should not have come."""
    timelines = [Timeline(one) for one in history.memberships]
    found: list[Violation] = []
    for stream in history.streams:
        found += _of_stream(history, stream, timelines)
    return found


def _of_stream(history: History, stream: Stream, timelines: list[Timeline]) -> list[Violation]:
    by_place: dict[tuple[str, int], list[Timeline]] = {}
    for timeline in timelines:
        one = timeline.membership
        if one.receiver == stream.receiver and stream.membership in (None, one.number):
            by_place.setdefault((one.group, one.port), []).append(timeline)
    found: dict[tuple[str, int | None], Violation] = {}
    for time, key in stream.takes:
        datagram = history.datagrams.get(key)
        flow = history.flows[key[1]]
        candidates = by_place.get((flow.group, flow.port), [])
        if datagram is None or not candidates:
            continue  # another rule's
        if stream.closed is not None and datagram.begin > stream.closed:
            _add(
                found,
                "after the end",
                time,
                stream,
                None,
                datagram,
                "the first was sent after the stream was closed",
            )
        why, whose = _refused(candidates, datagram, flow, time, key not in history.unstamped)
        if why:
            ended = stream.closed is not None and stream.closed < time
            rule = "leaked from a closed stream" if ended else "leaked"
            _add(found, rule, time, stream, whose, datagram, why)
    for violation in found.values():
        violation.text = f"{len(violation.keys)} packets came of which {violation.text}"
    return list(found.values())


def _refused(
    candidates: list[Timeline], datagram: Datagram, flow: Flow, time: int, is_stamped: bool
) -> tuple[str, int | None]:
    """Say why none of the memberships lets this packet come now, and which came closest; "" if one does."""
    why, whose = "the first was sent when no membership was joined", None
    for timeline in candidates:
        membership = timeline.membership
        if membership.broken is not None and time >= membership.broken:
            return "", None
        if not timeline.changes or latest(datagram) < timeline.changes[0].began:
            continue
        if membership.left is not None and datagram.begin > membership.left:
            continue
        if timeline.may_come(datagram, flow.source, time, is_stamped):
            return "", None
        why, whose = "the filter in force refuses the source", membership.number
    return why, whose


def _add(
    found: dict[tuple[str, int | None], Violation],
    rule: str,
    time: int,
    stream: Stream,
    membership: int | None,
    datagram: Datagram,
    why: str,
) -> None:
    one = found.get((rule, membership))
    if one is None:
        one = found[rule, membership] = Violation(rule, time, why, stream.number, membership)
    one.keys.append(datagram.key)
