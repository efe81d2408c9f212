"""`receive` and `receive_nowait`, `batches()` as a context manager, and what cannot be set."""

from __future__ import annotations

import asyncio
import contextlib
from typing import assert_type

import pytest

import aiomcast
from aiomcast import Channel, Packet, PacketBatches, PacketStream, RefusedError, StateError, Tags
from aiomcast.streams.stream import Stream
from aiomcast.testing import MemoryNetwork
from tests.loopback.conftest import Senders
from tests.support.packets import numbered, payloads, rest, take
from tests.support.sending import A
from tests.support.waiting import turns, until

pytestmark = pytest.mark.usefixtures("network")

GROUP, PORT, SOURCE = "232.1.1.1", 5000, "192.0.2.10"
SECONDS = 10


async def test_receiving_with_a_timeout_loses_nothing(group: str, senders: Senders) -> None:
    async with (
        aiomcast.listen(group, senders.port, sources=[A], interface="lo") as feed,
        feed.packets() as stream,
    ):
        got: list[Packet] = []
        timed_out = 0
        for number in range(40):
            try:
                async with asyncio.timeout((0, 0.001)[number % 2]):
                    got.append(await stream.receive())
                    got.append(await stream.receive())
            except TimeoutError:
                timed_out += 1
            await senders.send(A, group, b"%d" % number)
        async with asyncio.timeout(SECONDS):
            while len(got) < 40:
                got.append(await stream.receive())
        assert payloads(got) == numbered(40)
        assert timed_out > 0
        assert stream.statistics().delivered == 40


async def test_a_wait_that_is_cancelled_as_it_is_woken_loses_nothing() -> None:
    net = MemoryNetwork()
    async with aiomcast.listen(GROUP, PORT, sources=[SOURCE], network=net) as feed:
        stream = aiter(feed)
        for number in range(5):
            waiting = asyncio.create_task(stream.receive())
            await turns()
            net.send(SOURCE, GROUP, PORT, b"%d" % number)
            await until(lambda: len(stream) == 1)  # woken, and it has not run yet
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                raise AssertionError(await waiting)
            assert stream.receive_nowait().data == b"%d" % number


async def test_receiving_at_once() -> None:
    net = MemoryNetwork()
    async with aiomcast.listen(GROUP, PORT, sources=[SOURCE], network=net) as feed:
        stream = feed.packets()
        with pytest.raises(StateError, match="nothing is queued") as caught:
            stream.receive_nowait()
        assert "receive()" in str(caught.value.hint)
        net.send_many(SOURCE, GROUP, PORT, numbered(3))
        await net.settle()
        assert stream.receive_nowait().data == b"0"
        await stream.aclose()
        assert payloads([stream.receive_nowait(), await stream.receive()]) == numbered(2, 1)
        for _ in range(2):
            with pytest.raises(StateError, match="closed"):
                stream.receive_nowait()
            with pytest.raises(StateError, match="closed"):
                await stream.receive()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_receiving_at_once_takes_nothing_from_a_task_that_waits() -> None:
    net = MemoryNetwork()
    async with aiomcast.listen(GROUP, PORT, sources=[SOURCE], network=net) as feed:
        stream = feed.packets()
        waiting = asyncio.create_task(stream.receive())
        await turns()
        with pytest.raises(StateError, match="another task"):
            stream.receive_nowait()
        net.send(SOURCE, GROUP, PORT, b"for the task")
        await until(lambda: len(stream) == 1)  # it is woken, and has not run yet
        with pytest.raises(StateError, match="another task"):
            stream.receive_nowait()
        with pytest.raises(StateError, match="another task"):
            await stream.receive()
        async with asyncio.timeout(SECONDS):
            assert (await waiting).data == b"for the task"


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_error_is_raised_once_after_what_is_queued(at_once: bool) -> None:
    net = MemoryNetwork()
    async with aiomcast.listen(GROUP, PORT, sources=[SOURCE], network=net) as feed:
        stream = feed.packets()
        net.send(SOURCE, GROUP, PORT, b"before")
        await net.settle()
        net.host.fail(GROUP, PORT, OSError(5, "Input/output error"))
        await net.settle()

        async def receive() -> Packet:
            return stream.receive_nowait() if at_once else await stream.receive()

        assert (await receive()).data == b"before"
        with pytest.raises(RefusedError):
            await receive()
        net.send(SOURCE, GROUP, PORT, b"after")
        await net.settle()
        assert (await receive()).data == b"after"


async def test_events_are_received_like_packets() -> None:
    async with aiomcast.Receiver(network=MemoryNetwork()) as receiver, receiver.events() as events:
        with pytest.raises(StateError):
            events.receive_nowait()
        await receiver.join(GROUP, PORT, sources=[SOURCE])
        assert events.receive_nowait().kind is aiomcast.EventKind.JOINED
        waiting = asyncio.create_task(events.receive())
        await turns()
        await receiver.aclose()
        async with asyncio.timeout(SECONDS):
            assert (await waiting).kind is aiomcast.EventKind.LEFT
        with pytest.raises(StateError, match="closed"):
            await events.receive()


@pytest.mark.parametrize("raises", [False, True])
async def test_batches_close_their_stream_at_the_end(raises: bool) -> None:
    net = MemoryNetwork()
    async with aiomcast.listen(GROUP, PORT, sources=[SOURCE], network=net) as feed:
        made = feed.batches()
        with contextlib.suppress(ZeroDivisionError):
            async with made as batches:
                assert batches is made
                net.send_many(SOURCE, GROUP, PORT, numbered(4))
                async with asyncio.timeout(SECONDS):
                    assert payloads(await anext(batches)) == numbered(4)
                net.send(SOURCE, GROUP, PORT, b"queued")
                await net.settle()
                if raises:
                    raise ZeroDivisionError
        net.send(SOURCE, GROUP, PORT, b"waits in the buffer")
        await net.settle()
        assert feed.statistics().received == 5
        async with asyncio.timeout(SECONDS):
            assert [payloads(batch) async for batch in batches] == [[b"queued"]]
        assert payloads(await take(aiter(feed), 1)) == [b"waits in the buffer"]


async def test_a_stream_closes_at_the_end_of_its_context() -> None:
    net = MemoryNetwork()
    async with aiomcast.listen(GROUP, PORT, sources=[SOURCE], network=net) as feed:
        async with feed.packets() as stream:
            net.send_many(SOURCE, GROUP, PORT, numbered(2))
            await net.settle()
        net.send(SOURCE, GROUP, PORT, b"waits in the buffer")
        await net.settle()
        assert await rest(stream) == numbered(2)
        assert payloads(await take(aiter(feed), 1)) == [b"waits in the buffer"]


async def test_tags_and_the_stream_of_batches_cannot_be_set() -> None:
    net = MemoryNetwork()
    async with aiomcast.Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, sources=[SOURCE])
        wanted = Channel(SOURCE, GROUP)
        stream, plain, batches = feed.packets(channel=wanted), feed.packets(), receiver.batches(source=SOURCE)
        assert stream.tags == Tags(channel=wanted)
        assert plain.tags == aiter(feed).tags == Tags()
        assert batches.stream.tags == Tags(source=SOURCE)
        assert plain.batches().stream is plain
        with pytest.raises(AttributeError):
            stream.tags = Tags()  # type: ignore[misc]  # the number of this turn
        with pytest.raises(AttributeError):
            batches.stream = plain  # type: ignore[misc]  # the number of this turn
        for name in ("source", "group", "channel"):
            with pytest.raises(AttributeError):
                setattr(stream.tags, name, None)
        with pytest.raises(AttributeError):
            stream.capacity = 1  # type: ignore[misc]  # the number of this turn
        assert (stream.tags, stream.capacity) == (Tags(channel=wanted), receiver.options.capacity)


class Numbers(Stream[int]):
    """A stream of something else."""


class Annotated(PacketStream):
    """A stream that knows more."""

    note = "mine"


async def test_a_subclass_keeps_its_type() -> None:
    """For the type checker too: `aiter` and `async with` yield what they were given."""
    async with Numbers(4) as numbers:
        assert_type(numbers, Numbers)
        assert_type(aiter(numbers), Numbers)
        assert aiter(numbers) is numbers
        numbers._feed([1])
        assert assert_type(await anext(aiter(numbers)), int) == 1
        numbers._feed([2, 3])
        assert assert_type(await numbers.receive(), int) == 2
        assert assert_type(numbers.receive_nowait(), int) == 3
    assert [number async for number in numbers] == []
    net = MemoryNetwork()
    async with aiomcast.listen(GROUP, PORT, sources=[SOURCE], network=net) as feed:
        async with Annotated(feed._outlet, feed, aiomcast.Options(), Tags(), False) as stream:
            assert_type(stream, Annotated)
            assert assert_type(aiter(stream), Annotated).note == "mine"
            assert aiter(stream) is stream
        assert_type(aiter(feed), PacketStream)
        async with feed.batches() as batches:
            assert_type(aiter(batches), PacketBatches)
