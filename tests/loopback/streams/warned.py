"""What is warned of, as text: a recorded warning would keep alive what it is about."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

__all__ = ["unclosed"]


@contextmanager
def unclosed() -> Iterator[list[str]]:
    """Collect the ResourceWarnings of the block; nothing else is warned of there."""
    told: list[str] = []

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        assert category is ResourceWarning, message
        told.append(str(message))

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        patch.setattr(warnings, "showwarning", show)
        yield told
