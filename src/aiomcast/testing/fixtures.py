"""Fixtures for pytest: import them into a conftest.py, or name this module in `pytest_plugins`."""

from __future__ import annotations

import pytest

from .networks import MemoryNetwork

__all__ = ["multicast_network"]


@pytest.fixture
def multicast_network() -> MemoryNetwork:
    """Give a network in memory of the test's own, without latency or loss."""
    return MemoryNetwork()
