"""Servers for relays, and packets for them from a network in memory."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from aiomcast import Membership, Receiver
from aiomcast.relay import JetStream, RedisStreams, RelayStatistics
from aiomcast.testing import MemoryNetwork
from tests.support.brokers import NatsServer, RedisServer, needs_nats, needs_redis

GROUP, PORT, SOURCE = "232.1.1.1", 5000, "10.0.0.2"

Connect = Callable[[], JetStream | RedisStreams]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for the tests of a module: each takes a stream of its own."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the tests of a module: each takes a stream of its own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A server of the test's own, which it may end."""
    with NatsServer(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which it may end."""
    with RedisServer(tmp_path / "redis") as running:
        yield running


@pytest_asyncio.fixture(
    params=[pytest.param("nats", marks=needs_nats), pytest.param("redis", marks=needs_redis)]
)
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Return what makes connections to one stream, which nobody else uses."""
    name = f"T{next(_numbers)}"
    opened: list[JetStream | RedisStreams] = []
    if request.param == "nats":
        server: NatsServer = request.getfixturevalue("nats_server")

        def connect() -> JetStream | RedisStreams:
            opened.append(JetStream(server.url, stream=name, create=True))
            return opened[-1]
    else:
        redis: RedisServer = request.getfixturevalue("redis_server")

        def connect() -> JetStream | RedisStreams:
            opened.append(RedisStreams(redis.url, stream=name))
            return opened[-1]

    yield connect
    for one in opened:
        await one.aclose()


def subject() -> str:
    """A template that no other test uses: streams of one server share no subjects."""
    return f"s{next(_numbers)}.{{group}}.{{port}}.{{source}}"


@pytest.fixture
def memory() -> MemoryNetwork:
    """A network whose clock says what time it is."""
    return MemoryNetwork(start_ns=time.time_ns())


@pytest_asyncio.fixture
async def membership(memory: MemoryNetwork) -> AsyncIterator[Membership]:
    """A membership that hears SOURCE."""
    async with Receiver(network=memory) as receiver:
        yield await receiver.join(GROUP, PORT, sources=[SOURCE])


async def ended(task: asyncio.Task[RelayStatistics]) -> None:
    """Cancel a relay, and wait until it has ended."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
