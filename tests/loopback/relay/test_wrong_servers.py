"""What is wrong with a server is one clear error, before the first packet."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import StreamConfig, StreamInfo
from nats.js.errors import BadRequestError

from aiomcast import ArgumentError, Membership
from aiomcast.relay import (
    JetStream,
    JetStreamLeases,
    RedisStreams,
    Relay,
    RelayError,
    Start,
    Subscription,
    jetstream,
)
from aiomcast.relay.broker import Demand
from aiomcast.testing import MemoryNetwork
from tests.support.brokers import NatsServer, RedisServer, needs_nats, needs_redis
from tests.support.waiting import until

from .conftest import GROUP, PORT, SOURCE, ended

NOWHERE = "127.0.0.1:1"
STREAM = "FITS"
USERS = """
authorization { users = [
  { user: all, password: x },
  { user: mute, password: x, permissions: { publish: { deny: "mcast.>" } } },
  { user: blind, password: x, permissions: { publish: { deny: "$JS.>" } } }
] }
max_payload: 8192
"""
FITTING = {"name": STREAM, "subjects": ["mcast.>"], "duplicate_window": 60}


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("closed"), configuration=USERS) as running:
        yield running


def user(server: NatsServer, name: str, password: str = "x") -> str:
    return server.url.replace("//", f"//{name}:{password}@")


async def refusal(membership: Membership, broker: JetStream | RedisStreams, **options: int) -> str:
    """Run a relay; return the one line that says what is wrong."""
    async with broker:
        with pytest.raises(RelayError) as caught:
            await Relay(membership, broker, **options).run()  # type: ignore[arg-type]  # by name
    text = str(caught.value)
    assert "\n" not in text
    assert ":x@" not in text, "no password"
    return text


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1", "http://127.0.0.1", "nats://", "nats://h:port", "nats://h:99999", "redis://h", None],
)
def test_what_is_no_url_of_nats(url: str) -> None:
    with pytest.raises(ArgumentError, match="nats://HOST:PORT"):
        JetStream(url)


@pytest.mark.parametrize("stream", ["", "a b", "a.b", "a*", ">", "a/b", "a\\b", "a\n", 7])
def test_what_is_no_name_of_a_stream(stream: str) -> None:
    with pytest.raises(ArgumentError, match="give a name without spaces"):
        JetStream(f"nats://{NOWHERE}", stream=stream)


@pytest.mark.parametrize("held", [None, b"", b"nonsense", b"BEGIN NATS USER JWT\n", 7])
def test_what_is_no_file_of_credentials(held: bytes | int | None, tmp_path: Path) -> None:
    file = tmp_path / "creds"
    if isinstance(held, bytes):
        file.write_bytes(held)
    with pytest.raises(ArgumentError, match="a file as nsc writes it"):
        JetStream(f"nats://{NOWHERE}", credentials=7 if held == 7 else str(file))  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("name", ["JetStream", "JetStreamLeases", "RedisStreams"])
def test_without_its_extra_it_says_what_to_install(name: str) -> None:
    code = f"""
import sys
sys.modules |= {{"nats": None, "redis": None}}
from aiomcast import MissingExtraError, relay
try:
    relay.{name}
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    extra = "redis" if name == "RedisStreams" else "nats"
    assert done.stdout.endswith(f" is not installed: pip install 'aiomcast[{extra}]'\n"), done.stderr


@pytest.mark.parametrize("url", ["", "127.0.0.1", "redis://", "redis://h:port", "nats://h", None])
def test_what_is_no_url_of_redis(url: str) -> None:
    with pytest.raises(ArgumentError, match="redis://HOST:PORT"):
        RedisStreams(url)


@needs_nats
async def test_nobody_is_there(membership: Membership) -> None:
    said = await refusal(membership, JetStream(f"nats://{NOWHERE}"))
    assert said.startswith(f"no NATS server answers at nats://{NOWHERE}")
    assert "nats-server -js" in said


@needs_nats
async def test_who_answers_is_no_nats(membership: Membership) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        assert "no NATS server answers" in await refusal(membership, JetStream(f"nats://127.0.0.1:{port}"))


@needs_nats
async def test_no_jetstream(membership: Membership, tmp_path: Path) -> None:
    with NatsServer(tmp_path / "plain", jetstream=False) as plain:
        assert "has no JetStream" in await refusal(membership, JetStream(plain.url))


@needs_nats
async def test_nobody_is_let_in(membership: Membership, closed_server: NatsServer) -> None:
    for url in (closed_server.url, user(closed_server, "all", "wrong")):
        assert "does not let this user in" in await refusal(membership, JetStream(url))


@needs_nats
async def test_no_rights(membership: Membership, closed_server: NatsServer) -> None:
    said = await refusal(membership, JetStream(user(closed_server, "blind"), create=True), largest=1500)
    assert "right to use $JS.API" in said
    said = await refusal(membership, JetStream(user(closed_server, "mute"), create=True), largest=1500)
    assert "permissions violation" in said
    assert "right to publish to mcast" in said


@needs_nats
async def test_messages_that_the_server_does_not_take(
    membership: Membership, closed_server: NatsServer
) -> None:
    said = await refusal(membership, JetStream(user(closed_server, "all"), create=True))
    assert "8192 bytes at the most" in said


@needs_nats
@pytest.mark.parametrize(
    ("config", "said", "hint"),
    [
        ({"retention": "workqueue"}, "retention workqueue", "limits"),
        ({"retention": "interest"}, "retention interest", "limits"),
        ({"duplicate_window": 5}, "duplicates for 5 s, less than 60", "--dupe-window 60s"),
        ({"max_msg_size": 2000}, "2000 bytes at the most", "--max-msg-size"),
        ({"subjects": ["other.>"]}, "does not take mcast.*.*.*", "--subjects 'mcast.>'"),
        ({"subjects": ["mcast.*.5000.*"]}, "does not take mcast.*.*.*", "--subjects"),
        ({"no_ack": True}, "acknowledges nothing", "--ack"),
    ],
)
async def test_streams_that_do_not_fit(
    membership: Membership, nats_server: NatsServer, config: dict[str, object], said: str, hint: str
) -> None:
    async with JetStream(nats_server.url) as broker:
        manager = (await broker.connect()).jetstream()
        await manager.add_stream(StreamConfig(**{**FITTING, **config}))  # type: ignore[arg-type]  # by name
        try:
            text = await refusal(membership, JetStream(nats_server.url, stream=STREAM))
        finally:
            await manager.delete_stream(STREAM)
    assert said in text
    assert hint in text


@needs_nats
async def test_no_stream(membership: Membership, nats_server: NatsServer) -> None:
    said = await refusal(membership, JetStream(nats_server.url))
    assert "has no stream for mcast.*.*.*" in said
    assert "nats stream add" in said
    assert "has no stream" in await refusal(membership, JetStream(nats_server.url, stream="NONE"))
    async with JetStream(nats_server.url, stream="NONE") as broker, Subscription(broker) as none:
        with pytest.raises(RelayError, match="NONE cannot be read"):
            await anext(none)


@needs_nats
async def test_a_full_stream_takes_what_waited_when_it_has_room(
    memory: MemoryNetwork, membership: Membership, nats_server: NatsServer
) -> None:
    async with JetStream(nats_server.url, stream="FULL") as broker:
        manager = (await broker.connect()).jetstream()
        await manager.add_stream(
            name="FULL", subjects=["full.>"], duplicate_window=60, max_msgs=10, discard="new"
        )
        relay = Relay(membership, broker, subject="full.{group}")
        task = asyncio.create_task(relay.run())
        for number in range(15):
            memory.send(SOURCE, GROUP, PORT, b"%d" % number)
        await until(lambda: relay.statistics().refused >= 5)
        counted = relay.statistics()
        assert (counted.stored, counted.pending) == (10, 5)
        assert "maximum messages" in broker.refusal
        await manager.purge_stream("FULL")
        await until(lambda: relay.statistics().stored == 15)
        await ended(task)
        await manager.delete_stream("FULL")


@needs_nats
async def test_a_server_without_room(memory: MemoryNetwork, membership: Membership, tmp_path: Path) -> None:
    """The store of the whole server is full: what is refused waits, and goes when there is room."""
    limit = 'jetstream { store_dir: "%s", max_file_store: 200000 }' % (tmp_path / "small" / "store")
    with NatsServer(tmp_path / "small", jetstream=False, configuration=limit) as small:
        async with JetStream(small.url, create=True) as broker:
            relay = Relay(membership, broker)
            task = asyncio.create_task(relay.run())
            for number in range(400):
                memory.send(SOURCE, GROUP, PORT, b"%d" % number + b"x" * 1000)
                await memory.settle()
            await until(lambda: relay.statistics().refused > 0)
            assert "resource" in broker.refusal
            manager = (await broker.connect()).jetstream()
            while relay.statistics().pending:
                await manager.purge_stream("MCAST")
                await asyncio.sleep(0.1)
            counted = relay.statistics()
            assert counted.stored == counted.received == 400
            await ended(task)


@needs_nats
async def test_a_right_that_is_taken_away_ends_the_relay(
    memory: MemoryNetwork, membership: Membership, tmp_path: Path
) -> None:
    with NatsServer(tmp_path / "n", configuration=USERS) as server:
        async with JetStream(user(server, "all"), create=True) as broker:
            relay = Relay(membership, broker, largest=1500)
            task = asyncio.create_task(relay.run())
            memory.send(SOURCE, GROUP, PORT, b"1")
            await until(lambda: relay.statistics().stored == 1)
            server.kill()
            server._configuration = USERS.replace(
                "{ user: all, password: x }",
                '{ user: all, password: x, permissions: { publish: { deny: "mcast.>" } } }',
            )
            server.start()
            memory.send(SOURCE, GROUP, PORT, b"2")
            with pytest.raises(RelayError, match="permissions violation"):
                async with asyncio.timeout(30):
                    await task


@needs_nats
async def test_who_asks_at_the_same_time_has_one_connection(nats_server: NatsServer) -> None:
    """As a relay and the leases of its share do."""
    async with JetStream(nats_server.url) as server:
        assert len(set(await asyncio.gather(*(server.connect() for _ in range(4))))) == 1


@needs_nats
async def test_leases_of_another_term(nats_server: NatsServer) -> None:
    async with JetStream(nats_server.url) as server:
        await JetStreamLeases(server, "terms", lease=2.0).renew("a", b"")
        with pytest.raises(RelayError, match="the same lease everywhere"):
            await JetStreamLeases(server, "terms", lease=3.0).renew("a", b"")
    with pytest.raises(ArgumentError, match="bucket"):
        JetStreamLeases(server, "a.b")


@needs_redis
async def test_redis_is_not_there(membership: Membership) -> None:
    assert f"no Redis answers at redis://{NOWHERE}" in await refusal(
        membership, RedisStreams(f"redis://{NOWHERE}")
    )
    async with RedisStreams(f"redis://{NOWHERE}") as broker, Subscription(broker) as none:
        with pytest.raises(RelayError, match="no Redis answers"):
            await anext(none)


@needs_redis
@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (["--appendonly", "no"], "in memory only", "appendonly yes"),
        (["--maxmemory-policy", "allkeys-lru"], "evicts what it holds", "noeviction"),
        (["--requirepass", "y"], "does not let this user in", "redis://USER:PASSWORD@HOST"),
    ],
)
async def test_redis_that_does_not_fit(
    membership: Membership, tmp_path: Path, options: list[str], said: str, hint: str
) -> None:
    with RedisServer(tmp_path / "redis", "127.0.0.1", 0, *options) as server:
        text = await refusal(membership, RedisStreams(server.url))
    assert said in text
    assert hint in text


@needs_redis
async def test_no_rights_in_redis(membership: Membership, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        async with RedisStreams(server.url) as other:
            await other._opened().execute_command("ACL", "SETUSER", "default", "-eval")
        said = await refusal(membership, RedisStreams(server.url))
    assert "no permissions to run the 'eval'" in said
    assert "give the user the rights to INFO, EVAL" in said


@needs_redis
async def test_redis_without_an_append_only_file_if_that_is_wanted(
    memory: MemoryNetwork, membership: Membership, tmp_path: Path
) -> None:
    with RedisServer(tmp_path / "redis", "127.0.0.1", 0, "--appendonly", "no") as server:
        async with RedisStreams(server.url, durable=False) as broker:
            relay = Relay(membership, broker)
            task = asyncio.create_task(relay.run())
            memory.send(SOURCE, GROUP, PORT, b"1")
            await until(lambda: relay.statistics().stored == 1)
            await ended(task)


@needs_redis
async def test_another_kind_under_the_streams_name(membership: Membership, redis_server: RedisServer) -> None:
    async with RedisStreams(redis_server.url) as other:
        await other._opened().set("taken", "x")
    assert "is a string, no stream" in await refusal(
        membership, RedisStreams(redis_server.url, stream="taken")
    )


@needs_redis
async def test_a_full_redis_takes_what_waited_when_it_has_room(
    memory: MemoryNetwork, membership: Membership, tmp_path: Path
) -> None:
    with RedisServer(tmp_path / "redis", "127.0.0.1", 0) as server:
        async with RedisStreams(server.url) as broker:
            relay = Relay(membership, broker)
            task = asyncio.create_task(relay.run())
            memory.send(SOURCE, GROUP, PORT, b"1")
            await until(lambda: relay.statistics().stored == 1)
            await broker._opened().config_set("maxmemory", "1")
            memory.send(SOURCE, GROUP, PORT, b"2")
            await until(lambda: relay.statistics().refused >= 1)
            assert "OOM" in broker.refusal
            await broker._opened().config_set("maxmemory", "0")
            await until(lambda: relay.statistics().stored == 2)
            await ended(task)


@needs_redis
async def test_redis_killed_and_back_has_each_once(
    memory: MemoryNetwork, membership: Membership, tmp_path: Path
) -> None:
    with RedisServer(tmp_path / "redis", "127.0.0.1", 0) as server:
        async with RedisStreams(server.url) as broker, RedisStreams(server.url) as far:
            relay = Relay(membership, broker)
            task = asyncio.create_task(relay.run())
            for number in range(300):
                memory.send(SOURCE, GROUP, PORT, b"%d" % number)
                if number in (100, 200):
                    await until(lambda number=number: relay.statistics().stored > number - 50)  # type: ignore[misc]  # the number of this turn
                    server.kill()
                    server.start()
            await until(lambda: relay.statistics().pending == 0 and relay.statistics().received == 300)
            numbers = []
            async with Subscription(far, start=Start.FIRST) as subscription:
                async for packet in subscription:
                    numbers.append(int(packet.data))
                    if len(numbers) == 300:
                        break
                assert sorted(numbers) == list(range(300))
                assert subscription.statistics().repeated == 0
            await ended(task)


@needs_nats
async def test_relays_that_begin_together_and_make_the_stream(own_nats: NatsServer) -> None:
    """For a moment there is a stream that takes nothing yet."""
    async with AsyncExitStack() as opened:
        lister = await opened.enter_async_context(JetStream(own_nats.url))
        manager = (await lister.connect()).jetstream()
        for _ in range(60):
            async with AsyncExitStack() as opened_now:
                servers = [JetStream(own_nats.url, create=True) for _ in range(6)]
                for server in servers:
                    await opened_now.enter_async_context(server)
                    await server.connect()
                await asyncio.gather(*[server.check(Demand("mcast.*.*.*", 60.0, 1000)) for server in servers])
                await manager.delete_stream("MCAST")


@needs_nats
async def test_a_stream_that_another_has_just_made(
    own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server refuses to make it, and answers that nobody takes what is published."""
    make, request = JetStreamContext.add_stream, Client.request
    refused: list[str] = []

    async def made_by_another(manager: JetStreamContext, config: StreamConfig) -> StreamInfo:
        await make(manager, config)
        refused.append("made")
        raise BadRequestError(description="subjects overlap with an existing stream")

    async def taken_by_nobody(
        client: Client, subject: str, *given: Any, **named: Any
    ) -> Msg:  # Any: as there
        if subject.startswith("mcast.") and refused.count("taken") < 2:
            refused.append("taken")
            raise NoRespondersError
        return await request(client, subject, *given, **named)

    monkeypatch.setattr(JetStreamContext, "add_stream", made_by_another)
    monkeypatch.setattr(Client, "request", taken_by_nobody)
    async with JetStream(own_nats.url, create=True) as server:
        await server.check(Demand("mcast.*.*.*", 60.0, 1000))
    assert refused == ["made", "taken", "taken"]


@needs_nats
async def test_a_stream_that_takes_nothing(own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Client.request

    async def taken_by_nobody(
        client: Client, subject: str, *given: Any, **named: Any
    ) -> Msg:  # Any: as there
        if subject.startswith("mcast."):
            raise NoRespondersError
        return await request(client, subject, *given, **named)

    monkeypatch.setattr(Client, "request", taken_by_nobody)
    monkeypatch.setattr(jetstream, "_PATIENCE", 0.5)
    async with JetStream(own_nats.url, create=True) as server:
        with pytest.raises(RelayError, match=r"no stream takes mcast\."):
            await server.check(Demand("mcast.*.*.*", 60.0, 1000))
