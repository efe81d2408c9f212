"""Times of arrival by the interface's clock: what the control messages of one say, on both readers.

No interface here has such a clock, so the messages are made by hand, or hold a time of the kernel alone.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import aiomcast
from aiomcast import MulticastSocket, Packet, SourceFilter, UnsupportedError
from aiomcast.reading import options, portable
from tests.support.interfaces import ipv6_way
from tests.support.platforms import linux_only
from tests.support.readers import native, reading, sender, sock
from tests.support.seam import intercepted
from tests.support.sending import A, sending
from tests.support.system_faults import run

__all__ = ["reading", "sender", "sock"]

pytestmark = linux_only

# asm-generic/socket.h, linux/net_tstamp.h
SO_TIMESTAMPING, SO_TIMESTAMPING_NEW = 37, 65
ASKED = options.ABI.facts.hardware_time_option or 0  # the new one where a long has 32 bits
RX_HARDWARE, RX_SOFTWARE, SOFTWARE, RAW_HARDWARE = 4, 8, 16, 64
SOL_UDP, UDP_SEGMENT = 17, 103
SECOND = 1_000_000_000
EVERYTHING = ("hardware_timestamp", "hop_limit", "traffic_class")

kinds = st.sampled_from([SO_TIMESTAMPING, SO_TIMESTAMPING_NEW])
stamps = st.tuples(st.integers(0, 2**33), st.integers(0, SECOND - 1))


def asked(sock: socket.socket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, ASKED)


@pytest.mark.parametrize("family", [4, 6])
def test_the_kernel_is_asked_for_them(reading: ModuleType, group6: str, any_group: str, family: int) -> None:
    group = any_group if family == 4 else group6
    with aiomcast.open_socket(group, 0, "lo") as sock:
        reading.Reader(sock, SourceFilter.none())
        assert asked(sock) == 0
        reading.Reader(sock, SourceFilter.none(), ancillary=["hardware_timestamp"])
        assert asked(sock) == RX_HARDWARE | RAW_HARDWARE


def test_everything_else_is_told_as_without(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    """And an interface that stamps nothing gives None."""
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 7)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x20)
    reader = reading.Reader(sock, SourceFilter.any(), ancillary=EVERYTHING)
    sender.send(b"one")
    (packet,), _ = reader.read(5)
    assert packet == Packet(b"one", packet.flow, packet.timestamp_ns, False, 7, 0x20, None)
    assert packet.timestamp_ns is not None
    assert reader.latest_ns == packet.timestamp_ns


def test_datagrams_that_came_coalesced(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    reader = reading.Reader(sock, SourceFilter.any(), ancillary=EVERYTHING)
    sender.setsockopt(SOL_UDP, UDP_SEGMENT, 100)
    sender.send(bytes(950))
    packets, taken = reader.read(50)
    assert taken == len(packets) == 10
    assert [len(packet.data) for packet in packets] == [100] * 9 + [50]
    assert all(packet.timestamp_ns is not None and packet.hop_limit is not None for packet in packets)


def test_a_stamp_of_the_kernel_alone_is_none_of_the_interface(
    reading: ModuleType, sock: MulticastSocket, sender: socket.socket
) -> None:
    """The kernel tells the three times in one message: that the third is there does not make it one."""
    reader = reading.Reader(sock, SourceFilter.any(), ancillary=["hardware_timestamp"])
    sock.setsockopt(socket.SOL_SOCKET, ASKED, RX_SOFTWARE | SOFTWARE | RX_HARDWARE | RAW_HARDWARE)
    sender.send(b"looked at")
    _, control, _, _ = sock.recvmsg(100, 256)
    told = [data for level, kind, data in control if (level, kind) == (socket.SOL_SOCKET, ASKED)]
    assert [len(data) for data in told] == [48]
    assert struct.unpack("=6q", told[0])[2:] == (0, 0, 0, 0)
    sender.send(b"read")
    (packet,), _ = reader.read(5)
    assert packet.data == b"read"
    assert packet.timestamp_ns is not None
    assert packet.hardware_timestamp_ns is None


def test_ipv6(reading: ModuleType, group6: str) -> None:
    interface, source = ipv6_way()
    with (
        aiomcast.open_socket(group6, 0, interface) as sock,
        sending(source, group6, sock.port, interface.index) as sender,
    ):
        sock.set_filter([source])
        reader = reading.Reader(sock, SourceFilter.any(), ancillary=EVERYTHING)
        sender.send(b"six")
        (packet,), _ = reader.read(5)
        assert packet[2] is not None
        assert packet[3:] == (False, 1, 0, None)


def by_portable(level: int, kind: int, data: bytes) -> tuple[int | None, int | None]:
    """Return the times, of the kernel and of the interface, as the reader in Python finds them."""
    reader = portable.Reader.__new__(portable.Reader)
    stamp, _, _, _, hardware, _ = reader._control([(level, kind, data)])
    return stamp, hardware


def by_native(level: int, kind: int, data: bytes) -> tuple[int | None, int | None]:
    """Return the same as the compiled reader finds them."""
    head = struct.Struct("@Nii")  # struct cmsghdr
    message = head.pack(head.size + len(data), level, kind) + data
    stamp, _, _, _, _, hardware = native.parse_control(message + bytes(-len(data) % 8))
    return (None if stamp < 0 else stamp), hardware or None


PARSERS = [by_portable] if native is None else [by_portable, by_native]
Parsed = Callable[[int, int, bytes], tuple[int | None, int | None]]
every_parser = pytest.mark.parametrize("parsed", PARSERS)


@every_parser
@given(kinds, stamps, stamps, stamps)
@example(SO_TIMESTAMPING, (5, 6), (7, 8), (0, 0))
def test_the_third_time_is_the_interfaces(
    parsed: Parsed, kind: int, first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]
) -> None:
    message = struct.pack("=6q", *first, *second, *third)
    whole, fraction = third
    assert parsed(socket.SOL_SOCKET, kind, message) == (None, whole * SECOND + fraction or None)


@every_parser
@given(kinds, st.binary(max_size=80).filter(lambda data: len(data) != 48))
@example(SO_TIMESTAMPING, struct.pack("=6i", *range(1, 7)))  # three times of a 32-bit long
@example(SO_TIMESTAMPING, struct.pack("=8q", *range(1, 9)))
@example(SO_TIMESTAMPING, bytes(range(1, 48)))
def test_a_message_of_another_length_tells_nothing(parsed: Parsed, kind: int, data: bytes) -> None:
    assert parsed(socket.SOL_SOCKET, kind, data) == (None, None)


@every_parser
@pytest.mark.parametrize("level", [0, 17, 41, 255])
def test_a_message_of_another_level_is_no_time(parsed: Parsed, level: int) -> None:
    assert parsed(level, SO_TIMESTAMPING, struct.pack("=6q", *range(1, 7))) == (None, None)


@pytest.mark.parametrize("reader", ["portable"] if native is None else ["portable", "native"])
def test_a_packet_has_it_in_a_field_of_its_own(any_group: str, reader: str) -> None:
    run("tests.loopback.reading.hardware_scene", any_group, reader=reader)


def test_a_platform_that_has_none(
    reading: ModuleType, sock: MulticastSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told before anything was asked of the socket."""
    calls: list[object] = []
    lacking = dict.fromkeys((4, 6), (socket.SOL_SOCKET, None, 0))
    monkeypatch.setitem(options._ASKING, "hardware_timestamp", lacking)
    with intercepted("setsockopt", calls.append), pytest.raises(UnsupportedError, match="hardware") as caught:
        reading.Reader(sock, SourceFilter.any(), ancillary=["hardware_timestamp"])
    assert (calls, caught.value.hint != "") == ([], True)


async def test_a_receiver_takes_it(any_group: str) -> None:
    async with aiomcast.Receiver(ancillary={"hardware_timestamp"}) as receiver:
        membership = await receiver.join(any_group, 5000, sources=[A], interface="lo")
        with sending(A, any_group, 5000) as one:
            one.send(b"1")
        packet = await anext(aiter(membership))
        assert (packet.data, packet.hardware_timestamp_ns) == (b"1", None)
        assert packet.timestamp_ns is not None
