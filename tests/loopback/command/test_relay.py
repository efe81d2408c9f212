"""`aiomcast relay` as its users run it: processes, real servers, what is in their streams, exit statuses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rich")

import nats
from nats.js.api import DiscardPolicy, StreamConfig, StreamInfo
from redis import Redis

from aiomcast import Packet
from aiomcast.relay import JetStream, RedisStreams, Start, Subscription
from tests.support.brokers import NatsServer, RedisServer, Server, needs_nats, needs_redis

from .test_cli import COMMAND, PORT_TEXT, SECONDS, A, transmit

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


class Middle:
    """One stream of a server: the options of a relay that store there, and what is in it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stream = f"T{next(_numbers)}"
        self.subject = f"{self.stream}.{{group}}.{{port}}.{{source}}"  # of one server, none takes another's

    @property
    def is_nats(self) -> bool:
        return isinstance(self.server, NatsServer)

    @property
    def options(self) -> tuple[str, ...]:
        made = ("--create",) if self.is_nats else ()
        return ("--to", self.server.url, "--stream", self.stream, "--subject", self.subject, *made)

    def held(self) -> int:
        """Return how many messages there are."""
        if self.is_nats:
            return asyncio.run(told(self.server, self.stream)).state.messages
        with Redis.from_url(self.server.url) as client:
            return int(client.xlen(self.stream))

    def packets(self, count: int) -> list[Packet]:
        """Return the first ones."""

        async def read() -> list[Packet]:
            url = self.server.url
            found: list[Packet] = []
            broker = (
                JetStream(url, stream=self.stream) if self.is_nats else RedisStreams(url, stream=self.stream)
            )
            async with (
                asyncio.timeout(SECONDS),
                broker,
                Subscription(broker, start=Start.FIRST, subject=self.subject) as subscription,
            ):
                while len(found) < count:
                    found.append(await anext(subscription))
            return found

        return asyncio.run(read())


async def told(server: Server, stream: str, config: StreamConfig | None = None) -> StreamInfo:
    """Return what the server says of a stream, made first where there is a configuration."""
    client = await nats.connect(server.url)
    try:
        if config is not None:
            return await client.jetstream().add_stream(config)
        return await client.jetstream().stream_info(stream)
    finally:
        await client.close()


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


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running `aiomcast relay`."""
    command = [*COMMAND, "relay", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def relaying(group: str, middle: Middle, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running `aiomcast relay` on loopback that has joined, and found the server."""
    with started(group, PORT_TEXT, "-s", A, "-i", "lo", *middle.options, *options) as process:
        assert said(process).startswith(f"listening to {group} port {PORT_TEXT} on lo, from {A}")
        yield process


JSON = ("--interval", "0.1", "--format", "json")


def said(process: subprocess.Popen[bytes]) -> str:
    """Return the next line of standard error."""
    assert process.stderr is not None
    return process.stderr.readline().decode()


def intervals(process: subprocess.Popen[bytes]) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
    """Yield what each interval tells: the relay's counters, and the packets of each group."""
    assert process.stdout is not None
    groups: dict[str, int] = {}
    for line in process.stdout:
        tags = json.loads(line)
        if "relay" in tags:
            yield tags, groups
            groups = {}
        else:
            groups[tags["group"]] = tags["packets"]
    pytest.fail(f"it ended: {process.communicate()[1].decode()}")


def wait_until(process: subprocess.Popen[bytes], is_so: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """Read its lines until the relay's counters are so; return them."""
    return next(counted for counted, _ in intervals(process) if is_so(counted))


def ended(process: subprocess.Popen[bytes], status: int = 0) -> list[str]:
    """Return the lines that it yet said."""
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == status, errors
    return errors.decode().splitlines()


def counts(summary: str) -> dict[str, int]:
    """Return the relay's counters by name, out of a summary."""
    inside = summary.partition("(")[2].partition(")")[0]
    return {name: int(number) for number, _, name in (one.partition(" ") for one in inside.split(", "))}


def test_packets_and_their_tags_are_stored(group: str, middle: Middle) -> None:
    payloads = [b"one", b"", b"\xff\0\r\n" * 300]
    with relaying(group, middle, "--count", "3", "--name", "a") as process:
        port = transmit(group, *payloads, b"and more")
        (summary,) = ended(process)
    assert summary.startswith(f"3 packets, 1203 bytes relayed to {middle.server.url} (3 stored, 0 merged, ")
    assert counts(summary) == {
        "stored": 3, "merged": 0, "pending": 0, "retried": 0, "refused": 0, "too long": 0, "dropped": 0
    }  # fmt: skip
    assert middle.held() == 3
    packets = middle.packets(3)
    assert [one.data for one in packets] == payloads
    for one in packets:
        assert (one.source, one.source_port, one.group, one.port) == (A, port, group, int(PORT_TEXT))
        assert (one.hop_limit, one.traffic_class) == (1, 0)


@pytest.mark.parametrize("identity", [(), ("--sequence", "u32@0"), ("--sequence", "u32@0", "--feed", "f")])
def test_two_relays_of_one_channel_store_each_message_once(
    group: str, middle: Middle, identity: tuple[str, ...]
) -> None:
    sent = [number.to_bytes(4, "big") + b"!" for number in range(300)]
    options = ("--count", "300", "--slot", "3600") if not identity else ("--count", "300", *identity)
    with (
        relaying(group, middle, *options, "--name", "a") as first,
        relaying(group, middle, *options, "--name", "b") as second,
    ):
        transmit(group, *sent)
        summaries = [counts(line) for one in (first, second) for line in ended(one) if "relayed" in line]
    assert sum(one["stored"] for one in summaries) == sum(one["merged"] for one in summaries) == 300
    assert middle.held() == 300
    assert sorted(one.data for one in middle.packets(300)) == sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_all_stored(group: str, middle: Middle, number: signal.Signals) -> None:
    with relaying(group, middle, *JSON) as process:
        transmit(group, b"one", b"two")
        wait_until(process, lambda counted: counted["received"] == 2)
        process.send_signal(number)
        (summary,) = ended(process)
    assert (counts(summary)["stored"], counts(summary)["pending"]) == (2, 0)
    assert middle.held() == 2


def test_what_comes_while_the_server_is_away_is_stored_when_it_is_back(group: str, own: Middle) -> None:
    with relaying(group, own, *JSON) as process:
        transmit(group, *[b"before %d" % number for number in range(20)])
        wait_until(process, lambda counted: counted["stored"] == 20)
        own.server.kill()
        transmit(group, *[b"meanwhile %d" % number for number in range(20)])
        wait_until(process, lambda counted: counted["pending"] == 20)
        own.server.start()
        wait_until(process, lambda counted: counted["pending"] == 0)
        transmit(group, b"after")
        wait_until(process, lambda counted: counted["received"] == 41 and not counted["pending"])
        process.send_signal(signal.SIGTERM)
        *lines, summary = ended(process)
    away, back = lines
    assert away.startswith("aiomcast: ")
    assert away.endswith("; packets wait")
    assert "is back; " in back
    counted = counts(summary)
    assert counted["stored"] + counted["merged"] == 41
    assert own.held() == 41


@needs_nats
def test_with_the_server_away_the_overflow_policy_decides_and_what_was_taken_is_stored(
    group: str, tmp_path: Path
) -> None:
    options = ("--pending", "10", "--overflow", "drop-newest", *JSON)
    with NatsServer(tmp_path / "server") as server:
        own = Middle(server)
        with relaying(group, own, *options) as process:
            server.kill()
            lines, dropped = intervals(process), 0
            while not dropped:
                transmit(group, *[b"%d" % number for number in range(500)])
                counted, _ = next(lines)
                assert counted["received"] <= 10 + 256, "what waits is bounded"
                dropped = counted["dropped"]
            server.start()
            wait_until(process, lambda now: not now["pending"] and now["received"] > 266)
            process.send_signal(signal.SIGTERM)
            counted = counts(ended(process)[-1])
        assert counted["pending"] == 0
        assert counted["dropped"] >= dropped
        assert own.held() == counted["stored"] + counted["merged"] > 256


def test_what_stays_unstored_is_told_and_is_status_1(group: str, own: Middle) -> None:
    with relaying(group, own, *JSON) as process:
        own.server.kill()
        transmit(group, *[b"%d" % number for number in range(5)])
        wait_until(process, lambda counted: counted["pending"] == 5)
        process.send_signal(signal.SIGTERM)
        *_, summary, line = ended(process, 1)
    assert (counts(summary)["stored"], counts(summary)["pending"]) == (0, 5)
    assert line == "aiomcast: 5 packets are not known to be stored"


@needs_nats
def test_a_stream_that_is_full_is_status_1_and_says_so(group: str, jetstream: Middle) -> None:
    config = StreamConfig(
        jetstream.stream, subjects=[f"{jetstream.stream}.>"], duplicate_window=60, max_msgs=3,
        discard=DiscardPolicy.NEW,
    )  # fmt: skip
    asyncio.run(told(jetstream.server, jetstream.stream, config))
    with relaying(group, jetstream, *JSON) as process:
        transmit(group, *[b"%d" % number for number in range(5)])
        wait_until(process, lambda counted: counted["stored"] == 3 and counted["refused"] > 1)
        process.send_signal(signal.SIGTERM)
        refused, summary, line = ended(process, 1)
    assert "refused to store: maximum messages exceeded" in refused
    assert counts(summary)["pending"] == 2
    assert line == "aiomcast: 2 packets are not known to be stored: maximum messages exceeded"
    assert jetstream.held() == 3


def test_what_is_too_long_is_told_and_is_status_1(group: str, middle: Middle) -> None:
    with relaying(group, middle, "--count", "2", "--largest", "10") as process:
        transmit(group, b"x" * 11, b"x" * 10)
        summary, line = ended(process, 1)
    assert (counts(summary)["stored"], counts(summary)["too long"]) == (1, 1)
    assert line == "aiomcast: 1 packets had more than --largest bytes, and were not sent"


@pytest.mark.parametrize(
    ("options", "sent", "line"),
    [
        (("--seconds", "0.3"), (), "nothing came from {}: aiomcast doctor "),
        (("--seconds", "4", "--count", "3"), (b"one",), "1 of 3 packets came in 4 s"),
    ],
)
@needs_nats
def test_what_did_not_come_in_time_is_status_1(
    group: str, jetstream: Middle, options: tuple[str, ...], sent: tuple[bytes, ...], line: str
) -> None:
    with relaying(group, jetstream, *options) as process:
        transmit(group, *sent)
        summary, missed = ended(process, 1)
    assert counts(summary)["stored"] == len(sent)
    assert missed.startswith("aiomcast: " + line.format(f"{group}:{PORT_TEXT}"))


@needs_nats
def test_a_time_that_is_over_is_status_0_when_something_came(group: str, jetstream: Middle) -> None:
    with relaying(group, jetstream, "--seconds", "4", "--interval", "0.1") as process:
        transmit(group, b"one")
        output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert counts(errors.decode())["stored"] == 1
    last = output.decode().splitlines()[-1]
    assert last.endswith(f" to {jetstream.server.url}: 1 received, 1 stored, 0 merged, 0 pending, 0 retried, "
                         "0 refused, 0 too long, 0 dropped")  # fmt: skip


def test_a_pipe_that_is_closed_ends_it(group: str, middle: Middle) -> None:
    with relaying(group, middle, *JSON) as process:
        assert process.stdout is not None
        transmit(group, b"one")
        wait_until(process, lambda counted: counted["stored"] == 1)
        process.stdout.close()
        assert counts(said(process))["stored"] == 1
        assert process.wait(SECONDS) == 0


def test_sigusr1_has_the_totals_told(group: str, middle: Middle) -> None:
    with relaying(group, middle, *JSON) as process:
        transmit(group, b"one", b"three")
        wait_until(process, lambda counted: counted["stored"] == 2)
        process.send_signal(signal.SIGUSR1)
        assert said(process).startswith(f"lo {group}:{PORT_TEXT} {A} 2 packets, 8 bytes")
        assert counts(said(process))["stored"] == 2
        assert process.poll() is None


def test_quiet_says_nothing_but_what_is_wrong(group: str, middle: Middle) -> None:
    options = (group, PORT_TEXT, "-s", A, "-i", "lo", *middle.options, *JSON, "--quiet")
    with started(*options) as process:
        next(intervals(process))
        process.send_signal(signal.SIGTERM)
        assert ended(process) == []


@needs_nats
def test_a_stream_is_made_and_keeps_what_it_was_told_to(group: str, jetstream: Middle) -> None:
    with relaying(group, jetstream, "--keep", "90m", "--window", "30") as process:
        process.send_signal(signal.SIGTERM)
        ended(process)
    config = asyncio.run(told(jetstream.server, jetstream.stream)).config
    assert (config.max_age, config.duplicate_window) == (5400, 30)
    assert config.subjects == [f"{jetstream.stream}.>"]


@needs_redis
def test_redis_keeps_about_as_many_as_it_was_told_to(group: str, redis_server: RedisServer) -> None:
    middle = Middle(redis_server)
    with relaying(group, middle, "--keep", "100", "--count", "600") as process:
        transmit(group, *[b"%d" % number for number in range(600)])
        ended(process)
    assert 100 <= middle.held() < 600


@needs_nats
def test_relays_share_channels_and_take_over_from_one_that_dies(any_group: str, jetstream: Middle) -> None:
    first = any_group.rpartition(".")[0] + ".1"
    groups = {first.rpartition(".")[0] + f".{number}" for number in range(1, 25)}
    shared = (f"{first}+24:{PORT_TEXT}", "-i", "lo", *jetstream.options, *JSON, "--slot", "3600",
              "--share", jetstream.stream, "--lease", "4")  # fmt: skip
    with started(*shared, "--name", "a") as one, started(*shared, "--name", "b") as other:
        lines = intervals(one), intervals(other)
        while True:
            parts = [set(next(line)[1]) for line in lines]
            if all(parts) and parts[0] | parts[1] == groups and not parts[0] & parts[1]:
                break
        for group in groups:
            transmit(group, b"from %s" % group.encode())
        counted = [0, 0]
        while sum(counted) < len(groups):
            counted = [next(line)[0]["stored"] for line in lines]
        assert sum(counted) == len(groups)
        other.kill()
        while set(next(lines[0])[1]) != groups:
            pass
        for group in groups:
            transmit(group, b"again")
        wait_until(one, lambda tags: tags["stored"] == counted[0] + len(groups))
        one.send_signal(signal.SIGTERM)
        ended(one)
    assert jetstream.held() == 2 * len(groups)
