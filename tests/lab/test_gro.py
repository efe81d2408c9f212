"""Coalesced reads (UDP_GRO) over veth: every datagram comes out as it was sent."""

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest

import aiomcast

from .network import SWITCH, Host, Network

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104  # linux/udp.h
GROUP, PORT = "232.1.1.44", 5044


def payload(number: int, size: int) -> bytes:
    return struct.pack("!I", number).ljust(size, b"\xa5")


async def numbers(feed: aiomcast.Membership, until: int) -> list[aiomcast.Packet]:
    packets = []
    async with asyncio.timeout(20):
        async for packet in feed:
            packets.append(packet)
            if struct.unpack_from("!I", packet.data)[0] == until:
                break
    return packets


async def test_segments_of_one_send_come_out_one_by_one(network: Network, in_receiver: Host) -> None:
    source = network.hosts["s1"].address4
    async with aiomcast.listen(
        GROUP, PORT, sources=[source], interface="v0", ancillary=["hop_limit"]
    ) as feed:
        await asyncio.to_thread(network.wait_for_member, GROUP, source)
        with network.sender("s1", socket.AF_INET) as sender:
            sender.setsockopt(SOL_UDP, UDP_SEGMENT, 200)
            sent = [payload(number, 200) for number in range(19)] + [payload(19, 57)]
            sender.sendto(b"".join(sent), (GROUP, PORT))
        packets = await numbers(feed, 19)
    assert [packet.data for packet in packets] == sent
    assert {packet.source for packet in packets} == {source}
    assert {packet.hop_limit for packet in packets} == {8}
    assert None not in {packet.timestamp_ns for packet in packets}


@pytest.fixture
def merging(network: Network, in_receiver: Host) -> Iterator[None]:
    """Have the receiver's interface merge datagrams of a flow, as a NIC's driver would.

    A veth polls only what its peer cannot have segmented itself, and after every datagram: so
    the peer may not segment, and the poll is told to hold for a while what it could merge.
    """
    network.run(SWITCH, ["ethtool", "-K", network.hosts["rcv"].port, "tso", "off"])
    network.run("rcv", ["ethtool", "-K", "v0", "gro", "on", "rx-udp-gro-forwarding", "on"])
    holding = {"gro_flush_timeout": 2_000_000, "napi_defer_hard_irqs": 100}  # nanoseconds, polls
    for name, value in holding.items():
        network.run("rcv", ["sh", "-c", f"echo {value} > /sys/class/net/v0/{name}"])
    yield
    for name in holding:
        network.run("rcv", ["sh", "-c", f"echo 0 > /sys/class/net/v0/{name}"])
    network.run("rcv", ["ethtool", "-K", "v0", "rx-udp-gro-forwarding", "off", "gro", "off"])
    network.run(SWITCH, ["ethtool", "-K", network.hosts["rcv"].port, "tso", "on"])


async def test_datagrams_that_the_interface_merged_come_out_as_sent(
    network: Network, in_receiver: Host, merging: None
) -> None:
    source, count = network.hosts["s1"].address4, 200  # a veth holds 256
    watcher = aiomcast.open_socket(GROUP, PORT, "v0")
    async with aiomcast.listen(GROUP, PORT, sources=[source], interface="v0") as feed:
        with watcher, network.sender("s1", socket.AF_INET) as sender:
            watcher.setsockopt(SOL_UDP, UDP_GRO, 1)
            watcher.set_filter(aiomcast.SourceFilter.include([source]))
            await asyncio.to_thread(network.wait_for_member, GROUP, source)
            sent = [payload(number, 100 + number // 40) for number in range(count)]
            for data in sent:
                sender.sendto(data, (GROUP, PORT))
            packets = await numbers(feed, count - 1)
            lengths = []
            while True:
                try:
                    lengths.append(len(watcher.recv(65535)))
                except BlockingIOError:
                    break
    assert max(lengths) > 104, "the interface merged nothing: the test shows nothing"
    assert [packet.data for packet in packets] == sent
