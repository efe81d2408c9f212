"""What is read, swapped, joined and left over and over leaves nothing behind."""

import asyncio
import gc
import os
import socket
import tracemalloc

import aiomcast
from aiomcast import SourceFilter
from tests.support.platforms import linux_only

A, B = "127.0.0.2", "127.0.0.3"
PORT = 5000
ROUNDS = 12
SPOOFED = 4000  # different senders in a round, far more than a reader remembers in all


async def one_round(group: str) -> None:
    """Join, receive from thousands of senders, swap, switch modes, leave."""
    async with aiomcast.Receiver(capacity=100_000, receive_buffer=1 << 22) as receiver:
        membership = await receiver.join(group, PORT, sources=[A], interface="lo")
        stream, copies = receiver.packets(), receiver.packets(source=A)
        for port in range(20_000, 20_000 + SPOOFED, 100):
            for number in range(100):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.setsockopt(
                        socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
                    )
                    sender.bind((A, port + number))
                    sender.sendto(b"x" * 100, (group, PORT))
            async with asyncio.timeout(20):
                for _ in range(100):
                    await anext(stream)
                    await anext(copies)
        for _ in range(50):
            await membership.swap([A, B])
            await membership.swap([B], pending="deliver")
            await membership.swap([A])
        await membership.swap(SourceFilter.exclude([B]))
        await membership.swap([A])


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@linux_only
async def test_memory_stays_flat(any_group: str) -> None:
    for _ in range(3):  # caches fill
        await one_round(any_group)
    gc.collect()
    before = resident()
    tracemalloc.start()
    try:
        await one_round(any_group)
        gc.collect()
        traced = tracemalloc.get_traced_memory()[0]
        await one_round(any_group)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - traced
    finally:
        tracemalloc.stop()
    for _ in range(ROUNDS - 5):
        await one_round(any_group)
    gc.collect()
    assert grown < 20_000, "a second round left behind what a first one had not"
    assert resident() - before < 8 << 20, "the process grows"
