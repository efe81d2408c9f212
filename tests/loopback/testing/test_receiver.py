"""A receiver on a network in memory: it gets what its filters let in, once and in order."""

import asyncio
import random

import pytest

from aiomcast import Receiver, SourceFilter
from aiomcast.testing import MemoryNetwork
from tests.support.waiting import turns

pytestmark = pytest.mark.timeout(20)  # a clock that stands still ends nothing

GROUP, PORT = "239.1.1.1", 5000
SOURCES = [f"192.0.2.{number}" for number in range(10, 45)]


def some_filter(draw: random.Random) -> SourceFilter:
    """Return a filter that the kernel can hold, in one socket or in several."""
    if draw.random() < 0.5:
        return SourceFilter.exclude(draw.sample(SOURCES, draw.randrange(11)))
    return SourceFilter.include(draw.sample(SOURCES, draw.randrange(len(SOURCES))))


async def move_on(net: MemoryNetwork, clock: str, draw: random.Random) -> None:
    """Move the clock, or let the loop turn, in one of the ways there are."""
    if clock == "runs":
        await net.run_for(draw.choice([0, 0.004, 0.01, 0.2]))
    elif clock == "jumps":
        await net.settle()
        net.advance(draw.choice([0, 0.004, 0.2]))
    elif draw.random() < 0.3:
        await net.settle()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("clock", "real_timers"),
    [("runs", False), ("runs", True), ("jumps", False), ("jumps", True), ("stands", False), ("stands", True)],
)
async def test_swaps_lose_nothing_and_double_nothing(clock: str, real_timers: bool, seed: int) -> None:
    draw = random.Random(seed)
    net = MemoryNetwork(real_timers=real_timers)
    got: list[tuple[str, bytes]] = []
    expected: list[tuple[str, bytes]] = []
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT)

        async def take() -> None:
            async for packet in feed:
                got.append((packet.source, packet.data))

        task = asyncio.create_task(take())
        await turns(1)
        for step in range(40):
            await move_on(net, clock, draw)
            wanted = some_filter(draw)
            await feed.swap(wanted, "deliver")
            for number in range(draw.randrange(20)):
                sent = draw.choice(SOURCES), f"{step}.{number}".encode()
                net.send(sent[0], GROUP, PORT, sent[1])
                if wanted.allows(sent[0]):
                    expected.append(sent)
        await net.settle()
        await net.run_for(1)
        assert got == expected
    async with asyncio.timeout(10):
        await task


async def test_nobody_need_move_the_clock() -> None:
    """What comes after a change of mode is read though no test settles anything."""
    net = MemoryNetwork()
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, sources=SOURCES[:1])
        packets = feed.packets()
        for number in range(20):
            await feed.swap(SOURCES[:2])
            await feed.swap(SourceFilter.any())
            net.send(SOURCES[0], GROUP, PORT, str(number).encode())
            async with asyncio.timeout(10):
                assert (await anext(packets)).data == str(number).encode()
