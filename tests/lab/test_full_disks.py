"""The disk of the server is full: what it does not store waits, and nothing is lost or stored twice."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from aiomcast import Receiver
from aiomcast.relay import JetStream, RedisStreams, Relay, Start, Subscription
from aiomcast.testing import MemoryNetwork
from tests.support.brokers import NatsServer, RedisServer, Server
from tests.support.waiting import until

from .network import execute

GROUP, PORT, SOURCE = "232.1.1.1", 5000, "10.0.0.2"
SIZE, LARGER = "3m", "64m"
PENDING = 64
Connect = Callable[[], JetStream | RedisStreams]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a file system of its own, and small."""
    folder = tmp_path / "disk"
    folder.mkdir()
    execute(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)])
    try:
        yield folder
    finally:
        execute(["umount", "--lazy", str(folder)])


class Full:
    """A relay to a server whose disk is full."""

    def __init__(self, memory: MemoryNetwork, relay: Relay, log: pytest.LogCaptureFixture) -> None:
        self._memory, self._log = memory, log
        self.relay = relay
        self.sent = 0

    def send(self) -> None:
        """Send one packet more, with its number."""
        self._memory.send(SOURCE, GROUP, PORT, b"%d " % self.sent + b"x" * 4000)
        self.sent += 1

    @property
    def warnings(self) -> list[str]:
        """What the relay has complained of."""
        return [
            one.getMessage()
            for one in self._log.records
            if one.name == "aiomcast.relay" and one.levelname == "WARNING"
        ]

    async def fill(self) -> None:
        """Send until the disk is full, and the relay has said that the server stores no more."""
        while not self.warnings:
            if self.relay.statistics().pending < PENDING:
                self.send()
            assert self.sent < 2000
            await asyncio.sleep(0.002)
        for _ in range(2 * PENDING):  # more than may wait: the rest stays in the stream
            self.send()
            await self._memory.settle()
        await until(lambda: self.relay.statistics().pending > 0)
        counted = self.relay.statistics()
        assert 0 < counted.stored < self.sent
        assert counted.pending <= PENDING
        assert counted.received == counted.stored + counted.pending

    async def stored(self) -> None:
        """Wait until all is stored that was sent."""
        await until(lambda: self.relay.statistics().received == self.sent, 60)
        await until(lambda: self.relay.statistics().pending == 0, 60)


@asynccontextmanager
async def relayed(connect: Connect, log: pytest.LogCaptureFixture) -> AsyncIterator[Full]:
    """Relay to the server until its disk is full; when all is done what was sent is there, and once."""
    memory = MemoryNetwork(start_ns=time.time_ns())
    async with Receiver(network=memory) as receiver, connect() as broker, connect() as far:
        membership = await receiver.join(GROUP, PORT, sources=[SOURCE])
        relay = Relay(membership, broker, pending=PENDING)
        full = Full(memory, relay, log)
        task = asyncio.create_task(relay.run())
        try:
            await full.fill()
            yield full
            await full.stored()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        numbers = []
        async with Subscription(far, start=Start.FIRST) as subscription, asyncio.timeout(30):
            async for packet in subscription:
                numbers.append(int(packet.data.split()[0]))
                if len(numbers) == full.sent:
                    break
        assert sorted(numbers) == list(range(full.sent))
        assert subscription.statistics().repeated == 0


def make_room(disk: Path) -> None:
    """Give the file system more room; it had none."""
    assert shutil.disk_usage(disk).free < 8192
    execute(["mount", "-o", f"remount,size={LARGER}", str(disk)])


def restart(server: Server) -> None:
    """Kill -9, and start it again."""
    server.kill()
    server.start()


async def test_nats_answers_nothing_and_wants_a_restart(
    disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = f'jetstream {{ store_dir: "{disk}", max_file_store: 1000000000 }}'
    with NatsServer(tmp_path / "nats", jetstream=False, configuration=limit) as server:
        async with relayed(lambda: JetStream(server.url, create=True), caplog) as full:
            assert len(full.warnings) == 1
            assert "has not answered for 5 s" in full.warnings[0]
            make_room(disk)
            restart(server)


async def test_redis_refuses_and_goes_on_by_itself(
    disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path / "redis", "127.0.0.1", 0, "--dir", str(disk)) as server:
        async with relayed(lambda: RedisStreams(server.url), caplog) as full:
            assert len(full.warnings) == 1
            assert "MISCONF" in full.warnings[0]
            make_room(disk)


async def test_redis_that_is_killed_while_its_disk_is_full_has_what_it_acknowledged(
    disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It had acknowledged the first packet that found no room on the disk; that is sent again."""
    with RedisServer(tmp_path / "redis", "127.0.0.1", 0, "--dir", str(disk)) as server:
        async with relayed(lambda: RedisStreams(server.url), caplog) as full:
            refused = full.relay.statistics().refused
            await until(lambda: full.relay.statistics().refused > refused, 30)
            make_room(disk)
            restart(server)


async def test_redis_that_syncs_always_ends_and_waits_to_be_started(
    disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(
        tmp_path / "redis", "127.0.0.1", 0, "--dir", str(disk), "--appendfsync", "always"
    ) as server:
        async with relayed(lambda: RedisStreams(server.url), caplog) as full:
            assert len(full.warnings) == 1
            assert "is away" in full.warnings[0]
            make_room(disk)
            restart(server)
