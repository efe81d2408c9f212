"""The main job: join sources, swap them, await tagged packets."""

import pytest

import aiomcast
from aiomcast.reading.options import STAMPS
from tests.loopback.conftest import Senders
from tests.support.packets import take

pytestmark = pytest.mark.usefixtures("network")

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"


async def test_only_the_joined_source_gets_in(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo") as feed:
        await senders.send(B, group, b"stranger")
        await senders.send(A, group, b"one", b"two")
        packets = await take(aiter(feed), 2)
        assert [packet.data for packet in packets] == [b"one", b"two"]
        assert {(p.source, p.group, p.port) for p in packets} == {(A, group, senders.port)}
        assert {p.interface_index for p in packets} == {feed.interface.index}
        assert packets[0].timestamp_ns is not None or not STAMPS
        assert feed.kernel_filter() == feed.filter


async def test_a_swap_lets_no_queued_packet_of_a_removed_source_through(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        membership = await receiver.join(group, senders.port, sources={A, B}, interface="lo")
        await senders.send(A, group, b"a1")
        await senders.send(B, group, b"b1")
        await membership.swap({B, C})
        await senders.send(A, group, b"a2")
        await senders.send(C, group, b"c1")
        packets = await take(aiter(receiver), 2)
        assert [packet.data for packet in packets] == [b"b1", b"c1"]
        assert membership.statistics().filtered == 1
