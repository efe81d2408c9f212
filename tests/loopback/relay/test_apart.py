"""Relays whose clocks are apart, and who reads more slowly than they store."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from aiomcast import Receiver
from aiomcast.relay import JetStream, Relay, Start, Subscription
from aiomcast.testing import MemoryNetwork
from tests.support.brokers import NatsServer, needs_nats
from tests.support.waiting import until

from .conftest import GROUP, PORT, SOURCE, ended

COUNT = 200
pytestmark = needs_nats


@pytest.mark.parametrize("apart", [3600, -3600, 15], ids=lambda seconds: f"{seconds} s")
async def test_clocks_further_apart_than_a_slot_store_twice_and_yield_once(
    own_nats: NatsServer, apart: int
) -> None:
    """The kernel of one host stamps an hour from now: neither relay knows the other's packets."""
    now = time.time_ns()
    async with AsyncExitStack() as opened:
        networks, relays, tasks = [], [], []
        for name, start in (("a", now), ("b", now + apart * 1_000_000_000)):
            network = MemoryNetwork(start_ns=start)
            receiver = await opened.enter_async_context(Receiver(network=network))
            membership = await receiver.join(GROUP, PORT, sources=[SOURCE])
            server = await opened.enter_async_context(JetStream(own_nats.url, create=True))
            relays.append(Relay(membership, server, name=name))
            tasks.append(asyncio.create_task(relays[-1].run()))
            networks.append(network)
        for number in range(COUNT):
            for network, relay in zip(networks, relays, strict=True):
                network.send(SOURCE, GROUP, PORT, b"%d" % number, source_port=4000)
                await until(lambda relay=relay, number=number: relay.statistics().stored == number + 1)  # type: ignore[misc]  # those of this turn
                assert not any(task.done() for task in tasks)
        far = await opened.enter_async_context(JetStream(own_nats.url))
        subscription = await opened.enter_async_context(Subscription(far, start=Start.FIRST))
        numbers: list[int] = []
        async with asyncio.timeout(20):
            while len(numbers) < COUNT:
                numbers.append(int((await anext(subscription)).data))
        for task in tasks:
            await ended(task)
    assert numbers == list(range(COUNT))
    assert subscription.statistics().repeated >= COUNT - 1, "the last is not read for nothing"


async def test_who_reads_slowly_misses_nothing(own_nats: NatsServer) -> None:
    """The relay does not wait for readers, and what the reader has not taken is bounded."""
    memory = MemoryNetwork(start_ns=time.time_ns())
    async with Receiver(network=memory) as receiver, JetStream(own_nats.url, create=True) as server:
        membership = await receiver.join(GROUP, PORT, sources=[SOURCE])
        relay = Relay(membership, server)
        task = asyncio.create_task(relay.run())
        memory.send(SOURCE, GROUP, PORT, b"0 ")
        await until(lambda: relay.statistics().stored == 1)
        async with JetStream(own_nats.url) as far, Subscription(far, start=Start.FIRST) as subscription:
            numbers = [int((await anext(subscription)).data)]
            for number in range(1, 20 * COUNT):
                memory.send(SOURCE, GROUP, PORT, b"%d " % number + b"x" * 1000)
                if number % 50 == 0:  # for each 50 that are stored the reader takes one
                    await until(lambda number=number: relay.statistics().received > number - 1)  # type: ignore[misc]  # the number of this turn
                    numbers.append(int((await anext(subscription)).data.split()[0]))
            await until(lambda: relay.statistics().stored == 20 * COUNT)
            assert len(numbers) < COUNT
            async with asyncio.timeout(20):
                while len(numbers) < 20 * COUNT:
                    numbers.append(int((await anext(subscription)).data.split()[0]))
            assert numbers == list(range(20 * COUNT))
            assert subscription.statistics().repeated == subscription.statistics().missing == 0
        await ended(task)
