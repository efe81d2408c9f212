"""A relay and a subscription, over each of the real servers."""

from __future__ import annotations

import asyncio
import itertools
import signal
from datetime import UTC, datetime

import pytest

from aiomcast import ArgumentError, ArgumentTypeError, Membership, Overflow, Packet, Receiver, StateError
from aiomcast.relay import (
    JetStream,
    Missing,
    RedisStreams,
    Relay,
    RelayStatistics,
    Start,
    Subscription,
)
from aiomcast.relay.broker import Broker
from aiomcast.testing import MemoryNetwork
from tests.support.brokers import NatsServer, needs_nats
from tests.support.waiting import until

from .conftest import GROUP, PORT, SOURCE, Connect, ended, subject


async def taken(subscription: Subscription, count: int) -> list[Packet]:
    packets = []
    async with asyncio.timeout(10):
        async for packet in subscription:
            packets.append(packet)
            if len(packets) == count:
                break
    return packets


async def test_every_tag_goes_with_the_packet(memory: MemoryNetwork, connect: Connect) -> None:
    async with Receiver(network=memory, ancillary=("hop_limit", "traffic_class")) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        received = own.packets()
        template = subject()
        relay = Relay(own.packets(), connect(), name="a", subject=template)
        task = asyncio.create_task(relay.run())
        memory.send(SOURCE, GROUP, PORT, b"\0\xff\r\n", source_port=4000, hop_limit=7, traffic_class=184)
        memory.send(SOURCE, GROUP, PORT, b"")
        sent = [await anext(received), await anext(received)]
        await until(lambda: relay.statistics().stored == 2)
        async with Subscription(connect(), start=Start.FIRST, subject=template) as subscription:
            packets = await taken(subscription, 2)
        assert packets == [one._replace(flow=packets[0].flow if index == 0 else packets[1].flow)
                           for index, one in enumerate(sent)]  # fmt: skip
        assert (packets[0].source, packets[0].source_port) == (SOURCE, 4000)
        assert (packets[0].group, packets[0].port, packets[0].interface_index) == (GROUP, PORT, 0)
        assert (packets[0].hop_limit, packets[0].traffic_class) == (7, 184)
        await ended(task)


async def test_two_relays_store_once(memory: MemoryNetwork, membership: Membership, connect: Connect) -> None:
    template = subject()
    relays = [Relay(membership.packets(), connect(), name=name, subject=template) for name in ("a", "b")]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    memory.send_many(SOURCE, GROUP, PORT, [b"%d" % number for number in range(100)])
    await until(lambda: all(one.statistics().received == 100 for one in relays))
    await until(lambda: all(one.statistics().pending == 0 for one in relays))
    counted = [one.statistics() for one in relays]
    assert sum(one.stored for one in counted) == sum(one.merged for one in counted) == 100
    async with Subscription(connect(), start=Start.FIRST, subject=template) as subscription:
        packets = await taken(subscription, 100)
        assert [packet.data for packet in packets] == [b"%d" % number for number in range(100)]
        assert subscription.statistics().repeated == 0
    for task in tasks:
        await ended(task)


async def test_live_is_from_now_on_and_a_time_is_from_then_on(
    memory: MemoryNetwork, membership: Membership, connect: Connect
) -> None:
    template = subject()
    relay = Relay(membership, connect(), subject=template)
    task = asyncio.create_task(relay.run())
    memory.send(SOURCE, GROUP, PORT, b"before")
    await until(lambda: relay.statistics().stored == 1)
    await asyncio.sleep(0.05)  # what is stored at one time and asked for at that time cannot be told apart
    between = datetime.now(UTC)
    await asyncio.sleep(0.05)
    live = Subscription(connect(), subject=template)
    coming = asyncio.create_task(taken(live, 1))
    memory.send(SOURCE, GROUP, PORT, b"to begin")
    await until(lambda: relay.statistics().stored == 2)
    for number in itertools.count():  # until it has begun to listen
        memory.send(SOURCE, GROUP, PORT, b"after %d" % number)
        if (await asyncio.wait((coming,), timeout=0.05))[0]:
            break
    assert coming.result()[0].data.startswith((b"after", b"to begin"))
    async with Subscription(connect(), start=between, subject=template) as since:
        assert (await taken(since, 1))[0].data == b"to begin"
    async with Subscription(connect(), group=GROUP, port=PORT, source=SOURCE, start=Start.FIRST,
                            subject=template) as first:  # fmt: skip
        assert (await taken(first, 1))[0].data == b"before"
    await live.aclose()
    await ended(task)


async def test_only_what_is_asked_for(memory: MemoryNetwork, connect: Connect) -> None:
    template = subject()
    async with Receiver(network=memory) as receiver:
        for group in (GROUP, "232.1.1.2"):
            await receiver.join(group, PORT, sources=[SOURCE, "10.0.0.3"])
        relay = Relay(receiver, connect(), subject=template)
        task = asyncio.create_task(relay.run())
        for source in (SOURCE, "10.0.0.3"):
            for group in (GROUP, "232.1.1.2"):
                memory.send(source, group, PORT, f"{source} {group}".encode())
        await until(lambda: relay.statistics().stored == 4)
        for asked, count in (({"group": GROUP}, 2), ({"source": SOURCE}, 2), ({"port": PORT}, 4)):
            async with Subscription(
                connect(),
                start=Start.FIRST,
                subject=template,
                **asked,
            ) as one:
                packets = await taken(one, count)
            assert all(getattr(packet, name) == value for packet in packets for name, value in asked.items())
        await ended(task)


async def test_a_receiver_may_have_nothing_joined_for_a_while(
    memory: MemoryNetwork, connect: Connect
) -> None:
    async with Receiver(network=memory) as receiver:
        relay = Relay(receiver, connect(), subject=subject())
        task = asyncio.create_task(relay.run())
        for number in range(2):
            async with await receiver.join(GROUP, PORT, sources=[SOURCE]):
                memory.send(SOURCE, GROUP, PORT, b"%d" % number)
                await until(lambda number=number: relay.statistics().stored == number + 1)  # type: ignore[misc]  # the number of this turn
            assert not task.done()
    assert (await task).pending == 0


async def test_somebody_else_who_waits_on_the_stream_ends_the_relay(
    membership: Membership, connect: Connect
) -> None:
    stream = membership.packets()
    waiting = asyncio.create_task(stream.receive())
    await asyncio.sleep(0)
    with pytest.raises(StateError, match="another task"):
        await Relay(stream, connect(), subject=subject()).run()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_source_that_ends_ends_the_relay(
    memory: MemoryNetwork, membership: Membership, connect: Connect
) -> None:
    stream = membership.packets()
    memory.send_many(SOURCE, GROUP, PORT, [b"%d" % number for number in range(1000)])
    relay = Relay(stream, connect(), subject=subject())
    task = asyncio.create_task(relay.run())
    await until(lambda: relay.statistics().received > 0)
    await stream.aclose()
    counted = await task
    assert counted.pending == 0
    assert counted.received == counted.stored


async def test_what_is_taken_is_stored_when_it_is_cancelled(
    memory: MemoryNetwork, membership: Membership, connect: Connect
) -> None:
    relay = Relay(membership.packets(), connect(), subject=subject())
    task = asyncio.create_task(relay.run())
    await until(lambda: task.done() or relay.statistics() == RelayStatistics())
    memory.send_many(SOURCE, GROUP, PORT, [b"%d" % number for number in range(600)])
    await until(lambda: relay.statistics().received >= 256)
    await ended(task)
    assert relay.statistics().pending == 0
    assert relay.statistics().stored == relay.statistics().received


async def test_long_packets_are_counted(
    memory: MemoryNetwork, membership: Membership, connect: Connect
) -> None:
    relay = Relay(membership, connect(), subject=subject(), largest=100)
    task = asyncio.create_task(relay.run())
    memory.send_many(SOURCE, GROUP, PORT, [b"x" * 100, b"x" * 101])
    await until(lambda: relay.statistics().stored == 1)
    assert relay.statistics().too_long == 1
    await ended(task)


async def test_one_run_at_a_time(membership: Membership, connect: Connect) -> None:
    relay = Relay(membership, connect(), subject=subject())
    task = asyncio.create_task(relay.run())
    await asyncio.sleep(0)
    with pytest.raises(StateError, match="runs already"):
        await relay.run()
    await ended(task)


class Away:
    """A server that is away until it is let come back: every answer waits for that."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.back = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._broker, name)

    async def store(self, messages: object) -> object:
        await self.back.wait()
        return await self._broker.store(messages)  # type: ignore[arg-type]  # handed on


async def test_while_nothing_is_stored_the_overflow_policy_decides(
    memory: MemoryNetwork, connect: Connect
) -> None:
    async with Receiver(network=memory, overflow=Overflow.DROP_OLDEST, capacity=16) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        away = Away(connect())
        relay = Relay(own, away, subject=subject(), pending=32)  # type: ignore[arg-type]  # it is one
        task = asyncio.create_task(relay.run())
        for sent in itertools.count():
            memory.send(SOURCE, GROUP, PORT, b"%d" % sent)
            await memory.settle()
            if relay.statistics().pending == 32 and relay.statistics().dropped:
                break
            assert sent < 100_000
        away.back.set()
        await until(lambda: relay.statistics().stored + relay.statistics().dropped == sent + 1)
        await ended(task)


def test_what_cannot_be_relayed() -> None:
    nowhere = RedisStreams("redis://127.0.0.1:1")
    stream = MemoryNetwork()
    for wrong in (stream, 5, None):
        with pytest.raises(ArgumentTypeError, match="has no packets"):
            Relay(wrong, nowhere)  # type: ignore[arg-type]  # which it refuses
    with pytest.raises(ArgumentError, match="no sources"):
        Relay([], nowhere)


async def test_arguments_that_cannot_be(membership: Membership) -> None:
    nowhere = RedisStreams("redis://127.0.0.1:1")
    for name, value in {
        "name": "", "subject": "x", "window": 0, "pending": 0, "largest": 70000, "drain": -1, "identity": 5,
    }.items():  # fmt: skip
        with pytest.raises(ArgumentError, match=name):
            Relay(membership, nowhere, **{name: value})  # type: ignore[arg-type]  # which it refuses
    with pytest.raises(ArgumentError, match="twice"):
        Relay([membership, membership], nowhere)
    with pytest.raises(ArgumentTypeError, match="no zone"):
        Subscription(nowhere, start=datetime(2026, 1, 1))
    with pytest.raises(ArgumentTypeError, match="start"):
        Subscription(nowhere, start="live")  # type: ignore[arg-type]  # which it refuses


async def test_what_is_not_kept_any_more_is_told_of(
    memory: MemoryNetwork, membership: Membership, connect: Connect
) -> None:
    """Messages that the server deletes, of which a relay knows that they were stored."""
    template = subject()
    broker = connect()
    relay = Relay(membership, broker, subject=template)
    task = asyncio.create_task(relay.run())
    memory.send(SOURCE, GROUP, PORT, b"first")
    await until(lambda: relay.statistics().stored == 1)
    for number in range(5):
        memory.send(SOURCE, GROUP, PORT, b"%d" % number)
        await until(lambda number=number: relay.statistics().stored == number + 2)  # type: ignore[misc]  # the number of this turn
    if isinstance(broker, JetStream):
        jetstream = (await broker.connect()).jetstream()
        name = str(broker._stream)
        last = (await jetstream.stream_info(name)).state.last_seq
        for place in (last - 1, last - 2):
            await jetstream.delete_msg(name, place)
    else:
        entries = await broker._opened().xrevrange(broker._stream, count=3)
        await broker._opened().xdel(broker._stream, *(entry[0] for entry in entries[1:]))
    memory.send(SOURCE, GROUP, PORT, b"last")
    await until(lambda: relay.statistics().stored == 7)
    items: list[Packet | Missing] = []
    async with Subscription(connect(), start=Start.FIRST, subject=template) as subscription:
        async with asyncio.timeout(10):
            async for item in subscription.missing():
                items.append(item)
                if isinstance(item, Packet) and item.data == b"last":
                    break
        assert subscription.statistics().missing == 2
    told = [one.count for one in items if isinstance(one, Missing)]
    assert told == [2]
    await ended(task)


@needs_nats
async def test_what_is_read_again_after_a_break_comes_once(
    memory: MemoryNetwork, membership: Membership, own_nats: NatsServer
) -> None:
    async with JetStream(own_nats.url, create=True) as broker, JetStream(own_nats.url) as far:
        relay = Relay(membership, broker)
        task = asyncio.create_task(relay.run())
        memory.send_many(SOURCE, GROUP, PORT, [b"%d" % number for number in range(20)])
        await until(lambda: relay.statistics().stored == 20)
        async with Subscription(far, start=Start.FIRST) as subscription:
            before = await taken(subscription, 20)
            own_nats.kill(signal.SIGTERM)  # it writes all it has
            own_nats.start()
            memory.send(SOURCE, GROUP, PORT, b"last")
            assert [packet.data for packet in await taken(subscription, 1)] == [b"last"]
            assert len(before) == 20
            assert subscription.statistics().packets == 21
            assert subscription.statistics().repeated == 0
        await ended(task)
