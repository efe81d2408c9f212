"""What has to add up at the end of a test."""

from __future__ import annotations

import os
import sys

import pytest

from aiomcast import Statistics

__all__ = ["accounted", "open_descriptors"]


def accounted(statistics: Statistics, taken: int) -> None:
    """Every datagram that was read is in exactly one place (with one stream listening)."""
    gone = statistics.queue_drops + statistics.filtered + statistics.queued
    assert statistics.received == taken + gone, statistics


def open_descriptors() -> int:
    """Return how many files this process has open; skip the test where no system tells."""
    if sys.platform == "win32":
        pytest.skip("Windows does not list what a process has open")
    return len(os.listdir("/proc/self/fd"))
