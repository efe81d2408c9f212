"""What of the stored messages is a packet that has not come yet, and which never came. Pure."""

from __future__ import annotations

from typing import Final, TypeVar, final

import attrs

from ..values import bounds
from ..values.sealed import sealed
from .broker import Stored
from .messages import Origin, origin_of, time_of

__all__ = ["Missing", "Once", "SubscriptionStatistics"]

K = TypeVar("K")
V = TypeVar("V")

_TOGETHER_NS: Final = 50_000_000  # one packet at two hosts is not further apart, clocks set right
_SPAN_NS: Final = 10_000_000_000  # over which clocks are compared


@final
@sealed
@attrs.frozen(slots=True)
class Missing:
    """`count` packets of `relay` that never came: it had received them, and nobody has stored them."""

    relay: str
    subject: str
    count: int


@final
@sealed
@attrs.frozen(slots=True)
class SubscriptionStatistics:
    """What has come to a subscription, or to all that receives by a `RelayNetwork`.

    `packets` were new. `repeated` had come already, and were dropped: the server forgot an identity
    while it was away, or clocks differ. `foreign` messages are no relay's. `missing` were received by a
    relay and never came.
    """

    packets: int = 0
    repeated: int = 0
    foreign: int = 0
    missing: int = 0

    def __add__(self, other: SubscriptionStatistics) -> SubscriptionStatistics:
        if not isinstance(other, SubscriptionStatistics):
            return NotImplemented
        return SubscriptionStatistics(
            self.packets + other.packets,
            self.repeated + other.repeated,
            self.foreign + other.foreign,
            self.missing + other.missing,
        )


class Once:
    """Tells what is new, and what is missing: give it every stored message in order."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}
        self._recent: dict[str, tuple[str, str, int]] = {}  # by payload: relay, slot, time
        self._clocks: dict[str, _Clock] = {}
        self._lines: dict[tuple[str, str, tuple[str, ...]], _Line] = {}
        self._packets = self._repeated = self._foreign = self._missing = 0

    def statistics(self) -> SubscriptionStatistics:
        """Return what was counted."""
        return SubscriptionStatistics(self._packets, self._repeated, self._foreign, self._missing)

    def take(self, stored: Stored, *, is_packet: bool) -> tuple[bool, Missing | None]:
        """Return whether this is a packet that has not come yet, and what is missing before it."""
        message = stored.message
        origin = origin_of(message.tags)
        if not is_packet or origin is None:
            self._foreign += 1
            return False, None
        missing = self._look(message.subject, origin)
        if message.identity in self._seen or self._is_twin(stored, origin):
            self._repeated += 1
            return False, missing
        if message.identity:
            _keep(self._seen, message.identity, None)
        self._packets += 1
        return True, missing

    def _look(self, subject: str, origin: Origin) -> Missing | None:
        """Compare what a relay says is stored with what has come."""
        key = origin.relay, origin.run, origin.flow
        line = self._lines.get(key)
        if line is None:
            line = _Line(origin.counter - 1)
            _keep(self._lines, key, line, bounds.FLOWS_RELAYED)
        count = line.take(origin)
        if not count:
            return None
        self._missing += count
        return Missing(origin.relay, subject, count)

    def _is_twin(self, stored: Stored, origin: Origin) -> bool:
        """Whether another relay has stored the same packet in another time slot."""
        base, is_timed, slot = stored.message.identity.partition("/")
        if not is_timed:
            return False
        tagged_ns = time_of(stored.message.tags)
        clock = self._clocks.get(origin.relay)
        if clock is None:
            clock = _Clock()
            _keep(self._clocks, origin.relay, clock)
        time_ns = clock.right(tagged_ns, stored.time_ns)
        slot = slot.partition("/")[0]
        before = self._recent.pop(base, None)
        if before is not None:
            relay, other_slot, other_ns = before
            if relay != origin.relay and slot != other_slot and abs(time_ns - other_ns) <= _TOGETHER_NS:
                return True
        _keep(self._recent, base, (origin.relay, slot, time_ns))
        return False


class _Line:
    """What has come of one flow by one run of a relay, and how far that was compared."""

    __slots__ = ("_before", "_came", "_merged", "_settled")

    def __init__(self, before: int) -> None:
        self._before = before  # what came before the first that is seen is nobody's loss
        self._settled: int | None = None
        self._merged = 0
        self._came: set[int] = set()

    def take(self, origin: Origin) -> int:
        """Return how many are missing of those that were settled when this was sent."""
        settled, merged = origin.settled, origin.merged
        missing = 0
        if self._settled is None:
            if settled >= self._before:
                self._settled, self._merged = settled, merged
                self._came = {counter for counter in self._came if counter > settled}
        elif settled > self._settled:
            came = {counter for counter in self._came if counter <= settled}
            missing = (settled - self._settled) - (merged - self._merged) - len(came)
            self._came -= came
            self._settled, self._merged = settled, merged
        if self._settled is None or origin.counter > self._settled:
            self._came.add(origin.counter)
        return max(0, missing)


class _Clock:
    """How far a relay's clock is from the server's: the least that lay between stamp and storing."""

    __slots__ = ("_before", "_began_ns", "_now")

    def __init__(self) -> None:
        self._began_ns = 0
        self._before: int | None = None
        self._now: int | None = None

    def right(self, tagged_ns: int | None, stored_ns: int) -> int:
        """Return when a packet was received, by the server's clock."""
        if tagged_ns is None:
            return stored_ns
        between = stored_ns - tagged_ns
        if stored_ns - self._began_ns > _SPAN_NS:
            self._began_ns, self._before, self._now = stored_ns, self._now, None
        if self._now is None or between < self._now:
            self._now = between
        return tagged_ns + (self._now if self._before is None else min(self._now, self._before))


def _keep(kept: dict[K, V], key: K, value: V, most: int | None = None) -> None:
    """Keep a value, and forget the oldest where there are too many."""
    if key not in kept and len(kept) >= (bounds.IDENTITIES if most is None else most):
        del kept[next(iter(kept))]
    kept[key] = value
