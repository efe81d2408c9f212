"""A network of what relays have stored, where the server is away, wrong, or lets nobody in any more."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path

import nats.errors
import pytest
from nats.js.api import StreamConfig

from aiomcast import Membership, Receiver
from aiomcast.relay import JetStream, RedisStreams, Relay, RelayError, RelayNetwork, Start
from aiomcast.testing import MemoryNetwork
from tests.support.brokers import NatsServer, RedisServer, Server, needs_nats, needs_redis
from tests.support.waiting import until

from .conftest import GROUP, PORT, SOURCE, ended
from .storing import Storing

TEMPLATE = "mcast.{group}.{port}.{source}"
GROUP2 = "232.1.1.2"
NOWHERE = "127.0.0.1:1"
USERS = """
authorization { users = [
  { user: all, password: x },
  { user: blind, password: x, permissions: { publish: { deny: "$JS.>" } } },
  { user: idle, password: x, permissions: { publish: { deny: "$JS.API.CONSUMER.>" } } }
] }
"""

Connect = Callable[[], JetStream | RedisStreams]


@pytest.fixture(params=[pytest.param("nats", marks=needs_nats), pytest.param("redis", marks=needs_redis)])
def own(request: pytest.FixtureRequest) -> tuple[Server, Connect]:
    """Return a server of the test's own, and what makes connections to it."""
    server: NatsServer | RedisServer = request.getfixturevalue(f"own_{request.param}")
    if isinstance(server, NatsServer):
        return server, lambda: JetStream(server.url, create=True)
    return server, lambda: RedisStreams(server.url)


async def test_a_server_is_a_network_itself(own: tuple[Server, Connect]) -> None:
    _, connect = own
    async with connect() as broker, Receiver(network=broker) as receiver:
        feed = Storing(broker, TEMPLATE)
        await feed.begin()
        await receiver.join(GROUP, PORT, sources=[SOURCE])
        await feed.store(b"1")
        async with asyncio.timeout(10):
            assert (await anext(aiter(receiver))).data == b"1"


async def test_the_server_is_killed_and_comes_back(
    memory: MemoryNetwork, membership: Membership, own: tuple[Server, Connect]
) -> None:
    """Each packet comes once, whenever the server was away: while it was stored, or read, or joined."""
    server, connect = own
    async with connect() as broker, Receiver(network=connect().network(start=Start.FIRST)) as receiver:
        relay = Relay(membership, broker)
        task = asyncio.create_task(relay.run())
        sent = 0

        async def send(count: int) -> None:
            nonlocal sent
            memory.send_many(SOURCE, GROUP, PORT, [b"%d" % number for number in range(sent, sent + count)])
            sent += count
            await memory.settle()

        await send(100)
        await until(lambda: relay.statistics().stored == 100)
        far = await receiver.join(GROUP, PORT, sources=[SOURCE])
        packets = far.packets()
        came = []
        async with asyncio.timeout(50):
            for _ in range(2):
                came += [(await anext(packets)).data for _ in range(50)]
                await send(100)
                server.kill(signal.SIGKILL)
                await send(100)
                server.start()
                await send(100)
                await until(lambda: relay.statistics().pending == 0, 20)
            while len(came) < sent:
                came.append((await anext(packets)).data)
        assert sorted(came, key=int) == [b"%d" % number for number in range(sent)]
        assert far.statistics().kernel_drops == far.statistics().queue_drops == 0
        await ended(task)


def network_of(receiver: Receiver) -> RelayNetwork:
    network = receiver._network
    assert isinstance(network, RelayNetwork)
    return network


async def refusal(network: RelayNetwork) -> str:
    """Return the one line of the error of a join, and see that nothing is left of it."""
    before = asyncio.all_tasks()
    async with Receiver(network=network) as receiver:
        with pytest.raises(RelayError) as caught:
            await receiver.join(GROUP, PORT, sources=[SOURCE])
        assert not receiver.memberships
    await until(lambda: not asyncio.all_tasks() - before)
    text = str(caught.value)
    assert "\n" not in text
    assert ":x@" not in text, "no password"
    return text


def user(server: NatsServer, name: str) -> str:
    return server.url.replace("//", f"//{name}:x@")


async def test_nobody_is_there() -> None:
    assert "no NATS server answers" in await refusal(JetStream(f"nats://{NOWHERE}"))
    for start in (Start.LIVE, Start.FIRST):
        assert "no Redis answers" in await refusal(RedisStreams(f"redis://{NOWHERE}").network(start=start))


@needs_nats
async def test_what_nats_refuses(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "plain", jetstream=False) as plain:
        assert "has no JetStream" in await refusal(JetStream(plain.url))
    with NatsServer(tmp_path / "users", configuration=USERS) as server:
        assert "does not let this user in" in await refusal(JetStream(server.url))
        said = await refusal(JetStream(user(server, "all"), create=True))
        assert "has no stream for mcast.232-1-1-1.5000.*" in said
        assert "S cannot be read: stream not found" in await refusal(
            JetStream(user(server, "all"), stream="S")
        )
        async with JetStream(user(server, "all")) as broker:
            manager = (await broker.connect()).jetstream()
            await manager.add_stream(StreamConfig(name="S", subjects=["mcast.>"]))
        for name in ("blind", "idle"):
            said = await refusal(JetStream(user(server, name), stream="S"))
            assert "permissions violation" in said
            assert "right to use $JS.API" in said


@needs_redis
async def test_what_redis_refuses(own_redis: RedisServer) -> None:
    async with RedisStreams(own_redis.url) as broker:
        await broker._opened().set("other", "")
        for name, commands in {"blind": "-xread", "mute": "-xrevrange"}.items():
            await broker._opened().execute_command(
                *f"ACL SETUSER {name} on >x ~* +@all {commands}".split()  # as redis-cli has it
            )
    assert "WRONGTYPE" in await refusal(RedisStreams(own_redis.url, stream="other"))
    for name in ("blind", "mute"):
        said = await refusal(RedisStreams(own_redis.url.replace("//", f"//{name}:x@")))
        assert "does not let mcast be read" in said
        assert "rights to XREAD" in said
    said = await refusal(RedisStreams(own_redis.url.replace("//", "//blind:wrong@")))
    assert "does not let this user in" in said


@needs_nats
async def test_a_join_that_was_refused_can_be_made_again(own_nats: NatsServer) -> None:
    async with (
        Receiver(network=JetStream(own_nats.url)) as receiver,
        JetStream(own_nats.url, create=True) as broker,
    ):
        stream = receiver.packets()
        for _ in range(2):
            with pytest.raises(RelayError, match="has no stream"):
                await receiver.join(GROUP, PORT, sources=[SOURCE])
        feed = Storing(broker, TEMPLATE)
        await feed.begin()
        await receiver.join(GROUP, PORT, sources=[SOURCE])
        await feed.store(b"1")
        async with asyncio.timeout(10):
            assert (await anext(stream)).data == b"1"


async def test_what_ends_for_good_is_an_error_of_the_iterations_once(
    own: tuple[Server, Connect], caplog: pytest.LogCaptureFixture
) -> None:
    server, connect = own
    async with connect() as broker, Receiver(network=connect()) as receiver:
        feed = Storing(broker, TEMPLATE)
        await feed.begin()
        member = await receiver.join(GROUP, PORT, sources=[SOURCE])
        await receiver.join(GROUP2, PORT, sources=[SOURCE])
        of_one, of_all = member.packets(), receiver.packets()
        await feed.store(b"1")
        await until(lambda: network_of(receiver).statistics().packets == 1)
        await closed_to_all(server, broker, receiver)
        async with asyncio.timeout(30):
            for stream in (of_one, of_all):
                assert (await anext(stream)).data == b"1", "what was queued comes before"
                with pytest.raises(RelayError):
                    await anext(stream)
                with pytest.raises(StopAsyncIteration):
                    await anext(stream)
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    for group in (GROUP, GROUP2):
        assert len([one for one in told if f"nothing more comes to {group} port {PORT}" in one]) == 1


async def closed_to_all(server: Server, broker: JetStream | RedisStreams, receiver: Receiver) -> None:
    """Have the server let nobody in who was in before."""
    if isinstance(broker, RedisStreams):
        await broker._opened().execute_command(*["ACL", "SETUSER", "default", "-xread"])
        return
    # What nats-py says then. A real refusal would do, but nats-py leaves a socket of each attempt open.
    server.kill()
    own = receiver._reading._broker  # type: ignore[union-attr]  # looked into
    await own._erred(nats.errors.Error("nats: 'Authorization Violation'"))
