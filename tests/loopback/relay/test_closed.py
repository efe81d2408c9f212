"""A server that closes what it has just accepted: uvloop raises where asyncio's loop says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest

from aiomcast.relay import JetStream, RedisStreams, UnreachableError
from aiomcast.relay.broker import Demand
from aiomcast.relay.closing import closed_is_told
from aiomcast.relay.messages import Message
from tests.support.brokers import NatsServer, RedisServer, needs_nats, needs_redis

DEMAND = Demand("mcast.*.*.*", 60.0, 1000)
SAID = "unable to perform operation on <TCPTransport closed=True reading=False 0x1>; the handler is closed"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[bytes]]:
    """Return what has the next write that begins so raise as uvloop's transports do, and what tells of it."""

    def close(begins: bytes) -> list[bytes]:
        raised: list[bytes] = []
        write, writelines = asyncio.StreamWriter.write, asyncio.StreamWriter.writelines

        def look(writer: asyncio.StreamWriter, data: bytes) -> None:
            if not raised and data.startswith(begins):
                raised.append(data)
                writer.transport.abort()
                raise RuntimeError(SAID)

        def one(writer: asyncio.StreamWriter, data: bytes) -> None:
            look(writer, data)
            write(writer, data)

        def several(writer: asyncio.StreamWriter, data: Iterable[bytes]) -> None:
            parts = list(data)
            look(writer, b"".join(parts))
            writelines(writer, parts)

        monkeypatch.setattr(asyncio.StreamWriter, "write", one)
        monkeypatch.setattr(asyncio.StreamWriter, "writelines", several)
        return raised

    return close


@needs_nats
async def test_nats_is_connected_to_again(
    own_nats: NatsServer, closed: Callable[[bytes], list[bytes]]
) -> None:
    async with JetStream(own_nats.url, stream="T", create=True) as broker, asyncio.timeout(30):
        raised = closed(b"CONNECT")
        await broker.check(DEMAND)
        assert raised, "also the first time"
        back = asyncio.create_task(broker.returned())
        raised.clear()
        own_nats.kill()
        own_nats.start()
        await back
        assert raised
        await broker.reachable()


@needs_redis
async def test_redis_is_away_for_a_moment(
    own_redis: RedisServer, closed: Callable[[bytes], list[bytes]]
) -> None:
    async with RedisStreams(own_redis.url) as broker, asyncio.timeout(30):
        await broker.check(DEMAND)
        message = Message("mcast.a.b.c", {}, b"data", "1")
        raised = closed(b"*")
        with pytest.raises(UnreachableError, match="away"):
            await broker.store([message])
        assert raised
        raised.clear()
        await broker.reachable()
        assert raised
        await broker.store([message])


def test_no_other_error_is_taken_for_it() -> None:
    with pytest.raises(ConnectionResetError, match="closed"), closed_is_told():
        raise RuntimeError(SAID)
    with pytest.raises(RuntimeError, match="something else"), closed_is_told():
        raise RuntimeError("something else")
