"""A server that relays have stored on, in the place of the network, over each of the real servers."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import warnings
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import aiomcast
from aiomcast import (
    EventKind,
    Flow,
    InterfaceError,
    Membership,
    Packet,
    Receiver,
    SourceFilter,
    StateError,
    UnsupportedError,
)
from aiomcast.feeds import Capture, Sequence, gaps, merge, record
from aiomcast.relay import JetStream, RedisStreams, RelayNetwork, Start, SubscriptionStatistics
from aiomcast.relay.broker import Outcome
from aiomcast.relay.messages import Message, tags_of_flow, tags_of_packet
from tests.support.waiting import turns, until

from .conftest import GROUP, PORT, SOURCE, Connect, subject
from .storing import Storing

OTHER, THIRD = "10.0.0.3", "10.0.0.4"
GROUP2 = "232.1.1.2"
ANY_GROUP = "239.1.1.1"


async def storing(connect: Connect, name: str = "a", template: str | None = None) -> tuple[Storing, str]:
    """Return what stores, and the template it does so under."""
    template = subject() if template is None else template
    made = Storing(connect(), template, name)
    await made.begin()
    return made, template


async def received(packets: AsyncIterator[Packet], count: int, seconds: float = 20) -> list[bytes]:
    """Return the payloads of the next so many."""
    async with asyncio.timeout(seconds):
        return [(await anext(packets)).data for _ in range(count)]


def numbered(count: int, name: str = "") -> list[bytes]:
    return [f"{name}{number}".encode() for number in range(count)]


async def test_what_is_stored_after_the_join_comes(connect: Connect) -> None:
    feed, template = await storing(connect)
    await feed.store(b"before")
    async with aiomcast.listen(
        GROUP, PORT, sources=[SOURCE], network=connect().network(subject=template)
    ) as own:
        await feed.store(*numbered(3))
        assert await received(aiter(own), 3) == numbered(3)


async def test_every_tag_comes_with_the_packet(connect: Connect) -> None:
    feed, template = await storing(connect)
    network = connect().network(subject=template)
    flow = Flow(SOURCE, 4000, GROUP, PORT, 3)
    stamped = Packet(b"\0\xff\r\n", flow, 1_700_000_000_123_456_789, True, 7, 184)
    bare = Packet(b"", flow)
    async with Receiver(network=network, ancillary=("hop_limit", "traffic_class")) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        before = datetime.now(UTC) - timedelta(seconds=1)
        await feed.store_packets(stamped, bare, stamped)
        packets = own.packets()
        async with asyncio.timeout(10):
            first, second, third = [await anext(packets) for _ in range(3)]
        here = network.interfaces[0]
        assert first == stamped._replace(flow=Flow(SOURCE, 4000, GROUP, PORT, here.index))
        assert receiver.membership_of(first) is own
        assert (second.data, second.hop_limit, second.traffic_class) == (b"", None, None)
        assert second.timestamp_ns is not None, "it has the server's"
        assert abs(second.timestamp_ns / 1e9 - before.timestamp()) < 600
        assert third.timestamp_ns == stamped.timestamp_ns, "stamps need not rise"
        assert own.statistics().truncated == 2
        assert own.statistics().received == 3


async def test_from_the_first_or_from_a_time_on(connect: Connect) -> None:
    feed, template = await storing(connect)
    await feed.store(b"0")
    await asyncio.sleep(0.05)  # what is stored at one time and asked for at that time cannot be told apart
    between = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await feed.store(b"1")
    begins: list[tuple[Start | datetime, list[bytes]]] = [(Start.FIRST, [b"0", b"1"]), (between, [b"1"])]
    begins += [(datetime(year, 1, 1, tzinfo=UTC), [b"0", b"1"]) for year in (1900, 1970, 2001)]
    for start, expected in begins:
        network = connect().network(start=start, subject=template)
        async with aiomcast.listen(GROUP, PORT, sources=[SOURCE], network=network) as own:
            assert await received(aiter(own), len(expected)) == expected


async def test_swaps_while_packets_flow(connect: Connect) -> None:
    """Of what both lists let in nothing is lost, of what the new one refuses nothing comes."""
    feed, template = await storing(connect)
    sources = [SOURCE, OTHER, THIRD]
    chance = random.Random(5)
    is_done = False

    async def flow() -> int:
        for number in itertools.count():
            for source in sources:
                await feed.store(b"%d" % number, source=source)
            if is_done:
                return number
        return 0

    async with Receiver(network=connect().network(subject=template)) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        packets = own.packets()
        flowing = asyncio.create_task(flow())
        kept: list[bytes] = []
        async with asyncio.timeout(30):
            for _ in range(40):
                let_in = {SOURCE, *chance.sample([OTHER, THIRD], chance.randrange(3))}
                await own.swap(let_in)
                assert own.filter.sources == let_in
                came: set[str] = set()
                for turn in itertools.count():
                    packet = await anext(packets)
                    assert packet.source in let_in
                    came.add(packet.source)
                    if packet.source == SOURCE:
                        kept.append(packet.data)
                    if came == let_in and turn >= 5:
                        break
            is_done = True
            last = await flowing
            while len(kept) <= last:
                packet = await anext(packets)
                if packet.source == SOURCE:
                    kept.append(packet.data)
        assert kept == numbered(last + 1)


async def test_a_change_of_mode(connect: Connect) -> None:
    feed, template = await storing(connect)
    async with Receiver(network=connect().network(subject=template)) as receiver:
        own = await receiver.join(ANY_GROUP, PORT, sources=[SOURCE])
        packets = own.packets()
        for number in range(10):
            for source in (SOURCE, OTHER):
                await feed.store(b"%d" % number, source=source, group=ANY_GROUP)
            assert await received(packets, 1) == [b"%d" % number]
            await own.swap({SOURCE} if number % 2 else SourceFilter.exclude({OTHER}))
        await until(lambda: statistics(receiver).packets == 20)  # what comes later is the new filter's
        await own.swap(SourceFilter.any())
        await feed.store(b"last", source=OTHER, group=ANY_GROUP)
        assert await received(packets, 1) == [b"last"]


async def test_what_is_let_in_by_nothing_goes_by(connect: Connect) -> None:
    feed, template = await storing(connect)
    async with Receiver(network=connect().network(subject=template)) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        packets = own.packets()
        await own.swap(set())
        await feed.store(b"between")
        await until(lambda: statistics(receiver).packets == 1)
        await own.swap({SOURCE})
        await own.refresh()
        await receiver.refresh()
        await feed.store(b"after")
        assert await received(packets, 1) == [b"after"]


def statistics(receiver: Receiver) -> SubscriptionStatistics:
    network = receiver._network
    assert isinstance(network, RelayNetwork)
    return network.statistics()


async def test_several_memberships_and_receivers(connect: Connect) -> None:
    feed, template = await storing(connect)
    network = connect().network(subject=template)
    async with Receiver(network=network) as one, Receiver(network=network) as other:
        first = await one.join(GROUP, PORT, sources=[SOURCE])
        second = await one.join(GROUP2, PORT, sources=[SOURCE, OTHER])
        third = await other.join(GROUP, PORT, sources=[OTHER])
        for number in range(50):
            for group, source in itertools.product((GROUP, GROUP2), (SOURCE, OTHER)):
                await feed.store(f"{group} {source} {number}".encode(), group=group, source=source)
        expected = {
            (group, source): [f"{group} {source} {number}".encode() for number in range(50)]
            for group, source in itertools.product((GROUP, GROUP2), (SOURCE, OTHER))
        }
        assert await received(aiter(first), 50) == expected[GROUP, SOURCE]
        assert await received(aiter(third), 50) == expected[GROUP, OTHER]
        both = await received(aiter(second), 100)
        assert sorted(both) == sorted(expected[GROUP2, SOURCE] + expected[GROUP2, OTHER])
        with pytest.raises(StateError, match="joined already"):
            await one.join(GROUP, PORT, sources=[OTHER])
        await feed.store(b"still")
        assert await received(aiter(first), 1) == [b"still"]
    assert network.statistics().packets == 100 + 100 + 100 + 2, "three consumers, and what was last"


async def test_two_joins_of_one_group_at_once(connect: Connect) -> None:
    feed, template = await storing(connect)
    async with Receiver(network=connect().network(subject=template)) as receiver:
        joins = [receiver.join(GROUP, PORT, sources=[SOURCE]) for _ in range(2)]
        done = await asyncio.gather(*joins, return_exceptions=True)
        assert [type(one) for one in done] in ([Membership, StateError], [StateError, Membership])
        await feed.store(b"1")
        assert await received(aiter(receiver), 1) == [b"1"]


async def test_leave_and_join_again(connect: Connect) -> None:
    feed, template = await storing(connect)
    async with Receiver(network=connect().network(subject=template)) as receiver:
        for number in range(5):
            async with receiver.join(GROUP, PORT, sources=[SOURCE]) as own:
                await feed.store(b"%d" % number)
                assert await received(aiter(own), 1) == [b"%d" % number]
            await feed.store(b"between")
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        await own.leave()
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])  # in the same turn of the loop, about
        await feed.store(b"last")
        assert await received(aiter(own), 1) == [b"last"]


async def test_the_last_leave_ends_the_consumer(connect: Connect) -> None:
    feed, template = await storing(connect)
    broker = connect()
    async with Receiver(network=broker.network(start=Start.FIRST, subject=template)) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        await feed.store(b"1")
        assert await received(aiter(own), 1) == [b"1"]
        read = next(iter(receiver._reading._channels.values()))._read  # type: ignore[union-attr]  # looked into
        await own.leave()
        await until(lambda: read.ag_frame is None)
        await receiver.join(GROUP2, PORT, sources=[SOURCE])
        assert list(receiver._reading._channels) == [(GROUP2, PORT)]  # type: ignore[union-attr]  # looked into


async def test_slow_reception_loses_nothing(connect: Connect) -> None:
    feed, template = await storing(connect)
    count = 5000
    async with Receiver(
        network=connect().network(start=Start.FIRST, subject=template), receive_buffer=8192, capacity=16
    ) as receiver:
        unread = await receiver.join(GROUP2, PORT, sources=[SOURCE])
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        await feed.store(*numbered(count), group=GROUP2)
        await feed.store(*numbered(count))
        packets = own.packets()
        for number in range(count):
            async with asyncio.timeout(20):
                assert (await anext(packets)).data == b"%d" % number
            if not number % 100:
                await turns(3)
        assert own.statistics().kernel_drops == own.statistics().queue_drops == 0
        read = sum(statistics(receiver).packets for _ in range(1)) - count
        assert read < 100, "what nobody receives is not read"
        assert await received(aiter(unread), count) == numbered(count)
        assert unread.statistics().kernel_drops == 0


async def test_what_two_relays_have_stored_comes_once(connect: Connect) -> None:
    one, template = await storing(connect, "a")
    other, _ = await storing(connect, "b", template)
    flow = Flow(SOURCE, 4000, GROUP, PORT, 1)
    base = datetime.now(UTC).timestamp() * 1e9
    async with Receiver(network=connect().network(subject=template)) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        for feed, slot in ((one, 1), (other, 2)):
            packet = Packet(b"x", flow, int(base))
            tags = tags_of_packet(packet, tags_of_flow(flow, "eth0", feed._name, "run"), 1, "0/0")
            message = Message(feed._subject.of(flow), tags, packet.data, f"same/{slot}/0")
            assert await feed._broker.store([message]) == [Outcome.STORED]
        await one.store(b"last")
        assert await received(aiter(own), 2) == [b"x", b"last"]
        assert statistics(receiver).repeated == 1


async def test_what_is_missing_is_counted_and_told(connect: Connect) -> None:
    feed, template = await storing(connect)
    network = connect().network(subject=template)
    flow = Flow(SOURCE, 4000, GROUP, PORT, 1)
    refused = Flow(OTHER, 4000, GROUP, PORT, 1)
    async with Receiver(network=network) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        events = receiver.events()
        for each in (flow, refused):
            await feed.store_packets(*[Packet(data, each, 1) for data in (b"0", b"1")])
            await feed.store_packets(*[Packet(data, each, 1) for data in (b"2", b"3", b"4")], but={0, 1, 2})
            await feed.store_packets(Packet(b"5", each, 1))
        await feed.store(b"last")
        assert await received(aiter(own), 4) == [b"0", b"1", b"5", b"last"]
        assert own.statistics().kernel_drops == 3, "and not those that the filter refuses"
        assert network.statistics().missing == 6
        async with asyncio.timeout(10):
            async for event in events:
                if event.kind is EventKind.DROPPED:
                    assert (event.membership, event.count) == (own, 3)
                    break


async def test_gaps_merge_and_record_work_on_it(connect: Connect, tmp_path: Path) -> None:
    feed, template = await storing(connect)
    network = connect().network(start=Start.FIRST, subject=template)
    sequence = Sequence.parse("u32@0")
    payloads = [number.to_bytes(4, "big") for number in range(20)]
    await feed.store(*payloads[:10], *payloads[12:])
    await feed.store(*payloads[:5], *payloads[8:], group=GROUP2)
    async with Receiver(network=network) as receiver:
        lines = [await receiver.join(group, PORT, sources=[SOURCE]) for group in (GROUP, GROUP2)]
        async with merge(*lines, sequence=sequence, hold=20) as merged, asyncio.timeout(20):
            items = [await anext(merged) for _ in range(20)]
        assert [one.data for one in items if isinstance(one, Packet)] == payloads
    async with Receiver(network=network) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        found = gaps(own, sequence)
        async with asyncio.timeout(10):
            items = [await anext(found) for _ in range(19)]
        missing = [one for one in items if not isinstance(one, Packet)]
        assert len(missing) == 1
        writing = asyncio.create_task(record(own.packets(), tmp_path / "far.pcapng"))
        await turns()
        await feed.store(b"recorded")
        await until(lambda: own.statistics().received == 19)
    await writing
    captured = [one.data for batch in Capture(tmp_path / "far.pcapng").batches() for one in batch]
    assert captured == [b"recorded"]


async def test_a_template_that_does_not_tell_groups_apart(connect: Connect) -> None:
    feed, template = await storing(connect, template=f"g{subject().split('.')[0]}.{{source}}")
    async with Receiver(network=connect().network(subject=template)) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE])
        await feed.store(b"other group", group=GROUP2)
        await feed.store(b"other port", port=PORT + 1)
        await feed.store(b"own")
        assert await received(aiter(own), 1) == [b"own"]


async def test_the_interface(connect: Connect) -> None:
    feed, template = await storing(connect)
    broker = connect()
    named = broker.network(subject=template, interface="eth0")
    assert [one.name for one in named.interfaces] == ["eth0"]
    async with Receiver(network=named) as receiver:
        own = await receiver.join(GROUP, PORT, sources=[SOURCE], interface="eth0")
        await feed.store(b"1")
        assert await received(aiter(own), 1) == [b"1"]
    plain = broker.network(subject=template)
    assert [one.name for one in plain.interfaces] == [broker.name]
    async with Receiver(network=plain) as receiver:
        with pytest.raises(InterfaceError, match="eth0"):
            await receiver.join(GROUP, PORT, sources=[SOURCE], interface="eth0")
        own = await receiver.join(GROUP, PORT, sources=[SOURCE], interface=aiomcast.ALL_INTERFACES)
        assert own.interface.name == broker.name


async def test_no_port_that_the_system_chooses(connect: Connect) -> None:
    _, template = await storing(connect)
    async with Receiver(network=connect().network(subject=template)) as receiver:
        with pytest.raises(UnsupportedError, match="port"):
            await receiver.join(GROUP, 0, sources=[SOURCE])


async def test_what_it_began_ends_with_the_receiver(connect: Connect) -> None:
    _, template = await storing(connect)
    before = asyncio.all_tasks()
    network = connect().network(subject=template)
    for _ in range(2):
        async with Receiver(network=network) as receiver:
            await receiver.join(GROUP, PORT, sources=[SOURCE])
            await receiver.join(GROUP2, PORT, sources=[SOURCE])
            assert asyncio.all_tasks() - before
        await until(lambda: not asyncio.all_tasks() - before)


async def test_a_join_that_is_cancelled_leaves_nothing(connect: Connect) -> None:
    feed, template = await storing(connect)
    before = asyncio.all_tasks()
    async with Receiver(network=connect().network(subject=template)) as receiver:
        count = 0
        while True:
            count += 1 + count // 4  # turns of the loop, more often where less is done in one
            joining = asyncio.create_task(receiver.join(GROUP, PORT, sources=[SOURCE]))
            for _ in range(count):
                await asyncio.wait([joining], timeout=0)
            if joining.cancel():
                assert isinstance((await asyncio.gather(joining, return_exceptions=True))[0], BaseException)
                await until(lambda: not receiver._reading._channels)  # type: ignore[union-attr]  # looked into
                continue
            await joining
            break
        await feed.store(b"1")
        assert await received(aiter(receiver), 1) == [b"1"]
    await until(lambda: not asyncio.all_tasks() - before)


async def test_a_receiver_that_is_dropped_ends_its_connection(connect: Connect) -> None:
    _, template = await storing(connect)
    before = asyncio.all_tasks()
    receiver = Receiver(network=connect().network(subject=template))
    await receiver.join(GROUP, PORT, sources=[SOURCE])
    await turns()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del receiver
        gc.collect()
        await until(lambda: not asyncio.all_tasks() - before)


def test_arguments_that_cannot_be(connect: Connect) -> None:
    for broker in (JetStream("nats://127.0.0.1:1"), RedisStreams("redis://127.0.0.1:1")):
        for name, value in {
            "start": "live", "subject": "x", "interface": "",
        }.items():  # fmt: skip
            with pytest.raises(aiomcast.ArgumentError, match=name):
                broker.network(**{name: value})  # type: ignore[arg-type]  # which it refuses
        with pytest.raises(aiomcast.ArgumentTypeError, match="no zone"):
            broker.network(start=datetime(2026, 1, 1))
        with pytest.raises(aiomcast.ArgumentTypeError, match="interface"):
            broker.network(interface=5)  # type: ignore[arg-type]  # which it refuses
