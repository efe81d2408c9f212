"""Captures as files: what tshark and its tools write and read, what is cut short, what is none."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import resource
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiomcast import ArgumentError, CaptureError, Receiver, RefusedError
from aiomcast.feeds import Capture, Captured, record
from aiomcast.testing import MemoryNetwork
from aiomcast.values import bounds
from tests.unit.feeds.captures import (
    STAMP_NS,
    block,
    ethernet,
    fragments4,
    fragments6,
    interface,
    ipv4,
    ipv6,
    packet,
    pcap,
    section,
    udp,
)

BIG = udp(bytes(range(256)) * 12)
VLAN, QINQ = b"\x81\x00\x00\x2a", b"\x88\xa8\x00\x02\x81\x00\x00\x2a"
FRAMES = [
    ethernet(ipv4(udp(b"plain"))),
    ethernet(ipv6(udp(b"six"))),
    ethernet(ipv4(udp(b"tagged"), source="192.0.2.11"), VLAN),
    ethernet(ipv6(udp(b"twice"), group="ff3e::8000:2"), QINQ),
    ethernet(ipv4(udp(b"options"), given=b"\x94\x04\x00\x00")),
    ethernet(ipv6(b"\x11\x00\x05\x02\x00\x00\x01\x00" + udp(b"hop by hop"), follows=0)),
    *(ethernet(one) for one in fragments4(BIG, 1000)),
    *(ethernet(one, VLAN) for one in fragments6(BIG, 1200)),
    ethernet(ipv4(udp(b"unicast"), group="192.0.2.1")),
    ethernet(ipv4(udp(b""))),
]  # fmt: skip
BLOCKS = [packet(one, units=STAMP_NS + at * 1_234_567) for at, one in enumerate(FRAMES)]
START = section() + interface(given=[(2, b"eth0"), (9, b"\x09")])
WHOLE = START + b"".join(BLOCKS)
DATAGRAMS = 9

FIELDS = ["ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "udp.srcport", "udp.dstport", "udp.payload", "ip.ttl",
          "ipv6.hlim", "ip.dsfield", "ipv6.tclass", "frame.time_epoch"]  # fmt: skip


def tool(*command: str | Path) -> str:
    run = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=True)
    return run.stdout


def by_tshark(path: Path) -> list[tuple[str, ...]]:
    """Return the datagrams to groups, as tshark finds them."""
    asked = [one for name in FIELDS for one in ("-e", name)]
    wanted = "udp && (ip.dst >= 224.0.0.0 || ipv6.dst >= ff00::)"
    lines = tool("tshark", "-n", "-r", path, "-Y", wanted, "-T", "fields", *asked).splitlines()
    return [tuple(line.split("\t")) for line in lines]


def by_us(path: Path) -> list[tuple[str, ...]]:
    """Return the same, as we find them."""
    return [_fields(one) for one in Capture(path)]


def _fields(one: Captured) -> tuple[str, ...]:
    stamp_ns = one.timestamp_ns or 0
    when = f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09}"
    ports, data, hops = (str(one.source_port), str(one.port)), one.data.hex(), str(one.hop_limit)
    if ":" in one.source:
        tos = f"0x{one.traffic_class:08x}"
        return ("", "", one.source, one.group, *ports, data, "", hops, "", tos, when)
    return (one.source, one.group, "", "", *ports, data, hops, "", f"0x{one.traffic_class:02x}", "", when)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "feed.pcapng"
    path.write_bytes(WHOLE)
    return path


@pytest.mark.parametrize("form", ["pcapng", "pcap", "nsecpcap"])
def test_every_field_is_as_tshark_has_it(path: Path, form: str) -> None:
    other = path.with_name("other")
    tool("editcap", "-F", form, path, other)
    seen = by_tshark(other)
    assert len(seen) == DATAGRAMS
    assert by_us(other) == seen
    with gzip.open(path.with_name("packed.gz"), "wb") as packed:
        packed.write(other.read_bytes())
    assert by_us(path.with_name("packed.gz")) == seen


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_as_tshark_has_them(path: Path, order: str) -> None:
    named = interface(order=order, given=[(2, b"eth0"), (9, b"\x06")])
    units = STAMP_NS // 1000
    path.write_bytes(
        section(order) + named + b"".join(packet(one, order, units=units) for one in FRAMES)
    )  # fmt: skip
    assert by_us(path) == by_tshark(path)
    path.write_bytes(pcap(FRAMES, order))
    assert by_us(path) == by_tshark(path)
    assert len(by_us(path)) == DATAGRAMS


def test_what_mergecap_puts_together(path: Path) -> None:
    older, both = path.with_name("older.pcap"), path.with_name("both")
    older.write_bytes(pcap(FRAMES))
    tool("mergecap", "-w", both, path, older)
    assert by_us(both) == by_tshark(both)
    assert len(by_us(both)) == 2 * DATAGRAMS
    assert Capture(both).interfaces()[0] == "eth0"


def test_what_a_snap_length_has_cut_is_counted(path: Path) -> None:
    cut = path.with_name("cut")
    tool("editcap", "-s", "60", path, cut)
    capture = Capture(cut)
    found = list(capture)
    assert [one.data for one in found] == [b"plain", b"tagged", b"options", b""]
    told = capture.statistics()
    assert (told.cut, told.datagrams, told.other) == (len(FRAMES) - 5, 4, 1)
    assert told.packets == len(FRAMES)


async def test_what_is_recorded_is_read_again(tmp_path: Path) -> None:
    path, net = tmp_path / "feed.pcapng", MemoryNetwork()
    async with Receiver(network=net, ancillary=("hop_limit", "traffic_class")) as receiver:
        feed = await receiver.join("239.1.1.1", 5000, interface="eth0")
        async with receiver.packets() as copy:
            task = asyncio.create_task(record(feed, path))
            await net.settle()
            net.send_many("192.0.2.10", "239.1.1.1", 5000, [b"", b"a", bytes(1400)], hop_limit=7)
            await net.settle()
            came = [copy.receive_nowait() for _ in range(3)]
            await feed.leave()
            await task
    capture = Capture(path)
    assert [(*one[:5], *one[6:]) for one in capture] == [
        (one.data, one.source, one.source_port, one.group, one.port, one.timestamp_ns, 7, 0) for one in came
    ]
    assert capture.interfaces() == tuple(dict.fromkeys(one.interface for one in capture))
    assert by_us(path) == by_tshark(path)


def test_a_file_that_is_cut_short_is_read_up_to_there_and_says_so(path: Path) -> None:
    ends, at = [], len(START)
    for one in BLOCKS:
        at += len(one)
        ends.append(at)
    whole = list(Capture(path))
    assert not Capture(path).statistics().is_cut_short
    for size in range(len(START), len(WHOLE)):
        if size % 7 and size not in ends:
            continue
        path.write_bytes(WHOLE[:size])
        capture = Capture(path)
        if size in ends or size == len(START):
            found = list(capture)
            assert not capture.statistics().is_cut_short
        else:
            with pytest.warns(RuntimeWarning, match=f"ends within a packet, at byte {size}"):
                found = list(capture)
            assert capture.statistics().is_cut_short
        assert found == whole[: len(found)]
        assert capture.statistics().packets == sum(end <= size for end in ends)


@pytest.mark.filterwarnings("ignore:.*ends within a packet")
def test_a_compressed_file_that_is_cut_short(path: Path) -> None:
    packed = gzip.compress(WHOLE, 0)
    path.write_bytes(packed[: len(packed) // 2])
    capture = Capture(path)
    assert list(capture)
    assert capture.statistics().is_cut_short


def test_a_lie_is_told_after_what_comes_before_it(path: Path) -> None:
    path.write_bytes(WHOLE + block(6, bytes(8)) + WHOLE)
    capture, found = Capture(path), list[Captured]()
    with pytest.raises(CaptureError, match=f"byte {len(WHOLE)}") as caught:
        found.extend(capture)
    assert len(found) == DATAGRAMS
    assert (caught.value.path, caught.value.offset) == (str(path), len(WHOLE))
    assert capture.interfaces() == ("eth0",)  # as far as it can be read


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n", "begins with 0a"),
        (b"#!/bin/sh\n", "neither pcapng nor pcap"),
        (pcap([], magic=0xA1B2CD34), "modified.*editcap"),
        (gzip.compress(b"text"), "neither"),
        (b"\x1f\x8bnot gzip at all", "decompressed"),
    ],
)
def test_a_file_that_is_no_capture_is_refused_at_once(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CaptureError, match=why):
        Capture(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        Capture(tmp_path / "none")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(ArgumentError, match="regular"):
        Capture(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArgumentError, match="regular"):
        Capture(tmp_path / "pipe")
    for wrong in (7, b"file", None):
        with pytest.raises(TypeError):
            Capture(wrong)  # type: ignore[arg-type]  # that is what is tried


def test_memory_is_bounded_whatever_the_lengths_say(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    long = block(0xBAD, b"")[:4] + (1 << 30).to_bytes(4, "little")
    with gzip.open(path, "wb", 1) as packed:
        packed.write(WHOLE + long)
        for _ in range(64):
            packed.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    capture = Capture(path)
    with pytest.warns(RuntimeWarning, match="ends within"):
        assert len(list(capture)) == DATAGRAMS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB


ANY_CHANGE = st.lists(
    st.tuples(
        st.integers(0, len(WHOLE) - 1), st.sampled_from([0, 1, 0x7F, 0xFF]) | st.integers(0, 255)
    ),
    min_size=1,
    max_size=6,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*ends within a packet")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY_CHANGE, st.integers(0, len(WHOLE)), st.sampled_from(["pcapng", "pcap", "gzip"]))
def test_any_change_of_a_capture_is_read_or_refused(
    tmp_path: Path, changes: list[tuple[int, int]], size: int, form: str
) -> None:
    data = bytearray(pcap(FRAMES) if form == "pcap" else WHOLE)
    if form == "gzip":
        data = bytearray(gzip.compress(data))
    for at, byte in changes:
        data[at % len(data)] = byte
    path = tmp_path / "changed"
    path.write_bytes(data[: max(size, len(data) // 2)])
    counted = Counter[str]()
    try:
        capture = Capture(path)
        capture.interfaces()
        for one in capture:
            counted[one.interface] += len(one.data)
    except CaptureError as error:
        assert error.path == str(path)
        assert 0 <= error.offset <= len(WHOLE) + bounds.CAPTURE_BLOCK
    assert counted.total() <= 65535 * len(FRAMES)
