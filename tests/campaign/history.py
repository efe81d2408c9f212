"""What happened in a run, as plain values: what the checker judges.

All times are nanoseconds of CLOCK_MONOTONIC, which all processes and threads share.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "Account",
    "Change",
    "Datagram",
    "Filter",
    "Flow",
    "History",
    "Key",
    "Membership",
    "Note",
    "Stream",
    "Violation",
]

Key: TypeAlias = tuple[int, int, int]
"""A datagram: (sender, flow, number). A sender numbers the datagrams of each flow from 0."""


class Flow(NamedTuple):
    """Who sends to what."""

    source: str
    group: str
    port: int


class Filter(NamedTuple):
    """A source filter, known to the checker without the library's help."""

    include: bool
    sources: frozenset[str]

    def allows(self, source: str) -> bool:
        """Whether a packet of `source` passes."""
        return (source in self.sources) is self.include


class Datagram(NamedTuple):
    """One datagram that was sent between `begin` and `end`.

    By `arrived` it was in the queue of every socket that takes it; None where that is not known.
    """

    key: Key
    begin: int
    end: int
    arrived: int | None


@dataclass(slots=True)
class Change:
    """A call that sets or repeats the filter of a membership. The first one is its join.

    `filter` is what it asked for. `returned` is None while it is in progress. `refused` is what it
    raised, or "". `lossy` means that a packet in flight meanwhile may be lost: which exception of the
    rules says so, or "".
    """

    kind: Literal["join", "swap", "refresh"]
    filter: Filter
    began: int
    pending: Literal["discard", "deliver"] = "discard"
    returned: int | None = None
    refused: str = ""
    lossy: str = ""


@dataclass(slots=True)
class Membership:
    """A membership from join to leave. `broken` is when it was left in a state nobody knows."""

    number: int
    receiver: int
    group: str
    port: int
    changes: list[Change]
    leaving: int | None = None
    left: int | None = None
    broken: int | None = None
    kernel_drops: int = 0
    queue_drops: int = 0

    @property
    def joined(self) -> int | None:
        """When the join had returned; None if it was refused."""
        join = self.changes[0]
        return None if join.refused else join.returned


@dataclass(slots=True)
class Stream:
    """A stream from the call that made it until it is closed or forgotten, and what it yielded.

    `membership` is None for a stream of the receiver; `source` and `group` are tags. `drops` is
    whether its policy drops. `forgotten` is when nobody held it any more, `gone` when it was collected.
    `takes` holds (time, datagram) as they came.
    """

    number: int
    receiver: int
    membership: int | None = None
    source: str | None = None
    group: str | None = None
    drops: bool = False
    opening: int = 0
    opened: int | None = None
    closing: int | None = None
    closed: int | None = None
    forgotten: int | None = None
    gone: int | None = None
    takes: list[tuple[int, Key]] = field(default_factory=list)
    queue_drops: int = 0


class Account(NamedTuple):
    """The counters of a receiver at one point, with those of all its streams that ever were.

    `streams` holds (taken, queue_drops, filtered, queued, whole) by stream: what its consumer has got,
    what its own statistics say, and whether it has heard everything from the first join on.
    """

    receiver: int
    time: int
    received: int
    queue_drops: int
    filtered: int
    queued: int
    streams: dict[int, tuple[int, int, int, int, bool]]
    some_forgotten: bool = False


class Note(NamedTuple):
    """A violation that was seen at once, by whoever performed the operations."""

    rule: str
    time: int
    text: str


@dataclass(slots=True)
class History:
    """A run. `rest` is when nothing came any more with all streams taken from.

    `excuses` are the system's own losses, by name: then nothing can be called lost. `is_clock_set` is
    whether CLOCK_REALTIME was: then nothing that rests on times of arrival can be judged. `unstamped` are
    datagrams that came without a time of arrival, which the library says of the first on a machine.
    `warned` is how often the library has warned of a stream of packets that was dropped open.
    """

    flows: list[Flow]
    datagrams: dict[Key, Datagram]
    memberships: list[Membership] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    rest: int | None = None
    excuses: list[str] = field(default_factory=list)
    is_clock_set: bool = False
    unstamped: set[Key] = field(default_factory=set)
    warned: int = 0


@dataclass(slots=True)
class Violation:
    """A rule that was broken: when, what is to be seen, and the datagrams concerned."""

    rule: str
    time: int
    text: str
    stream: int | None = None
    membership: int | None = None
    keys: list[Key] = field(default_factory=list)


def first(times: Iterable[int | None]) -> int | None:
    """Return the earliest of the times that are known."""
    return min((one for one in times if one is not None), default=None)
