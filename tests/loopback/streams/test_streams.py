"""Streams: what goes where, in which order, how much of it, and where the rest was counted."""

import asyncio
import contextlib
from typing import Any

import pytest

import aiomcast
from aiomcast import Channel, Overflow, StateError
from tests.loopback.conftest import Senders
from tests.support.accounts import accounted
from tests.support.inside import readers_of
from tests.support.packets import numbered, payloads, rest, take
from tests.support.sending import A, B
from tests.support.waiting import turns, until, wait_readable

pytestmark = pytest.mark.usefixtures("network")
ON_SOCKETS = pytest.mark.parametrize("network", ["sockets"], indirect=True)  # what it looks at is theirs


async def test_the_default_stream_goes_on_where_it_stopped(group: str, senders: Senders) -> None:
    listener = aiomcast.listen(group, senders.port, sources=[A], interface="lo")
    async with listener as feed:
        await senders.send(A, group, *numbered(6))
        got = []
        for _ in range(3):
            async with asyncio.timeout(10):
                async for packet in feed:
                    got.append(packet.data)
                    if len(got) % 2 == 0:
                        break
        assert got == numbered(6)
        assert aiter(feed) is aiter(feed)
        assert aiter(listener.receiver) is aiter(listener.receiver)
        assert aiter(listener.receiver) is not aiter(feed)


async def test_every_stream_gets_a_copy_of_its_own(group: str, senders: Senders) -> None:
    listener = aiomcast.listen(group, senders.port, sources=[A], interface="lo")
    async with listener as feed:
        receiver = listener.receiver
        streams = [aiter(receiver), receiver.packets(), feed.packets(), aiter(feed)]
        batches = receiver.batches()
        await senders.send(A, group, *numbered(5))
        first = await take(streams[0], 5)
        for stream in streams[1:]:
            packets = await take(stream, 5)
            assert packets == first
        async with asyncio.timeout(10):
            batch = await anext(batches)
        batch.clear()  # what is yielded belongs to the caller
        late = feed.packets()
        await senders.send(A, group, b"last")
        assert payloads(await take(late, 1)) == payloads(await take(streams[1], 1)) == [b"last"]


async def test_tags(group: str, any_group: str, senders: Senders) -> None:
    port = senders.port
    async with aiomcast.Receiver() as receiver:
        one = await receiver.join(group, port, sources=[A, B], interface="lo")
        two = await receiver.join(any_group, port, interface="lo")
        streams = {
            "everything": receiver.packets(),
            "source": receiver.packets(source=A),
            "mapped source": receiver.packets(source=f"::ffff:{A}"),
            "group": receiver.packets(group=any_group),
            "channel": receiver.packets(channel=Channel(B, any_group)),
            "source and group": receiver.packets(source=B, group=group),
            "membership": one.packets(),
            "membership and source": two.packets(source=A),
            "membership and channel": one.packets(channel=Channel(A, group)),
        }
        for source, name in ((A, b"a"), (B, b"b")):
            await senders.send(source, group, name + b"1")
            await senders.send(source, any_group, name + b"2")
        await until(lambda: receiver.statistics().received == 4)
        await receiver.aclose()
        assert {name: set(await rest(stream)) for name, stream in streams.items()} == {
            "everything": {b"a1", b"a2", b"b1", b"b2"},
            "source": {b"a1", b"a2"},
            "mapped source": {b"a1", b"a2"},
            "group": {b"a2", b"b2"},
            "channel": {b"b2"},
            "source and group": {b"b1"},
            "membership": {b"a1", b"b1"},
            "membership and source": {b"a2"},
            "membership and channel": {b"a1"},
        }


@pytest.mark.parametrize("tags", [{"source": "nonsense"}, {"source": "224.0.0.1"}, {"group": "10.0.0.1"}])
async def test_tags_that_no_packet_has(tags: dict[str, str], group: str) -> None:
    async with aiomcast.listen(group, 5000, sources=[A], interface="lo") as feed:
        with pytest.raises(aiomcast.AddressError):
            feed.packets(**tags)  # type: ignore[arg-type]  # wrong on purpose


async def test_packets_that_no_stream_asked_for_are_counted(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A, B], interface="lo") as feed:
        only = feed.packets(source=A)
        await senders.send(B, group, b"b1", b"b2")
        await senders.send(A, group, b"a")
        assert payloads(await take(only, 1)) == [b"a"]
        accounted(feed.statistics(), taken=1)


async def test_batches_hold_what_is_there_in_order(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo") as feed:
        stream = feed.packets()
        await senders.send(A, group, *numbered(50))
        assert payloads(await take(stream, 3)) == numbered(3)
        got: list[bytes] = []
        async with asyncio.timeout(10):
            async for batch in stream.batches():
                assert batch
                got += payloads(batch)
                if len(got) == 47:
                    break
        assert got == numbered(47, 3)
        await stream.batches().aclose()
        assert await rest(stream) == []


@pytest.mark.parametrize("waiting_by", ["packets", "batches"])
@pytest.mark.parametrize("second_by", ["packets", "batches"])
async def test_two_tasks_on_one_stream(group: str, senders: Senders, waiting_by: str, second_by: str) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo") as feed:
        stream = aiter(feed)
        # Any: both have aclose and anext
        ways: dict[str, Any] = {"packets": stream, "batches": stream.batches()}

        async def wait() -> object:
            return await anext(ways[waiting_by])

        task = asyncio.create_task(wait())
        await turns()
        with pytest.raises(StateError) as caught:
            await anext(ways[second_by])
        assert caught.value.hint
        assert isinstance(caught.value, RuntimeError)
        await senders.send(A, group, b"first")
        async with asyncio.timeout(10):
            await task
        await senders.send(A, group, b"second")
        assert payloads(await take(stream, 1)) == [b"second"]


async def test_a_cancelled_wait_loses_nothing(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo") as feed:
        stream = aiter(feed)
        got = []
        for number in range(20):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    got.append(await anext(stream))
            await senders.send(A, group, b"%d" % number)
        assert payloads(got + await take(stream, 20 - len(got))) == numbered(20)


async def test_anext_can_be_a_task_whether_or_not_a_packet_is_there(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo") as feed:
        stream = aiter(feed)
        waiting = asyncio.create_task(anext(stream))
        await turns()
        await senders.send(A, group, *numbered(4))
        async with asyncio.timeout(10):
            assert (await waiting).data == b"0"
            await until(lambda: len(stream) == 3)
            ready = asyncio.create_task(anext(stream))
            assert (await ready).data == b"1"
            assert (await asyncio.wait_for(anext(stream), 5)).data == b"2"
            dropped = asyncio.create_task(anext(stream))
            await feed.swap([B])
            await turns()
            assert not dropped.done()
            await senders.send(B, group, b"new")
            assert (await dropped).data == b"new"


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
@pytest.mark.parametrize("owner", ["receiver", "membership"])
async def test_a_full_stream_drops_and_counts(
    overflow: Overflow, owner: str, group: str, senders: Senders
) -> None:
    async with aiomcast.Receiver(capacity=8, overflow=overflow) as receiver:
        membership = await receiver.join(group, senders.port, sources=[A], interface="lo")
        stream = receiver.packets() if owner == "receiver" else membership.packets()
        await senders.send(A, group, *numbered(100))
        await until(lambda: receiver.statistics().received == 100)
        assert len(stream) == 8
        kept = numbered(8) if overflow is Overflow.DROP_NEWEST else numbered(8, 92)
        assert receiver.statistics().queued == 8
        for statistics in (receiver.statistics(), membership.statistics()):
            assert (statistics.received, statistics.queue_drops) == (100, 92)
            assert statistics.octets == sum(map(len, numbered(100)))
        assert payloads(await take(stream, 8)) == kept
        assert stream.statistics() == aiomcast.StreamStatistics(100, 8, 92, 0, 0)
        await senders.send(A, group, b"more")
        assert payloads(await take(stream, 1)) == [b"more"]
        accounted(receiver.statistics(), taken=9)


@pytest.mark.parametrize("owner", ["receiver", "membership"])
async def test_a_full_stream_stops_the_reading_until_half_is_free(
    owner: str, group: str, senders: Senders
) -> None:
    listener = aiomcast.listen(group, senders.port, sources=[A], interface="lo", capacity=8)
    async with listener as feed:
        stream = listener.receiver.packets() if owner == "receiver" else feed.packets()
        await senders.send(A, group, *numbered(8))
        await until(lambda: len(stream) == 8)
        await senders.send(A, group, *numbered(4, 8))
        await turns(20)
        assert feed.statistics().received == 8
        got = payloads(await take(stream, 3))
        await turns(20)
        assert feed.statistics().received == 8
        got += payloads(await take(stream, 1))
        await until(lambda: feed.statistics().received == 12, seconds=2)
        got += payloads(await take(stream, 8))
        assert got == numbered(12)
        accounted(feed.statistics(), taken=12)


async def test_a_stream_that_closes_ends_its_pause(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo", capacity=4) as feed:
        stuck, other = feed.packets(), feed.packets()
        await senders.send(A, group, *numbered(4))
        assert payloads(await take(other, 4)) == numbered(4)
        await senders.send(A, group, b"behind")
        await turns(20)
        assert len(other) == 0
        await stuck.aclose()
        assert payloads(await take(other, 1)) == [b"behind"]
        assert await rest(stuck) == numbered(4)


async def test_a_full_membership_stops_only_itself(group: str, any_group: str, senders: Senders) -> None:
    async with aiomcast.Receiver(capacity=2) as receiver:
        full = await receiver.join(group, senders.port, sources=[A], interface="lo")
        free = await receiver.join(any_group, senders.port, interface="lo")
        stuck, stream = full.packets(), free.packets()
        await senders.send(A, group, *numbered(2))
        await until(lambda: len(stuck) == 2)
        for number in range(5):
            await senders.send(A, group, b"stays in the kernel")
            await senders.send(A, any_group, b"%d" % number)
            assert payloads(await take(stream, 1)) == [b"%d" % number]
        assert full.statistics().received == 2


@ON_SOCKETS
async def test_nothing_is_read_before_somebody_listens(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        membership = await receiver.join(group, senders.port, sources=[A], interface="lo")
        await senders.send(A, group, *numbered(10))
        (reader,) = readers_of(membership)
        assert isinstance(reader.sock, aiomcast.MulticastSocket)
        wait_readable(reader.sock)
        await turns(20)
        assert receiver.statistics().received == 0
        stream = receiver.packets()
        assert payloads(await take(stream, 10)) == numbered(10)
        await stream.aclose()
        await senders.send(A, group, *numbered(5))
        await turns(20)
        assert receiver.statistics().received == 10
        own = membership.packets()
        assert payloads(await take(own, 5)) == numbered(5)


async def test_closing_ends_every_iteration_after_what_is_queued(group: str, senders: Senders) -> None:
    receiver = aiomcast.Receiver()
    membership = await receiver.join(group, senders.port, sources=[A], interface="lo")
    waiting = [asyncio.create_task(rest(stream)) for stream in (aiter(receiver), aiter(membership))]
    events = receiver.events()
    idle, unread = receiver.packets(), membership.packets()
    await turns()
    await senders.send(A, group, *numbered(3))
    await until(lambda: len(idle) == 3)
    await receiver.aclose()
    async with asyncio.timeout(10):
        assert await asyncio.gather(*waiting) == [numbered(3)] * 2
        assert [event.kind.value async for event in events] == ["left"]
    assert await rest(idle) == await rest(unread) == numbered(3)
    assert await rest(aiter(receiver)) == []
    assert [batch async for batch in idle.batches()] == []
