"""What the demonstration has seen, and its judgement: packets in, a verdict in plain words out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import attrs

import aiomcast

__all__ = ["MOST_COLUMNS", "SOURCES", "Demonstration", "Show", "Source"]

SOURCES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
MOST_COLUMNS = 40  # of the picture of what comes in

Show: TypeAlias = Callable[[bool], None]
"""Shows the run as it stands; the argument says whether a source list has just taken effect."""


@attrs.define
class Source:
    """What one source has sent, and what of it came in."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    doubled: int = 0
    history: deque[bool] = attrs.Factory(lambda: deque(maxlen=MOST_COLUMNS))
    _drawn: int = 0
    _numbers: set[int] = attrs.Factory(set)  # of the packets since it was let in

    def take(self, number: int) -> None:
        """Note that packet `number` came in."""
        self.received += 1
        self.doubled += number in self._numbers
        self._numbers.add(number)

    def draw(self) -> None:
        """Add a column to the history: whether packets came in since the last one."""
        self.history.append(self.received > self._drawn)
        self._drawn = self.received

    def settle(self) -> None:
        """Count the gaps between the packets that came in while it was let in without a break."""
        if self._numbers:
            self.lost += max(self._numbers) - min(self._numbers) + 1 - len(self._numbers)
            self._numbers.clear()


@attrs.define
class Demonstration:
    """The state of a run: `in_force` is the source list that the last finished swap asked for.

    While a swap is under way the old and the new list are in force together.
    """

    group: str
    port: int
    seconds: float
    passed: float = 0.0
    in_force: frozenset[str] = frozenset()
    swaps: int = 0
    leaked: int = 0
    refused: str = ""  # what the system said when a packet could not be sent
    sources: dict[str, Source] = attrs.Factory(lambda: {address: Source() for address in SOURCES})

    def take(self, packet: aiomcast.Packet) -> None:
        """Judge a packet by the list in force now, as it was yielded."""
        if packet.source not in self.in_force:
            self.leaked += 1
        if packet.source in self.sources:
            self.sources[packet.source].take(int(packet.data))

    @property
    def is_right(self) -> bool:
        """Whether all could be sent, something came in, nothing that should not, and all of it once."""
        known = self.sources.values()
        faults = self.leaked + sum(one.lost + one.doubled for one in known)
        return not self.refused and not faults and any(one.received for one in known)

    def verdict(self) -> str:
        """Say in one line what was counted."""
        known = self.sources.values()
        received, lost = sum(one.received for one in known), sum(one.lost for one in known)
        doubled = sum(one.doubled for one in known)
        told = [
            f"{received:,} packets" if received else "no packets",
            f"{f'{self.leaked:,}' if self.leaked else 'none'} from a source that was switched off",
            f"{lost:,} lost" if lost else "none lost",
        ]
        told += [f"{doubled:,} came twice"] if doubled else []
        told += [self.refused] if self.refused else []
        return f"{'ok' if self.is_right else 'FAILED'}: {'; '.join(told)}"
