"""The lab does what the other lab tests take for granted; raw sockets only."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .network import Host, LabError, Network
from .wire import REPEAT_WINDOW, Capture, Report, _without_repeats

PORT = 5000
IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29
IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP = 39, 40
MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP = 46, 47


@dataclass(frozen=True)
class Member:
    """A socket at the receiver for one group; source memberships by the call of its family."""

    sock: socket.socket
    group: str
    host: Host

    def join(self, source: str) -> None:
        self._set(IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP, source)

    def leave(self, source: str) -> None:
        self._set(IP_DROP_SOURCE_MEMBERSHIP, MCAST_LEAVE_SOURCE_GROUP, source)

    def _set(self, option4: int, option6: int, source: str) -> None:
        if self.sock.family == socket.AF_INET:
            # struct ip_mreq_source: on Linux group, interface, source.
            addresses = (self.group, self.host.address4, source)
            request = b"".join(map(socket.inet_aton, addresses))
            self.sock.setsockopt(socket.IPPROTO_IP, option4, request)
        else:
            # struct group_source_req: the index, then two sockaddr_storage.
            index = socket.if_nametoindex(self.host.interface)
            request = struct.pack("@I4x", index) + _storage(self.group) + _storage(source)
            self.sock.setsockopt(socket.IPPROTO_IPV6, option6, request)


def _storage(address: str) -> bytes:
    raw = socket.inet_pton(socket.AF_INET6, address)
    return struct.pack("=HHI16s104x", socket.AF_INET6, 0, 0, raw)


_numbers = itertools.count(1)


@pytest.fixture(params=["232.1.1.{}", "ff3e::8000:{}"], ids=["ipv4", "ipv6"])
def member(request: pytest.FixtureRequest, in_receiver: Host) -> Iterator[Member]:
    """A socket bound to a group that no other test uses; no membership yet."""
    group = request.param.format(next(_numbers))
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
        sock.bind((group, PORT))
        sock.settimeout(20)
        yield Member(sock, group, in_receiver)


def test_member_gets_only_its_source(network: Network, member: Member) -> None:
    family = member.sock.family
    wanted = network.hosts["s1"].address(family)
    member.join(wanted)
    network.wait_for_member(member.group, wanted)
    with network.sender("s1", family) as s1, network.sender("s2", family) as s2:
        s2.sendto(b"unwanted", (member.group, PORT))
        s1.sendto(b"wanted", (member.group, PORT))
        data, sender = member.sock.recvfrom(2048)
    assert (data, sender[0]) == (b"wanted", wanted)
    member.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        member.sock.recv(2048)
    assert network.reaches("s1", member.group)
    assert not network.reaches("s2", member.group)


@pytest.mark.parametrize("group", ["232.9.9.9", "239.9.9.9", "ff3e::8009:9", "ff0e::9:9"])
def test_non_member_sees_nothing(network: Network, group: str) -> None:
    assert not any(network.reaches(source, group) for source in ("s1", "s2", "s3"))


def test_join_and_leave_are_on_the_wire(network: Network, member: Member) -> None:
    source = network.hosts["s1"].address(member.sock.family)
    allow, block = (Report(kind, member.group, frozenset({source})) for kind in ("ALLOW", "BLOCK"))
    with Capture(network, "sw", "p-rcv") as capture:
        member.join(source)
        capture.wait_for(lambda seen: seen == [allow], group=member.group)
        member.leave(source)
        capture.wait_for(lambda seen: seen == [allow, block], group=member.group)
    assert capture.reports(member.group) == [allow, block]


def test_records_of_one_report_keep_their_sources(network: Network, member: Member) -> None:
    first, second, third = (network.hosts[name].address(member.sock.family) for name in ("s1", "s2", "s3"))
    member.join(first)
    member.join(second)
    network.wait_for_member(member.group, second)
    changes = {
        Report("ALLOW", member.group, frozenset({third})),
        Report("BLOCK", member.group, frozenset({first})),
    }
    with Capture(network) as capture:
        member.join(third)
        member.leave(first)
        capture.wait_for(changes.issubset, group=member.group)


def test_wait_for_says_what_it_saw(network: Network, member: Member) -> None:
    with Capture(network) as capture:
        member.join(network.hosts["s1"].address(member.sock.family))
        capture.wait_for(bool, group=member.group)
        with pytest.raises(AssertionError, match="record_type='ALLOW'"):
            capture.wait_for(lambda seen: False, timeout=0.01, group=member.group)


def test_capture_of_a_missing_interface_fails_at_once(network: Network) -> None:
    with pytest.raises(LabError, match="no-such"), Capture(network, "sw", "no-such"):
        pass


def test_only_repeats_are_dropped() -> None:
    def report(kind: str, *sources: str) -> Report:
        return Report(kind, "232.1.1.1", frozenset(sources))

    allow, block, to_ex = report("ALLOW", "b"), report("BLOCK", "a"), report("TO_EX")
    swap_twice_sent = [(0.0, allow), (0.0, block), (0.1, allow), (0.1, block)]
    assert _without_repeats(swap_twice_sent) == [allow, block]
    refreshed = [(0.0, allow), (0.1, allow), (REPEAT_WINDOW + 0.1, allow)]
    assert _without_repeats(refreshed) == [allow, allow]
    undone = [(0.0, allow), (0.1, report("BLOCK", "b")), (0.2, allow)]
    assert len(_without_repeats(undone)) == 3
    switched = [(0.0, to_ex), (0.1, report("TO_IN", "a")), (0.2, to_ex), (0.3, to_ex)]
    assert len(_without_repeats(switched)) == 3


def _here() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def test_inside_moves_this_thread_and_brings_it_back(network: Network) -> None:
    home = _here()
    elsewhere: list[str] = []
    started_before, moved = threading.Event(), threading.Event()

    def look() -> None:
        started_before.set()
        moved.wait(5)
        elsewhere.append(_here())

    def fail_inside_another() -> None:
        with network.inside("s1"):
            assert len({home, receiver, _here()}) == 3
            raise ZeroDivisionError

    other = threading.Thread(target=look)
    other.start()
    started_before.wait(5)
    with network.inside("rcv"):
        receiver = _here()
        moved.set()
        other.join(5)
        with pytest.raises(ZeroDivisionError):
            fail_inside_another()
        assert _here() == receiver
    assert _here() == home
    assert elsewhere == [home]


def test_commands_run_in_the_namespace(network: Network) -> None:
    shown = network.run("s2", ["ip", "-o", "addr", "show", "dev", "v0"]).stdout
    assert "192.0.2.12/24" in shown
    assert "2001:db8::12/64" in shown
    with pytest.raises(LabError, match="no-such"):
        network.ip("s2", "link show no-such")
    with pytest.raises(LabError, match=r"0\.05 s"):
        network.run("s2", ["sleep", "5"], timeout=0.05)


def test_a_replugged_host_is_a_host_again(network: Network) -> None:
    network.ip("s3", "link del v0")
    network.plug("s3")
    assert not network.reaches("s3", "232.9.9.9")
    assert not network.reaches("s1", "232.9.9.9", host="s3")


def _left(network: Network) -> list[str]:
    mine = {network.namespace(name) for name in ("sw", *network.hosts)}
    return [path.name for path in Path("/run/netns").iterdir() if path.name in mine]


def test_nothing_is_left_after_an_exception(network: Network) -> None:
    other = Network()
    processes: list[subprocess.Popen[bytes]] = []

    def fail_inside() -> None:
        with other:
            processes.append(other.popen("s1", ["sleep", "60"]))
            assert len(_left(other)) == 5
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert _left(other) == []
    assert processes[0].poll() is not None
    assert len(_left(network)) == 5, "a network beside it is untouched"


def test_nothing_is_left_of_a_network_that_could_not_be_built(
    lab: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.lab.network.BRIDGE_OPTIONS", "no_such_option 1")
    broken = Network()
    with pytest.raises(LabError, match="no_such_option"), broken:
        pass
    assert _left(broken) == []


@pytest.mark.parametrize(("required", "outcome"), [("0", "1 skipped"), ("1", "1 error")])
def test_where_the_lab_cannot_run(tmp_path: Path, required: str, outcome: str) -> None:
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        [*command, "-k", "test_only_repeats_are_dropped"],
        env={**os.environ, "PATH": str(tmp_path), "AIOMCAST_REQUIRE_LAB": required},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert outcome in done.stdout
    assert "the lab needs ip, bridge, tcpdump, tshark" in done.stdout
