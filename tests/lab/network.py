"""The network the lab tests run on: hosts in network namespaces on a bridge that snoops.

Topology, addresses, faults and processes live here; what is on the wire is read in `wire`.
All traffic stays inside the namespaces, which a `Network` makes and destroys.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SWITCH = "sw"
BRIDGE = "br0"
BRIDGE_ADDRESS = "192.0.2.254"
ADDRESSES = {
    "s1": ("192.0.2.11", "2001:db8::11"),
    "s2": ("192.0.2.12", "2001:db8::12"),
    "s3": ("192.0.2.13", "2001:db8::13"),
    "rcv": ("192.0.2.1", "2001:db8::1"),
}
PROBE_GROUPS = ("232.255.255.254", "ff3e::ffff:fffe")
DISCARD_PORT = 9

# Intervals are in hundredths of a second. The bridge gets no global IPv6 address: its MLD
# queries would carry it as their source, and hosts answer only a link-local one (RFC 3810, 5.1.14).
BRIDGE_OPTIONS = (
    "stp_state 0 forward_delay 0 mcast_snooping 1 mcast_igmp_version 3 mcast_mld_version 2 "
    "mcast_query_use_ifaddr 1 mcast_query_interval 500 mcast_query_response_interval 100 "
    "mcast_startup_query_count 2 mcast_startup_query_interval 100 "
    "mcast_last_member_interval 100 mcast_last_member_count 2"
)

# Written before the links exist, so that an interface which is made again inherits them too.
SYSCTLS = {
    "net/ipv6/conf/all/accept_dad": 0,
    "net/ipv6/conf/default/accept_dad": 0,
    "net/ipv4/conf/default/igmpv3_unsolicited_report_interval": 100,
    "net/ipv6/conf/default/mldv2_unsolicited_report_interval": 100,
}

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count(1)


class LabError(RuntimeError):
    """A command of the lab failed, or a condition did not come true in time."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host: `interface` is its own end of the cable, `port` the end in the bridge."""

    name: str
    namespace: str
    address4: str
    address6: str
    interface: str
    port: str

    def address(self, family: int) -> str:
        """The host's address of that family, AF_INET or AF_INET6."""
        return self.address4 if family == socket.AF_INET else self.address6


def wait_until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Evaluate `condition` until it is true; LabError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"not within {timeout} s: {what}")
        time.sleep(0.005)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that `Network.popen` started, and close its pipes; harmless if it ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(2)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


class Network:
    """Sources s1, s2, s3 and the receiver rcv on a snooping bridge in the namespace sw.

    A context manager. On entry snooping is in force for both families: a host sees only the
    groups it joined. On exit its processes are ended and its namespaces removed, also when the
    building failed halfway. Names are unique, so networks can exist side by side.
    """

    def __init__(self) -> None:
        self._prefix = unique_name()
        self._cleanup = ExitStack()
        self.hosts = {
            name: Host(name, self.namespace(name), *addresses, "v0", f"p-{name}")
            for name, addresses in ADDRESSES.items()
        }

    def namespace(self, name: str) -> str:
        """The namespace of a host or of the switch, as `ip netns` knows it."""
        if name != SWITCH and name not in ADDRESSES:
            raise ValueError(f"no such host: {name!r}")
        return f"{self._prefix}-{name}"

    def __enter__(self) -> Network:
        with ExitStack() as building:
            self._build(building)
            self._wait_for_snooping()
            self._cleanup = building.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._cleanup.close()

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Move the calling thread into a namespace, and back at the end. Nests.

        Sockets stay in the namespace they were made in; threads and processes start in that of
        the thread which starts them. `/proc/net` follows the main thread: use
        `/proc/thread-self/net` elsewhere.
        """
        with (
            Path("/proc/thread-self/ns/net").open("rb") as home,
            Path("/run/netns", self.namespace(name)).open("rb") as there,
        ):
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def run(self, name: str, argv: list[str], timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a program in a namespace to its end; LabError if it fails or takes too long."""
        return execute(["ip", "netns", "exec", self.namespace(name), *argv], timeout=timeout)

    # Any: those of Popen
    def popen(self, name: str, argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a program in a namespace; it is stopped with the network, if not before.

        `options` are those of subprocess.Popen. Output goes nowhere unless they say so.
        """
        command = ["ip", "netns", "exec", self.namespace(name), *argv]
        for stream in ("stdin", "stdout", "stderr"):
            options.setdefault(stream, subprocess.DEVNULL)
        process: subprocess.Popen[bytes] = subprocess.Popen(command, **options)
        self._cleanup.callback(stop, process)
        return process

    def ip(self, name: str, command: str) -> str:
        """Run `ip COMMAND` on a host, such as "link set v0 down"; returns what it printed."""
        return execute(["ip", "-n", self.namespace(name), *command.split()]).stdout

    def plug(self, name: str) -> None:
        """Connect a host that has no cable, e.g. after `ip(name, "link del v0")`; both ends run on return."""
        host = self.hosts[name]
        self._batch(
            name,
            f"link add v0 type veth peer name {host.port} netns {self.namespace(SWITCH)}",
            f"addr add {host.address4}/24 dev v0",
            "link set v0 up",
            f"addr add {host.address6}/64 dev v0 nodad",
            "route add 224.0.0.0/4 dev v0",
        )
        self._batch(SWITCH, f"link set {host.port} master {BRIDGE} up")
        # The kernel takes up to a second to see the carrier, and drops what is sent before.
        wait_until(lambda: self.runs(name, "v0") and self.runs(SWITCH, host.port), 20, f"{name} is connected")

    def runs(self, name: str, interface: str) -> bool:
        """Whether an interface in that namespace is up and its carrier has been seen."""
        return " state UP " in self.ip(name, f"-o link show dev {interface}")

    def mdb(self) -> list[dict[str, Any]]:  # Any: JSON
        """The bridge's entries: "port", "grp", "src", "filter_mode", "source_list" and more."""
        command = ["bridge", "-n", self.namespace(SWITCH), "-d", "-s", "-j", "mdb", "show"]
        tables = json.loads(execute(command).stdout)
        return [entry for table in tables for entry in table.get("mdb", [])]

    def wait_for_member(self, group: str, source: str | None, host: str = "rcv", timeout: float = 20) -> None:
        """Wait until the bridge forwards `group` from `source` (None: from any) to that host."""
        port = self.hosts[host].port
        keys = ("port", "grp", "src", "filter_mode", "flags")
        mode = "exclude" if source is None else "include"
        wanted: tuple[object, ...] = (port, group, source, mode, [])

        def forwarded() -> bool:
            return any(tuple(entry.get(key) for key in keys) == wanted for entry in self.mdb())

        wait_until(forwarded, timeout, f"{port} is a member of {group} for source {source}")

    def sender(self, name: str, family: int = socket.AF_INET) -> socket.socket:
        """A UDP socket of that host, bound to its address, ready to send to any group."""
        with self.inside(name):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            index = socket.if_nametoindex("v0")
        address = self.hosts[name].address(family)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 8)
        sock.bind((address, 0))
        return sock

    def reaches(self, source: str, group: str, host: str = "rcv") -> bool:
        """Whether a datagram from host `source` to `group` arrives on the wire at `host`.

        It is sent and then a unicast one the same way, whose arrival decides (TimeoutError if
        it does not come in five seconds), so a "no" is seen and not waited for.
        """
        family = socket.AF_INET6 if ":" in group else socket.AF_INET
        ethertype = 0x86DD if family == socket.AF_INET6 else 0x0800
        probe, marker = secrets.token_bytes(16), secrets.token_bytes(16)
        with self.inside(host):
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        with wire, self.sender(source, family) as sender:
            wire.bind((self.hosts[host].interface, ethertype))
            wire.settimeout(5)
            sender.sendto(probe, (group, DISCARD_PORT))
            sender.sendto(marker, (self.hosts[host].address(family), DISCARD_PORT))
            arrived = b""
            while not arrived.endswith(marker):
                arrived = wire.recv(2048)
                if arrived.endswith(probe):
                    return True
        return False

    def _build(self, building: ExitStack) -> None:
        for name in (SWITCH, *self.hosts):
            namespace = self.namespace(name)
            execute(["ip", "netns", "add", namespace])
            building.callback(execute, ["ip", "netns", "del", namespace])
            with self.inside(name):
                for key, value in SYSCTLS.items():
                    Path("/proc/sys", key).write_text(str(value))
            self._batch(name, "link set lo up")
        self._batch(
            SWITCH,
            f"link add {BRIDGE} type bridge {BRIDGE_OPTIONS}",
            f"addr add {BRIDGE_ADDRESS}/24 dev {BRIDGE}",
            f"link set {BRIDGE} up",
        )
        for name in self.hosts:
            self.plug(name)
        # Last, so that its first query reaches every port.
        self._batch(SWITCH, f"link set {BRIDGE} type bridge mcast_querier 1")

    def _wait_for_snooping(self) -> None:
        # The bridge floods until hosts have had the time of one query to answer.
        def quiet() -> bool:
            with suppress(TimeoutError):
                return not any(self.reaches("s1", group) for group in PROBE_GROUPS * 3)
            return False

        wait_until(quiet, 30, "the bridge stops flooding groups without members")

    def _batch(self, name: str, *commands: str) -> None:
        command = ["ip", "-n", self.namespace(name), "-batch", "-"]
        execute(command, input="\n".join(commands))


def unique_name() -> str:
    """A name for a namespace that no other process and no other network has."""
    return f"aiomcast-{os.getpid()}-{next(_serial)}-{secrets.token_hex(2)}"


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def execute(command: list[str], *, input: str = "", timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; LabError with what it said if it fails or takes too long."""
    try:
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(command)}: not done in {timeout} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"{' '.join(command)}: status {done.returncode}: {said} {input}".rstrip())
    return done
