"""A port that is shared with other programs, started before or after: each gets every packet."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import aiomcast
from aiomcast import RefusedError, open_socket
from tests.support.packets import payloads, take
from tests.support.port_holder import BOUND, CAN_BE_NOBODY, NOBODY, OPTIONS, command
from tests.support.sandbox import apart

from .network import Network, stop, wait_until
from .test_peers import PORT as IPERF
from .test_peers import _accepted as accepted
from .test_peers import _until_the_report as until_the_report
from .test_peers import datagram, iperf, need
from .traffic import IP_MULTICAST_ALL, IPV6_MULTICAST_ALL, Traffic

COUNT = 50
NUMBERS = [b"%04d\n" % number for number in range(COUNT)]
needs_nobody = pytest.mark.skipif(not CAN_BE_NOBODY, reason="there is no other user here")
BOTH_ORDERS = pytest.mark.parametrize("is_first", [True, False], ids=["started-first", "started-second"])

# A program that knows nothing of multicast but how to join, and has asyncio share its port.
ASYNCIO = """
import asyncio, os, socket, struct, sys

class Printer(asyncio.DatagramProtocol):
    def datagram_received(self, data, addr):
        os.write(1, data)

async def main(group, port, index):
    wildcard = "::" if ":" in group else "0.0.0.0"
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Printer, local_addr=(wildcard, port), reuse_port=True)
    sock = transport.get_extra_info("socket")
    packed = socket.inet_pton(sock.family, group)
    if ":" in group:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("=16si", packed, index))
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("=4s4xi", packed, index))
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), socket.if_nametoindex("v0")))
"""


def asyncio_endpoint(traffic: Traffic) -> list[str]:
    return [sys.executable, "-c", ASYNCIO, traffic.group, str(traffic.port)]


def ffmpeg(traffic: Traffic) -> list[str]:
    """It binds to the group."""
    need("ffmpeg")
    host, here = (
        (f"[{traffic.group}]", "") if ":" in traffic.group else (traffic.group, "&localaddr=192.0.2.1")
    )
    source = f"udp://@{host}:{traffic.port}?reuse=1{here}"
    copying = ["-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "data", "pipe:1"]
    return ["ffmpeg", "-loglevel", "error", "-f", "data", "-i", source, *copying]


def socat(option: str) -> Callable[[Traffic], list[str]]:
    """It binds to the wildcard address."""

    def command(traffic: Traffic) -> list[str]:
        need("socat")
        if ":" in traffic.group:
            listening = f"UDP6-RECV:{traffic.port},{option},ipv6-join-group=[{traffic.group}]:v0"
        else:
            listening = f"UDP4-RECV:{traffic.port},{option},ip-add-membership={traffic.group}:192.0.2.1"
        return ["socat", "-u", listening, "-"]

    return command


PROGRAMS = pytest.mark.parametrize(
    "program",
    [socat("reuseport"), socat("reuseaddr"), asyncio_endpoint, ffmpeg],
    ids=["socat-reuseport", "socat-reuseaddr", "asyncio-reuse_port", "ffmpeg"],
)


class Started:
    """Programs of the receiver's host, and a membership beside them; they end with the context."""

    def __init__(self, network: Network, traffic: Traffic) -> None:
        self._network, self._traffic = network, traffic
        self._members = 0
        self._ending = ExitStack()

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.close()

    def start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        """Start one that joins the group, and wait until it has."""
        process = self._network.popen("rcv", argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._ending.callback(stop, process)
        self._ending.callback(process.kill)  # before that: ffmpeg takes its time when it is asked to end
        self.wait_for_one_more()
        return process

    def wait_for_one_more(self) -> None:
        """Wait until one more socket of the host has joined the group, and the bridge knows."""
        self._members += 1
        wait_until(lambda: self._joined() == self._members, 20, f"{self._members} members")
        self._network.wait_for_member(self._traffic.group, None)

    def _joined(self) -> int:
        listed = json.loads(self._network.ip("rcv", "-j maddr show dev v0"))
        groups = [group for interface in listed for group in interface["maddr"]]
        return sum(group.get("users", 1) for group in groups if group.get("address") == self._traffic.group)


def said(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    """Return the next lines that a program says, empty ones if it does not in 10 s: it is ended then."""
    assert process.stdout is not None
    timer = threading.Timer(10, process.terminate)
    timer.start()
    lines = [process.stdout.readline() for _ in range(count)]
    timer.cancel()
    return lines


@pytest.fixture
def started(network: Network, asm: Traffic) -> Iterator[Started]:
    with Started(network, asm) as started:
        yield started


@PROGRAMS
@BOTH_ORDERS
async def test_each_gets_every_packet(
    asm: Traffic, started: Started, program: Callable[[Traffic], list[str]], is_first: bool
) -> None:
    argv = program(asm)
    first = started.start(argv) if is_first else None
    async with aiomcast.listen(asm.group, asm.port, interface="v0") as feed:
        started.wait_for_one_more()
        process = first or started.start(argv)
        asm.send("s1", *NUMBERS)
        assert payloads(await take(aiter(feed), COUNT)) == NUMBERS
    assert await asyncio.to_thread(said, process, COUNT) == NUMBERS


@pytest.mark.parametrize(
    "programs",
    [(socat("reuseport"), asyncio_endpoint), (socat("reuseaddr"), ffmpeg)],
    ids=["SO_REUSEPORT", "SO_REUSEADDR"],
)
async def test_several_programs(
    asm: Traffic, started: Started, programs: tuple[Callable[[Traffic], list[str]], ...]
) -> None:
    """Sockets that share the wildcard by SO_REUSEPORT deal out what is sent to the host, not to a group."""
    processes = [started.start(program(asm)) for program in programs]
    async with aiomcast.listen(asm.group, asm.port, interface="v0") as feed:
        started.wait_for_one_more()
        asm.send("s1", *NUMBERS)
        assert payloads(await take(aiter(feed), COUNT)) == NUMBERS
    for process in processes:
        assert await asyncio.to_thread(said, process, COUNT) == NUMBERS


@BOTH_ORDERS
async def test_iperf_gets_every_packet(
    network: Network, asm: Traffic, started: Started, is_first: bool
) -> None:
    with Traffic(network, asm.group, IPERF) as traffic:
        argv = iperf(traffic, "-s", "-B", f"{traffic.group}%v0")
        first = started.start(argv) if is_first else None
        async with aiomcast.listen(traffic.group, IPERF, interface="v0") as feed:
            started.wait_for_one_more()
            server = first or started.start(argv)
            sent = [datagram(number) for number in range(1, COUNT + 1)]
            traffic.send("s1", sent[0])
            # What comes while it accepts this one, iperf may take for another client.
            await asyncio.to_thread(
                wait_until, lambda: accepted(network), 10, "iperf has accepted its client"
            )
            traffic.send("s1", *sent[1:], datagram(-(COUNT + 1)))
            assert payloads(await take(aiter(feed), COUNT)) == sent
    report = await asyncio.to_thread(until_the_report, server)
    assert re.search(rf"KBytes .* 0/{COUNT + 1} \(0%\)", report), report


@BOTH_ORDERS
@pytest.mark.parametrize(
    "uid", [None, pytest.param(NOBODY, marks=needs_nobody)], ids=["same-user", "other-user"]
)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "neither")
def test_which_options_share(
    network: Network,
    asm: Traffic,
    started: Started,
    options: tuple[str, ...],
    uid: int | None,
    is_first: bool,
) -> None:
    """The table of the guide: SO_REUSEADDR, or SO_REUSEPORT with the same user id, whoever comes first."""
    wildcard = "::" if asm.family == socket.AF_INET6 else "0.0.0.0"
    argv = command(wildcard, asm.port, options, joins=(asm.group, "v0"), uid=uid)
    process = None
    if is_first:
        process = started.start(argv)
        assert said(process, 1) == [BOUND]
    if "SO_REUSEADDR" not in options and (uid is not None or "SO_REUSEPORT" not in options):
        if process is not None:
            with pytest.raises(RefusedError, match=f"pid {process.pid}"):
                open_socket(asm.group, asm.port, "v0")
            return
        with open_socket(asm.group, asm.port, "v0"):
            process = network.popen("rcv", argv, stdout=subprocess.PIPE)
            assert said(process, 1) == [b"Address already in use\n"]
        return
    with open_socket(asm.group, asm.port, "v0") as sock:
        sock.set_filter(None)
        started.wait_for_one_more()
        if process is None:
            process = started.start(argv)
            assert said(process, 1) == [BOUND]
        asm.send("s1", *NUMBERS)
        sock.settimeout(10)
        assert [sock.recv(100) for _ in NUMBERS] == NUMBERS
        assert said(process, COUNT) == NUMBERS


@BOTH_ORDERS
@pytest.mark.parametrize("options", OPTIONS[1:], ids="+".join)
def test_what_is_sent_to_the_host_is_the_others(
    network: Network, asm: Traffic, started: Started, options: tuple[str, ...], is_first: bool
) -> None:
    """A socket that is bound to a group takes no part in how unicast is dealt out."""
    wildcard = "::" if asm.family == socket.AF_INET6 else "0.0.0.0"
    argv = command(wildcard, asm.port, options, joins=(asm.group, "v0"))
    first = started.start(argv) if is_first else None
    with open_socket(asm.group, asm.port, "v0") as sock:
        sock.set_filter(None)
        started.wait_for_one_more()
        process = first or started.start(argv)
        assert said(process, 1) == [BOUND]
        for number in NUMBERS:  # each another flow: SO_REUSEPORT deals them out by that
            with network.sender("s1", asm.family) as sender:
                sender.sendto(number, (asm.address("rcv"), asm.port))
        assert said(process, COUNT) == NUMBERS


def test_the_hint_is_of_the_threads_own_namespace(network: Network) -> None:
    """The main thread is in another: /proc/net is its."""

    def refused() -> None:
        with network.inside("rcv"), pytest.raises(RefusedError, match=f"held by .* \\(pid {process.pid}\\)"):
            open_socket("239.2.2.1", 5002, "v0")

    process = network.popen("rcv", command("0.0.0.0", 5002), stdout=subprocess.PIPE)
    assert said(process, 1) == [BOUND]
    apart(refused)
    stop(process)


@pytest.mark.parametrize("comes", ["never", "first", "in between"])
async def test_each_socket_gets_what_it_has_joined(asm: Traffic, comes: str) -> None:
    """Linux may give what one socket is to have to another that was bound with SO_REUSEPORT too."""
    is_six = ":" in asm.group
    dot, wildcard = (":", "::") if is_six else (".", "0.0.0.0")
    level, everything = (
        (socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL) if is_six else (socket.IPPROTO_IP, IP_MULTICAST_ALL)
    )
    unheard = [f"{asm.address('s1').rpartition(dot)[0]}{dot}{number}" for number in range(100, 111)]
    one_source, *two_sources = map(asm.address, ("s1", "s2", "s3"))
    async with aiomcast.Receiver() as first, aiomcast.Receiver() as second:
        # It shares by SO_REUSEPORT alone, and has no part in the group.
        with socket.socket(asm.family, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.setsockopt(level, everything, 0)
            if comes == "first":
                other.bind((wildcard, asm.port))
            one = await first.join(asm.group, asm.port, sources=[one_source], interface="v0")
            if comes == "in between":
                other.bind((wildcard, asm.port))
            # More than one socket of IPv4 holds.
            two = await second.join(asm.group, asm.port, sources=[*unheard, *two_sources], interface="v0")
            asm.forwarded("s1", "s2", "s3")
            for number in NUMBERS:
                for name in ("s1", "s2", "s3"):
                    asm.send(name, number)
            assert payloads(await take(aiter(one), COUNT)) == NUMBERS
            got = await take(aiter(two), 2 * COUNT)
        for source in two_sources:
            assert payloads([packet for packet in got if packet.source == source]) == NUMBERS
        assert one.statistics().filtered == two.statistics().filtered == 0
