"""The error for an extra that is not installed."""

from __future__ import annotations

from typing import final

from ..errors import MulticastError

__all__ = ["MissingExtraError"]


@final
class MissingExtraError(MulticastError, ImportError):
    """What an extra brings is not installed; the hint has the line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", f"pip install 'aiomcast[{extra}]'")
