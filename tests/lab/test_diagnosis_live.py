"""The doctor where a switch is between, and for memberships that are there already."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

import aiomcast
from aiomcast import EventKind, VerdictKind
from aiomcast.diagnosis.diagnose import diagnose_over
from tests.support.repeating import repeating
from tests.support.sandbox import apart, without_privilege

from .doctoring import frame, sysctl
from .network import BRIDGE, SWITCH, Host, Network, execute
from .place import Place
from .two_hosts import FAR, PORT, Wire, each_family, family, wire

__all__ = ["wire"]

REMOTE = "203.0.113.9"


# On loopback, where nobody else sends


@pytest.fixture
def alone(lab: None) -> Iterator[Place]:
    with Place() as place:
        yield place


async def test_nobody_sends_on_loopback(alone: Place) -> None:
    for group in ("239.7.4.1", "ff1e::7:4"):
        found = await aiomcast.diagnose(group, PORT, interface="lo", seconds=0.05)
        wanted = VerdictKind.UPSTREAM if family(group) == 4 else VerdictKind.NO_LOOPBACK_ROUTE
        assert found.verdict.kind is wanted
        assert found.facts is not None
        assert 0.049 < found.facts.seconds < 30  # uvloop's timers count whole milliseconds
        assert found.facts.after.is_member
        assert any("takes probes" in one for one in found.unseen)
    async with aiomcast.listen("239.7.4.1", PORT, interface="lo") as feed:
        assert (await feed.diagnose(seconds=0.05)).verdict.kind is VerdictKind.UPSTREAM


def test_what_goes_nowhere_on_loopback_is_no_firewalls_work(alone: Place) -> None:
    """It comes in as multicast, and is not delivered, as nobody has joined it."""
    alone.cable("v0", "p0", "192.0.2.1/24")

    async def window() -> None:
        for _ in range(20):
            sender.sendto(b"x", ("239.7.4.9", PORT))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        for name in ("lo", "v0"):
            found: list[aiomcast.Diagnosis] = []

            def look(name: str = name, found: list[aiomcast.Diagnosis] = found) -> None:
                found.append(asyncio.run(diagnose_over(window, "239.7.4.1", PORT, interface=name)))

            apart(without_privilege, look)
            assert found[0].facts is not None
            assert found[0].facts.growth["IpExtInMcastPkts"] >= 20
            assert found[0].verdict.kind is VerdictKind.UPSTREAM


def test_the_status_where_nothing_is_wrong(alone: Place) -> None:
    command = [
        sys.executable,
        "-m",
        "aiomcast",
        "doctor",
        "239.7.4.1",
        "5000",
        "-i",
        "lo",
        "--seconds",
        "0.1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (3, "")
    for part in ("upstream: ", "  mend: ", "Looked at", "member of the group: yes", "Could not see"):
        assert part in done.stdout


# Behind a switch that snoops


@pytest.mark.parametrize("is_privileged", [True, False], ids=["raw", "unprivileged"])
@pytest.mark.parametrize("group", ["232.7.1.{}", "ff3e::8007:1{}"], ids=["ipv4", "ipv6"])
def test_who_really_sends(network: Network, in_receiver: Host, group: str, is_privileged: bool) -> None:
    """The switch keeps it away, so only one who lets anybody in hears of it."""
    text = group.format(int(is_privileged))
    kind = socket.AF_INET6 if ":" in text else socket.AF_INET
    real, named = (network.hosts[name].address(kind) for name in ("s1", "s2"))

    async def no_time() -> None:
        pass

    def look(probe: bool) -> None:
        looking = diagnose_over(no_time, text, PORT, sources=[named], interface="v0", probe=probe)
        found.append(asyncio.run(looking))

    found: list[aiomcast.Diagnosis] = []
    with network.sender("s1", kind) as sender, repeating(lambda: sender.sendto(b"x", (text, PORT))):
        for probe in (False, True):
            first = () if is_privileged else (without_privilege,)
            apart(*first, partial(look, probe))
    assert found[0].verdict.kind is VerdictKind.UPSTREAM
    assert found[1].verdict.kind is VerdictKind.WRONG_SOURCE
    assert found[1].verdict.remedy == f"let {real} in"


def test_a_switch_that_has_forgotten(network: Network, in_receiver: Host) -> None:
    group = "239.7.2.1"
    sysctl("net/ipv4/igmp_qrv", 1)  # what is reported is not repeated
    try:
        with ExitStack() as sending:
            sender = sending.enter_context(network.sender("s1"))

            async def forget() -> None:
                network.wait_for_member(group, None)
                command = f"mdb del dev {BRIDGE} port p-rcv grp {group}"
                execute(["bridge", "-n", network.namespace(SWITCH), *command.split()])
                sending.enter_context(repeating(lambda: sender.sendto(b"x", (group, PORT))))

            found = asyncio.run(diagnose_over(forget, group, PORT, interface="v0"))
    finally:
        sysctl("net/ipv4/igmp_qrv", 2)
    assert found.verdict.kind is VerdictKind.FLOWS_AGAIN
    assert found.verdict.is_flowing


# Of a membership


async def test_a_membership_that_the_interface_has_lost(wire: Wire) -> None:
    group = "ff3e::8007:99"
    async with aiomcast.listen(group, PORT, sources=[FAR[6]], interface="v0", heal=False) as feed:
        assert (await feed.diagnose(seconds=0.01)).verdict.kind is not VerdictKind.GHOST
        wire.near.ip("link set v0 mtu 1000", "link set v0 mtu 1500", "addr add 2001:db8::1/64 dev v0 nodad")
        found = await feed.diagnose(seconds=0.01)
        assert found.verdict.kind is VerdictKind.GHOST
        await feed.refresh()
        assert (await feed.diagnose(seconds=0.01)).verdict.kind is not VerdictKind.GHOST


@each_family
async def test_a_membership_on_several_interfaces_is_told_by_the_one_that_flows(
    wire: Wire, group: str
) -> None:
    wire.near.cable("v1", "p1")
    async with aiomcast.listen(group, PORT, interface=["v1", "v0"]) as feed:
        assert (await feed.diagnose(seconds=0.01)).facts.interface == "v1"  # type: ignore[union-attr]  # there are
        stream = feed.packets()
        with repeating(lambda: wire.send(b"x", group)):
            await stream.receive()
            found = await feed.diagnose(seconds=0.1)
        assert found.facts is not None
        assert (found.verdict.kind, found.facts.interface) == (VerdictKind.FLOWS, "v0")


async def test_silence_has_its_likely_cause(wire: Wire) -> None:
    """A flow that stops, as its packets are dropped on this host from some time on."""
    group = "239.7.3.1"
    async with (
        aiomcast.Receiver(silence=0.3) as receiver,
        asyncio.timeout(20),
    ):
        feed = await receiver.join(group, PORT, sources=[REMOTE], interface="v0")
        events, stream = receiver.events(), feed.packets()
        with injected(wire, frame(group, source=REMOTE)):
            for _ in range(10):
                await stream.receive()
            for name in ("all", "v0"):
                sysctl(f"net/ipv4/conf/{name}/rp_filter", 1)
            event = await anext(one async for one in events if one.kind is EventKind.SILENT)
    assert event.verdict is not None
    assert event.verdict.kind is VerdictKind.RP_FILTER
    assert "silence: likely the reverse path filter" in str(event)
    assert f"aiomcast doctor {group} {PORT}" in str(event)


def test_listen_tells_the_likely_cause_of_silence(wire: Wire) -> None:
    group = "239.7.3.3"
    for name in ("all", "v0"):
        sysctl(f"net/ipv4/conf/{name}/rp_filter", 1)
    command = [
        sys.executable,
        "-m",
        "aiomcast",
        "listen",
        group,
        str(PORT),
        "-s",
        REMOTE,
        "-i",
        "v0",
        "-t",
        "4",
    ]
    with injected(wire, frame(group, source=REMOTE)):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    told = [line for line in done.stderr.splitlines() if " in 3 s: " in line]
    assert len(told) == 1
    assert "the reverse path filter" in told[0]
    assert told[0].endswith(f"(aiomcast doctor {group} {PORT} -s {REMOTE} tells more)")


async def test_silence_of_which_nothing_is_known_points_to_the_doctor(wire: Wire) -> None:
    group = "239.7.3.2"
    async with aiomcast.Receiver(silence=0.2) as receiver, asyncio.timeout(20):
        feed = await receiver.join(group, PORT, sources=[FAR[4]], interface="v0")
        events, stream = receiver.events(), feed.packets()
        with repeating(lambda: wire.send(b"x", group)):
            for _ in range(10):
                await stream.receive()
        event = await anext(one async for one in events if one.kind is EventKind.SILENT)
    assert event.verdict is None
    assert str(event).endswith(f"silence: aiomcast doctor {group} {PORT} tells why")


@contextmanager
def injected(wire: Wire, data: bytes) -> Iterator[None]:
    """Meanwhile the other host puts a frame on the wire again and again."""
    with wire.far.inside():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sock.bind(("p0", 0))
    with sock, repeating(lambda: sock.send(data)):
        yield
