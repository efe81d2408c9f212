"""From packets to datagrams: links, VLAN tags, options, extension headers, what is cut, what lies."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast.feeds.captured import Captured
from aiomcast.feeds.container import Tap
from aiomcast.feeds.dissection import Dissector

from .captures import ethernet, fragments4, fragments6, ipv4, ipv6, udp

FOUR, SIX = ipv4(udp(b"data")), ipv6(udp(b"data"))
VLAN, QINQ, PRIORITY = b"\x81\x00\x00\x2a", b"\x88\xa8\x00\x02\x81\x00\x00\x2a", b"\x81\x00\x60\x00"


def tap(link: int = 1) -> Tap:
    return Tap("eth0", link, 0, 1)


def dissected(frame: bytes, link: int = 1, length: int | None = None) -> tuple[list[Captured], Dissector]:
    dissector = Dissector()
    found = dissector.dissect([(tap(link), 77, frame, len(frame) if length is None else length)])
    assert (
        dissector.datagrams
        + dissector.fragmented
        + dissector.cut
        + dissector.malformed
        + (dissector.other + dissector.unknown_link)
        == 1
    )
    return found, dissector


def of(version: int, data: bytes = b"data") -> Captured:
    source, group = ("192.0.2.10", "232.1.1.1") if version == 4 else ("2001:db8::5", "ff3e::8000:1")
    return Captured(data, source, 4000, group, 5000, "eth0", 77, 9, 0x28)


FRAMES = {
    "Ethernet": (1, ethernet(FOUR)),
    "Ethernet, IPv6": (1, ethernet(SIX)),
    "a VLAN": (1, ethernet(FOUR, VLAN)),
    "a VLAN, IPv6": (1, ethernet(SIX, VLAN)),
    "QinQ": (1, ethernet(FOUR, QINQ)),
    "QinQ of old": (1, ethernet(FOUR, b"\x91\x00\x00\x02" + VLAN)),
    "a priority tag": (1, ethernet(FOUR, PRIORITY)),
    "LLC and SNAP": (1, bytes(12) + struct.pack("!H", 8 + len(FOUR)) + b"\xaa\xaa\x03\0\0\0\x08\0" + FOUR),
    "padding behind": (1, ethernet(FOUR) + bytes(20)),
    "padding behind IPv6": (1, ethernet(SIX) + bytes(20)),
    "cooked": (113, bytes(14) + b"\x08\x00" + FOUR),
    "cooked, a VLAN": (113, bytes(14) + VLAN + b"\x86\xdd" + SIX),
    "cooked 2": (276, b"\x86\xdd" + bytes(18) + SIX),
    "cooked 2, a VLAN": (276, b"\x81\x00" + bytes(18) + b"\x00\x2a\x08\x00" + FOUR),
    "raw": (101, FOUR),
    "raw of old": (12, SIX),
    "raw IPv4": (228, FOUR),
    "raw IPv6": (229, SIX),
    "null": (0, struct.pack("<I", 2) + FOUR),
    "null, the other order": (0, struct.pack(">I", 2) + FOUR),
    "null, IPv6 of FreeBSD": (0, struct.pack("<I", 28) + SIX),
    "null, IPv6 of macOS": (0, struct.pack(">I", 30) + SIX),
    "loop": (108, struct.pack(">I", 24) + SIX),
    "IPv4 options": (1, ethernet(ipv4(udp(b"data"), given=b"\x94\x04\x00\x00"))),
    "hop by hop": (1, ethernet(ipv6(b"\x11\x00\x05\x02\x00\x00\x01\x00" + udp(b"data"), follows=0))),
    "three headers": (
        1,
        ethernet(
            ipv6(
                b"\x2b\x00" + bytes(6) + b"\x3c\x01" + bytes(14) + b"\x11\x00" + bytes(6) + udp(b"data"),
                follows=0,
            )
        ),
    ),
    "authenticated": (1, ethernet(ipv6(b"\x11\x04" + bytes(22) + udp(b"data"), follows=51))),
    "an atomic fragment": (1, ethernet(ipv6(b"\x11\x00" + bytes(6) + udp(b"data"), follows=44))),
    "more in IP than in UDP": (1, ethernet(ipv4(udp(b"data") + b"more"))),
}


@pytest.mark.parametrize("name", FRAMES)
def test_the_datagram_is_found(name: str) -> None:
    link, frame = FRAMES[name]
    found, dissector = dissected(frame, link)
    expected = of(6 if SIX[8:40] in frame else 4)
    assert found == [expected]
    assert dissector.datagrams == 1
    again = dissector.dissect([(tap(link), 77, frame, len(frame))])  # by now its flow is known
    assert again == [expected]


@pytest.mark.parametrize("name", FRAMES)
def test_what_the_capture_has_cut_is_counted_and_never_passed_as_whole(name: str) -> None:
    link, frame = FRAMES[name]
    whole, _ = dissected(frame, link)
    for size in range(len(frame)):
        found, dissector = dissected(frame[:size], link, len(frame))
        if found:  # what was cut is behind the datagram
            assert found == whole
        else:
            assert dissector.cut == 1, size
        known = Dissector()
        known.dissect([(tap(link), 77, frame, len(frame))])
        assert known.dissect([(tap(link), 77, frame[:size], len(frame))]) == found


MALFORMED = {
    "a UDP length below 8": ipv4(udp(b"data", length=7)),
    "a UDP length beyond IP": ipv4(udp(b"data", length=13)),
    "a UDP length beyond IPv6": ipv6(udp(b"data", length=13)),
    "an IP length beyond the packet": ipv4(udp(b"data"), total=999),
    "an IPv6 length beyond the packet": ipv6(udp(b"data"), length=999),
    "an IP length below its header": ipv4(udp(b"data"), total=19),
    "an IPv4 header of 4 bytes": b"\x41" + FOUR[1:],
    "an extension beyond its packet": ipv6(b"\x11\xff" + bytes(6) + udp(b"data"), follows=0),
    "no room for UDP": ipv4(b"abc"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_headers_that_contradict_themselves(name: str) -> None:
    found, dissector = dissected(ethernet(MALFORMED[name]))
    assert not found
    assert dissector.malformed == 1


OTHERS = {
    "TCP": ethernet(ipv4(bytes(20), protocol=6)),
    "UDP-Lite": ethernet(ipv4(udp(b"data"), protocol=136)),
    "unicast": ethernet(ipv4(udp(b"data"), group="192.0.2.1")),
    "unicast IPv6": ethernet(ipv6(udp(b"data"), group="2001:db8::1")),
    "a source that is a group": ethernet(ipv4(udp(b"data"), source="232.1.1.1")),
    "ARP": bytes(12) + b"\x08\x06" + bytes(28),
    "ICMPv6": ethernet(ipv6(bytes(8), follows=58)),
    "nothing after IPv6": ethernet(ipv6(b"", follows=59)),
    "IP of version 9": bytes(12) + b"\x08\x00\x95" + bytes(40),
    "802.3": bytes(12) + b"\x00\x20" + bytes(40),
    "tags without end": bytes(12) + VLAN * 40,
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_datagram_to_a_group(name: str) -> None:
    found, dissector = dissected(OTHERS[name])
    assert not found
    assert dissector.other == 1


def test_a_link_that_is_not_known() -> None:
    assert dissected(FOUR, 147)[1].unknown_link == 1


BIG = udp(bytes(range(256)) * 9)


@pytest.mark.parametrize("cut", [fragments4, fragments6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("turned", [False, True], ids=["in order", "backwards"])
def test_fragments_are_put_together(cut: object, turned: bool) -> None:
    assert callable(cut)
    pieces = [ethernet(one) for one in cut(BIG, 800)]
    dissector = Dissector()
    found = dissector.dissect(
        [(tap(), 70 + at, one, len(one)) for at, one in enumerate(pieces[::-1] if turned else pieces)]
    )
    assert found == [of(4 if cut is fragments4 else 6, BIG[8:])._replace(timestamp_ns=72)]
    assert (dissector.joined, dissector.fragmented, dissector.datagrams) == (1, 3, 0)
    assert dissector.fragments.incomplete == 0


def test_fragments_of_tcp_are_no_datagram() -> None:
    pieces = [ethernet(one) for one in fragments6(bytes(2000), 800, follows=6)]
    dissector = Dissector()
    assert not dissector.dissect([(tap(), 1, one, len(one)) for one in pieces])
    assert dissector.joined == 0


def test_a_fragment_that_was_cut_is_not_taken_for_a_part() -> None:
    pieces = [ethernet(one) for one in fragments4(BIG, 800)]
    dissector = Dissector()
    kept = [(tap(), 1, one[:200] if at == 1 else one, len(one)) for at, one in enumerate(pieces)]
    assert not dissector.dissect(kept)
    assert (dissector.cut, dissector.fragments.waiting) == (1, 1)


@given(st.binary(max_size=120), st.sampled_from([0, 1, 101, 108, 113, 228, 229, 276, 999]))
def test_any_bytes_are_counted(frame: bytes, link: int) -> None:
    dissected(frame, link)


@given(
    st.sampled_from(sorted(FRAMES)), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4)
)
def test_any_change_of_a_packet_is_counted(name: str, changes: list[tuple[int, int]]) -> None:
    link, frame = FRAMES[name]
    changed = bytearray(frame)
    for at, byte in changes:
        changed[at % len(changed)] = byte
    dissected(bytes(changed), link)
