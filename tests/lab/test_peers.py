"""Programs that are not ours, on both ends: iperf 2 and socat."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import re
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator

import pytest

import aiomcast
from tests.support.packets import take

from .network import Host, Network, stop, wait_until
from .traffic import Traffic

PORT = 5001  # iperf's own
DATAGRAMS = 50

GROUPS = pytest.mark.parametrize(
    "group", ["232.5.1.{}", "ff3e::8005:{}"], ids=["ipv4", "ipv6"], indirect=True
)

_numbers = itertools.count(1)


@pytest.fixture
def group(request: pytest.FixtureRequest) -> str:
    """A group that no test before had: the bridge forwards it when the peer has joined, not still."""
    template: str = request.param
    return template.format(next(_numbers))


@pytest.fixture
def traffic(network: Network, group: str, in_receiver: Host) -> Iterator[Traffic]:
    with Traffic(network, group, PORT) as traffic:
        yield traffic


def need(tool: str) -> None:
    """Skip where a peer is not installed; fail if AIOMCAST_REQUIRE_LAB is 1."""
    if shutil.which(tool) is None:
        stopped = pytest.fail if os.environ.get("AIOMCAST_REQUIRE_LAB") == "1" else pytest.skip
        stopped(f"{tool} is not installed")


def iperf(traffic: Traffic, *options: str) -> list[str]:
    """The command for either end, in the group's family."""
    need("iperf")
    return ["iperf", "-u", *options, *(["-V"] if ":" in traffic.group else [])]


def datagram(number: int) -> bytes:
    """What iperf 2 counts: sequence number, seconds and microseconds; a negative number ends."""
    return struct.pack("!iIIi", number, 1, 0, 0).ljust(200, b"\0")


def _accepted(network: Network) -> bool:
    """Whether a socket of the server is connected to its client."""
    listed = network.run("rcv", ["cat", "/proc/net/udp", "/proc/net/udp6"]).stdout.splitlines()
    ends = [line.split()[1:3] for line in listed]
    return any(local.endswith(f":{PORT:04X}") and not remote.endswith(":0000") for local, remote in ends)


def _until_the_report(server: subprocess.Popen[bytes]) -> str:
    """What the server says, up to the line with the result; all of it if it has said none in 10 s."""
    assert server.stdout is not None
    timer = threading.Timer(10, server.terminate)
    timer.start()
    said = b""
    for line in server.stdout:
        said += line
        if b"KBytes " in line:
            break
    timer.cancel()
    stop(server)
    return said.decode()


@GROUPS
async def test_iperf_sends(network: Network, traffic: Traffic) -> None:
    source = traffic.address("s2")
    interface = "%v0" if ":" in traffic.group else ""
    command = iperf(traffic, "-c", traffic.group + interface, "-B", source, "-T", "8")
    async with aiomcast.listen(traffic.group, PORT, sources=[source], interface="v0") as feed:
        traffic.forwarded("s2")
        network.popen("s2", [*command, "-n", "25000", "-l", "500", "-b", "4M"])
        packets = await take(aiter(feed), DATAGRAMS)
    assert {packet.source for packet in packets} == {source}
    assert {len(packet.data) for packet in packets} == {500}
    numbers = [struct.unpack_from("!i", packet.data)[0] for packet in packets]
    assert numbers == list(range(numbers[0], numbers[0] + DATAGRAMS))


@GROUPS
async def test_iperf_receives(network: Network, traffic: Traffic) -> None:
    source = traffic.address("s1")
    command = iperf(traffic, "-s", "-B", f"{traffic.group}%v0", "-H", source)
    server = network.popen("rcv", command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    traffic.forwarded("s1")
    # A member that wants the other source too: what s2 sends reaches the server's host.
    witness = traffic.witness("s2")
    with network.inside("s2"):
        other = aiomcast.Sender(traffic.group, PORT, source=traffic.address("s2"), ttl=8)
    with network.inside("s1"):
        mine = aiomcast.Sender(traffic.group, PORT, source=source, ttl=8)
    async with other, mine:
        for number in range(1, DATAGRAMS + 1):
            await other.send(datagram(number))
            await mine.send(datagram(number))
            await asyncio.to_thread(witness.recv, 2048)
            if number == 1:  # what comes while it accepts this one, iperf may take for another client
                accepted = functools.partial(_accepted, network)
                await asyncio.to_thread(wait_until, accepted, 10, "iperf has accepted its client")
        await mine.send(datagram(-(DATAGRAMS + 1)))
    said = await asyncio.to_thread(_until_the_report, server)
    assert re.findall(r"connected with (\S+) port", said) == [source], said
    # "0.0000-0.0214 sec  10.0 KBytes  3.81 Mbits/sec   0.021 ms 0/51 (0%)": lost/total
    assert re.search(rf"KBytes .* 0/{DATAGRAMS + 1} \(0%\)", said), said


@GROUPS
async def test_socat_sends(network: Network, traffic: Traffic) -> None:
    need("socat")
    source = traffic.address("s3")
    if ":" in traffic.group:
        address = f"UDP6-DATAGRAM:[{traffic.group}]:{PORT},bind=[{source}],so-bindtodevice=v0"
    else:
        address = f"UDP4-DATAGRAM:{traffic.group}:{PORT},ip-multicast-if={source},ip-multicast-ttl=8"
    async with aiomcast.listen(traffic.group, PORT, sources=[source], interface="v0") as feed:
        traffic.forwarded("s3")
        process = network.popen("s3", ["socat", "-u", "-", address], stdin=subprocess.PIPE)
        await asyncio.to_thread(process.communicate, b"from socat", timeout=10)
        (packet,) = await take(aiter(feed), 1)
    assert (packet.data, packet.source) == (b"from socat", source)
