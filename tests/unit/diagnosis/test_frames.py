"""What frames say, from bytes as they were on a wire."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast.diagnosis.facts import Capture, Seen
from aiomcast.diagnosis.frames import MOST, Frames

UDP = struct.pack("!HHHH", 7777, 5000, 9, 0) + b"x"
IGMPV3_REPORT = bytes.fromhex("2200 0000 0000 0002 0500 0001 e8010101 c000020b 0400 0000 ef010101")
IGMPV2_REPORT = bytes.fromhex("1600 0000 ef010102")
IGMP_QUERIES = {3: "1101 ec81 00000000 027d 0000", 2: "1101 eefe 00000000", 1: "1100 eeff 00000000"}
MLDV2_REPORT = bytes.fromhex("8f00 0000 0000 0001 0400 0000 ff1e" + 12 * "00" + "0001")
MLDV1_REPORT = bytes.fromhex("8300 0000 0000 0000 ff1e" + 12 * "00" + "0002")
MLD_QUERIES = {2: "8200 0000 0064 0000" + 16 * "00" + "027d 0000", 1: "8200 0000 0064 0000" + 16 * "00"}
HOP_BY_HOP = (0, bytes.fromhex("00 0502 0000 0100"))
SOURCES, GROUPS = ("192.0.2.2", "2001:db8::2"), ("239.1.1.1", "ff1e::1:1")


def ipv4(protocol: int, payload: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
    ends = ip_address(SOURCES[0]).packed + ip_address(GROUPS[0]).packed
    length = 20 + len(options) + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, length, 1, fragment, 8, protocol, 0)
    return head + ends + options + payload


def ipv6(kind: int, payload: bytes, extension: int | None = None, of_it: bytes = b"") -> bytes:
    ends = ip_address(SOURCES[1]).packed + ip_address(GROUPS[1]).packed
    rest = payload if extension is None else bytes([kind]) + of_it + payload
    first = kind if extension is None else extension
    return struct.pack("!IHBB", 0x60000000, len(rest), first, 8) + ends + rest


def seen_in(*packets: bytes, vlan: int = 0, is_outgoing: bool = False) -> Capture:
    frames = Frames()
    for packet in packets:
        frames.add(packet, vlan, is_outgoing=is_outgoing)
    return frames.capture(True)


@pytest.mark.parametrize(
    "packet", [ipv4(17, UDP), ipv4(17, UDP, bytes(4)), ipv6(17, UDP), ipv6(17, UDP, *HOP_BY_HOP)]
)
@pytest.mark.parametrize(("vlan", "is_outgoing"), [(0, False), (7, False), (0, True)])
def test_datagrams_are_counted_by_their_ends(packet: bytes, vlan: int, is_outgoing: bool) -> None:
    family = packet[0] >> 4 == 6
    expected = Seen(SOURCES[family], GROUPS[family], 5000, vlan, is_outgoing)
    assert seen_in(packet, packet, vlan=vlan, is_outgoing=is_outgoing).seen == {expected: 2}


def test_only_a_first_fragment_has_ports() -> None:
    later, first = struct.pack("!BHI", 0, 8 | 1, 77), struct.pack("!BHI", 0, 1, 77)
    assert seen_in(ipv4(17, UDP, fragment=1), ipv6(17, UDP, 44, later)).seen == {}
    assert len(seen_in(ipv4(17, UDP, fragment=0x2000), ipv6(17, UDP, 44, first)).seen) == 2


def test_reports_of_this_host() -> None:
    packets = [ipv4(2, IGMPV3_REPORT, bytes(4)), ipv4(2, IGMPV2_REPORT, bytes(4))]
    packets += [ipv6(58, MLDV2_REPORT, *HOP_BY_HOP), ipv6(58, MLDV1_REPORT, *HOP_BY_HOP)]
    found = seen_in(*packets, is_outgoing=True)
    assert found.reported == {
        (3, "232.1.1.1", False), (3, "239.1.1.1", False), (2, "239.1.1.2", True), (2, "ff1e::1", False),
        (1, "ff1e::2", True),
    }  # fmt: skip
    for answer in (1, 2):
        packet = ipv4(2, IGMPV3_REPORT[:8] + bytes([answer]) + IGMPV3_REPORT[9:], bytes(4))
        assert seen_in(packet, is_outgoing=True).reported == {
            (3, "232.1.1.1", True), (3, "239.1.1.1", False),
        }  # fmt: skip
    assert seen_in(*packets) == Capture()


def test_queries_of_others() -> None:
    for version, message in IGMP_QUERIES.items():
        packet = ipv4(2, bytes.fromhex(message), bytes(4))
        assert seen_in(packet).queries == {version: SOURCES[0]}
        assert seen_in(packet, is_outgoing=True) == Capture()
    for version, message in MLD_QUERIES.items():
        assert seen_in(ipv6(58, bytes.fromhex(message), *HOP_BY_HOP)).queries == {version: SOURCES[1]}


def test_of_what_is_looped_back_only_datagrams_count() -> None:
    frames = Frames()
    for packet in (ipv4(17, UDP), ipv4(2, bytes.fromhex(IGMP_QUERIES[3]), bytes(4)), ipv6(17, UDP)):
        frames.add(packet, 0, is_looped=True)
    assert len(frames.capture(True).seen) == 2
    assert frames.capture(True).queries == {}


def test_no_more_kinds_are_kept_than_can_be() -> None:
    frames = Frames()
    for port in range(MOST + 50):
        frames.add(ipv4(17, struct.pack("!HHHH", 7777, port, 8, 0)), 0)
    assert len(frames.capture(True).seen) == MOST


@given(st.sampled_from([0x45, 0x4F, 0x60, 0x00]), st.binary(max_size=MOST), st.booleans())
def test_whatever_is_on_the_wire(first: int, rest: bytes, is_outgoing: bool) -> None:
    seen_in(bytes([first]) + rest, b"", is_outgoing=is_outgoing)


@given(st.sampled_from([ipv4(2, IGMPV3_REPORT, bytes(4)), ipv6(58, MLDV2_REPORT, *HOP_BY_HOP)]), st.data())
def test_what_is_cut_short(packet: bytes, data: st.DataObject) -> None:
    seen_in(packet[: data.draw(st.integers(0, len(packet)))], is_outgoing=True)
