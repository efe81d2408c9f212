"""Datagrams with a wrong UDP checksum: where the kernel drops them, and in which count they are."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import aiomcast
from tests.support.packets import take

from .network import Network, wait_until
from .traffic import Traffic, witnessed

# Linux verifies datagrams of up to 76 bytes, the UDP header's 8 among them, before it looks for a
# socket, and longer ones when they are read (CHECKSUM_BREAK).
SHORT, LONG = 68, 69


def checksum(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Forger:
    """Sends from s1 by a raw socket, with the right checksum or a wrong one."""

    def __init__(self, network: Network, ssm: Traffic) -> None:
        self._group, self._port, self._source = ssm.group, ssm.port, ssm.address("s1")
        with network.inside("s1"):
            self.sock = socket.socket(ssm.family, socket.SOCK_RAW, socket.IPPROTO_UDP)
            index = socket.if_nametoindex("v0")
        if ssm.family == socket.AF_INET6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 8)
        else:
            address = socket.inet_aton(ssm.address("s1"))
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address)
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
        self.sock.bind((ssm.address("s1"), 0))

    def send(self, size: int, count: int, wrong: bool = True) -> None:
        """Send so many datagrams with `size` bytes of payload."""
        family = self.sock.family
        ends = b"".join(socket.inet_pton(family, one) for one in (self._source, self._group))
        length = 8 + size
        if family == socket.AF_INET6:
            pseudo = ends + struct.pack("!I3xB", length, 17)
        else:
            pseudo = ends + struct.pack("!xBH", 17, length)
        header = struct.pack("!HHHH", 7777, self._port, length, 0)
        right = checksum(pseudo + header + bytes(size))
        header = struct.pack("!HHHH", 7777, self._port, length, right ^ 0x0101 if wrong else right)
        for _ in range(count):
            self.sock.sendto(header + bytes(size), (self._group, 0))


@pytest.fixture
def forger(network: Network, ssm: Traffic) -> Iterator[Forger]:
    forger = Forger(network, ssm)
    yield forger
    forger.sock.close()


def host_errors(ssm: Traffic) -> int:
    """Return how many UDP datagrams with a wrong checksum the receiver's host has counted."""
    if ssm.family == socket.AF_INET6:
        lines = Path("/proc/thread-self/net/snmp6").read_text().split()
        return int(lines[lines.index("Udp6InCsumErrors") + 1])
    names, values = (
        line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
        if line.startswith("Udp:")
    )  # fmt: skip
    return int(values[names.index("InCsumErrors")])


async def test_a_wrong_checksum_that_is_read_is_a_drop_of_the_socket(ssm: Traffic, forger: Forger) -> None:
    """It waits in the buffer until it is read, and counts then, also when no good one follows."""
    async with aiomcast.listen(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0") as feed:
        ssm.forwarded("s1")
        before = host_errors(ssm)
        forger.send(LONG, 5)
        forger.send(LONG, 1, wrong=False)
        other = ssm.witness("s1")
        ssm.send("s1", b"after")
        witnessed(other, b"after")
        assert feed.statistics().kernel_drops == 0
        assert host_errors(ssm) == before
        stream = feed.packets()
        assert [packet.data for packet in await take(stream, 2)] == [bytes(LONG), b"after"]
        assert feed.statistics().kernel_drops == 5
        assert host_errors(ssm) == before + 5
        forger.send(LONG, 3)
        async with asyncio.timeout(10):
            while feed.statistics().kernel_drops < 8:
                await asyncio.sleep(0.001)
        assert feed.statistics().kernel_drops == 8
        assert feed.statistics().received == 2


async def test_a_short_datagram_with_a_wrong_checksum_reaches_no_socket(ssm: Traffic, forger: Forger) -> None:
    """No socket counts it; the host does, once."""
    async with aiomcast.listen(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0") as feed:
        ssm.forwarded("s1")
        before = host_errors(ssm)
        forger.send(SHORT, 5)
        ssm.send("s1", b"after")
        (packet,) = await take(aiter(feed), 1)
        assert packet.data == b"after"
        assert feed.statistics().kernel_drops == 0
        assert host_errors(ssm) == before + 5


@pytest.mark.parametrize("reads", [True, False], ids=["read", "left unread"])
async def test_a_full_buffer_and_wrong_checksums_are_one_count(
    ssm: Traffic, forger: Forger, reads: bool
) -> None:
    """What finds no room counts at once, the wrong ones in the buffer when they are read; each once."""
    async with aiomcast.Receiver(receive_buffer=4096) as receiver:
        membership = await receiver.join(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0")
        ssm.forwarded("s1")
        before = host_errors(ssm)
        forger.send(1000, 50)
        wait_until(lambda: receiver.statistics().kernel_drops > 40, 20, "the buffer overflows")
        await asyncio.sleep(0.05)
        overflow = receiver.statistics().kernel_drops
        assert overflow < 50
        assert host_errors(ssm) == before
        if reads:
            listening = receiver.packets()
            async with asyncio.timeout(10):
                while receiver.statistics().kernel_drops < 50:
                    await asyncio.sleep(0.001)
            assert len(listening) == 0
        await membership.leave()
        assert receiver.statistics().kernel_drops == 50
        assert receiver.statistics().received == 0
        assert host_errors(ssm) == before + 50 - overflow
