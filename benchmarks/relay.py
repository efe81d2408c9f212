"""relay: packets a second over NATS JetStream, and how late they are, beside loops written by hand."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from aiomcast import Packet, Statistics
from aiomcast.relay import JetStream, Relay, Subscription
from aiomcast.values.packets import Flow
from tests.support.brokers import NatsServer

from .results import Bar, Panel, Result, Samples, Table
from .worker import Worker, WorkerError

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "a relay over NATS JetStream beside a loop of nats-py written by hand"
_FLOW = Flow("10.0.0.2", 4000, "232.1.1.1", 5000, 1)
_PENDING = 8192  # acknowledgements that are waited for at a time, in all of them
_BATCH = 64  # packets that a read brings
_PUBLISH, _OWN, _RELAY = "nats-py, publish_async", "nats-py, acknowledgements by hand", "Relay"
_HAND, _FAR = "nats-py, publish and subscribe", "Relay and Subscription"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how many, and how often."""
    parser.add_argument("--packets", type=int, default=20_000, help="packets of 200 bytes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (%(default)s)")


def run(options: argparse.Namespace) -> Result:
    """Measure in a fresh process per loop; the server is another process."""
    result = Result("relay")
    bars: list[Bar] = []
    for loop in options.loops:
        try:
            with Worker(loop) as worker:
                rates: dict[str, list[float]]
                late: dict[str, list[float]]
                rates, late = worker.call(measure, packets=options.packets, rounds=options.rounds)
        except WorkerError as error:
            result.notes.append(f"{loop}: {error}")
            continue
        result.data[loop] = {"packets a second": rates, "microseconds": late}
        rows = []
        for way, found in rates.items():
            each = Samples(tuple(found))
            rows.append((way, f"{each.median:,.0f}", each.spread()))
            bars.append(Bar(way, loop, each.median, ours=way == _RELAY))
        title = f"relay: {options.packets:,} packets of 200 bytes, stored in files and acknowledged"
        result.tables.append(Table(f"{title}, {loop}", ("", "packets/s", "min-max"), rows))
        rows = [
            (way, f"{found[len(found) // 2]:,.0f}", f"{found[len(found) * 99 // 100]:,.0f}")
            for way, found in ((way, sorted(found)) for way, found in late.items())
        ]
        result.tables.append(
            Table(f"relay: from one side to the other at 1,000/s, {loop}", ("", "p50 us", "p99 us"), rows)
        )
    result.data |= {"packets": options.packets, "rounds": options.rounds}
    result.panels.append(Panel("relay: packets a second", "packets/s (more is better)", bars))
    return result


class _Batches:
    """Lists of packets, ready made: in the place of a stream's."""

    def __init__(self, source: _Source) -> None:
        self._source = source

    async def __aenter__(self) -> _Batches:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> AsyncIterator[list[Packet]]:
        return self._source.lists()


class _Source:
    """Yields packets of 200 bytes, each with its number, in lists, or one a millisecond."""

    def __init__(self, packets: int, first: int, *, paced: bool = False) -> None:
        self._numbers = range(first, first + packets)
        self._paced = paced

    def batches(self) -> _Batches:
        return _Batches(self)

    def statistics(self) -> Statistics:
        return Statistics()

    async def lists(self) -> AsyncIterator[list[Packet]]:
        if self._paced:
            for _ in self._numbers:
                await asyncio.sleep(0.001)
                stamp = time.perf_counter_ns().to_bytes(8, "big")
                yield [Packet(stamp + bytes(192), _FLOW, time.time_ns())]
        else:
            made = [Packet(b"%08d" % number + bytes(192), _FLOW, time.time_ns()) for number in self._numbers]
            for first in range(0, len(made), _BATCH):
                yield made[first : first + _BATCH]


async def measure(packets: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Take the ways in turns, each with its own connection: in a worker."""
    rates: dict[str, list[float]] = {_PUBLISH: [], _OWN: [], _RELAY: []}
    late: dict[str, list[float]] = {_HAND: [], _FAR: []}
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder) / "nats") as server:
        first = 0
        for _ in range(rounds):
            for way, work in ((_PUBLISH, _publish), (_OWN, _by_hand), (_RELAY, _relay)):
                async with _emptied(server) as broker:
                    spent = await work(broker, packets, first)
                first += packets
                rates[way].append(packets / spent)
            async with _emptied(server) as broker:
                late[_HAND] += await _late_by_hand(broker, min(packets, 1000))
            async with _emptied(server) as broker:
                late[_FAR] += await _late(broker, server, min(packets, 1000))
    return rates, late


@asynccontextmanager
async def _emptied(server: NatsServer) -> AsyncIterator[JetStream]:
    """Give a connection, and a stream that has nothing."""
    async with JetStream(server.url, create=True) as broker:
        manager = (await broker.connect()).jetstream()
        if any(one.config.name == "MCAST" for one in await manager.streams_info()):
            await manager.delete_stream("MCAST")
        await manager.add_stream(name="MCAST", subjects=["mcast.>"], duplicate_window=120)
        yield broker


def _headers(number: int) -> dict[str, str]:
    return {
        "Nats-Msg-Id": str(number), "source": _FLOW.source, "source-port": "4000", "group": _FLOW.group,
        "port": "5000", "interface": "lo", "time": str(time.time_ns()), "counter": str(number),
    }  # fmt: skip


async def _publish(broker: JetStream, packets: int, first: int) -> float:
    jetstream = (await broker.connect()).jetstream(publish_async_max_pending=_PENDING)
    began = time.perf_counter()
    answers = [
        await jetstream.publish_async("mcast.a.b.c", bytes(200), headers=_headers(first + number))
        for number in range(packets)
    ]
    await asyncio.gather(*answers)
    return time.perf_counter() - began


async def _by_hand(broker: JetStream, packets: int, first: int) -> float:
    client = await broker.connect()
    inbox, count, done = client.new_inbox(), 0, asyncio.Event()
    room = asyncio.Semaphore(_PENDING)

    async def acknowledged(msg: object) -> None:
        nonlocal count
        count += 1
        room.release()
        if count == packets:
            done.set()

    await client.subscribe(f"{inbox}.*", cb=acknowledged)
    began = time.perf_counter()
    for number in range(packets):
        await room.acquire()
        await client.publish("mcast.a.b.c", bytes(200), f"{inbox}.{number}", _headers(first + number))
    await done.wait()
    return time.perf_counter() - began


async def _relay(broker: JetStream, packets: int, first: int) -> float:
    relay = Relay(_Source(packets, first), broker, name="a", pending=_PENDING)  # type: ignore[arg-type]  # as one
    began = time.perf_counter()
    counted = await relay.run()
    assert counted.stored == packets, counted
    return time.perf_counter() - began


async def _late_by_hand(broker: JetStream, packets: int) -> list[float]:
    client: Client = await nats.connect(broker.name)
    late: list[float] = []

    async def came(msg: Msg) -> None:
        late.append((time.perf_counter_ns() - int.from_bytes(msg.data[:8], "big")) / 1000)

    await client.jetstream().subscribe("mcast.>", cb=came, ordered_consumer=True)
    jetstream = (await broker.connect()).jetstream()
    for number in range(packets):
        await asyncio.sleep(0.001)
        stamp = time.perf_counter_ns().to_bytes(8, "big")
        await jetstream.publish_async("mcast.a.b.c", stamp + bytes(192), headers=_headers(number))
    await _until(lambda: len(late) >= packets)
    await client.close()
    return late


async def _late(broker: JetStream, server: NatsServer, packets: int) -> list[float]:
    late: list[float] = []
    async with JetStream(server.url) as far, Subscription(far) as subscription:

        async def read() -> None:
            async for packet in subscription:
                late.append((time.perf_counter_ns() - int.from_bytes(packet.data[:8], "big")) / 1000)

        reading = asyncio.create_task(read())
        await far.connect()
        await asyncio.sleep(0.3)  # until it has a consumer
        await Relay(_Source(packets, 0, paced=True), broker, name="a").run()  # type: ignore[arg-type]  # as one
        await _until(lambda: len(late) >= packets * 0.99)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return late


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is a list that grows
            await asyncio.sleep(0.01)
