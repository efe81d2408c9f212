"""The figures to reach, as data. A missed one is said, and is no failure: it depends on the machine."""

from __future__ import annotations

import operator
from collections.abc import Callable

import attrs

__all__ = ["TARGETS", "Target"]


@attrs.frozen
class Target:
    """`name` in words, the `limit` for each event loop, and which side of it is good."""

    name: str
    limit: dict[str, float]
    unit: str = "x C"
    holds: Callable[[float, float], bool] = operator.le

    def says(self, loop: str) -> str:
        """Return the limit as text."""
        return f"{'≤' if self.holds is operator.le else '≥'} {self.limit[loop]:g} {self.unit}"


def _both(limit: float) -> dict[str, float]:
    return {"asyncio": limit, "uvloop": limit}


TARGETS: dict[str, Target] = {
    "drain native": Target("drain, async for, all tags and timestamps", {"asyncio": 1.5, "uvloop": 1.4}),
    "drain native-batches": Target("drain, batches", _both(1.25)),
    "drain queue": Target(
        "drain, times as fast as DatagramProtocol + Queue",
        {"asyncio": 5.5, "uvloop": 1.8},
        unit="times",
        holds=operator.ge,
    ),
    "drain portable": Target("drain, portable reader, async for", {"asyncio": 3.8, "uvloop": 3.6}),
    "coalesced native": Target("coalesced drain, async for", _both(0.35)),
    "coalesced native-batches": Target("coalesced drain, batches", _both(0.15)),
    "growth idle": Target("growth, idle, against one channel alone", _both(1.2), unit="times"),
    "growth spread": Target("growth, spread, against C epoll + recvmmsg", _both(1.6)),
    "memory": Target("resident memory per joined membership", _both(10), unit="KiB"),
    "join": Target("join by Interface", _both(100), unit="µs"),
    "look-up": Target("look-up of an interface by name", _both(7), unit="µs"),
    "merge packets": Target("merge, against one line thrown away", _both(1.5), unit="times"),
    "merge live": Target("merge, one number at a time, against the same", _both(1.5), unit="times"),
    "merge batches": Target("merge by batches, against the same", _both(1.5), unit="times"),
    "scrape statistics": Target("statistics of 1,000 memberships", _both(3.0), unit="ms"),
    "scrape sums": Target("scrape of 1,000 memberships, their sums, as text", _both(5.0), unit="ms"),
    "scrape each": Target("scrape of 1,000 memberships, each by itself, no text", _both(5.0), unit="ms"),
    "swap 10": Target("swap of 10 sources, lists of text, against the bare call", _both(2.0), unit="times"),
    "apply 100": Target("apply over 100 memberships, against the bare calls", _both(2.5), unit="times"),
    "latency endpoint": Target("latency at 1,000/s, endpoint", _both(1.25)),
    "latency packets": Target("latency at 1,000/s, async for", {"asyncio": 2.0, "uvloop": 1.5}),
    "path endpoint": Target("path after the wait, endpoint, to uvloop's own", {"uvloop": 1.0}, unit="times"),
    "path packets": Target("path after the wait, async for, to uvloop's own", {"uvloop": 2.0}, unit="times"),
    "threads free": Target("threads without a lock, two processors", _both(1.8), "times", operator.ge),
    "threads processes": Target("processes, two processors", _both(1.8), "times", operator.ge),
}
