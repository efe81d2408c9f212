"""How `aiomcast relay` ends: it waits for what is pending, and not when it is asked to twice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rich")

from aiomcast import Flow, Packet, Receiver
from aiomcast.command.formats import Format
from aiomcast.command.handing import Handed
from aiomcast.command.output import STDOUT, Output
from aiomcast.command.relaying import Relaying
from aiomcast.command.report import Report
from aiomcast.relay import JetStream, Relay
from aiomcast.testing import MemoryNetwork
from tests.support.brokers import NatsServer, needs_nats
from tests.support.waiting import turns, until

from ..test_cli import SECONDS

PACKETS = [Packet(b"%d" % number, Flow("10.0.0.2", 7, "232.1.1.1", 5000, 1)) for number in range(300)]

pytestmark = needs_nats


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as running:
        yield running


async def test_at_the_end_it_waits_until_the_server_has_what_is_pending(own_server: NatsServer) -> None:
    async with ready(own_server, pending=8192) as (relaying, relay):
        own_server.send(signal.SIGSTOP)
        await relaying.take(PACKETS, lambda _: "lo")
        ending = asyncio.create_task(relaying.end(Report(0, 0.0, 0.0, (), False)))
        await turns()
        assert not ending.done()
        own_server.send(signal.SIGCONT)
        await ending
        assert not relaying.wrong
        assert relay.statistics().stored == len(PACKETS)


async def test_asked_twice_to_end_it_waits_for_nothing(own_server: NatsServer) -> None:
    """What is pending is told, and the task is not cancelled."""
    async with ready(own_server, pending=10) as (relaying, relay):
        own_server.kill()
        taking = asyncio.create_task(relaying.take(PACKETS, lambda _: "lo"))
        await until(lambda: relay.statistics().pending == 10)
        taking.cancel()  # as it ends
        ending = asyncio.create_task(relaying.end(Report(0, 0.0, 0.0, (), False)))
        await turns()
        assert not ending.done()
        ending.cancel()
        await ending
        assert not ending.cancelling()
        assert relaying.wrong == ["256 packets are not known to be stored"], "10 of them by the relay itself"


@contextlib.asynccontextmanager
async def ready(on: NatsServer, pending: int) -> AsyncIterator[tuple[Relaying, Relay]]:
    """A relay in this process that has looked at the server."""
    async with (
        asyncio.timeout(SECONDS),
        JetStream(on.url, create=True) as server,
        Receiver(network=MemoryNetwork()) as receiver,
    ):
        handed = Handed(receiver)
        relay = Relay(handed, server, pending=pending, drain=0.0)  # type: ignore[arg-type]  # as in the command
        relaying = Relaying(relay, handed, server, None, Output(STDOUT), Format.TEXT)
        await relaying.begin()
        yield relaying, relay
