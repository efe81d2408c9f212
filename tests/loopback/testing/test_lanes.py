"""Several sockets in memory, of one membership, read as one."""

from collections.abc import Callable

import pytest

from aiomcast import Packet
from aiomcast.reading.contract import Reader
from aiomcast.reading.lanes import Lanes
from aiomcast.testing import MemoryNetwork
from tests.support.memory import GROUP, PORT, A, B, joined, placed


@pytest.fixture
def net() -> MemoryNetwork:
    return MemoryNetwork()


def together(net: MemoryNetwork, *readers: Reader) -> Lanes:
    lanes = Lanes(readers, time_ns=net.time_ns)
    for reader in readers:
        reader.lanes = lanes
    return lanes


async def test_sockets_of_one_membership_are_read_in_order_of_arrival(net: MemoryNetwork) -> None:
    reading = net.open()
    one, heard = joined(reading, net, sources={A})
    two, _ = joined(reading, net, sources={B})
    two.sink = one.sink
    lanes = together(net, one, two)
    for number in range(1000):
        net.send((A, B)[number * 7 // 3 % 2], GROUP, PORT, str(number).encode())
    await net.settle()
    assert heard.data == [str(number).encode() for number in range(1000)]
    assert lanes.is_dry
    assert len(lanes) == 0


class Slow:
    """Sockets together that hold back what they read, for one visit."""

    def __init__(self, *readers: Reader) -> None:
        self.readers = readers
        self.turn = -1
        self.visits = 0
        self._held: list[Packet] = []

    @property
    def is_dry(self) -> bool:
        return not self._held

    def __len__(self) -> int:
        return len(self._held)

    def read(self, limit: int) -> tuple[list[Packet], int]:
        self.visits += 1
        due, self._held, spent = self._held, [], 0
        for reader in self.readers:
            packets, taken = reader.read(limit)
            self._held += packets
            spent += taken
        return due, spent

    def take_all(self) -> list[Packet]:
        held, self._held = self._held, []
        return held

    def refuse(self, refused: Callable[[Packet], bool]) -> int:
        return 0


async def test_they_are_visited_once_a_turn_and_again_while_they_hold_something(net: MemoryNetwork) -> None:
    reading = net.open()
    one, heard = joined(reading, net, sources={A})
    two, _ = joined(reading, net, sources={B})
    one.lanes = two.lanes = lanes = Slow(one, two)
    net.send(A, GROUP, PORT, b"1")
    net.send(B, GROUP, PORT, b"2")
    await net.settle()
    assert (heard.data, lanes.visits) == ([b"1", b"2"], 2)


async def test_what_they_hold_is_read_when_they_are_added_anew(net: MemoryNetwork) -> None:
    reading = net.open()
    one, heard = joined(reading, net, sources={A})
    placed(one).discard()
    one.lanes = lanes = Slow(one)
    net.send(A, GROUP, PORT, b"1")
    assert lanes.read(9) == ([], 1)
    placed(one).add()
    await net.settle()
    assert heard.data == [b"1"]
    net.send(A, GROUP, PORT, b"2")
    placed(one).discard()
    lanes.read(9)
    placed(one).add()
    lanes.take_all()  # handed over elsewhere
    await net.settle()
    assert heard.data == [b"1"]
