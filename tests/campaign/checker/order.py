"""In order: of one membership, nothing comes after a packet that was sent when it had arrived already.

Exceptions: packets of which nobody knows when they had arrived; those in flight for longer than 4 ms,
which may come late during a change of sockets (5 ms are promised); and those without a time of arrival.
"""

from __future__ import annotations

from ..history import Datagram, History, Stream, Violation

__all__ = ["check"]

_PROMPT = 4_000_000


def check(history: History) -> list[Violation]:
    """Return packets that came too late."""
    found: list[Violation] = []
    for stream in history.streams:
        found += _of_stream(history, stream)
    return found


def _of_stream(history: History, stream: Stream) -> list[Violation]:
    # A group and port that was left and joined again is another membership, whose packets begin anew.
    joins: dict[tuple[str, int], list[int]] = {}
    for membership in history.memberships:
        if membership.receiver == stream.receiver:
            place = (membership.group, membership.port)
            joins.setdefault(place, []).append(membership.changes[0].began)
    newest: dict[tuple[str, int, int], Datagram] = {}
    seen = set()
    late: list[tuple[int, Datagram, Datagram]] = []
    for time, key in stream.takes:
        datagram = history.datagrams.get(key)
        if datagram is None or key in seen or key in history.unstamped:
            continue
        seen.add(key)
        _, group, port = history.flows[key[1]]
        began = sum(datagram.begin > one for one in joins.get((group, port), []))
        before = newest.get((group, port, began))
        if before is None or datagram.begin > before.begin:
            newest[group, port, began] = datagram
        elif (
            datagram.arrived is not None
            and datagram.arrived < before.begin
            and datagram.arrived - datagram.begin < _PROMPT
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
