"""pcapng and pcap, from bytes to packets: every block, both byte orders, lying lengths."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast.feeds.container import Malformed, Pcapng, Record, parser_for
from aiomcast.values import bounds

from .captures import STAMP_NS, block, interface, options, packet, pcap, records, section

FRAME = b"a frame"
ORDERS = ["<", ">"]


def plain(found: list[Record]) -> list[tuple[str, int, int | None, bytes, int]]:
    return [(tap.name, tap.link, stamp_ns, frame, length) for tap, stamp_ns, frame, length in found]


@pytest.mark.parametrize("order", ORDERS)
def test_an_enhanced_packet(order: str) -> None:
    named = interface(1, order, given=[(2, b"eth0"), (9, b"\x09")])
    data = section(order) + named + packet(FRAME, order, length=900)
    assert plain(records(data)) == [("eth0", 1, STAMP_NS, FRAME, 900)]


@pytest.mark.parametrize("order", ORDERS)
def test_a_simple_packet_has_no_time_and_may_be_cut_by_the_snap_length(order: str) -> None:
    simple = block(3, struct.pack(order + "I", 900) + FRAME, order)
    data = section(order) + interface(101, order, snap=7) + simple
    assert plain(records(data)) == [("interface 0", 101, None, FRAME, 900)]


@pytest.mark.parametrize("order", ORDERS)
def test_an_old_packet_tells_its_drops(order: str) -> None:
    def old(drops: int) -> bytes:
        head = struct.pack(order + "HHIIII", 0, drops, STAMP_NS >> 32, STAMP_NS & 0xFFFFFFFF, len(FRAME), 9)
        return block(2, head + FRAME, order)

    data = section(order) + interface(1, order) + old(3) + old(0xFFFF)
    found: list[Record] = []
    parser = Pcapng(None, False)
    assert parser.feed(data, found) == len(data)
    assert plain(found) == [("interface 0", 1, STAMP_NS, FRAME, 9)] * 2
    assert parser.dropped == 3


@pytest.mark.parametrize("order", ORDERS)
def test_drops_are_counted_packet_by_packet_and_by_the_latest_summary_of_each_interface(order: str) -> None:
    flags, many = (2, struct.pack(order + "I", 1)), (4, struct.pack(order + "Q", 5))
    data = section(order) + interface(1, order) + interface(1, order)
    data += packet(FRAME, order, given=[flags, many]) + packet(FRAME, order, given=[many])
    data += packet(FRAME, order, given=[flags, (1, b"a word")])
    for number, lost in ((0, 7), (0, 9), (1, 1)):
        given = [(5, struct.pack(order + "Q", lost)), (7, struct.pack(order + "Q", 1))]
        given.append((6, struct.pack(order + "Q", 1 << 64 - 1)))
        data += block(5, struct.pack(order + "III", number, 0, 0) + options(given, order), order)
    parser = Pcapng(None, False)
    assert parser.feed(data + bytes(0), []) == len(data)
    assert (parser.dropped, parser.interface_drops) == (10, 9 + 1 + 1 + 1)


@pytest.mark.parametrize(
    ("resolution", "units", "stamp_ns"),
    [
        (None, 5, 5_000),
        (b"\x06", 5, 5_000),
        (b"\x09", 5, 5),
        (b"\x00", 5, 5_000_000_000),
        (b"\x0c", 5_001, 5),
        (b"\x81", 3, 1_500_000_000),
        (b"\xa0", 1 << 31, 500_000_000),
        (b"\x7f", 1 << 63, 0),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_stamps_have_the_unit_and_the_offset_of_their_interface(
    resolution: bytes | None, units: int, stamp_ns: int, order: str
) -> None:
    given = [] if resolution is None else [(9, resolution)]
    offset = [*given, (14, struct.pack(order + "q", -2))]
    data = section(order) + interface(1, order, given=given) + interface(1, order, given=offset)
    data += packet(FRAME, order, 0, units) + packet(FRAME, order, 1, units)
    assert [stamp for _, stamp, _, _ in records(data)] == [stamp_ns, stamp_ns - 2_000_000_000]


def test_every_section_has_interfaces_and_a_byte_order_of_its_own() -> None:
    first = section("<") + interface(1, "<", given=[(2, b"a")]) + packet(FRAME, "<", units=1)
    second = section(">") + interface(113, ">", given=[(2, b"b")]) + packet(FRAME, ">", units=1)
    found = plain(records(first + second + first))
    assert [one[:2] for one in found] == [("a", 1), ("b", 113), ("a", 1)]


def test_blocks_of_other_kinds_are_passed_over_however_long() -> None:
    names, secrets, custom = (block(kind, bytes(40)) for kind in (4, 10, 0xBAD))
    long = block(0x40000BAD, bytes(3 * bounds.CAPTURE_BLOCK))
    data = section() + names + interface() + secrets + packet(FRAME) + custom + long + packet(FRAME)
    for size in (None, 1000, 1 << 16):
        assert len(records(data, size)) == 2


def test_a_name_that_is_none_is_the_one_that_is_given() -> None:
    data = (
        section() + interface() + interface(given=[(2, b"eth1\0")]) + packet(FRAME) + packet(FRAME, number=1)
    )
    assert [one[0].name for one in records(data, nameless="eth0")] == ["eth0", "eth1"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("magic", "stamp_ns"), [(0xA1B2C3D4, 5_000), (0xA1B23C4D, 5)])
def test_pcap(order: str, magic: int, stamp_ns: int) -> None:
    data = pcap([FRAME, b""], order, magic, 0x1400_0071)
    assert plain(records(data)) == [
        ("interface 0", 113, 1_700_000_000_000_000_000 + stamp_ns, frame, len(frame))
        for frame in (FRAME, b"")
    ]


@given(st.integers(1, 80))
def test_it_does_not_matter_how_the_bytes_come(size: int) -> None:
    for order in ORDERS:
        ng = section(order) + interface(1, order) + packet(FRAME, order) * 3 + block(0xBAD, bytes(99), order)
        for data in (ng + packet(FRAME, order), pcap([FRAME] * 4, order)):
            assert plain(records(data, size)) == plain(records(data))
            assert len(records(data)) == 4


LYING = {
    "a block of no length": struct.pack("<III", 5, 0, 0),
    "a block shorter than its head": struct.pack("<III", 6, 8, 8),
    "another length at the end": packet(FRAME)[:-1] + b"\x01",
    "a packet block of 2 GiB": struct.pack("<IIIIIII", 6, 1 << 31, 0, 0, 0, 1 << 31, 1 << 31),
    "a packet longer than its block": block(6, struct.pack("<IIIII", 0, 0, 0, 999, 999) + FRAME),
    "a packet block without its head": block(6, bytes(8)),
    "a packet of an interface that is not there": packet(FRAME, number=1),
    "a simple packet without its head": block(3, b""),
    "an old packet longer than its block": block(2, struct.pack("<HHIIII", 0, 0, 0, 0, 999, 999)),
    "an old packet without its head": block(2, bytes(8)),
    "an interface without its head": block(1, b""),
    "statistics without their head": block(5, bytes(4)),
    "a section without a byte order": block(0x0A0D0D0A, bytes(16)),
    "a section without its head": struct.pack("<IIII", 0x0A0D0D0A, 16, 0x1A2B3C4D, 16),
    "a section of version 2": section(major=2),
}


@pytest.mark.parametrize("lie", LYING, ids=str)
def test_a_lie_is_told_with_its_place_after_what_comes_before_it(lie: str) -> None:
    before = section() + interface() + packet(FRAME)
    found: list[Record] = []
    with pytest.raises(Malformed) as caught:
        parser_for(before[:4], None).feed(before + LYING[lie] + bytes(64), found)
    assert len(before) <= caught.value.offset <= len(before) + 8
    assert len(found) == 1


def test_pcap_of_a_packet_too_long() -> None:
    whole = pcap([FRAME])
    with pytest.raises(Malformed, match="most") as caught:
        records(whole + struct.pack("<IIII", 0, 0, 1 << 31, 1 << 31))
    assert caught.value.offset == len(whole)


def test_more_interfaces_than_there_can_be() -> None:
    with pytest.raises(Malformed, match="interfaces"):
        records(section() + interface() * (bounds.CAPTURE_INTERFACES + 1))


@pytest.mark.parametrize(
    ("magic", "why"),
    [
        (b"", "empty"),
        (b"\x7fELF", "7f 45 4c 46"),
        (b"snoo", "snoop"),
        (struct.pack("<I", 0xA1B2CD34), "modified"),
        (struct.pack(">I", 0xA1B2CD34), "modified"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ],
)
def test_what_is_no_capture(magic: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parser_for(magic, None)
