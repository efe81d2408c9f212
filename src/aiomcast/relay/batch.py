"""`Batch`: the answers to messages that were sent together."""

from __future__ import annotations

import asyncio
from typing import final

from .broker import Outcome

__all__ = ["Batch"]


@final
class Batch:
    """What is waited for: an answer to each message of a call."""

    __slots__ = ("_left", "_outcomes", "whole")

    def __init__(self, count: int) -> None:
        self.whole: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._outcomes = [Outcome.REFUSED] * count
        self._left = count
        if not count:
            self.whole.set_result([])

    def settle(self, index: int, outcome: Outcome) -> None:
        """Note what became of this message."""
        self._outcomes[index] = outcome
        self._left -= 1
        if not self._left and not self.whole.done():
            self.whole.set_result(self._outcomes)

    def fail(self, error: Exception) -> None:
        """Have `error` raised to who waits, unless all answers are there."""
        if not self.whole.done():
            self.whole.set_exception(error)
            self.whole.exception()  # looked at: who waits may be sending still
