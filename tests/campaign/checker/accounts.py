"""No silence: every datagram that was read is in one place in the statistics.

A datagram is refused by the filter, or unread when its membership ends, or handed to every stream that
listens; a stream has yielded it, dropped it, had it taken out by a swap, or holds it. A receiver sums
over its streams, so for each stream that has heard everything, without tags and from the first join on:

    received = taken + its drops + its filtered + its queued
             + what the receiver has filtered, dropped and queued beyond the sum over its streams

What is queued beyond them was read ahead, over the sockets of a membership that has several, and
waits for earlier packets. With one stream that is: received = taken + queue_drops + filtered +
queued. Where a stream was forgotten, its counters are gone with it, and the rule says nothing.
"""

from __future__ import annotations

from ..history import Account, History, Violation

__all__ = ["check"]


def check(history: History) -> list[Violation]:
    """Return the accounts that do not add up."""
    found: list[Violation] = []
    for account in history.accounts:
        found += _of(account)
    return found


def _of(account: Account) -> list[Violation]:
    found: list[Violation] = []
    if account.some_forgotten:
        return found
    drops = sum(one[1] for one in account.streams.values())
    filtered = sum(one[2] for one in account.streams.values())
    elsewhere = account.filtered - filtered + account.queue_drops - drops
    queued = sum(one[3] for one in account.streams.values())
    elsewhere += account.queued - queued
    if queued > account.queued:
        text = f"the receiver counts {account.queued} queued, its streams together {queued}"
        found.append(Violation("unaccounted", account.time, text))
    for number, (taken, dropped, refused, waiting, whole) in account.streams.items():
        if not whole:
            continue
        missing = account.received - taken - dropped - refused - waiting - elsewhere
        if missing:
            text = (
                f"{missing} of {account.received} datagrams of receiver {account.receiver} are in no place: "
                f"{taken} taken, {dropped} dropped, {refused} filtered, {waiting} queued in the stream, "
                f"{elsewhere} elsewhere"
            )
            found.append(Violation("unaccounted", account.time, text, number))
    return found
