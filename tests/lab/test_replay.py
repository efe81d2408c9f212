"""What a capture gives, replayed through filters, is what the wire gave at that time, packet by packet."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from aiomcast import Packet, Receiver, SourceFilter
from aiomcast.feeds import Capture, Replay, record
from tests.unit.feeds.captures import STAMP_NS, ethernet, interface, ipv4, ipv6, packet, section, udp

from .network import Network, stop, wait_until
from .traffic import Traffic

END = b"the end"
COUNT = 60
TAGS = frozenset({"hop_limit", "traffic_class"})
RECORDERS = {
    "tshark": ["tshark", "-q", "-w"],
    "dumpcap, any": ["dumpcap", "-q", "-w"],
    "tcpdump": ["tcpdump", "-U", "--time-stamp-precision=nano", "-w"],
}


@contextmanager
def recording(network: Network, recorder: str, on: str, path: Path) -> Iterator[None]:
    """Have one of them record what comes in at the receiver."""
    command = [*RECORDERS[recorder], str(path), "-i", on]
    if recorder == "tcpdump":
        command += ["-Z", "root"]
    process = network.popen("rcv", command)
    try:
        wait_until(
            lambda: network.run("rcv", ["cat", "/proc/net/packet"]).stdout.count("\n") > 1,
            10,
            "a packet socket",
        )
        wait_until(lambda: path.exists() and path.stat().st_size > 0, 20, "a file")
        yield
    finally:
        stop(process)


def has_ended(path: Path) -> bool:
    """Whether the last packet has come to the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return any(one.data == END for one in Capture(path))


def filters(traffic: Traffic) -> dict[str, SourceFilter]:
    first, second, third = (traffic.address(name) for name in ("s1", "s2", "s3"))
    return {
        "any": SourceFilter.any(),
        "one": SourceFilter.include([first]),
        "two": SourceFilter.include([first, third]),
        "all but one": SourceFilter.exclude([second]),
        "all but two": SourceFilter.exclude([first, third]),
    }


def send(traffic: Traffic) -> None:
    """From three sources in turn, some of it in fragments, and END from each."""
    for number in range(COUNT):
        content = b"%d " % number + bytes(4000 if number % 7 == 3 else number)
        traffic.send(("s1", "s2", "s3")[number % 3], content)
    for name in ("s1", "s2", "s3"):
        traffic.send(name, END)


async def until_end(receiver: Receiver, ends: int) -> list[Packet]:
    """Return what comes until END has come from so many sources."""
    came: list[Packet] = []
    async with asyncio.timeout(20):
        async for one in receiver:
            if one.data != END:
                came.append(one)
                continue
            ends -= 1
            if not ends:
                return came
    raise AssertionError("it ended by itself")


def facts(packets: list[Packet]) -> list[tuple[object, ...]]:
    return [
        (
            one.data, one.source, one.source_port, one.group, one.port, one.timestamp_ns,
            one.hop_limit, one.traffic_class, one.truncated,
        )
        for one in packets
        if one.data != END
    ]  # fmt: skip


async def replayed(path: Path, traffic: Traffic, let_in: SourceFilter) -> list[Packet]:
    async with Receiver(network=Replay(path, speed="fast"), ancillary=TAGS) as receiver:
        await receiver.join(traffic.group, traffic.port, sources=let_in)
        async with asyncio.timeout(20):
            return [one async for one in receiver]


async def compare(network: Network, traffic: Traffic, recorder: str, on: str, path: Path) -> None:
    """Record while members with several filters receive, and replay through the same filters."""
    wanted = filters(traffic)
    async with AsyncExitStack() as stack:
        receivers = {name: Receiver(ancillary=TAGS) for name in wanted}
        for name, receiver in receivers.items():
            await stack.enter_async_context(receiver)
            await receiver.join(traffic.group, traffic.port, sources=wanted[name], interface="v0")
        network.wait_for_member(traffic.group, None)
        with recording(network, recorder, on, path):
            send(traffic)
            ends = {"any": 3, "one": 1, "two": 2, "all but one": 2, "all but two": 1}
            wire = {name: await until_end(receivers[name], ends[name]) for name in receivers}
            while not has_ended(path):
                await asyncio.sleep(0.05)
    assert len(wire["any"]) == COUNT
    for name, let_in in wanted.items():
        again = await replayed(path, traffic, let_in)
        assert facts(again) == facts(wire[name]), name


@pytest.mark.parametrize("recorder", RECORDERS)
async def test_a_capture_gives_what_the_wire_gave(
    network: Network, asm: Traffic, recorder: str, tmp_path: Path
) -> None:
    on = "any" if recorder.endswith("any") else "v0"
    await compare(network, asm, recorder, on, tmp_path / "feed")


async def test_what_is_recorded_by_ourselves_too(network: Network, asm: Traffic, tmp_path: Path) -> None:
    path = tmp_path / "feed.pcapng"
    async with Receiver(ancillary=TAGS) as receiver:
        feed = await receiver.join(asm.group, asm.port, interface="v0")
        network.wait_for_member(asm.group, None)
        task = asyncio.create_task(record(feed, path))
        await asyncio.sleep(0)
        send(asm)
        wire = await until_end(receiver, 3)
        await feed.leave()
        await task
    for let_in in filters(asm).values():
        again = await replayed(path, asm, let_in)
        assert facts(again) == facts([one for one in wire if let_in.allows(one.source)])


# Onto the wire


def captured(path: Path, source: str, group: str, port: int, count: int = 20) -> None:
    wrap = ipv6 if ":" in group else ipv4
    frames = [ethernet(wrap(udp(b"%d" % number, (4321, port)), source, group)) for number in range(count)]
    path.write_bytes(
        section()
        + interface()
        + b"".join(packet(one, units=STAMP_NS + at * 1_000_000) for at, one in enumerate(frames))
    )


async def test_from_sources_that_the_host_does_not_have(
    network: Network, ssm: Traffic, tmp_path: Path
) -> None:
    foreign = "2001:db8:7::7" if ":" in ssm.group else "203.0.113.77"
    captured(tmp_path / "feed", foreign, ssm.group, ssm.port)
    if ":" not in ssm.group:
        for name in ("all", "v0"):  # no route leads back there
            network.run("rcv", ["sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=0"])
    async with Receiver(ancillary=TAGS) as receiver:
        await receiver.join(ssm.group, ssm.port, sources=[foreign], interface="v0")
        network.wait_for_member(ssm.group, foreign)
        command = [sys.executable, "-m", "aiomcast", "replay", str(tmp_path / "feed"), "-i", "v0"]
        done = await asyncio.to_thread(network.run, "s1", command, 30)
        assert re.match(rf"sent 20 packets, 30 bytes .* from {re.escape(foreign)} on v0\n", done.stderr)
        async with asyncio.timeout(20):
            came = [await anext(aiter(receiver)) for _ in range(20)]
    assert [(one.data, one.source, one.source_port, one.hop_limit) for one in came] == [
        (b"%d" % number, foreign, 4321, 9) for number in range(20)
    ]


@pytest.mark.parametrize("group", ["232.2.9.9", "ff3e::8002:909"])
def test_without_the_privilege_it_says_what_to_do(network: Network, group: str, tmp_path: Path) -> None:
    foreign = "2001:db8:7::7" if ":" in group else "203.0.113.77"
    captured(tmp_path / "feed", foreign, group, 5000)
    setpriv = shutil.which("setpriv") or "setpriv"
    command = [setpriv, "--bounding-set=-net_admin,-net_raw", sys.executable, "-m", "aiomcast", "replay"]
    with network.inside("s1"):
        done = subprocess.run(
            [*command, tmp_path / "feed", "-i", "v0"], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"aiomcast: sending from {foreign}, which is no address of this host: take CAP_NET_ADMIN or "
        "CAP_NET_RAW, or send from an address of this host, with --source A or --to GROUP:PORT\n"
    )
