"""What has to add up at the end of a test."""

from __future__ import annotations

import os
import sys

from aiomcast import Statistics

__all__ = ["accounted", "open_descriptors"]


def accounted(statistics: Statistics, taken: int) -> None:
    """Every datagram that was read is in exactly one place (with one stream listening)."""
    gone = statistics.queue_drops + statistics.filtered + statistics.queued
    assert statistics.received == taken + gone, statistics


def open_descriptors() -> int:
    """Return how many files this process has open; always 0 on Windows, which does not list them."""
    if sys.platform == "win32":
        return 0
    return len(os.listdir("/proc/self/fd"))
