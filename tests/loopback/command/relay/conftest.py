"""Servers for `aiomcast relay`, and streams of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import NatsServer, RedisServer, needs_nats, needs_redis

from .processes import Middle


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=[pytest.param("nats", marks=needs_nats), pytest.param("redis", marks=needs_redis)])
def middle(request: pytest.FixtureRequest) -> Middle:
    """A stream that no other test uses, of each kind of server."""
    return Middle(request.getfixturevalue(f"{request.param}_server"))


@pytest.fixture
def jetstream(nats_server: NatsServer) -> Middle:
    """A stream that no other test uses."""
    return Middle(nats_server)


@pytest.fixture(params=[pytest.param("nats", marks=needs_nats), pytest.param("redis", marks=needs_redis)])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Middle]:
    """A stream of a server that the test may end."""
    kind = NatsServer if request.param == "nats" else RedisServer
    with kind(tmp_path / "server") as server:
        yield Middle(server)
