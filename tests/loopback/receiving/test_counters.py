"""Every datagram that reached a socket is yielded or counted, whatever its size and tags."""

import attrs
import pytest

import aiomcast
from aiomcast import Channel, Statistics
from aiomcast.reading.options import STAMPS
from tests.loopback.conftest import Senders
from tests.support.inside import sockets_of
from tests.support.interfaces import ipv6_way
from tests.support.packets import numbered, payloads, rest, take
from tests.support.platforms import needs_drops
from tests.support.sending import A, B
from tests.support.waiting import until, wait_readable

pytestmark = pytest.mark.usefixtures("network")
ON_SOCKETS = pytest.mark.parametrize("network", ["sockets"], indirect=True)  # what it looks at is theirs


@ON_SOCKETS
async def test_what_was_unread_at_the_end_is_counted(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo", capacity=4) as feed:
        await senders.send(A, group, *numbered(30))
        wait_readable(sockets_of(feed)[0])
    counted = attrs.evolve(feed.statistics(), latest_ns=None)
    assert counted == Statistics(30, sum(map(len, numbered(30))), queue_drops=30)


async def test_the_counters_of_what_ended(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        feed = await receiver.join(group, senders.port, sources=[A], interface="lo")
        stream = feed.packets()
        await senders.send(A, group, *numbered(3))
        await until(lambda: len(stream) == 3)
        granted = receiver.statistics().receive_buffer
        assert granted > 0
        await feed.leave()
        assert receiver.statistics().queued == 3
        assert await rest(stream) == numbered(3)
        assert receiver.statistics() == feed.statistics()
        assert receiver.statistics().queued == 0
        assert receiver.statistics().receive_buffer == 0
        await receiver.join(group, senders.port, sources=[A], interface="lo")
        assert receiver.statistics().receive_buffer == granted


@needs_drops
async def test_kernel_drops_are_counted_without_a_later_packet(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo", receive_buffer=4096) as feed:
        await senders.send(A, group, *[bytes(1000)] * 200)
        drops = feed.statistics().kernel_drops
        assert 0 < drops < 200
        stream = aiter(feed)
        await take(stream, 200 - drops)
        statistics = feed.statistics()
        assert statistics.received + statistics.kernel_drops == 200
        assert feed.statistics() == statistics
        await senders.send(A, group, b"after")
        assert payloads(await take(stream, 1)) == [b"after"]
        assert feed.statistics().kernel_drops == drops
    assert feed.statistics().kernel_drops == drops


@pytest.mark.parametrize("size", [0, 1, 65507])
async def test_a_datagram_of_any_size_is_one_packet(size: int, group: str, senders: Senders) -> None:
    async with aiomcast.listen(
        group, senders.port, sources=[A], interface="lo", receive_buffer=1 << 20
    ) as feed:
        data = bytes(number % 251 for number in range(size))
        await senders.send(A, group, data, b"next")
        one, two = await take(aiter(feed), 2)
        assert (one.data == data, one.truncated, two.data) == (True, False, b"next")
        assert feed.statistics().octets == size + 4
        assert feed.statistics().truncated == 0


@ON_SOCKETS
async def test_the_tags_of_an_ipv6_packet(group6: str) -> None:
    interface, source = ipv6_way()
    async with (
        aiomcast.listen(
            group6, 5000, sources=[source], interface=interface, ancillary=["hop_limit", "traffic_class"]
        ) as feed,
        aiomcast.Sender(group6, 5000, source=source, interface=interface, ttl=7) as sender,
    ):
        await sender.send(b"six")
        (packet,) = await take(aiter(feed), 1)
        assert (packet.source, packet.group, packet.port) == (source, group6, 5000)
        assert (packet.interface_index, packet.hop_limit, packet.traffic_class) == (interface.index, 7, 0)
        assert packet.channel == Channel(source, group6)
        assert (packet.timestamp_ns is None) is not STAMPS
        await feed.swap(["2001:db8::1"])
        await sender.send(b"refused")
        await feed.swap([source])
        await sender.send(b"again")
        assert payloads(await take(aiter(feed), 1)) == [b"again"]


async def test_leaving_counts_what_no_tagged_stream_asked_for(any_group: str, senders: Senders) -> None:
    """What the socket still held is handed over at the end: also then, every packet is accounted for."""
    async with aiomcast.Receiver() as receiver:
        membership = await receiver.join(any_group, senders.port, sources=[A, B], interface="lo")
        stream = receiver.packets(source=A)
        await senders.send(A, any_group, b"wanted")
        await senders.send(B, any_group, b"unwanted", b"unwanted")
        await membership.leave()
        assert [packet.data for packet in await take(stream, 1)] == [b"wanted"]
        assert (membership.statistics().received, membership.statistics().filtered) == (3, 2)
        assert (receiver.statistics().received, receiver.statistics().filtered) == (3, 2)
