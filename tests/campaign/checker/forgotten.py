"""No silence about what was forgotten: a stream that is dropped open is collected, and warned of, once.

Nobody but whoever takes from a stream keeps it alive, so a forgotten one is gone when the run has come
to rest, which begins with a collection of garbage. Exceptions, each of them "may be warned of":

left             its membership was leaving while it was forgotten and not collected yet: that closes it
"""

from __future__ import annotations

from ..history import History, Violation

__all__ = ["check"]


def check(history: History) -> list[Violation]:
    """Return forgotten streams that were kept, and warnings that lack or are too many."""
    if history.rest is None:
        return []
    found: list[Violation] = []
    least = most = 0
    memberships = {one.number: one for one in history.memberships}
    for stream in history.streams:
        if stream.forgotten is None:
            continue
        if stream.gone is None or stream.gone > history.rest:
            text = "it was forgotten and not collected"
            found.append(Violation("forgotten", history.rest, text, stream.number))
            most += 1
            continue
        whose = None if stream.membership is None else memberships[stream.membership]
        was_open = whose is None or whose.left is None or whose.left > stream.forgotten
        stayed_open = whose is None or whose.leaving is None or whose.leaving > stream.gone
        most += was_open
        least += was_open and stayed_open
    if not least <= history.warned <= most:
        text = f"{history.warned} streams that were dropped open were warned of, not {least} to {most}"
        found.append(Violation("forgotten", history.rest, text))
    return found
