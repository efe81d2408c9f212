"""A feed over two routers that speak PIM: what the last of them forgets with its link comes back with it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from aiomcast import EventKind, Membership, Receiver

from .network import SYSCTLS, _setns, execute, stop, unique_name, wait_until

FRR = Path("/usr/lib/frr")
SOURCE, GROUP, PORT = "10.1.0.2", "232.9.1.1", 5000
SOON = 10
# The times have to be in this order. Nobody asks again for 100 s.
CONFIGURED = """
interface {name}
 ip pim
 ip igmp
 ip igmp version 3
 ip igmp query-max-response-time 10
 ip igmp query-interval 100
"""


class Routed:
    """Hosts src and rcv, routers r1 and r2 between them. A context manager."""

    def __init__(self) -> None:
        self._prefix = unique_name()
        self._undoing = ExitStack()

    def namespace(self, name: str) -> str:
        """The namespace of a host or router."""
        return f"{self._prefix}-{name}"

    def __enter__(self) -> Routed:
        with ExitStack() as building:
            for name in ("src", "r1", "r2", "rcv"):
                execute(["ip", "netns", "add", self.namespace(name)])
                building.callback(execute, ["ip", "netns", "del", self.namespace(name)])
                self.ip(name, "link set lo up")
            for number, (near, far) in enumerate((("src", "r1"), ("r1", "r2"), ("r2", "rcv")), 1):
                self._cable(near, far, number)
            for host, number in (("src", 1), ("rcv", 3)):
                self.ip(host, f"route add default via 10.{number}.0.1")
            self.ip("src", "route add 224.0.0.0/4 dev l1")
            self.ip("r1", "route add 10.3.0.0/24 via 10.2.0.2")
            self.ip("r2", "route add 10.1.0.0/24 via 10.2.0.1")
            for router, links in (("r1", ("l1", "l2")), ("r2", ("l2", "l3"))):
                self._route(building, router, links)
            self._undoing = building.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._undoing.close()

    def ip(self, name: str, command: str) -> str:
        """Run `ip COMMAND` on a host or router."""
        return execute(["ip", "-n", self.namespace(name), *command.split()]).stdout

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Move the calling thread there, and back at the end."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as home,
            Path("/run/netns", self.namespace(name)).open("rb") as there,
        ):
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def _cable(self, near: str, far: str, number: int) -> None:
        # .1 is the router's end of a link to a host, and r1's of that between the routers.
        ends = {"src": 2, "rcv": 2, "r1": 1, "r2": 2 if near == "r1" else 1}
        name = f"l{number}"
        self.ip(near, f"link add {name} type veth peer name {name} netns {self.namespace(far)}")
        for host in (near, far):
            self.ip(host, f"addr add 10.{number}.0.{ends[host]}/24 dev {name}")
            self.ip(host, f"link set {name} up")

    def _route(self, building: ExitStack, router: str, links: tuple[str, str]) -> None:
        with self.inside(router):
            for key, value in {**SYSCTLS, "net/ipv4/ip_forward": 1}.items():
                Path("/proc/sys", key).write_text(str(value))
        directory = Path(building.enter_context(tempfile.TemporaryDirectory()))
        directory.chmod(0o777)
        configuration = directory / "frr.conf"
        configuration.write_text("".join(CONFIGURED.format(name=name) for name in links))
        for daemon in ("zebra", "pimd"):
            command = ["ip", "netns", "exec", self.namespace(router), str(FRR / daemon)]
            command += ["--vty_socket", str(directory), "-z", str(directory / "zserv.api")]
            command += ["-i", str(directory / f"{daemon}.pid"), "-f", str(configuration)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            building.callback(stop, process)
            if daemon == "zebra":
                wait_until((directory / "zserv.api").exists, SOON, "zebra listens")


@pytest.fixture(scope="module")
def routed(lab: None) -> Iterator[Routed]:
    if not (FRR / "pimd").exists():
        reason = "the router needs frr"
        if os.environ.get("AIOMCAST_REQUIRE_LAB") == "1":
            pytest.fail(f"AIOMCAST_REQUIRE_LAB=1, but {reason}", pytrace=False)
        pytest.skip(reason)
    with Routed() as built:
        yield built


@pytest.fixture
def sender(routed: Routed) -> Iterator[socket.socket]:
    with routed.inside("src"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(SOURCE))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
        sock.bind((SOURCE, 0))
        yield sock


async def flows(feed: Membership, sender: socket.socket) -> None:
    """Send until something comes that was sent after this was called."""
    mark = os.urandom(8)

    async def send() -> None:
        while True:
            sender.sendto(mark, (GROUP, PORT))
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(SOON), feed.packets() as packets:
            while (await packets.receive()).data != mark:
                pass
    finally:
        sending.cancel()


async def test_the_link_to_the_router_flaps(routed: Routed, sender: socket.socket) -> None:
    with routed.inside("rcv"):
        async with Receiver() as receiver:
            feed = await receiver.join(GROUP, PORT, sources=[SOURCE], interface="l3")
            events = receiver.events()
            await flows(feed, sender)
            await asyncio.to_thread(routed.ip, "r2", "link set l3 down")
            async with asyncio.timeout(SOON):
                assert (await events.receive()).kind is EventKind.LOST
            await asyncio.to_thread(routed.ip, "r2", "link set l3 up")
            await flows(feed, sender)
            async with asyncio.timeout(SOON):
                healed = await events.receive()
            assert (healed.kind, healed.cause) == (EventKind.HEALED, "carrier")
