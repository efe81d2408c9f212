"""`Joining`: a join that can be awaited, entered, or made a task."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, final

from .membership import Membership

__all__ = ["Joining"]


@final
class Joining(Coroutine[Any, Any, Membership]):  # Any: what a coroutine of an event loop passes to it
    """What `Receiver.join` returns: a coroutine for the membership.

    `membership = await receiver.join(...)`, or `async with receiver.join(...) as membership:`, which
    leaves at the end. Once.
    """

    __slots__ = ("_coroutine", "_membership")

    def __init__(self, coroutine: Coroutine[Any, Any, Membership]) -> None:
        self._coroutine = coroutine
        self._membership: Membership | None = None

    def __await__(self) -> Generator[Any, Any, Membership]:
        return self._coroutine.__await__()

    def send(self, value: Any, /) -> Any:
        """As a coroutine's."""
        return self._coroutine.send(value)

    def throw(self, *arguments: Any) -> Any:
        """As a coroutine's."""
        return self._coroutine.throw(*arguments)

    def close(self) -> None:
        """As a coroutine's."""
        self._coroutine.close()

    async def __aenter__(self) -> Membership:
        self._membership = await self._coroutine
        return self._membership

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._membership is not None:
            await self._membership.leave()
