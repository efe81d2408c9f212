"""What `aiomcast send` says of refusals that a system really makes: one clear line each, and its status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from aiomcast import MulticastSocket

from .network import execute
from .two_hosts import PORT, Wire, joined, wire

__all__ = ["wire"]

GROUP, GROUP6 = "239.1.1.1", "ff1e::1:1"
SECONDS = 30
REFUSING = (
    "table {family} t {{ chain o {{ type filter hook output priority 0; {family} daddr {group} {act}; }}; }}"
)
DOWN = "Network is unreachable: set the interface up, or add a route on it"


def command(wire: Wire, group: str, *options: str) -> list[str]:
    """Return what runs `aiomcast send` on the near host."""
    run = [sys.executable, "-m", "aiomcast", "send", group, str(PORT), *options]
    return ["ip", "netns", "exec", wire.near.namespace, *run]


def send(wire: Wire, group: str, *options: str) -> tuple[int, list[str]]:
    """Return the status, and the lines that it says."""
    done = subprocess.run(command(wire, group, *options), capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def refuse(wire: Wire, group: str, act: str = "drop") -> None:
    table = REFUSING.format(family="ip6" if ":" in group else "ip", group=group, act=act)
    execute(["ip", "netns", "exec", wire.near.namespace, "nft", "-f", "-"], input=table)


@pytest.mark.parametrize(("group", "act"), [(GROUP, "reject"), (GROUP6, "drop")])
def test_a_firewall_is_told_of_once_and_counted(wire: Wire, group: str, act: str) -> None:
    refuse(wire, group, act)
    status, lines = send(wire, group, "-i", "v0", "--rate", "0", "-c", "3")
    first, summary = lines
    hint = "Operation not permitted: a firewall of this host may refuse it; more of them are counted"
    assert first == f"aiomcast: sending 1 bytes to {group}: {hint}"
    assert summary.startswith("sent 0 packets, 0 bytes in ")
    assert summary.endswith("; the system refused 3 more")
    assert status == 1


@pytest.mark.parametrize(("group", "most"), [(GROUP, "65,507"), (GROUP6, "65,487")])
def test_a_message_too_long_ends_it(wire: Wire, group: str, most: str) -> None:
    status, (line,) = send(wire, group, "-i", "v0", "--rate", "0", "--size", "65535", "-c", "3")
    assert line.startswith(f"aiomcast: sending 65535 bytes to {group}: Message too long: ")
    assert most in line
    assert status == 1


def test_an_interface_that_is_down(wire: Wire) -> None:
    wire.near.ip("link set v0 down")
    for group in (GROUP, GROUP6):
        status, lines = send(wire, group, "-i", "v0", "-c", "1")
        line = lines[-1]
        assert line.startswith("aiomcast: ")
        assert "set the interface up" in line, group
        assert status == 1
        assert len(lines) == 1


def test_no_route_to_the_group(wire: Wire) -> None:
    status, (line,) = send(wire, GROUP, "-c", "1")
    route = "name the interface, or add a route"
    assert line == f"aiomcast: looking up the route to {GROUP}: Network is unreachable: {route}"
    assert status == 1
    wire.near.ip("route add unreachable 239.0.0.0/8")
    status, (line,) = send(wire, GROUP, "-c", "1")
    assert "No route to host: an unreachable route covers it" in line
    assert status == 1


@contextmanager
def sending(wire: Wire, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A running `aiomcast send` of which a packet has come at the other host."""
    with wire.far.inside():
        hears: MulticastSocket = joined(GROUP, "p0")
    hears.settimeout(SECONDS)
    with (
        hears,
        subprocess.Popen(
            command(wire, GROUP, "-i", "v0", "--rate", "20", *options), stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            hears.recv(100)
            yield process
        finally:
            process.kill()


def _firewall(wire: Wire) -> None:
    refuse(wire, GROUP)


def _down(wire: Wire) -> None:
    wire.near.ip("link set v0 down")


MIDWAY: dict[str, tuple[Callable[[Wire], None], str]] = {
    "firewall": (_firewall, "Operation not permitted: a firewall"),
    "down": (_down, "Network is unreachable: "),
}


@pytest.mark.parametrize(("change", "told"), MIDWAY.values(), ids=MIDWAY)
def test_what_is_refused_midway(wire: Wire, change: Callable[[Wire], None], told: str) -> None:
    with sending(wire) as process:
        change(wire)
        assert process.stderr is not None
        first = process.stderr.readline()
        process.terminate()
        _, rest = process.communicate(timeout=SECONDS)
    assert first.startswith("aiomcast: sending ")
    assert told in first
    (summary,) = rest.splitlines()
    assert summary.startswith("sent ")
    assert not summary.startswith("sent 0 ")
    assert "; the system refused " in summary
    assert process.returncode == 1


def test_a_queue_that_is_full_is_told_to_nobody(wire: Wire) -> None:
    """What a slow device has no room for: UDP is told so only where it asks (IP_RECVERR)."""
    tc = ["tc", "-n", wire.near.namespace, "qdisc", "add", "dev", "v0", "root"]
    execute([*tc, "tbf", "rate", "8kbit", "burst", "2000", "limit", "3000"])
    status, (summary,) = send(wire, GROUP, "-i", "v0", "--rate", "0", "--size", "1000", "-c", "200")
    assert summary.startswith("sent 200 packets, 200000 bytes in ")
    dropped = execute(["tc", "-n", wire.near.namespace, "-s", "qdisc", "show", "dev", "v0"]).stdout
    assert "dropped 0" not in dropped
    assert status == 0
