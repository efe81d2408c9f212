"""Both readers, directly: drops, errors on the socket, and nothing kept of what is gone."""

import errno
import os
import socket
import struct
import sys
from types import ModuleType
from typing import Any

import aiomcast
from aiomcast import SourceFilter
from aiomcast.system.sockets import MulticastSocket
from tests.support.packets import payloads
from tests.support.readers import PORT, reading, sender, sock
from tests.support.sending import LO
from tests.support.waiting import wait_readable

__all__ = ["reading", "sender", "sock"]


class Dropping(MulticastSocket):
    """A socket whose count of drops the test sets."""

    drops = 0

    def getsockopt(self, level: int, option: int, length: int = 0) -> Any:  # Any: as the socket's own
        if length:
            return struct.pack("=9I", *[0] * 8, self.drops % (1 << 32))
        return super().getsockopt(level, option)


def test_the_counter_of_drops_wraps(reading: ModuleType, any_group: str) -> None:
    with Dropping(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.group, sock.port = any_group, PORT
        sock.interface = aiomcast.Interface(LO, "lo")
        sock.setblocking(False)
        reader = reading.Reader(sock, SourceFilter.any())
        total = 0
        for step in (0, 5, (1 << 31) - 6, 1 << 30, 1 << 30, 3, (1 << 31) - 1, (1 << 31) - 1, 10):
            total += step
            sock.drops = total
            reader.count_drops()
            assert reader.kernel_drops == total
        sock.drops = total - 2  # an older figure that comes late
        reader.count_drops()
        assert reader.kernel_drops == total


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
