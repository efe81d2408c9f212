"""When to send what: exactly enough, with other things having their turn meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Iterator
from pathlib import Path

from .output import FOREVER

__all__ = ["PASSING", "Pace", "exact_sleeps"]

BY_THREAD = 0.002  # seconds: a loop's timers count milliseconds
TURN = 0.001  # seconds after which signals have their turn
SLACK = Path("/proc/self/timerslack_ns")  # of the main thread, on Linux; see PR_SET_TIMERSLACK in prctl(2)
PASSING = (errno.ENOBUFS, errno.EPERM, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH)
"""What a system refuses a datagram with and may not refuse the next."""


@contextlib.contextmanager
def exact_sleeps() -> Iterator[None]:
    """Have the system end the main thread's sleeps when they are over, not up to 50 microseconds later."""
    before = None
    with contextlib.suppress(OSError):
        before = SLACK.read_text(encoding="ascii")
        SLACK.write_text("1", encoding="ascii")
    try:
        yield
    finally:
        if before is not None:
            with contextlib.suppress(OSError):
                SLACK.write_text(before, encoding="ascii")


class Pace:
    """Who sends one thing after the other, each when it is due."""

    def __init__(self) -> None:
        self._turn_at = 0.0

    async def until(self, due: float) -> None:
        """Wait for that time (`time.monotonic`). Signals have their turn in time, also where it is past."""
        now = time.monotonic()
        wait = due - now - BY_THREAD
        if wait > 0 or now >= self._turn_at:
            await asyncio.sleep(min(FOREVER, max(0.0, wait)))
            now = time.monotonic()
            self._turn_at = now + TURN
        if due > now:
            # It is more exact, and nothing else runs. A loop may end its own sleep a little early.
            time.sleep(min(due - now, 2 * BY_THREAD))  # noqa: ASYNC251
