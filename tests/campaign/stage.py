"""The state of one thread: what it has joined and opened, and what it notes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable

import aiomcast

from . import history
from .history import Filter
from .listening import Consumer
from .sending import Gun
from .world import Limits, Place

__all__ = ["BOUND", "Held", "Stage", "now", "source_filter"]

BOUND = 20.0
"""Seconds that any one thing may take before it counts as stuck."""
_TO_A_THREAD = 10_000  # numbers of memberships and streams

now = time.monotonic_ns


class Held:
    """A membership and its record."""

    def __init__(self, membership: aiomcast.Membership, record: history.Membership) -> None:
        self.membership = membership
        self.record = record

    @property
    def wanted(self) -> Filter:
        """The filter that must be in force when no change is in progress."""
        done = [one for one in self.record.changes if not one.refused and one.kind != "refresh"]
        return done[-1].filter


class Stage:
    """What the operations of a thread work on."""

    def __init__(self, thread: int, threads: int, place: Place, gun: Gun, limits: Limits) -> None:
        self.thread = thread
        self.threads = threads
        self.place = place
        self.gun = gun
        self.limits = limits
        self.records = history.History(place.flows, {})
        self.lines: list[tuple[int, str]] = []
        self.performed: dict[int, int] = {}
        """When each operation that fitted was begun, by its place in the list."""
        self.receivers: list[aiomcast.Receiver] = []
        self.joined: list[asyncio.Event] = []
        """Set when a receiver has joined something, or has closed."""
        self.drops: list[bool] = []
        """Whether the policy of a receiver drops."""
        self.held: dict[tuple[int, int], Held] = {}
        """What is joined now, by receiver and slot."""
        self.left: list[Held] = []
        self.streams: dict[tuple[int, int], Consumer] = {}
        """The streams that are open, by receiver and place."""
        self.consumers: list[Consumer] = []
        """Of all streams that ever were."""

    def number(self, of: Collection[object]) -> int:
        """Return the number of the next record, which no other thread has."""
        return self.thread * _TO_A_THREAD + len(of)

    def receiver_number(self, number: int) -> int:
        """Return the number of a receiver for the records, which no other thread has."""
        return self.thread * 100 + number

    def filter(self, drawn: list[object]) -> Filter:
        """Return the filter that was drawn, with addresses for numbers."""
        include, listed, first, count = drawn
        assert isinstance(listed, list)
        assert isinstance(first, int)
        assert isinstance(count, int)
        senders = {self.place.sources[number] for number in listed}
        return Filter(bool(include), frozenset(senders | {*self.place.strangers[first : first + count]}))

    def send(self, places: Iterable[tuple[str, int]], count: int) -> None:
        """Send from every source to these groups and ports, here and now."""
        wanted = set(places)
        for number, flow in enumerate(self.place.flows):
            if (flow.group, flow.port) in wanted:
                for _ in range(count):
                    self.gun.fire(number)

    def note(self, rule: str, when: int, text: str) -> None:
        """Note a violation."""
        self.records.notes.append(history.Note(rule, when, text))

    def log(self, when: int, text: str) -> None:
        """Keep a line for whoever reads the history."""
        self.lines.append((when, f"thread {self.thread}: {text}"))

    def unexpected(self, what: str, error: BaseException) -> None:
        """Note an error that nobody should have raised."""
        rule = "stuck" if isinstance(error, TimeoutError) else "unexpected"
        text = f"{what}: {type(error).__name__}: {error}"
        self.note(rule, now(), text)


def source_filter(wanted: Filter) -> aiomcast.SourceFilter:
    """Return the library's value."""
    mode = aiomcast.FilterMode.INCLUDE if wanted.include else aiomcast.FilterMode.EXCLUDE
    return aiomcast.SourceFilter(mode, wanted.sources)
