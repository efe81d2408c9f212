"""Judges a history by the guarantees. Pure: nothing is sent, asked or waited for here.

Each rule has a file and a name, and so has each exception; where timing leaves it open whether a packet
comes, no rule says anything.
"""

from __future__ import annotations

from ..history import History, Violation
from . import accounts, forgotten, identity, leaks, losses, order

__all__ = ["check"]


def check(history: History) -> list[Violation]:
    """Return what broke a rule, earliest first."""
    found = [Violation(note.rule, note.time, note.text) for note in history.notes]
    if history.is_clock_set:
        return found
    for rule in (identity.check, leaks.check, losses.check, order.check, accounts.check, forgotten.check):
        found += rule(history)
    return sorted(found, key=lambda one: one.time)
