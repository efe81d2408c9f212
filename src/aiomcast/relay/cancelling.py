"""Cancellation that a library below has kept for itself."""

from __future__ import annotations

import asyncio

__all__ = ["check_cancelled"]


def check_cancelled() -> None:
    """Raise CancelledError where this task was asked to end: clients swallow that, as nats-py in a flush."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
