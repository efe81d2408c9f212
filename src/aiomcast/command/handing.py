"""Batches as they are given, in the place of a stream of them: for what takes a stream and knows no more."""

from __future__ import annotations

import asyncio

from aiomcast import Packet, Receiver, Statistics

__all__ = ["Handed"]


class Handed:
    """Yields what it is given. What was dropped is what `receiver` has dropped."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._batch: list[Packet] | None = None
        self._is_given = asyncio.Event()
        self._has_ended = False
        self.is_asked: asyncio.Event = asyncio.Event()
        """Whether the next batch is waited for: the one before has been taken."""

    def give(self, batch: list[Packet]) -> None:
        """Have it be the next."""
        if not self._has_ended:
            self._batch = batch
            self.is_asked.clear()
            self._is_given.set()

    def end(self) -> None:
        """Have it end after what was given, whatever is given after that."""
        self._has_ended = True
        self._is_given.set()

    _end = end  # by which a recording ends what it cannot write

    @property
    def stream(self) -> Handed:
        """What the batches are of."""
        return self

    def batches(self) -> Handed:
        """What is taken."""
        return self

    def statistics(self) -> Statistics:
        """What was dropped."""
        return self._receiver.statistics()

    async def __aenter__(self) -> Handed:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> Handed:
        return self

    async def __anext__(self) -> list[Packet]:
        self.is_asked.set()
        await self._is_given.wait()
        batch, self._batch = self._batch, None
        if batch is None:
            raise StopAsyncIteration
        if not self._has_ended:
            self._is_given.clear()
        return batch
