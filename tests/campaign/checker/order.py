"""In order: of one membership, nothing comes after a packet that was sent when it had arrived already.

Exceptions: packets of which nobody knows when they had arrived; those in flight for longer than 4 ms,
which may come late during a change of sockets (5 ms are promised); those without a time of arrival; and
those sent before the change had returned that let their source in, which need not come at all.
"""

from __future__ import annotations

from ..history import Datagram, History, Stream, Violation
from .timeline import Timeline

__all__ = ["check"]

_PROMPT = 4_000_000


def check(history: History) -> list[Violation]:
    """Return packets that came too late."""
    timelines = [Timeline(one) for one in history.memberships if one.joined is not None]
    found: list[Violation] = []
    for stream in history.streams:
        found += _of_stream(history, stream, timelines)
    return found


def _of_stream(history: History, stream: Stream, timelines: list[Timeline]) -> list[Violation]:
    # A group and port that was left and joined again is another membership, whose packets begin anew.
    by_place: dict[tuple[str, int], list[Timeline]] = {}
    for timeline in timelines:
        membership = timeline.membership
        if membership.receiver == stream.receiver:
            by_place.setdefault((membership.group, membership.port), []).append(timeline)
    newest: dict[tuple[str, int, int], Datagram] = {}
    seen = set()
    late: list[tuple[int, Datagram, Datagram]] = []
    for time, key in stream.takes:
        datagram = history.datagrams.get(key)
        if datagram is None or key in seen or key in history.unstamped:
            continue
        seen.add(key)
        source, group, port = history.flows[key[1]]
        begun = [one for one in by_place.get((group, port), []) if datagram.begin > one.changes[0].began]
        began = len(begun)
        before = newest.get((group, port, began))
        if before is None or datagram.begin > before.begin:
            newest[group, port, began] = datagram
        elif (
            datagram.arrived is not None
            and datagram.arrived < before.begin
            and datagram.arrived - datagram.begin < _PROMPT
            and (not begun or _was_let_in(begun[-1], datagram, source))
        ):
            late.append((time, datagram, before))
    if not late:
        return []
    time, one, before = late[0]
    text = (
        f"{len(late)} packets came after one that was sent later: the first after {before.key}, "
        f"sent {(before.begin - one.begin) / 1e6:.3f} ms after it"
    )
    keys = [one.key for _, one, _ in late]
    return [Violation("out of order", time, text, stream.number, stream.membership, keys)]


def _was_let_in(timeline: Timeline, datagram: Datagram, source: str) -> bool:
    """Whether the filter in force when it was sent allowed its source already."""
    in_force = timeline.in_force(datagram.begin)
    return bool(in_force) and timeline.changes[in_force[0]].filter.allows(source)
