"""The readers there are, and a socket for them to read."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from aiomcast import MulticastSocket, SourceFilter, open_socket
from aiomcast.reading import portable, windows

from .sending import A, sending

try:
    from aiomcast.reading import _native as native
except ImportError:
    native = None  # type: ignore[assignment]  # not built

__all__ = ["IMPLEMENTATIONS", "PORT", "native", "reading", "sender", "sock"]

if sys.platform == "win32":
    IMPLEMENTATIONS = [windows]
else:
    IMPLEMENTATIONS = [portable] if native is None else [portable, native]
PORT = 5000


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda module: module.__name__.rsplit(".", 1)[-1].strip("_"))
def reading(request: pytest.FixtureRequest) -> ModuleType:
    """One of the readers there are."""
    module: ModuleType = request.param
    return module


@pytest.fixture
def sock(any_group: str) -> Iterator[MulticastSocket]:
    """A socket that hears every source."""
    with open_socket(any_group, PORT, "lo") as opened:
        opened.set_filter(SourceFilter.any())
        yield opened


@pytest.fixture
def sender(any_group: str) -> Iterator[socket.socket]:
    """A socket that sends from A to the group of `sock`."""
    with sending(A, any_group, PORT) as opened:
        yield opened
