"""A stream that is full and not received from, while others wait because of it: it is told of, once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiomcast import Event, EventKind, EventStream, Membership, Packet, PacketStream, Receiver
from aiomcast.testing import MemoryNetwork
from tests.support.packets import numbered, payloads

GROUP, OTHER, PORT, SOURCE = "232.1.1.1", "232.1.1.2", 5000, "192.0.2.10"
CAPACITY = 4


class Scene:
    """A receiver in memory, its events, and a task that iterates over a membership."""

    def __init__(self, net: MemoryNetwork, receiver: Receiver, feed: Membership) -> None:
        self.net, self.receiver, self.feed = net, receiver, feed
        self.events: EventStream = receiver.events()
        self.got: list[Packet] = []

    async def iterate(self) -> None:
        """Take all that comes."""
        async for packet in self.feed:
            self.got.append(packet)

    async def send(self, count: int, group: str = GROUP) -> None:
        """Send, and let everybody take what comes."""
        self.net.send_many(SOURCE, group, PORT, numbered(count))
        await self.net.settle()

    def told(self) -> list[Event]:
        """What was told since it was last asked."""
        return [self.events.receive_nowait() for _ in range(len(self.events))]


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """Open one."""
    net = MemoryNetwork(real_timers=False)
    async with Receiver(network=net, capacity=CAPACITY) as receiver:
        made = Scene(net, receiver, await receiver.join(GROUP, PORT, sources=[SOURCE]))
        task = asyncio.create_task(made.iterate())
        await net.settle()
        yield made
        await receiver.aclose()
        async with asyncio.timeout(10):
            await task


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines of full streams since they were last asked for."""
    found = [record for record in caplog.records if record.name == "aiomcast"]
    caplog.clear()
    assert all(record.levelno == logging.WARNING for record in found if "stalled" in record.getMessage())
    return [record.getMessage() for record in found if "stalled" in record.getMessage()]


async def take(stream: PacketStream, count: int) -> list[bytes]:
    """Receive what is queued."""
    return payloads([stream.receive_nowait() for _ in range(count)])


async def test_a_default_stream_that_nobody_receives_from_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scene() as on:
        forgotten = aiter(on.receiver)
        await on.send(CAPACITY)
        assert payloads(on.got) == numbered(CAPACITY)
        await on.send(3)  # stay in the buffer
        await on.net.run_for(0.9)
        assert (on.told(), lines(caplog), len(on.got)) == ([], [], CAPACITY)
        await on.net.run_for(0.2)
        (event,) = on.told()
        assert (event.kind, event.membership, event.group) == (EventKind.STALLED, None, None)
        assert event.stream is forgotten
        (line,) = lines(caplog)
        assert repr(forgotten) in line
        assert "whole receiver" in line
        await on.net.run_for(60)
        assert (on.told(), lines(caplog), len(on.got)) == ([], [], CAPACITY)


async def test_it_is_told_again_only_when_it_has_drained_and_stalls_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scene() as on:
        forgotten = aiter(on.receiver)
        await on.send(CAPACITY)
        await on.net.run_for(2)
        assert len(on.told()) == len(lines(caplog)) == 1
        await take(forgotten, 1)  # it is still full
        await on.net.run_for(5)
        assert (on.told(), lines(caplog)) == ([], [])
        await take(forgotten, 3)
        await on.net.run_for(5)
        assert (on.told(), lines(caplog)) == ([], [])
        await on.send(CAPACITY)
        await on.net.run_for(2)
        assert [event.stream for event in on.told()] == [forgotten]
        assert len(lines(caplog)) == 1


async def test_one_that_drains_and_fills_again_at_once_has_drained(caplog: pytest.LogCaptureFixture) -> None:
    """As where more waits in the buffer than it holds."""
    async with scene() as on:
        forgotten = aiter(on.receiver)
        await on.send(CAPACITY)
        await on.send(CAPACITY)
        await on.net.run_for(2)
        assert len(on.told()) == len(lines(caplog)) == 1
        assert await take(forgotten, CAPACITY) == numbered(CAPACITY)
        await on.net.settle()
        assert len(forgotten) == CAPACITY
        await on.net.run_for(5)
        assert [event.stream for event in on.told()] == [forgotten]
        assert len(lines(caplog)) == 1


async def test_a_stream_of_one_membership_is_told_of_with_it(caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as on:
        beside = on.feed.packets()
        await on.send(CAPACITY)
        await on.net.run_for(2)
        (event,) = on.told()
        assert (event.kind, event.membership, event.stream) == (EventKind.STALLED, on.feed, beside)
        assert (event.group, event.port, event.interface) == (GROUP, PORT, "eth0")
        (line,) = lines(caplog)
        assert repr(beside) in line
        assert GROUP in line


async def test_one_that_is_received_from_now_and_then_is_not_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scene() as on:
        slow = aiter(on.receiver)
        await on.send(CAPACITY)
        await on.send(20)
        for _ in range(20):
            await on.net.run_for(0.9)
            await take(slow, 1)
            await on.net.settle()
            assert len(slow) >= CAPACITY // 2
        assert (on.told(), lines(caplog)) == ([], [])


async def test_it_is_not_told_of_while_nobody_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    net = MemoryNetwork(real_timers=False)
    async with (
        Receiver(network=net, capacity=CAPACITY) as receiver,
        receiver.events() as events,
        receiver.join(GROUP, PORT, sources=[SOURCE]) as feed,
    ):
        await events.receive()
        alone, other = aiter(receiver), aiter(feed)
        net.send_many(SOURCE, GROUP, PORT, numbered(CAPACITY))
        await net.run_for(5)
        assert (len(alone), len(events), lines(caplog)) == (CAPACITY, 0, [])
        for _ in range(CAPACITY):
            other.receive_nowait()
        waiting = asyncio.create_task(other.receive())  # from now on somebody does
        await net.run_for(2)
        assert [events.receive_nowait().stream for _ in range(len(events))] == [alone]
        assert len(lines(caplog)) == 1
        await receiver.aclose()
        with pytest.raises(Exception, match="closed"):
            await waiting


async def test_a_stream_of_another_membership_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as on, on.receiver.join(OTHER, PORT, sources=[SOURCE]) as other:
        full = other.packets()
        on.told()
        await on.send(CAPACITY, OTHER)
        await on.net.run_for(5)
        assert len(full) == CAPACITY
        assert (on.told(), lines(caplog)) == ([], [])
        await on.send(1)
        assert len(on.got) == 1


async def test_a_full_stream_that_closes_or_is_gone_is_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as on:
        async with on.receiver.packets() as closes:
            await on.send(CAPACITY)
            await on.net.run_for(0.5)
        await on.net.run_for(5)
        assert len(closes) == CAPACITY
        assert (on.told(), lines(caplog)) == ([], [])
        await on.send(1)
        assert len(on.got) == CAPACITY + 1


@pytest.mark.parametrize("level", [logging.WARNING, logging.CRITICAL])
async def test_what_nobody_hears_is_told_to_nobody(level: int, caplog: pytest.LogCaptureFixture) -> None:
    """Without event streams it is a log line alone, and without the log's level nothing."""
    net = MemoryNetwork(real_timers=False)
    caplog.set_level(level, "aiomcast")
    async with (
        Receiver(network=net, capacity=CAPACITY) as receiver,
        receiver.join(GROUP, PORT, sources=[SOURCE]) as feed,
    ):
        full = aiter(receiver)
        waiting = asyncio.create_task(anext(aiter(feed)))
        await net.settle()
        net.send_many(SOURCE, GROUP, PORT, numbered(CAPACITY))
        await net.settle()
        assert (await waiting).data == b"0"
        for _ in range(CAPACITY - 1):
            aiter(feed).receive_nowait()
        last = asyncio.create_task(anext(aiter(feed), None))
        await net.run_for(3)
        assert len(lines(caplog)) == (level == logging.WARNING)
        assert len(full) == CAPACITY
        await receiver.aclose()
        assert await last is None
