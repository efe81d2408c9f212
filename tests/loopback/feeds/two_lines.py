"""Two lines of one feed, on a network in memory."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiomcast import Membership, Packet, Receiver
from aiomcast.feeds import Gap, Restart, Sequence
from aiomcast.testing import MemoryNetwork

__all__ = ["GROUPS", "NUMBER", "PORT", "SOURCES", "Clock", "TwoLines", "shown", "some", "two_lines"]

GROUPS = ("232.1.1.1", "232.1.1.2")
SOURCES = ("192.0.2.10", "192.0.2.20")
PORT = 5000
NUMBER = Sequence.at(0, "u32")
_LAYOUT = struct.Struct("!I")


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class TwoLines:
    """Memberships of both, of one receiver, and who sends on them."""

    a: Membership
    b: Membership
    receiver: Receiver
    network: MemoryNetwork
    clock: Clock = field(default_factory=Clock)

    def send(self, line: int, *numbers: int) -> None:
        """Send packets with these numbers on a line."""
        payloads = [_LAYOUT.pack(number) for number in numbers]
        self.network.send_many(SOURCES[line], GROUPS[line], PORT, payloads)

    def send_raw(self, line: int, payload: bytes) -> None:
        """Send a payload on a line."""
        self.network.send(SOURCES[line], GROUPS[line], PORT, payload)


@asynccontextmanager
async def two_lines(receive_buffer: int = 1 << 24) -> AsyncIterator[TwoLines]:
    """Join both."""
    network = MemoryNetwork(receive_buffer=receive_buffer)
    async with Receiver(network=network) as receiver:
        a, b = [
            await receiver.join(group, PORT, sources=[source])
            for group, source in zip(GROUPS, SOURCES, strict=True)
        ]
        yield TwoLines(a, b, receiver, network)


def shown(item: Packet | Gap | Restart) -> object:
    """The number of a packet, None for one without; a gap or restart as a tuple."""
    if isinstance(item, Gap):
        return ("gap", item.first, item.last)
    if isinstance(item, Restart):
        return ("restart", item.last, item.first)
    return NUMBER.number(item.data)


async def some(items: AsyncIterator[Packet | Gap | Restart], count: int) -> list[object]:
    """The next `count` items, as `shown`."""
    async with asyncio.timeout(10):
        return [shown(await anext(items)) for _ in range(count)]
