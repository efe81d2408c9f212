"""Made-up histories, for the tests of the checker."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from .checker import check
from .history import Change, Datagram, Filter, Flow, History, Key, Membership, Stream

__all__ = ["BOTH", "FLOWS", "MS", "NOT_A", "ONLY_A", "ONLY_B", "PORT", "REST", "A", "B", "Story"]

MS = 1_000_000
A, B = "127.0.0.2", "127.0.0.3"
G, PORT = "239.1.1.1", 5000
FLOWS = [Flow(A, G, PORT), Flow(B, G, PORT), Flow(A, "239.1.1.2", PORT)]
BOTH, ONLY_A, ONLY_B = (Filter(True, frozenset(one)) for one in ((A, B), (A,), (B,)))
NOT_A = Filter(False, frozenset((A,)))
REST = 1000


class Story:
    """A membership that lets `first` in from 1 to 2 ms on, and a stream opened at 3 ms; times are in ms."""

    def __init__(self, first: Filter = BOTH, **stream: Any) -> None:  # Any: fields of a Stream
        self.membership = Membership(0, 0, G, PORT, [Change("join", first, MS, returned=2 * MS)])
        self.stream = Stream(0, 0, opening=int(2.9 * MS), opened=3 * MS)
        self.stream = dataclasses.replace(self.stream, **stream)
        self.history = History(list(FLOWS), {}, [self.membership], [self.stream], rest=REST * MS)
        self._numbers: dict[int, int] = {}

    def send(
        self, begin: float, source: str = A, *, took: float | None = 0.01, taken: float | None = None
    ) -> Key:
        """Send a datagram, which has arrived `took` ms later, and is taken from the stream at `taken`."""
        flow = [A, B].index(source)
        number = self._numbers[flow] = self._numbers.get(flow, -1) + 1
        start = int(begin * MS)
        key = (0, flow, number)
        arrived = None if took is None else start + int(took * MS)
        self.history.datagrams[key] = Datagram(key, start, start + 5000, arrived)
        if taken is not None:
            self.take(key, taken)
        return key

    def take(self, key: Key, at: float) -> None:
        """Have the stream yield a datagram."""
        self.stream.takes.append((int(at * MS), key))

    def swap(
        self,
        began: float,
        returned: float | None,
        wanted: Filter,
        pending: Literal["discard", "deliver"] = "discard",
        **more: Any,  # Any: fields of a Change
    ) -> Change:
        """Change the filter."""
        end = None if returned is None else int(returned * MS)
        change = Change("swap", wanted, int(began * MS), pending, returned=end, **more)
        self.membership.changes.append(change)
        return change

    def broken(self) -> set[str]:
        """Return the names of the rules that are broken."""
        return {one.rule for one in check(self.history)}
