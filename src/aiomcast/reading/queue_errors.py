"""What both queues raise. They say the same, so the text is here once."""

from __future__ import annotations

from ..errors import StateError

__all__ = ["busy", "empty"]


def busy() -> StateError:
    """Return the error of a second task that waits."""
    return StateError("another task is waiting on this stream", "give each task its own: packets()")


def empty() -> StateError:
    """Return the error of one who asks for an item where none is."""
    return StateError("nothing is queued", "await receive(), or ask len() first")
