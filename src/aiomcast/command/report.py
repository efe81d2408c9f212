"""What `aiomcast listen` has counted since the start and in the last interval. Pure values."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import TypeVar

import attrs

from aiomcast import FilterMode, SourceFilter, Statistics
from aiomcast.feeds import SequenceStatistics

__all__ = ["Account", "ChannelReport", "Report", "SourceReport", "Traffic", "address"]

N = TypeVar("N", int, float)


def address(host: str, port: int) -> str:
    """Return host and port as one writes them together."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@attrs.frozen
class Traffic:
    """What came, and what its sequence numbers tell."""

    packets: int = 0
    octets: int = 0
    sequence: SequenceStatistics = SequenceStatistics()

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.packets + other.packets, self.octets + other.octets, self.sequence + other.sequence
        )

    def __sub__(self, earlier: Traffic) -> Traffic:
        return Traffic(
            self.packets - earlier.packets, self.octets - earlier.octets, self.sequence - earlier.sequence
        )


@attrs.frozen
class Account:
    """What came from a source or several: in all, in the last interval, when last, and how evenly.

    `jitter_ns` is that of the flow that jitters most.
    """

    total: Traffic = Traffic()
    new: Traffic = Traffic()
    latest_ns: int | None = None
    jitter_ns: float | None = None

    def __add__(self, other: Account) -> Account:
        return Account(
            self.total + other.total,
            self.new + other.new,
            _largest((self.latest_ns, other.latest_ns)),
            _largest((self.jitter_ns, other.jitter_ns)),
        )


@attrs.frozen
class SourceReport:
    """One source of a channel."""

    source: str
    account: Account


@attrs.frozen
class ChannelReport:
    """A group and port, with the sources that the filter names or that were heard."""

    group: str
    port: int
    interface: str
    filter: SourceFilter
    sources: tuple[SourceReport, ...]
    dropped: Statistics
    newly_dropped: Statistics

    @property
    def account(self) -> Account:
        """That of all its sources."""
        return reduce(add, (one.account for one in self.sources), Account())

    @property
    def name(self) -> str:
        """The group and port as one writes them."""
        return address(self.group, self.port)

    @property
    def let_in(self) -> str:
        """The filter in words."""
        listed = ", ".join(sorted(self.filter.sources))
        if self.filter.mode is FilterMode.INCLUDE:
            return listed
        return f"any source but {listed}" if listed else "any source"


@attrs.frozen
class Report:
    """All channels at `now_ns`, `passed` seconds after the start, `interval` after the last."""

    now_ns: int
    passed: float
    interval: float
    channels: tuple[ChannelReport, ...]
    has_sequence: bool

    def age(self, account: Account) -> float | None:
        """Return how many seconds ago the last packet came, None where none has."""
        latest = account.latest_ns
        return None if latest is None else max(0.0, (self.now_ns - latest) / 1e9)

    def rate(self, number: int) -> float:
        """Return what `number` in the last interval is per second."""
        return number / self.interval if self.interval > 0 else 0.0


def _largest(of: Iterable[N | None]) -> N | None:
    return max((one for one in of if one is not None), default=None)
