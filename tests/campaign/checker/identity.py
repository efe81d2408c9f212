"""A packet is one that was sent, to where it says, and comes once to each stream that asks for it."""

from __future__ import annotations

from collections import Counter

from ..history import History, Key, Stream, Violation

__all__ = ["check"]


def check(history: History) -> list[Violation]:
    """Return packets that came twice, that nobody has sent, or that a stream did not ask for."""
    found: list[Violation] = []
    for stream in history.streams:
        found += _doubled(stream)
        found += _foreign(history, stream)
    return found


def _doubled(stream: Stream) -> list[Violation]:
    counts = Counter(key for _, key in stream.takes)
    keys = {key for key, count in counts.items() if count > 1}
    if not keys:
        return []
    seen: set[Key] = set()
    for time, key in stream.takes:  # noqa: B007  the time of the first second copy
        if key in seen:
            break
        seen.add(key)
    text = f"{len(keys)} packets came more than once"
    return [Violation("doubled", time, text, stream.number, stream.membership, sorted(keys))]


def _foreign(history: History, stream: Stream) -> list[Violation]:
    places = {
        (one.group, one.port)
        for one in history.memberships
        if one.receiver == stream.receiver and stream.membership in (None, one.number)
    }
    unsent, unasked = [], []
    for time, key in stream.takes:
        flow = history.flows[key[1]]
        if key not in history.datagrams:
            unsent.append((time, key))
        elif (
            (flow.group, flow.port) not in places
            or stream.source not in (None, flow.source)
            or stream.group not in (None, flow.group)
        ):
            unasked.append((time, key))
    found = []
    for rule, listed, what in (
        ("garbled", unsent, "packets that nobody has sent"),
        ("foreign", unasked, "packets that the stream did not ask for"),
    ):
        if listed:
            keys = [key for _, key in listed]
            text = f"{len(listed)} {what}"
            found.append(Violation(rule, listed[0][0], text, stream.number, stream.membership, keys))
    return found
