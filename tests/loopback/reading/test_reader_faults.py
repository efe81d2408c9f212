"""Both readers, directly: drops, errors on the socket, and nothing kept of what is gone."""

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import attrs
import pytest

import aiomcast
from aiomcast import SourceFilter, Statistics
from aiomcast.reading import options
from aiomcast.reading.contract import Reader
from aiomcast.reading.counted import counted
from aiomcast.reading.lanes import Lanes
from aiomcast.system.sockets import MulticastSocket
from tests.support.packets import payloads
from tests.support.platforms import needs_drops, wrong_in_wine
from tests.support.readers import PORT, reading, sender, sock
from tests.support.sending import LO, A, sending
from tests.support.waiting import wait_readable

__all__ = ["reading", "sender", "sock"]


class Dropping(MulticastSocket):
    """A socket whose count of drops the test sets, and which notes what it was asked for."""

    drops = 0

    def __init__(self, *arguments: Any) -> None:  # Any: as the socket's own
        super().__init__(*arguments)
        self.asked: list[int] = []

    def getsockopt(self, level: int, option: int, length: int = 0) -> Any:
        self.asked.append(option)
        return struct.pack("=9I", 0, 4096, *[0] * 6, self.drops % (1 << 32))


@pytest.fixture
def dropping(any_group: str) -> Iterator[Dropping]:
    """A socket of `any_group` that is bound to nothing."""
    with Dropping(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.group, sock.port = any_group, PORT
        sock.interface = aiomcast.Interface(LO, "lo")
        sock.setblocking(False)
        yield sock


def _asking(reading: ModuleType, sock: Dropping) -> Reader:
    """Return a reader that asks by the socket's own method, as the compiled one does where it has to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "ABI", attrs.evolve(options.ABI, SO_MEMINFO=None))
        reader: Reader = reading.Reader(sock, SourceFilter.any())
    sock.asked.clear()
    return reader


@needs_drops
def test_the_counter_of_drops_wraps(reading: ModuleType, dropping: Dropping) -> None:
    reader = _asking(reading, dropping)
    total = 0
    for step in (0, 5, (1 << 31) - 6, 1 << 30, 1 << 30, 3, (1 << 31) - 1, (1 << 31) - 1, 10):
        total += step
        dropping.drops = total
        reader.count_drops()
        assert reader.kernel_drops == total
    dropping.drops = total - 2  # an older figure that comes late
    reader.count_drops()
    assert reader.kernel_drops == total


@needs_drops
def test_all_that_is_counted_takes_one_question(reading: ModuleType, dropping: Dropping) -> None:
    reader = _asking(reading, dropping)
    dropping.drops = 3
    assert counted(reader) == Statistics(kernel_drops=3, receive_buffer=4096)
    assert dropping.asked == [options.ABI.SO_MEMINFO]


@needs_drops
def test_drops_are_told_with_the_next_packet_and_without(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(100):
        sender.send(bytes(500))
    got = len(reader.read(200)[0])
    sender.send(b"one more")
    assert payloads(reader.read(5)[0]) == [b"one more"]
    assert reader.kernel_drops == 100 - got > 0
    for _ in range(100):
        sender.send(bytes(500))
    reader.count_drops()
    drops = reader.kernel_drops
    assert len(reader.read(200)[0]) == 200 - drops - got
    reader.count_drops()
    assert reader.kernel_drops == drops


class Overrun:
    """Readers of one group in a set, whose sockets are too small, and what they tell."""

    def __init__(self, reading: ModuleType, socks: list[MulticastSocket], stack: ExitStack) -> None:
        self.told: list[int | str] = []  # "packets" for a batch, and numbers of drops
        self.set = reading.ReadSet()
        stack.callback(self.set.close)
        self.readers = [reading.Reader(sock, SourceFilter.any()) for sock in socks]
        for reader in self.readers:
            reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sink, reader.lost = self.sink, self.told.append
            self.set.add(reader)

    def sink(self, packets: list[aiomcast.Packet]) -> None:
        self.told.append("packets")

    def overrun(self, sender: socket.socket) -> int:
        """Have packets dropped, and read; return how many drops were told of with a packet."""
        before = self.drops()
        for _ in range(100):
            sender.send(bytes(500))
        self.set.read(500)
        sender.send(b"tells of them")
        self.set.read(500)
        return self.drops() - before

    def drops(self) -> int:
        """Return how many drops are known."""
        total: int = sum(reader.kernel_drops for reader in self.readers)
        return total


@pytest.fixture
def socks(any_group: str) -> Iterator[list[MulticastSocket]]:
    """Two sockets of one group."""
    with (
        aiomcast.open_socket(any_group, PORT, "lo") as one,
        aiomcast.open_socket(any_group, PORT, "lo") as two,
    ):
        for each in (one, two):
            each.set_filter(SourceFilter.any())
        yield [one, two]


@needs_drops
@pytest.mark.parametrize("together", [False, True])
def test_drops_are_told_once_each_and_after_the_packets_before(
    reading: ModuleType, socks: list[MulticastSocket], any_group: str, together: bool
) -> None:
    with ExitStack() as stack, sending(A, any_group, PORT) as sender:
        made = Overrun(reading, socks, stack)
        if together:
            lanes = Lanes(made.readers)
            for reader in made.readers:
                reader.lanes = lanes
        for _ in range(2):
            drops = made.overrun(sender)
            numbers = [one for one in made.told if isinstance(one, int)]
            assert len(numbers) == 2
            assert sum(numbers) == drops > 0
            assert made.told[0] == "packets"
            made.told.clear()
            made.set.read(500)
            for reader in made.readers:
                reader.count_drops()
                assert reader.told_drops == reader.kernel_drops
            assert made.told == []
        if together:
            assert len(lanes) == 0


@needs_drops
def test_counting_drops_tells_of_them(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(100):
        sender.send(bytes(500))
    reader.count_drops()  # nobody listens
    assert reader.told_drops == reader.kernel_drops > 0
    told: list[int] = []
    reader.lost = told.append
    sender.send(bytes(500))
    for _ in range(2):
        reader.count_drops()
        assert told == [1]


@needs_drops
def test_an_exception_of_who_is_told_of_drops(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    """It comes out of the read, as one of `failed` does; the packets were handed on before."""

    def lost(more: int) -> None:
        raise ZeroDivisionError(more)

    with ExitStack() as stack:
        made = Overrun(reading, [sock], stack)
        (reader,) = made.readers
        reader.lost = lost
        with pytest.raises(ZeroDivisionError) as caught:
            made.overrun(sender)
        assert caught.value.args == (reader.kernel_drops,) == (reader.told_drops,)
        told = len(made.told)
        assert reader.unmade == 0
        sender.send(b"and on it goes")
        made.set.read(10)
        assert made.told[told:] == ["packets"]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for _ in range(100):
            sender.send(bytes(500))
        with pytest.raises(ZeroDivisionError):
            reader.count_drops()


@wrong_in_wine("its poll does not tell of an error alone")
def test_an_error_on_the_socket(reading: ModuleType, any_group: str) -> None:
    """A port unreachable for what a connected socket has sent."""
    with MulticastSocket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.group, sock.port, sock.interface = any_group, PORT, aiomcast.Interface(LO, "lo")
        sock.setblocking(False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            sock.bind(("127.0.0.1", 0))
            sock.connect(peer.getsockname())
            peer.sendto(b"before", sock.getsockname())
            address = peer.getsockname()
        reader = reading.Reader(sock, SourceFilter.any())
        batches: list[list[aiomcast.Packet]] = []
        errors: list[OSError] = []
        reader.sink, reader.failed = batches.append, errors.append
        sock.send(b"to nobody")
        wait_readable(sock)
        reads = reading.ReadSet()
        reads.add(reader)
        reads.read(10)
        reads.read(10)
        assert [error.errno for error in errors] == [errno.ECONNREFUSED]
        assert reader.error is None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(address)
            peer.sendto(b"after", sock.getsockname())
            reads.read(10)
        assert payloads([packet for batch in batches for packet in batch]) == [b"before", b"after"]
        assert type(errors[0]) is type(OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))
        reads.close()


def test_a_packet_that_is_gone_holds_nothing(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    sender.send(b"warm up")
    (packet,), _ = reader.read(1)
    flow = packet.flow
    before = sys.getrefcount(flow)
    for _ in range(50):
        sender.send(b"x" * 100)
        reader.read(1)
    assert sys.getrefcount(flow) == before
