"""What one kernel drop stands for when the kernel hands over datagrams coalesced (UDP_GRO)."""

from __future__ import annotations

import sys

import pytest

import aiomcast
from aiomcast.reading import Reader
from aiomcast.reading.options import drops_and_buffer
from tests.support.inside import readers_of
from tests.support.packets import take
from tests.support.sending import A, sending

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coalesces as Linux does")

SOL_UDP, UDP_SEGMENT = 17, 103  # linux/udp.h
PORT, SIZE, HELD, SENT = 5000, 100, 10, 20  # of each send: one coalesced datagram of 10


@pytest.mark.parametrize("gro", [None, True, False])
async def test_a_coalesced_datagram_is_one_drop(any_group: str, gro: bool | None) -> None:
    """The kernel does not tell how many were in it; with gro=False each is its own."""
    async with aiomcast.Receiver(gro=gro, receive_buffer=4096) as receiver:
        membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
        with sending(A, any_group, PORT) as sender:
            sender.setsockopt(SOL_UDP, UDP_SEGMENT, SIZE)
            for number in range(SENT):
                sender.send(bytes([number]) * SIZE * HELD)
        (reader,) = readers_of(membership)
        assert isinstance(reader, Reader)
        assert isinstance(reader.sock, aiomcast.MulticastSocket)
        if gro is not False and not reader.coalesces:
            pytest.skip("this kernel has no UDP_GRO")
        drops = receiver.statistics().kernel_drops
        assert drops == drops_and_buffer(reader.sock)[0] != 0
        each = 1 if gro is False else HELD
        packets = await take(aiter(receiver), SENT * HELD - drops * each)
        if each > 1 and len({packet.timestamp_ns for packet in packets}) == len(packets):
            pytest.skip("lo coalesces nothing here")
        statistics = receiver.statistics()
        assert statistics.kernel_drops == drops
        assert statistics.received == len(packets) == SENT * HELD - drops * each
        assert all(len(packet.data) == SIZE for packet in packets)
