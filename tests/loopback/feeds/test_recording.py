"""What is recorded is what came, as tshark reads it, and a file is whole at every moment."""

import asyncio
import errno
import os
import resource
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiomcast import ArgumentError, Packet, Receiver, RefusedError
from aiomcast.feeds import record, recording
from aiomcast.testing import MemoryNetwork
from aiomcast.values import bounds
from tests.loopback.conftest import Senders
from tests.support.waiting import until

PORT = 5000
SOURCE = "192.0.2.10"


def fields(path: Path, *names: str, allow_cut: bool = False) -> list[list[str]]:
    """Return what tshark reads in each packet; it fails where a file is cut short, unless that may be."""
    asked = [one for name in names for one in ("-e", name)]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *asked]
    command += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not run.returncode or (allow_cut and "cut short" in run.stderr), run.stderr
    return [line.split("\t") for line in run.stdout.splitlines()]


async def test_tshark_reads_what_came_from_the_wire(tmp_path: Path, group: str, senders: Senders) -> None:
    path = tmp_path / "feed.pcapng"
    payloads = [b"", b"a", b"odd", b"four", bytes(1200)]
    async with Receiver() as receiver:
        feed = await receiver.join(group, PORT, sources=["127.0.0.2"], interface="lo")
        async with receiver.packets() as copy:
            task = asyncio.create_task(record(feed, path))
            await asyncio.sleep(0)  # it begins
            await senders.send("127.0.0.2", group, *payloads)
            async with asyncio.timeout(10):
                came = [await copy.receive() for _ in payloads]
        await feed.leave()
        async with asyncio.timeout(10):
            recorded = await task
    assert (recorded.packets, recorded.dropped, recorded.files) == (len(payloads), 0, (path,))
    seen = fields(
        path, "ip.src", "ip.dst", "udp.srcport", "udp.dstport", "frame.time_epoch", "udp.payload",
        "frame.interface_name", "ip.checksum.status", "udp.checksum.status",
    )  # fmt: skip
    assert seen == [
        [
            one.source, one.group, str(one.source_port), str(one.port),
            f"{(one.timestamp_ns or 0) // 10**9}.{(one.timestamp_ns or 0) % 10**9:09}",
            one.data.hex(), "lo", "1", "1",
        ]
        for one in came
    ]  # fmt: skip


@pytest.mark.parametrize(("source", "to"), [(SOURCE, "239.1.1.1"), ("2001:db8::5", "ff0e::4321:1234")])
async def test_checksums_are_right_whatever_the_payload(tmp_path: Path, source: str, to: str) -> None:
    path, net = tmp_path / "feed.pcapng", MemoryNetwork()
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(to, PORT, interface="eth0")
        task = asyncio.create_task(record(feed, path))
        await net.settle()
        net.send_many(source, to, PORT, [number.to_bytes(3, "big") for number in range(0, 1 << 24, 65521)])
        await net.settle()
        await feed.leave()
        await task
    assert {(*one,) for one in fields(path, "udp.checksum.status", "eth.type")} == {
        ("1", "0x86dd" if ":" in to else "0x0800")
    }


async def test_what_is_written_opens_before_the_recording_ends(tmp_path: Path) -> None:
    path, net = tmp_path / "feed.pcapng", MemoryNetwork()
    async with Receiver(network=net) as receiver:
        feed = await receiver.join("239.1.1.1", PORT, interface="eth0")
        task = asyncio.create_task(record(feed, path))
        await net.settle()
        begun = path.stat().st_size
        net.send(SOURCE, "239.1.1.1", PORT, b"kept")
        await until(lambda: path.stat().st_size > begun)
        assert fields(path, "udp.payload") == [[b"kept".hex()]]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert fields(path, "udp.payload") == [[b"kept".hex()]]


async def test_what_came_over_ipv6(tmp_path: Path) -> None:
    path, net = tmp_path / "feed.pcapng", MemoryNetwork()
    async with Receiver(network=net) as receiver:
        feed = await receiver.join("ff0e::4321:1234", PORT, interface="eth0")
        task = asyncio.create_task(record(feed, path))
        await net.settle()
        net.send("2001:db8::5", "ff0e::4321:1234", PORT, b"abc")
        await net.settle()
        await feed.leave()
        await task
    seen = fields(path, "eth.dst", "ipv6.src", "ipv6.dst", "udp.dstport", "udp.length", "udp.payload")
    assert seen == [["33:33:43:21:12:34", "2001:db8::5", "ff0e::4321:1234", "5000", "11", b"abc".hex()]]


def counted_at_the_end(path: Path) -> list[tuple[int, int]]:
    """What the statistics of each interface say: received, and dropped."""
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind == 5:
            options, values = data[at + 20 : at + size - 4], {}
            while len(options) >= 4:
                code, length = struct.unpack_from("<HH", options)
                values[code] = int.from_bytes(options[4 : 4 + length], "little")
                options = options[4 + length + -length % 4 :]
            found.append((values[4], values[7]))
        at += size
    return found


async def test_lost_packets_stand_before_the_next(tmp_path: Path) -> None:
    path, net = tmp_path / "feed.pcapng", MemoryNetwork(receive_buffer=3000)
    async with Receiver(network=net) as receiver:
        feed = await receiver.join("239.1.1.1", PORT, interface="eth0")
        task = asyncio.create_task(record(feed, path))
        await net.settle()
        net.send_many(SOURCE, "239.1.1.1", PORT, [b"x"] * 100)
        await net.settle()
        await feed.leave()
        recorded = await task
    assert recorded.dropped > 0
    assert recorded.packets + recorded.dropped == 100
    drops = [int(one) for (one,) in fields(path, "frame.drop_count") if one]
    assert sum(drops) == recorded.dropped
    assert counted_at_the_end(path) == [(recorded.packets, recorded.dropped)]


async def test_a_slow_disk_holds_up_the_stream_and_not_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits has a limit; beyond it the stream fills and the reading stops: nothing is lost unseen."""
    monkeypatch.setattr(bounds, "RECORD_AHEAD", 1000)
    is_slow, goes_on = threading.Event(), threading.Event()
    write = recording._Rotation.write

    def slow(self: recording._Rotation, batches: list[tuple[list[Packet], int]]) -> None:
        is_slow.set()
        assert goes_on.wait(30)
        write(self, batches)

    monkeypatch.setattr(recording._Rotation, "write", slow)
    path, net = tmp_path / "feed.pcapng", MemoryNetwork(receive_buffer=60_000)
    async with Receiver(network=net, capacity=16) as receiver:
        feed = await receiver.join("239.1.1.1", PORT, interface="eth0")
        task = asyncio.create_task(record(feed, path))
        await net.settle()
        sent = 0
        while feed.statistics().kernel_drops < 10:
            net.send(SOURCE, "239.1.1.1", PORT, bytes(100))
            sent += 1
            await net.settle()
            assert sent < 5000
        assert is_slow.is_set()
        goes_on.set()
        await until(lambda: feed.statistics().received == sent - feed.statistics().kernel_drops)
        await net.settle()
        await feed.leave()
        recorded = await task
    assert recorded.packets + recorded.dropped == sent
    assert counted_at_the_end(path) == [(recorded.packets, recorded.dropped)]
    assert len(fields(path, "udp.payload")) == recorded.packets


RECORDS = """
import asyncio, sys
from aiomcast import Receiver
from aiomcast.feeds import record
async def main(group, path):
    async with Receiver() as receiver:
        feed = await receiver.join(group, 5000, sources=["127.0.0.2"], interface="lo")
        task = asyncio.create_task(record(feed, path))
        await asyncio.sleep(0)
        print("ready", flush=True)
        await task
asyncio.run(main(*sys.argv[1:]))
"""


BLOCK = 88  # bytes of one that holds four, at the least


@contextmanager
def recorder(group: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that records until it is killed, at the end."""
    process = subprocess.Popen([sys.executable, "-c", RECORDS, group, str(path)], stdout=subprocess.PIPE)
    with process:
        try:
            yield process
        finally:
            process.kill()


async def test_a_process_that_is_killed_leaves_a_file_that_opens(
    tmp_path: Path, group: str, senders: Senders
) -> None:
    path = tmp_path / "feed.pcapng"
    with recorder(group, path) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        for first in range(0, 500, 50):
            await senders.send("127.0.0.2", group, *(b"%04d" % one for one in range(first, first + 50)))
            await until(lambda first=first: path.stat().st_size > (first + 50) * BLOCK)  # type: ignore[misc]  # the number of this turn
        await senders.send("127.0.0.2", group, *(b"%04d" % one for one in range(500, 3000)))
    seen = [int(bytes.fromhex(one)) for (one,) in fields(path, "udp.payload", allow_cut=True)]
    assert seen[:500] == list(range(500))
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("limit", [{"rotate_bytes": 2000}, {"rotate_seconds": 5}])
async def test_rotated_files_hold_all_of_it_once(tmp_path: Path, limit: dict[str, int]) -> None:
    net = MemoryNetwork()
    async with Receiver(network=net) as receiver:
        feed = await receiver.join("239.1.1.1", PORT, interface="eth0")
        task = asyncio.create_task(record(feed, tmp_path / "feed.pcapng", **limit))
        await net.settle()
        for number in range(30):
            net.send(SOURCE, "239.1.1.1", PORT, bytes([number]) * 100)
            await net.run_for(1)
        await feed.leave()
        recorded = await task
    assert len(recorded.files) >= 3
    assert sorted(os.listdir(tmp_path)) == [path.name for path in recorded.files]
    seen = [one for path in recorded.files for (one,) in fields(path, "udp.payload")]
    assert seen == [(bytes([number]) * 100).hex() for number in range(30)]
    if "rotate_bytes" in limit:
        assert all(path.stat().st_size < 2500 for path in recorded.files)


@pytest.mark.parametrize(
    "limit", [{"rotate_bytes": 0}, {"rotate_seconds": -1}, {"rotate_seconds": float("nan")}]
)
async def test_a_limit_that_cannot_be_is_refused(tmp_path: Path, limit: dict[str, int]) -> None:
    async with Receiver(network=MemoryNetwork()) as receiver:
        with pytest.raises(ArgumentError):
            await record(receiver, tmp_path / "feed.pcapng", **limit)


async def test_a_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "feed.pcapng"
    path.write_bytes(b"mine")
    async with Receiver(network=MemoryNetwork()) as receiver:
        with pytest.raises(RefusedError, match="written over"):
            await record(receiver, path)
    assert path.read_bytes() == b"mine"


async def test_a_file_that_cannot_be_opened_is_told_of() -> None:
    async with Receiver(network=MemoryNetwork()) as receiver:
        with pytest.raises(RefusedError, match="was not opened") as caught:
            await record(receiver, "/proc/version/feed.pcapng")
    assert caught.value.errno == errno.ENOTDIR


@contextmanager
def small_files() -> Iterator[None]:
    """No file of this process grows beyond 1,000 bytes, as on a full disk; what pytest writes to neither."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_what_no_longer_fits_is_told_of_and_leaves_whole_blocks(tmp_path: Path) -> None:
    path, net = tmp_path / "feed.pcapng", MemoryNetwork()
    async with Receiver(network=net) as receiver:
        feed = await receiver.join("239.1.1.1", PORT, interface="eth0")
        task = asyncio.create_task(record(feed, path))
        await net.settle()
        with small_files():
            for number in range(2):
                begun = path.stat().st_size
                net.send(SOURCE, "239.1.1.1", PORT, bytes([number]) * 300)
                await until(lambda begun=begun: path.stat().st_size > begun)  # type: ignore[misc]  # the number of this turn
            net.send(SOURCE, "239.1.1.1", PORT, b"2" * 300)
            with pytest.raises(RefusedError, match="was not written to"):
                await task
    assert fields(path, "udp.payload") == [[(bytes([number]) * 300).hex()] for number in range(2)]
