"""Real sockets on loopback, unprivileged: sources are 127.0.0.2, 127.0.0.3, ... and ::1."""

import contextlib
import gc
import itertools
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

import aiomcast
from aiomcast.receiving import receiver
from aiomcast.testing import MemoryNetwork

_numbers = itertools.count(1)


@pytest.fixture
def group() -> str:
    """A group of 232/8 that no other test, nor another run beside this one, uses."""
    return f"232.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.{next(_numbers) % 255 + 1}"


@pytest.fixture
def any_group() -> str:
    """A group outside the source-specific ranges, where EXCLUDE filters are meant."""
    return f"239.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.{next(_numbers) % 255 + 1}"


@pytest.fixture
def group6() -> str:
    """An IPv6 source-specific group that no other test uses."""
    return f"ff31::{os.getpid():x}:{next(_numbers):x}"


@pytest.fixture(params=["sockets", "memory"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MemoryNetwork | None:
    """What receivers and `senders` of a test use: the system's sockets (None), or a network in memory."""
    if request.param == "sockets":
        return None
    net = MemoryNetwork()
    net.host.add_interface("lo", "127.0.0.1", "::1")
    monkeypatch.setattr(receiver, "SystemNetwork", lambda: net)
    return net


class Senders:
    """Senders to one group by source address, opened when first used; or those of a network in memory."""

    def __init__(self, stack: AsyncExitStack, port: int, network: MemoryNetwork | None = None) -> None:
        self._network = network
        self._stack = stack
        self._open: dict[tuple[str, str], aiomcast.Sender] = {}
        self.port = port

    async def send(self, source: str, group: str, *payloads: bytes) -> None:
        """Send each payload from `source` to `group`."""
        if self._network is not None:
            self._network.send_many(source, group, self.port, payloads, link="lo")
            return
        key = (source, group)
        if key not in self._open:
            sender = aiomcast.Sender(group, self.port, source=source, interface="lo")
            self._open[key] = await self._stack.enter_async_context(sender)
        for payload in payloads:
            await self._open[key].send(payload)


@pytest_asyncio.fixture
async def senders(request: pytest.FixtureRequest) -> AsyncIterator[Senders]:
    """Give `await senders.send(source, group, *payloads)` on `senders.port`."""
    network = request.getfixturevalue("network") if "network" in request.fixturenames else None
    async with AsyncExitStack() as stack:
        yield Senders(stack, 5000, network)


def _udp_sockets() -> set[str]:
    """Return this process's open UDP sockets, as /proc names them."""
    held = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(descriptor))) as known:
                    if known.family in (socket.AF_INET, socket.AF_INET6) and known.type == socket.SOCK_DGRAM:
                        held.add(name)
    return held


@pytest.fixture(autouse=True)
def small_heap() -> Iterator[None]:
    """What was made before a test is none of its collector's business: many collect hundreds of times."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_leaked_sockets() -> Iterator[None]:
    """Every test closes the UDP sockets it opened."""
    if not os.path.exists("/proc/self/fd"):
        yield
        return
    before = _udp_sockets()
    yield
    left_open = _udp_sockets() - before
    assert not left_open, f"{len(left_open)} sockets are left open"
