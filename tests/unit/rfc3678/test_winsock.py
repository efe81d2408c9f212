"""The structures of Windows' message and poll calls, byte by byte, as its 64-bit headers lay them out."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast.rfc3678.abi import winsock


def test_a_wsamsg() -> None:
    made = winsock.wsamsg((128, 0x1122334455667788), 0x99AABBCCDDEEFF00, (256, 0x0102030405060708))
    assert made == bytes.fromhex(
        "8877665544332211"  # name
        "80000000 00000000"  # namelen, and what aligns the next
        "00ffeeddccbbaa99"  # lpBuffers
        "01000000 00000000"  # dwBufferCount
        "00010000 00000000 0807060504030201"  # Control: len, buf
        "00000000 00000000"  # dwFlags
    )
    assert len(made) == winsock.WSAMSG_SIZE == 56


def test_what_windows_has_written_into_it() -> None:
    written = bytearray(winsock.wsamsg((128, 1), 2, (256, 3)))
    written[8:12], written[32:36], written[48:52] = b"\x10\0\0\0", b"\x40\0\0\0", b"\0\x01\0\0"
    assert winsock.parse_wsamsg(bytes(written)) == (16, 64, 0x100)


def test_a_wsabuf() -> None:
    assert winsock.wsabuf(65535, 0x0102030405060708) == bytes.fromhex("ffff0000 00000000 0807060504030201")


def test_the_guid_of_wsarecvmsg() -> None:
    assert bytes.fromhex("c8d789f6 1f6f 6b43 8a53e54fe351c322") == winsock.RECVMSG_ID


PKTINFO = bytes.fromhex("1800000000000000 00000000 13000000 ef010203 0c000000")
TTL = bytes.fromhex("1400000000000000 00000000 15000000 07000000 00000000")
PKTINFO6 = bytes.fromhex(
    "2400000000000000 29000000 13000000 ff310000000000000000000000000001 0c000000 00000000"
)


def test_control_messages() -> None:
    assert winsock.control_messages(PKTINFO + TTL) == [
        (0, 19, bytes.fromhex("ef0102030c000000")),
        (0, 21, b"\x07\0\0\0"),
    ]
    ((level, kind, content),) = winsock.control_messages(PKTINFO6)
    assert (level, kind, len(content)) == (41, 19, 20)


@pytest.mark.parametrize("length", [0, 15, 41, 1 << 40])
def test_one_whose_length_lies_ends_them(length: int) -> None:
    broken = struct.pack("=Qii", length, 0, 21) + bytes(8)
    assert winsock.control_messages(PKTINFO + broken) == winsock.control_messages(PKTINFO)


@given(st.binary(max_size=100))
def test_any_bytes_are_messages_or_none(data: bytes) -> None:
    assert all(len(content) <= len(data) for _, _, content in winsock.control_messages(data))


def test_where_a_datagram_came_to() -> None:
    assert winsock.arrival(bytes.fromhex("ef0102030c000000")) == (bytes([239, 1, 2, 3]), 12)
    six = bytes([0xFF, 0x31, *[0] * 13, 1])
    assert winsock.arrival(six + b"\x0c\0\0\0") == (six, 12)
    for length in (0, 4, 12, 21):
        assert winsock.arrival(bytes(length)) is None


def test_what_is_polled() -> None:
    asked = winsock.pollfds([0x0102030405060708, 5])
    assert asked == bytes.fromhex("0807060504030201 0001 0000 00000000 0500000000000000 0001 0000 00000000")
    assert len(asked) == 2 * winsock.POLLFD_SIZE
    assert winsock.parse_pollfds(asked) == []
    told = asked[:10] + b"\x04\0" + asked[12:]  # POLLNVAL
    assert winsock.parse_pollfds(told) == [0x0102030405060708]
