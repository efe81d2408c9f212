"""Waiting until what is joined is reported: some systems need a pause after the group was left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["pass_pause"]


async def pass_pause(seconds: Callable[[], float], check: Callable[[], object] = lambda: None) -> None:
    """Wait as many seconds as `seconds` returns, until that is 0: at once, or later. `check` after a wait."""
    while (left := seconds()) > 0:
        await asyncio.sleep(left)
        check()
