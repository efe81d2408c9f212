"""When to send what: exactly enough, with other things having their turn meanwhile."""

from __future__ import annotations

import asyncio
import errno
import time

from .output import FOREVER

__all__ = ["PASSING", "until"]

BY_THREAD = 0.002  # seconds: a loop's timers count milliseconds
PASSING = (errno.ENOBUFS, errno.EPERM, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH)
"""What a system refuses a datagram with and may not refuse the next."""


async def until(due: float) -> None:
    """Wait for that time (`time.monotonic`); signals have their turn in any case, also when it is past."""
    await asyncio.sleep(min(FOREVER, max(0.0, due - time.monotonic() - BY_THREAD)))
    left = due - time.monotonic()
    if left > 0:
        time.sleep(min(left, BY_THREAD))  # noqa: ASYNC251  # it is more exact, and nothing else runs
