"""What `aiomcast listen` has counted in an interval and since the start. Pure values, for views and lines."""

from __future__ import annotations

from functools import reduce
from operator import add

import attrs

from aiomcast import FilterMode, SourceFilter, Statistics
from aiomcast.feeds import SequenceStatistics

__all__ = ["ChannelReport", "Report", "SourceReport", "Traffic"]


@attrs.frozen
class Traffic:
    """What came: packets and octets since the start, and what of them in the last interval."""

    packets: int = 0
    octets: int = 0
    new_packets: int = 0
    new_octets: int = 0
    latest_ns: int | None = None
    sequence: SequenceStatistics = SequenceStatistics()

    def __add__(self, other: Traffic) -> Traffic:
        latest = max((at for at in (self.latest_ns, other.latest_ns) if at is not None), default=None)
        return Traffic(
            self.packets + other.packets,
            self.octets + other.octets,
            self.new_packets + other.new_packets,
            self.new_octets + other.new_octets,
            latest,
            self.sequence + other.sequence,
        )


@attrs.frozen
class SourceReport:
    """One source of a channel. `jitter_ns` is that of its flow that jitters most."""

    source: str
    traffic: Traffic
    jitter_ns: float | None = None


@attrs.frozen
class ChannelReport:
    """A group and port with its sources, in the order in which they were first heard."""

    group: str
    port: int
    interface: str
    filter: SourceFilter
    sources: tuple[SourceReport, ...]
    dropped: Statistics

    @property
    def traffic(self) -> Traffic:
        """What came from all its sources."""
        return reduce(add, (one.traffic for one in self.sources), Traffic())

    @property
    def jitter_ns(self) -> float | None:
        """That of its source that jitters most."""
        return max((one.jitter_ns for one in self.sources if one.jitter_ns is not None), default=None)

    @property
    def name(self) -> str:
        """The group and port as one writes them."""
        return f"[{self.group}]:{self.port}" if ":" in self.group else f"{self.group}:{self.port}"

    @property
    def let_in(self) -> str:
        """The filter in words."""
        listed = ", ".join(sorted(self.filter.sources))
        if self.filter.mode is FilterMode.INCLUDE:
            return listed
        return f"any source but {listed}" if listed else "any source"


@attrs.frozen
class Report:
    """All channels at `now_ns`, `passed` seconds after the start; the last interval took `interval` seconds."""

    now_ns: int
    passed: float
    interval: float
    channels: tuple[ChannelReport, ...]
    has_sequence: bool

    @property
    def traffic(self) -> Traffic:
        """What came on all channels."""
        return reduce(add, (one.traffic for one in self.channels), Traffic())

    @property
    def dropped(self) -> Statistics:
        """Where the rest has gone, over all channels."""
        return reduce(add, (one.dropped for one in self.channels), Statistics())

    def age(self, traffic: Traffic) -> float | None:
        """Return how many seconds ago the last packet came, None where none has."""
        latest = traffic.latest_ns
        return None if latest is None else max(0.0, (self.now_ns - latest) / 1e9)
