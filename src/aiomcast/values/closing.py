"""`Closing`: what an async context manager is that closes at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["Closing"]


class Closing(ABC):
    """An async context manager for what has `aclose`."""

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """End it. Doing so twice is fine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
