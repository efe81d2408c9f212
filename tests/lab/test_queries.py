"""A host that asks itself, on a switch that has forgotten it and whose router asks once in 125 s."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from aiomcast import LimitError, MulticastSocket, RefusedError, SourceFilter, open_socket
from aiomcast.rfc3678.abi.freebsd import FREEBSD
from aiomcast.system import queries
from aiomcast.system.queries import igmp_query, mld_query, report_again
from aiomcast.values.addresses import pack
from tests.support.sandbox import apart, needs_seccomp, without_privilege, without_sockets_of
from tests.support.seam import intercepted, refusal
from tests.support.traffic import ROOT, command, number_sent

from .network import BRIDGE, SWITCH, Network
from .place import Place
from .queriers import Querier, querier_outside
from .test_reports import fence
from .traffic import Traffic, witnessed

resource = pytest.importorskip("resource")

PORT = "p-rcv"  # the switch's end of the receiver's cable
CALLS, RATE = 20, 2000  # packets a second
GROUP = {4: "239.3.1.1", 6: "ff1e::3:1"}
OTHER_GROUP = {4: "239.3.1.2", 6: "ff1e::3:2"}
SSM_GROUP = {4: "232.3.1.1", 6: "ff3e::8003:1"}

# Types of IGMP and of ICMPv6.
QUERY = {4: 0x11, 6: 130}
REPORT = {4: 0x22, 6: 143}
OLDER_REPORT = {4: 0x16, 6: 131}
# Of a report, as tshark names it.
RECORD_FIELDS = {
    4: ("igmp.record_type", "igmp.maddr", "igmp.saddr"),
    6: (
        "icmpv6.mldr.mar.record_type",
        "icmpv6.mldr.mar.multicast_address",
        "icmpv6.mldr.mar.source_address",
    ),
}

# Of a query; those that an older version lacks are empty there.
QUERY_FIELDS = {
    4: (
        "igmp.checksum.status",
        *("igmp.version", "igmp.type", "igmp.max_resp", "igmp.maddr"),
        *("igmp.s", "igmp.qrv", "igmp.qqic", "igmp.num_src"),
    ),
    6: (
        *("icmpv6.checksum.status", "icmpv6.type"),
        *("icmpv6.mld.maximum_response_code", "icmpv6.mld.maximum_response_delay"),
        "icmpv6.mld.multicast_address",
        *("icmpv6.mld.flag.s", "icmpv6.mld.flag.qrv", "icmpv6.mld.qqi", "icmpv6.mld.nb_sources"),
    ),
}

families = pytest.mark.parametrize("family", [4, 6])


@pytest.fixture(scope="module")
def network(lab: None) -> Iterator[Network]:
    """One whose switch does not ask by itself: s3 has asked once, as a router."""
    with Network() as built, querier_outside(built, "s3"):
        yield built


@pytest.fixture
def place(lab: None) -> Iterator[Place]:
    """A host with two cables, whose far ends hear what goes out."""
    with Place() as place:
        place.cable("v0", "w0", "192.0.2.1/24", "2001:db8::1/64")
        place.cable("v1", "w1", "198.51.100.1/24")
        yield place


class Tap:
    """What is on the wire at an interface in the namespace of the thread that makes it, since it was made."""

    def __init__(self, interface: str) -> None:
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._sock.bind((interface, 3))  # ETH_P_ALL
        self._sock.settimeout(20)
        self.frames: list[bytes] = []

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *error: object) -> None:
        self._sock.close()

    def wait_for(self, kind: int, named: bytes = b"", times: int = 1) -> bytes:
        """Wait for messages of that type with these bytes; TimeoutError if one does not come in 5 s.

        Return the last.
        """
        while times:
            self.frames.append(self._sock.recv(1 << 16))
            times -= kind_of(self.frames[-1]) == kind and named in self.frames[-1]
        return self.frames[-1]

    @property
    def kinds(self) -> list[int]:
        """The types of the messages of IGMP and MLD so far."""
        return [kind for kind in map(kind_of, self.frames) if kind is not None]


def kind_of(frame: bytes) -> int | None:
    """Return the type of a message of IGMP, or of MLD: the one that goes with a hop-by-hop header."""
    packet = frame[14:]
    if frame[12:14] == b"\x08\x00" and packet[9] == socket.IPPROTO_IGMP:
        return packet[(packet[0] & 15) * 4]
    if frame[12:14] == b"\x86\xdd" and packet[6] == 0:
        return packet[48]
    return None


def any_source(group: str) -> bytes:
    """Return the record that states this, and is no change (RFC 3376, 4.2.4): MODE_IS_EXCLUDE of none."""
    return b"\2\0\0\0" + pack(group)


def decoded(frames: Iterable[bytes], *fields: str) -> list[list[list[str]]]:
    """Return by frame, and by field, all values that tshark sees there."""
    pcap = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 16, 1)
    for frame in frames:
        pcap += struct.pack("=IIII", 0, 0, len(frame), len(frame)) + frame
    argv = ["tshark", "-n", "-r", "-", "-T", "fields"]
    for field in fields:
        argv += ["-e", field]
    said = subprocess.run(argv, input=pcap, capture_output=True, check=True, timeout=20).stdout.decode()
    return [[values.split(",") for values in line.split("\t")] for line in said.splitlines()]


def number_of(traffic: Traffic) -> int:
    return 4 if traffic.family == socket.AF_INET else 6


def forget(network: Network) -> None:
    """Have the switch forget what the receiver is a member of; the cable keeps its carrier."""
    network.ip(SWITCH, f"link set {PORT} nomaster")
    network.ip(SWITCH, f"link set {PORT} master {BRIDGE}")


def member(group: str, interface: str) -> MulticastSocket:
    """Return a member of the group, from any source, in the namespace of this thread."""
    sock = open_socket(group, 0, interface)
    sock.set_filter(SourceFilter.any())
    return sock


def comes_back(network: Network, traffic: Traffic, witness: socket.socket) -> None:
    """What s1 sends does not come when the switch has forgotten, and does when the host has been asked."""
    traffic.send("s1", b"before")
    witnessed(witness, b"before")
    fence(network, traffic)  # the join has been repeated
    forget(network)
    assert not network.reaches("s1", traffic.group)
    assert report_again(socket.if_nametoindex("v0"), number_of(traffic))


def test_a_switch_that_forgot_learns_a_source_again(network: Network, ssm: Traffic) -> None:
    witness = ssm.witness("s1")
    comes_back(network, ssm, witness)
    ssm.forwarded("s1")
    ssm.send("s1", b"after")
    assert witness.recv(100) == b"after"


def test_a_switch_that_forgot_learns_any_source_again(network: Network, asm: Traffic) -> None:
    witness = asm.witness()
    comes_back(network, asm, witness)
    network.wait_for_member(asm.group, None)
    asm.send("s1", b"after")
    assert witness.recv(100) == b"after"


def at_switch(network: Network) -> Tap:
    with network.inside(SWITCH):
        return Tap(PORT)


def test_the_query_does_not_leave_the_host(network: Network, asm: Traffic) -> None:
    family = number_of(asm)
    asm.witness()
    with at_switch(network) as tap:
        for _ in range(CALLS):
            assert report_again(socket.if_nametoindex("v0"), family)
            tap.wait_for(REPORT[family], any_source(asm.group))
        assert not set(tap.kinds) & set(QUERY.values())


def test_a_query_that_leaves_its_host_is_seen_there(network: Network) -> None:
    with network.inside("s3"), Querier() as querier, at_switch(network) as tap:
        querier.query()
        tap.wait_for(QUERY[4])
        tap.wait_for(QUERY[6])


@families
def test_it_reports_the_state_with_all_sources(place: Place, family: int) -> None:
    form = {4: "192.0.2.{}", 6: "2001:db8::{}"}[family]
    sources = {form.format(number) for number in range(11, 18)}
    group, other = SSM_GROUP[family], GROUP[family]
    with open_socket(group, 0, "v0") as sock, member(other, "v0"), Tap("w0") as tap:
        sock.set_filter(sources)
        assert report_again(socket.if_nametoindex("v0"), family)
        answer = tap.wait_for(REPORT[family], any_source(other))
        ((kinds, groups, named),) = decoded([answer], *RECORD_FIELDS[family])
    reported = dict(zip(groups, kinds, strict=True))
    assert (reported[group], reported[other]) == ("1", "2")  # MODE_IS_INCLUDE, MODE_IS_EXCLUDE
    assert set(named) == sources
    assert set(kinds) <= {"1", "2"}, "nothing has changed"


def test_no_packet_of_a_live_flow_is_lost(network: Network, asm: Traffic) -> None:
    witness, numbers = asm.witness(), []
    index, family = socket.if_nametoindex("v0"), number_of(asm)
    argv = command(asm.group, asm.port, "v0", RATE, [asm.address("s1")])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    sender = network.popen("s1", argv, cwd=ROOT, **pipes)

    def receive(count: int) -> None:
        for _ in range(count):
            (number,) = struct.unpack_from("!Q", witness.recv(2048))
            numbers.append(number)

    receive(1)
    for _ in range(CALLS):
        assert report_again(index, family)
        receive(RATE // 40)  # longer than it takes to report
    said, _ = sender.communicate(b"", timeout=10)
    receive(number_sent(said) - len(numbers))
    assert numbers == list(range(number_sent(said)))


@families
def test_only_the_interface_that_is_named_reports(place: Place, family: int) -> None:
    group, answer = GROUP[family], any_source(GROUP[family])
    with member(group, "v0"), member(group, "v1"), Tap("w0") as first, Tap("w1") as second:
        for interface, tap in (("v0", first), ("v1", second)):
            assert report_again(socket.if_nametoindex(interface), family)
            tap.wait_for(REPORT[family], answer)
        assert [sum(answer in frame for frame in tap.frames) for tap in (first, second)] == [1, 1]


@families
def test_the_last_querier_decides_how_often_changes_are_reported(place: Place, family: int) -> None:
    """IPv6 keeps what it said. IPv4 goes back to net.ipv4.igmp_qrv: the kernel has it so."""
    Path("/proc/sys/net/ipv4/igmp_qrv").write_text("5")
    said = mld_query()
    with Querier("w0") as querier:
        querier.send(mld=said[:24] + b"\5" + said[25:])
    with member(GROUP[family], "v0"), Tap("w0") as tap:
        assert report_again(socket.if_nametoindex("v0"), family)
        tap.wait_for(REPORT[family], any_source(GROUP[family]))
        with member(OTHER_GROUP[family], "v0"):
            tap.wait_for(REPORT[family], pack(OTHER_GROUP[family]), times=5)


@families
def test_an_older_version_is_spoken_on(place: Place, family: int) -> None:
    group, forced = GROUP[family], {4: "ipv4/conf/v0/force_igmp_version", 6: "ipv6/conf/v0/force_mld_version"}
    version = Path("/proc/sys/net", forced[family])
    with member(group, "v0"), Tap("w0") as tap:
        version.write_text({4: "2", 6: "1"}[family])
        assert report_again(socket.if_nametoindex("v0"), family)
        tap.wait_for(OLDER_REPORT[family], pack(group))
        version.write_text("0")
        assert report_again(socket.if_nametoindex("v0"), family)
        tap.wait_for(REPORT[family], any_source(group))


def test_what_ipv4_is_asked_with(place: Place) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP) as heard:
        heard.settimeout(20)
        assert report_again(socket.if_nametoindex("v0"), 4)
        packet = heard.recv(2048)
    # RFC 3376, 9.1: hosts should ignore a query without the router alert.
    assert (packet[8], packet[20:24].hex(), packet[24:]) == (0, "94040000", igmp_query())


def test_ipv4_needs_no_address(place: Place) -> None:
    place.ip("addr flush dev v0")
    with member(GROUP[4], "v0"), Tap("w0") as tap:
        assert report_again(socket.if_nametoindex("v0"), 4)
        tap.wait_for(REPORT[4], any_source(GROUP[4]))


@pytest.mark.parametrize(
    ("change", "family"),
    [
        ("link set v0 down", 4),
        ("link set v0 down", 6),
        ("link del v0", 4),
        ("link del v0", 6),
        ("addr flush dev v0 scope link", 6),  # a global one is left
        ("addr flush dev v0", 6),
        ("link set v0 mtu 1000", 6),
    ],
)
def test_an_interface_where_it_cannot_be_done(place: Place, change: str, family: int) -> None:
    index = socket.if_nametoindex("v0")
    assert report_again(index, family)
    place.ip(change)
    assert not report_again(index, family)


@families
@pytest.mark.parametrize("index", [0, -1, 1 << 31, 1 << 64])
def test_what_is_no_index(place: Place, family: int, index: int) -> None:
    place.ip("route add default via 192.0.2.2")
    assert not report_again(index, family)


@families
def test_a_process_that_may_not(place: Place, family: int) -> None:
    index = socket.if_nametoindex("v0")
    told: list[bool] = []
    apart(without_privilege, lambda: told.append(report_again(index, family)))
    assert told == [False]


@needs_seccomp
@families
def test_a_system_without_the_family(place: Place, family: int) -> None:
    index = socket.if_nametoindex("v0")
    told: list[bool] = []
    own = socket.AF_INET if family == 4 else socket.AF_INET6
    apart(lambda: without_sockets_of(own), lambda: told.append(report_again(index, family)))
    assert told == [False]


@families
def test_another_system(place: Place, monkeypatch: pytest.MonkeyPatch, family: int) -> None:
    monkeypatch.setattr(queries, "ABI", FREEBSD)
    assert not report_again(socket.if_nametoindex("v0"), family)


@families
@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENOPROTOOPT])
def test_an_option_that_is_refused(place: Place, family: int, number: int) -> None:
    def refuse(*_: object) -> None:
        raise refusal(number)

    with intercepted("setsockopt", refuse):
        assert not report_again(socket.if_nametoindex("v0"), family)


@families
def test_no_memory(place: Place, family: int) -> None:
    def refuse(*_: object) -> None:
        raise refusal(errno.ENOMEM)

    with intercepted("setsockopt", refuse), pytest.raises(RefusedError) as caught:
        report_again(socket.if_nametoindex("v0"), family)
    assert caught.value.errno == errno.ENOMEM


@families
def test_no_open_files(place: Place, family: int) -> None:
    index = socket.if_nametoindex("v0")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(LimitError) as caught:
            report_again(index, family)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE


@families
def test_nothing_is_left_open(place: Place, family: int) -> None:
    before = os.listdir("/proc/self/fd")
    for interface in ("v0", "v1"):
        report_again(socket.if_nametoindex(interface), family)
        place.ip(f"addr flush dev {interface}")
        report_again(socket.if_nametoindex(interface), family)
    assert os.listdir("/proc/self/fd") == before


def fields(tap: Tap, family: int) -> str:
    """Return what tshark reads in the next query of that family."""
    ((*values,),) = decoded([tap.wait_for(QUERY[family])], *QUERY_FIELDS[family])
    return " ".join(value for (value,) in values if value)


def test_the_queries_as_another_program_reads_them(place: Place) -> None:
    with Tap("w0") as tap, Querier("v0") as querier:
        querier.send(igmp_query(), mld_query())
        assert fields(tap, 4) == "1 3 0x11 0 0.0.0.0 0 0 125 0"
        assert fields(tap, 6) == "1 130 0 :: 0 0 125 0"


def test_the_queries_of_a_querier(place: Place) -> None:
    with Tap("w0") as tap, Querier("v0") as querier:
        querier.query()
        assert fields(tap, 4) == "1 3 0x11 1 0.0.0.0 0 2 125 0"
        assert fields(tap, 6) == "1 130 100 :: 0 2 125 0"
        querier.query(version=2)
        assert fields(tap, 4) == "1 2 0x11 1 0.0.0.0"
        assert fields(tap, 6) == "1 130 100 ::"
        querier.query(version=1)
        assert fields(tap, 4) == "1 1 0x11 0.0.0.0"


def test_the_port_of_a_querier_is_a_router_s(network: Network) -> None:
    shown = network.run(SWITCH, ["bridge", "-j", "-d", "mdb", "show"]).stdout
    routers = [port["port"] for table in json.loads(shown) for port in table.get("router", {})[BRIDGE]]
    assert routers == ["p-s3"]
