"""Both readers, directly: what a socket gives becomes the same packets, tags and counters."""

import gc
import socket
import time
import weakref
from types import ModuleType

import pytest

import aiomcast
from aiomcast import SourceFilter, open_socket
from aiomcast.reading import options, portable
from aiomcast.system.sockets import MulticastSocket
from tests.support.interfaces import ipv6_way
from tests.support.packets import payloads
from tests.support.platforms import IS_WINE, needs_stamps
from tests.support.readers import PORT, reading, sender, sock
from tests.support.sending import LO, A, B, sending
from tests.support.waiting import wait_readable

SOL_UDP, UDP_SEGMENT = 17, 103
__all__ = ["reading", "sender", "sock"]
include = SourceFilter.include


def test_read(reading: ModuleType, sock: MulticastSocket, sender: socket.socket) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    assert reader.read(10) == ([], 0)
    sent = [b"", b"one", bytes(65507)]
    for payload in sent:
        sender.send(payload)
    packets, taken = reader.read(10)
    assert taken == 3
    assert payloads(packets) == sent
    flow = aiomcast.Flow(A, sender.getsockname()[1], sock.group, PORT, LO)
    assert {packet.flow for packet in packets} == {flow}
    assert all(type(packet) is aiomcast.Packet and type(packet.data) is bytes for packet in packets)
    assert all(packet[3:] == (False, None, None, None) for packet in packets)
    assert [hash(packet) for packet in packets] == [hash(tuple(packet)) for packet in packets]
    stamps = [packet.timestamp_ns for packet in packets]
    assert stamps == ([None] * 3 if not options.STAMPS else sorted(stamps))
    assert (reader.received, reader.octets, reader.filtered, reader.truncated) == (3, 65510, 0, 0)
    assert (reader.error, reader.kernel_drops) == (None, 0)


def test_an_empty_socket_is_told_from_one_whose_datagrams_are_refused(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    reader = reading.Reader(sock, include([B]))
    assert reader.read(10) == ([], 0)
    for _ in range(3):
        sender.send(b"refused")
    assert reader.read(2) == ([], 2)
    assert reader.read(2) == ([], 1)
    assert reader.read(2) == ([], 0)
    sock.close()
    assert reader.read(2) == ([], 0)


@needs_stamps
def test_the_time_of_the_last_packet(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    assert reader.latest_ns is None
    reader.read(5)
    assert reader.latest_ns is None
    latest = None
    for count in (1, 100, 2):
        for number in range(count):
            sender.send(b"%d" % number)
        packets, _ = reader.read(200)
        assert latest is None or packets[-1].timestamp_ns > latest
        latest = packets[-1].timestamp_ns
        assert reader.latest_ns == latest is not None
    reader.set_filter(include([B]))
    sender.send(b"refused")
    assert reader.read(5) == ([], 1)
    assert reader.latest_ns == latest


def test_the_buffer_that_was_granted(reading: ModuleType, sock: MulticastSocket) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10_000)
    assert reader.count_drops() == sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 10_000
    sock.close()
    assert reader.count_drops() == 0


@pytest.mark.parametrize("limit", [1, 5, 64, 65, 200])
def test_read_reads_as_often_as_it_may(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket, limit: int
) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    for number in range(150):
        sender.send(b"%d" % number)
    got, taken = reader.read(limit)
    assert len(got) == taken == min(limit, 150)
    while more := reader.read(limit)[0]:
        got += more
    assert payloads(got) == [b"%d" % number for number in range(150)]


@pytest.mark.parametrize("size", [1, 99, 100, 101])
def test_truncation(reading: ModuleType, sock: MulticastSocket, sender: socket.socket, size: int) -> None:
    reader = reading.Reader(sock, SourceFilter.any(), size=size)
    sender.send(bytes(range(100)))
    (packet,), _ = reader.read(5)
    assert packet.data == bytes(range(100))[:size]
    assert packet.truncated is (size < 100)
    assert (reader.truncated, reader.octets) == (int(size < 100), len(packet.data))


@pytest.mark.parametrize("size", [0, -1, 65536])
def test_a_size_no_datagram_has(reading: ModuleType, sock: MulticastSocket, size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        reading.Reader(sock, SourceFilter.any(), size=size)


@pytest.mark.parametrize("wanted", [include([B]), SourceFilter.exclude([A]), SourceFilter.none()])
def test_the_gate(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket, wanted: SourceFilter
) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    sender.send(b"before")
    assert payloads(reader.read(5)[0]) == [b"before"]
    reader.set_filter(wanted)
    with sending(B, sock.group, PORT) as other:
        sender.send(b"a")
        other.send(b"b")
        assert payloads(reader.read(5)[0]) == ([b"b"] if wanted.allows(B) else [])
    assert (reader.received, reader.filtered) == (3, 1 + (not wanted.allows(B)))
    sender.send(b"waiting")
    reader.set_filter(include([A]))
    assert payloads(reader.read(5)[0]) == [b"waiting"]


@needs_stamps
def test_a_cut_in_time(reading: ModuleType, sock: MulticastSocket, sender: socket.socket) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    for payload in (b"1", b"2", b"3"):
        sender.send(payload)
    cut = probe(sock, sender)
    reader.set_filter(include([B]), cut)
    sender.send(b"after")
    assert payloads(reader.read(9)[0]) == [b"4"]
    assert (reader.received, reader.filtered) == (2, 1)
    reader.set_filter(SourceFilter.any())
    sender.send(b"again")
    assert payloads(reader.read(9)[0]) == [b"again"]


def probe(sock: MulticastSocket, sender: socket.socket) -> int:
    """Empty the socket, then leave one packet in it; return a time after its arrival."""
    reader = portable.Reader(sock, SourceFilter.any())
    reader.read(100)
    sender.send(b"4")
    wait_readable(sock)
    return time.time_ns()


@needs_stamps
def test_another_sockets_times(reading: ModuleType, any_group: str, sender: socket.socket) -> None:
    """Two sockets in one group: up to the cut the old one delivers, after it the new one."""
    with open_socket(any_group, PORT, "lo") as one, open_socket(any_group, PORT, "lo") as two:
        readers = []
        for each in (one, two):
            each.set_filter(SourceFilter.any())
            readers.append(reading.Reader(each, SourceFilter.any()))
        for number in range(20):
            sender.send(b"%d" % number)
        stamps = [packet.timestamp_ns for packet in readers[0].read(5)[0]]
        cut = stamps[-1] + 1
        readers[0].deliver_until(cut)
        readers[1].deliver_since(0, cut, SourceFilter.any())
        assert readers[0].read(50) == ([], 15)
        assert payloads(readers[1].read(50)[0]) == [b"%d" % number for number in range(5, 20)]
        assert [reader.received for reader in readers] == [20, 20]
        assert [reader.filtered for reader in readers] == [15, 5]


def test_the_flow_table_is_bounded(reading: ModuleType, sock: MulticastSocket) -> None:
    reader = reading.Reader(sock, SourceFilter.exclude([B]), flow_limit=4)
    others = [sending(source, sock.group, PORT) for source in (A, B) for _ in range(20)]
    try:
        for _ in range(2):
            for other in others:
                other.send(b"%d" % other.getsockname()[1])
            packets, _ = reader.read(100)
            assert [(packet.source, packet.source_port) for packet in packets] == [
                (A, other.getsockname()[1]) for other in others[:20]
            ]
            assert payloads(packets) == [b"%d" % packet.source_port for packet in packets]
        assert (reader.received, reader.filtered) == (80, 40)
    finally:
        for other in others:
            other.close()


def test_memory_stays_flat_however_many_senders(reading: ModuleType, sock: MulticastSocket) -> None:
    """The flows of senders that were forgotten are freed."""
    reader = reading.Reader(sock, SourceFilter.any(), flow_limit=8)
    flows: list[weakref.ref[aiomcast.Flow]] = []
    for _ in range(100):
        with sending(A, sock.group, PORT) as other:
            other.send(b"x")
        flows += [weakref.ref(packet.flow) for packet in reader.read(1)[0]]
    gc.collect()
    assert len(flows) == 100
    assert 0 < sum(flow() is not None for flow in flows) <= 9  # and the last one, which is kept at hand


@pytest.mark.parametrize("asked", [(), ("hop_limit",), ("traffic_class",), ("hop_limit", "traffic_class")])
def test_hop_limit_and_traffic_class(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket, asked: tuple[str, ...]
) -> None:
    reader = reading.Reader(sock, SourceFilter.any(), ancillary=asked)
    for ttl, tos in ((0, 0), (1, 0xB8), (255, 0xFC)):
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        sender.send(b"x")
        (packet,), _ = reader.read(2)
        assert packet.hop_limit == (ttl if "hop_limit" in asked else None)
        assert packet.traffic_class == (tos if "traffic_class" in asked else None)


def test_ipv6(reading: ModuleType, group6: str) -> None:
    interface, source = ipv6_way()
    with (
        open_socket(group6, PORT, interface) as sock,
        sending(source, group6, PORT, interface.index) as sender,
    ):
        sock.set_filter(include([source]))
        reader = reading.Reader(sock, include([source]), ancillary=["hop_limit", "traffic_class"])
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 9)
        traffic = 0 if IS_WINE else 0xB8  # Wine sets none
        if traffic:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, traffic)
        sender.send(b"six")
        wait_readable(sock)
        (packet,), _ = reader.read(5)
        port = sender.getsockname()[1]
        assert packet.flow == aiomcast.Flow(source, port, group6, PORT, interface.index)
        assert (packet.data, packet.hop_limit, packet.traffic_class) == (b"six", 9, traffic)


@pytest.mark.parametrize("gro", [None, True, False])
@pytest.mark.parametrize(
    ("length", "segment"), [(1000, 100), (1050, 100), (101, 100), (60000, 1200), (10, 1)]
)
def test_coalesced_datagrams_are_split(
    reading: ModuleType,
    sock: MulticastSocket,
    sender: socket.socket,
    gro: bool | None,
    length: int,
    segment: int,
) -> None:
    try:
        sender.setsockopt(SOL_UDP, UDP_SEGMENT, segment)
    except OSError:
        pytest.skip("no UDP_SEGMENT here")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    reader = reading.Reader(sock, SourceFilter.any(), gro=gro, ancillary=["hop_limit"])
    if gro is not None:
        assert reader.coalesces is gro
    whole = bytes(number % 251 for number in range(length))
    parts = [whole[start : start + segment] for start in range(0, length, segment)]
    sender.send(whole)
    packets, taken = reader.read(500)
    assert taken == len(parts)
    assert payloads(packets) == parts
    assert {(packet.source, packet.hop_limit, packet.truncated) for packet in packets} == {(A, 1, False)}
    assert (reader.received, reader.octets, reader.filtered) == (len(parts), length, 0)
    reader.set_filter(include([B]))
    sender.send(whole)
    assert reader.read(500) == ([], len(parts))
    assert (reader.received, reader.octets, reader.filtered) == (2 * len(parts), 2 * length, len(parts))


def test_a_coalesced_read_that_was_cut_short_says_so(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    try:
        sender.setsockopt(SOL_UDP, UDP_SEGMENT, 100)
    except OSError:
        pytest.skip("no UDP_SEGMENT here")
    reader = reading.Reader(sock, SourceFilter.any(), gro=True, size=250)
    sender.send(bytes(1000))
    packets, _ = reader.read(5)
    assert [len(packet.data) for packet in packets] == [100, 100, 50]
    assert packets[-1].truncated
    assert reader.truncated >= 1
