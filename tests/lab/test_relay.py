"""Two relays on two hosts, a server on a third: what either received is read once, whatever breaks."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiomcast.relay import JetStream, Start, Subscription, SubscriptionStatistics
from tests.support.brokers import NatsServer

from .network import Host, Network, stop, wait_until
from .traffic import Traffic

RELAYS = {"a": "s2", "b": "s3"}
SERVER_PORT = 4222
COUNT = 2000
PORT = 5000
CASES = {"ipv4-payload": ("239.2.9.{}", "payload"), "ipv6-u32": ("ff1e::9:{:x}", "u32@0")}
_numbers = itertools.count(1)


class Relays:
    """The processes, what each has received, and who sends to them."""

    def __init__(self, network: Network, traffic: Traffic, folder: Path, url: str, identity: str) -> None:
        self._network, self._traffic, self._folder = network, traffic, folder
        self._url, self._identity = url, identity
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.sent = 0

    def start(self, name: str) -> None:
        """Start a relay, and wait until it receives."""
        process = self._network.popen(
            RELAYS[name],
            [
                sys.executable, "-m", "tests.lab.relay_worker", self._url, name, str(self._folder / name),
                self._traffic.group, str(self._traffic.port), self._identity,
            ],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        self.processes[name] = process
        assert process.stdout is not None
        assert process.stdout.readline() == b"joined\n"
        self._network.wait_for_member(self._traffic.group, None, RELAYS[name])

    def received(self, name: str) -> list[int]:
        """The numbers that a relay has received."""
        path = self._folder / name
        data = path.read_bytes() if path.exists() else b""
        return [number for (number,) in struct.iter_unpack("!I", data[: len(data) // 4 * 4])]

    async def send(self, count: int) -> None:
        """Send so many packets from s1, each with its number, about two a millisecond."""
        for number in range(count):
            self._traffic.send("s1", struct.pack("!I", self.sent) + b"x" * 100)
            self.sent += 1
            if number % 4 == 3:
                await asyncio.sleep(0.002)

    def end(self, name: str) -> dict[str, int]:
        """End a relay; return its statistics."""
        process = self.processes[name]
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=15)
        told: dict[str, int] = json.loads(out.splitlines()[-1])
        return told


@pytest.fixture
def server(network: Network, in_receiver: Host, tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats", in_receiver.address4, SERVER_PORT) as running:
        yield running


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def relays(
    request: pytest.FixtureRequest, network: Network, tmp_path: Path, server: NatsServer
) -> Iterator[Relays]:
    groups, identity = request.param
    with Traffic(network, groups.format(next(_numbers)), PORT) as traffic:
        made = Relays(network, traffic, tmp_path, server.url, identity)
        yield made
        for process in made.processes.values():
            stop(process)


@contextmanager
def losing(network: Network, host: str, per_cent: int) -> Iterator[None]:
    """Random loss of what comes to groups, on one host."""
    table = "table inet lossy"
    rules = (
        f"{table} {{ chain in {{ type filter hook prerouting priority -300; "
        f"udp dport {PORT} numgen random mod 100 < {per_cent} drop\n}}\n}}"
    )
    network.run(host, ["nft", rules])
    try:
        yield
    finally:
        network.run(host, ["nft", f"delete {table}"])


async def everything(server: NatsServer, count: int) -> tuple[list[int], SubscriptionStatistics, int]:
    """Read from the first on until so many have come; return the numbers, and how many are stored."""
    numbers = []
    async with JetStream(server.url) as far, Subscription(far, start=Start.FIRST) as subscription:
        async with asyncio.timeout(20):
            async for packet in subscription:
                numbers.append(struct.unpack_from("!I", packet.data)[0])
                if len(numbers) == count:
                    break
        client = await far.connect()
        stored = (await client.jetstream().stream_info("MCAST")).state.messages
        return numbers, subscription.statistics(), stored


async def settled(relays: Relays, *names: str) -> None:
    """Send one packet more, which loses nobody, and wait until these relays have received it."""
    await relays.send(1)
    last = relays.sent - 1
    wait_until(
        lambda: all(last in relays.received(name)[-1:] for name in names), 10, "all have the last packet"
    )


async def test_what_either_receives_is_stored_once(
    network: Network, relays: Relays, server: NatsServer
) -> None:
    for name in RELAYS:
        relays.start(name)
    with losing(network, "s2", 10), losing(network, "s3", 10):
        await relays.send(COUNT)
    await settled(relays, *RELAYS)
    told = {name: relays.end(name) for name in RELAYS}
    received = {name: relays.received(name) for name in RELAYS}
    either = set(received["a"]) | set(received["b"])
    assert 0.97 * COUNT < len(either) <= COUNT + 1, "the loss is that of both lines"
    assert all(len(numbers) < 0.95 * COUNT for numbers in received.values()), "each line has lost some"
    numbers, seen, stored = await everything(server, len(either))
    assert set(numbers) == either
    assert len(numbers) == len(either)
    assert told["a"]["stored"] + told["b"]["stored"] == stored == len(either) + seen.repeated
    assert all(
        one["pending"] == 0 and one["received"] == one["stored"] + one["merged"] for one in told.values()
    )
    assert seen.missing == 0


async def test_a_relay_that_is_killed_is_missed_by_nobody(relays: Relays, server: NatsServer) -> None:
    for name in RELAYS:
        relays.start(name)
    sending = asyncio.create_task(relays.send(COUNT))
    wait = asyncio.create_task(asyncio.sleep(0.5))
    await wait
    relays.processes["a"].kill()
    await sending
    await settled(relays, "b")
    assert relays.end("b")["pending"] == 0
    assert 0 < len(relays.received("a")) < COUNT
    numbers, seen, _ = await everything(server, relays.sent)
    assert sorted(numbers) == relays.received("b") == list(range(relays.sent))
    assert seen.missing == 0


async def test_a_cable_that_is_pulled_delays_and_loses_nothing(
    network: Network, relays: Relays, server: NatsServer
) -> None:
    """What a relay received before its cable was pulled is stored when it is back."""
    for name in RELAYS:
        relays.start(name)
    with losing(network, "s3", 10):
        sending = asyncio.create_task(relays.send(COUNT))
        await asyncio.sleep(0.5)
        network.ip("s2", "link set v0 down")
        await asyncio.sleep(1.0)
        network.ip("s2", "link set v0 up")
        network.ip("s2", "route replace 224.0.0.0/4 dev v0")
        await sending
    await settled(relays, *RELAYS)
    either = set(relays.received("a")) | set(relays.received("b"))
    numbers, seen, _ = await everything(server, len(either))
    assert set(numbers) == either
    assert all(relays.end(name)["pending"] == 0 for name in RELAYS)
    assert seen.missing == 0


async def test_a_server_that_is_killed_and_comes_back_has_everything(
    relays: Relays, server: NatsServer
) -> None:
    for name in RELAYS:
        relays.start(name)
    live: list[int] = []

    async def read() -> None:
        async with JetStream(server.url) as far, Subscription(far, start=Start.FIRST) as subscription:
            async for packet in subscription:
                live.append(struct.unpack_from("!I", packet.data)[0])
                if len(live) == COUNT + 1:
                    return

    reading = asyncio.create_task(read())
    sending = asyncio.create_task(relays.send(COUNT))
    for _ in range(2):
        await asyncio.sleep(0.6)
        server.kill()
        await asyncio.sleep(0.3)
        server.start()
    await sending
    await settled(relays, *RELAYS)
    async with asyncio.timeout(30):
        await reading
    assert sorted(live) == list(range(COUNT + 1)) == relays.received("a")
    told = {name: relays.end(name) for name in RELAYS}
    assert all(one["pending"] == 0 for one in told.values())
    numbers, _, _ = await everything(server, COUNT + 1)
    assert sorted(numbers) == list(range(COUNT + 1))
