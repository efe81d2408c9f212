"""What `aiomcast gaps` has counted, line by line, and what is found in between. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from aiomcast.feeds import Gap, LineStatistics, Restart, SequenceStatistics

from .report import Account, address

__all__ = ["Feed", "Found", "LineTally", "counted", "named"]

Found: TypeAlias = Gap | Restart


@attrs.frozen
class LineTally:
    """A line of a merge, or a source where there is one line: counters by name, in all and in the interval.

    `behind` is in seconds. `state` is a word for what is wrong with the line: silent, apart, ended.
    """

    name: str
    total: Mapping[str, int]
    new: Mapping[str, int]
    account: Account
    behind: float | None = None
    state: str = ""


@attrs.frozen
class Feed:
    """All lines at `now_ns`, `passed` seconds after the start and `interval` after the last report.

    `delivered`, `lost`, `late`, `gaps` and `restarts` are of what the lines make together. `latest` are
    the last that were found, each with the time of the packet after it.
    """

    now_ns: int
    passed: float
    interval: float
    lines: tuple[LineTally, ...]
    is_merged: bool
    delivered: int
    lost: int
    late: int
    gaps: int
    restarts: int
    latest: tuple[tuple[int, Found], ...] = ()

    def rate(self, number: float) -> float:
        """Return what `number` in the last interval is per second."""
        return number / self.interval if self.interval > 0 else 0.0

    @property
    def verdict(self) -> str:
        """What the lines make together, in words."""
        who = "all lines" if self.is_merged else "the line"
        told = f"{self.lost} lost on {who} in {self.gaps} gaps" if self.lost else f"none lost on {who}"
        if self.late:
            told += f", {self.late} of them came too late"
        if self.gaps and not self.lost:
            told += f", though later than others in {self.gaps} gaps"
        restarts = f", {self.restarts} restarts" if self.restarts else ""
        return f"{self.delivered} packets, {told}{restarts}"


def counted(numbers: SequenceStatistics, merged: LineStatistics | None, dropped: int) -> dict[str, int]:
    """Return the counters of a line: what it did for the merge, its own numbers, this host's drops."""
    own = {
        "duplicates": numbers.duplicates,
        "reordered": numbers.reordered,
        "restarts": numbers.restarts,
        "dropped": dropped,
    }
    if merged is None:
        found = {
            name: getattr(numbers, name) for name in ("received", "lost", "late", "astray", "unreadable")
        }
        return found | own
    names = ("received", "won", "copies", "lost_here", "lost_everywhere", "late", "astray", "unreadable")
    return {name: getattr(merged, name) for name in names} | own | {"duplicates": merged.duplicates}


def named(found: Found) -> str:
    """Return it in words."""
    flow = found.flow
    where = f"{address(flow.group, flow.port)} from {flow.source}"
    if isinstance(found, Restart):
        return f"restart at {found.first} after {found.last}, {where}"
    numbers = f"{found.first} to {found.last}" if found.count > 1 else f"{found.first}"
    return f"gap {numbers}, {found.count} lost, {where}"
