"""What has been read and not yet been awaited."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from operator import length_hint
from typing import Generic, TypeVar

from ..queue_errors import busy, empty

__all__ = ["PacketQueue", "take_queued"]

T = TypeVar("T")


class PacketQueue(Generic[T]):
    """Batches in, items or batches out, in order. Asks for a pause when full; drops nothing.

    A subclass tells how to wait (`_begin_waiting` returns what is to be awaited, and sets `_waiter`
    to something), how to wake who waits (`_wake`), and what a pause and its end mean (`_pause`,
    `_resume`). `_waiter` is not None while a task waits; `_fed` counts what was handed in, `_paused`
    says whether a pause was asked for. A batch handed in belongs to the queue from then on.

    `_waits_by_future` may be set where `_waiter` is a future of an event loop that nothing but `_wake` ends:
    whoever reads may then do that himself, at the end of the read. `_is_gone` may be set to have nothing more
    put in through a `_taker`.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._fed: int = 0
        self._paused: bool = False
        self._waiter: object | None = None
        self._is_gone = self._waits_by_future = False
        self._batches: deque[list[T]] = deque()
        self._behind = 0  # items in _batches
        self._current: Iterator[T] = iter([])  # of a list: its length_hint is exact

    @property
    def capacity(self) -> int:
        """How many items it holds before it asks for a pause."""
        return self._capacity

    def __len__(self) -> int:
        return self._behind + length_hint(self._current)

    def __bool__(self) -> bool:
        return True

    def _feed(self, batch: list[T]) -> None:
        """Queue a batch that is not empty."""
        self._batches.append(batch)
        self._behind += len(batch)
        self._fed += len(batch)
        if self._waiter is not None:
            self._wake()
        if not self._paused and len(self) >= self._capacity:
            self._paused = True
            self._pause()

    def _taker(self, lost: Callable[[list[T]], object]) -> Callable[[list[T]], None]:
        """Return what queues batches here without keeping the queue alive: `lost` gets them after it."""
        queue = weakref.ref(self)

        def take(batch: list[T]) -> None:
            found = queue()
            if found is None or found._is_gone:
                lost(batch)
            else:
                found._feed(batch)

        return take

    async def __anext__(self) -> T:
        if self._waiter is not None:
            raise busy()
        for item in self._current:
            if self._paused:
                self._relax()
            return item
        await self._until_any()
        return self._take()

    async def _next_list(self) -> list[T]:
        """Return all of the next batch that has not been taken, as `__anext__` does the next item."""
        await self._until_any()
        return self._take_batch()

    async def _until_any(self) -> None:
        if self._waiter is not None:
            raise busy()
        while not self._advance():
            waiter = self._begin_waiting()
            try:
                await waiter
            finally:
                self._waiter = None

    def _advance(self) -> bool:
        """Make the next batch the current one if the current one is used up; say if there is any."""
        if length_hint(self._current):
            return True
        batch = self._batches.popleft() if self._batches else []
        self._behind -= len(batch)
        self._current = iter(batch)
        self._relax()
        return bool(batch)

    def _take(self) -> T:
        """Return the next item of the current batch. StateError when that is used up."""
        for item in self._current:
            self._relax()
            return item
        raise empty()

    def _take_batch(self) -> list[T]:
        """Return what is left of the current batch, which is not used up, as a list of the caller's."""
        batch = list(self._current)
        self._relax()
        return batch

    def _discard(self, refused: Callable[[T], bool]) -> list[T]:
        """Remove and return all that is queued and refused."""
        batches = [list(self._current), *self._batches]
        gone = [item for batch in batches for item in batch if refused(item)]
        kept = [[item for item in batch if not refused(item)] for batch in batches]
        self._current = iter(kept[0])
        self._batches = deque(batch for batch in kept[1:] if batch)
        self._behind = sum(map(len, self._batches))
        self._relax()
        return gone

    def _drop_oldest(self, count: int) -> list[T]:
        """Remove and return the `count` oldest items, or as many as there are."""
        gone: list[T] = []
        while len(gone) < count and self._advance():
            gone += islice(self._current, count - len(gone))
        self._relax()
        return gone

    def _relax(self) -> None:
        if self._paused and len(self) <= self._capacity // 2:
            self._paused = False
            self._resume()

    def _wake(self) -> None:
        raise AssertionError("a queue that is waited for can wake")

    def _begin_waiting(self) -> Awaitable[object]:
        raise AssertionError("a queue that is awaited can wait")

    def _pause(self) -> None:
        """Nothing stops by default."""

    def _resume(self) -> None:
        """Nothing stopped by default."""


def take_queued(queues: Mapping[int, PacketQueue[T]], into: dict[int, list[T]]) -> int:
    """Take a batch of each queue that has one, into the same place of `into`; return the longest's length."""
    longest = 0
    for place, queue in queues.items():
        if queue._advance():
            into[place] = batch = queue._take_batch()
            longest = max(longest, len(batch))
    return longest
