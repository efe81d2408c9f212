"""What is asked before a join is doubted, what the system may keep to itself, and what refusals are told."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import IO

import pytest

from aiomcast import RefusedError, SourceFilter, open_socket
from aiomcast.diagnosis.gathering import forced_version
from aiomcast.rfc3678.sysctls import sysctl_value
from aiomcast.system import doubts as module
from aiomcast.system.doubts import look, why_invalid
from aiomcast.system.netlink import Netlink
from aiomcast.values.doubts import DoubtKind
from tests.support.sandbox import apart, needs_seccomp, without_privilege, without_sockets_of

from .place import Place
from .two_hosts import ANY, FAR, GROUPS, NEAR, PORT, Wire, each_family, family, joined, kinds, wire

__all__ = ["wire"]


@each_family
def test_a_healthy_interface_takes_one_question(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    asked: list[str] = []
    ask = Netlink.ask

    def counted(kernel: Netlink, kind: int, payload: bytes) -> bytes:
        asked.append("netlink")
        return ask(kernel, kind, payload)

    def opened(path: str, mode: str) -> IO[bytes]:
        asked.append(path)
        return Path(path).open("rb")

    monkeypatch.setattr(Netlink, "ask", counted)
    monkeypatch.setattr(module, "open", opened, raising=False)
    for wanted in (ANY, SourceFilter.include({FAR[family(group)]})):
        asked.clear()
        assert wire.doubts(group, wanted) == []
        files = ["/proc/sys/net/ipv6/conf/v0/disable_ipv6"] if family(group) == 6 else []
        assert asked == ["netlink", *files]
    wire.far.ip("link set p0 down")
    asked.clear()
    assert wire.doubts(GROUPS[0], SourceFilter.exclude({FAR[4]})) != []
    assert wire.doubts(GROUPS[0], SourceFilter.include({"127.0.0.2", "127.0.0.3"}), "lo") == []
    assert asked == ["netlink"] * 2, "nothing more that decides"


def test_the_settings_of_an_interface_with_a_dot_in_its_name(wire: Wire) -> None:
    wire.near.cable("v0.100", "p0.100")
    setting = "net.ipv4.conf.v0/100.{}"
    folder = Path("/proc/sys/net/ipv4/conf/v0.100")
    for value in (2, 0):
        (folder / "force_igmp_version").write_text(str(value))
        assert sysctl_value(setting.format("force_igmp_version")) == value
    (folder / "force_igmp_version").write_text("2")
    assert forced_version("v0.100", 4) == 2
    assert forced_version("v0", 4) is None
    assert sysctl_value(setting.format("no_such")) is None


def test_what_is_not_there(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in (0, -1, 999999):
        assert look(index, GROUPS[0], ANY) == look(index, GROUPS[1], ANY) == []
        assert why_invalid(index, GROUPS[1]) == ""

    def absent(*_: object) -> None:
        raise FileNotFoundError

    def hidden(*_: object) -> None:
        raise PermissionError

    Path("/proc/sys/net/ipv6/conf/v0/disable_ipv6").write_text("1")
    monkeypatch.setattr(module, "open", hidden, raising=False)
    assert wire.doubts(GROUPS[1]) == []
    monkeypatch.setattr(module, "open", absent, raising=False)
    monkeypatch.setattr(module, "_IPV6_CONF", "/proc/sys/nosuch")
    assert wire.doubts(GROUPS[1]) == []


@needs_seccomp
def test_without_netlink(wire: Wire) -> None:
    wire.near.ip("link set v0 down mtu 1000")
    index = wire.v0

    def ask() -> None:
        assert look(index, GROUPS[0], ANY) == []
        assert why_invalid(index, GROUPS[1]) == ""

    apart(lambda: without_sockets_of(socket.AF_NETLINK), ask)


def test_without_privilege(wire: Wire) -> None:
    wire.near.ip("link add br0 type bridge", "link set v0 master br0")
    wanted = SourceFilter.include({FAR[4]})

    def ask() -> None:
        assert kinds(wire.doubts(GROUPS[0], wanted)) == [DoubtKind.PORT]

    apart(without_privilege, ask)


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE])
def test_a_system_that_refuses_to_say(wire: Wire, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    for owner, name in ((module, "open"), (Netlink, "ask")):
        monkeypatch.setattr(owner, name, refuse, raising=False)
        with pytest.raises(RefusedError) as caught:
            wire.doubts(GROUPS[1])
        assert caught.value.errno == number
    assert why_invalid(wire.v0, GROUPS[1]) == ""


def test_a_system_that_tells_no_routes(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Netlink.ask

    def links_alone(kernel: Netlink, kind: int, payload: bytes) -> bytes:
        if kind == module._RTM_GETROUTE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return ask(kernel, kind, payload)

    monkeypatch.setattr(Netlink, "ask", links_alone)
    assert wire.doubts(GROUPS[1], interface="lo") == []
    assert wire.doubts(GROUPS[0], SourceFilter.include({FAR[4]}), "lo") == []


def test_a_source_without_a_route_is_remote(wire: Wire) -> None:
    wire.near.ip("route add blackhole 203.0.113.0/24")
    for source in ("8.8.8.8", "203.0.113.1"):
        found = wire.doubts(GROUPS[0], SourceFilter.include({"127.0.0.1", NEAR[4], source}), "lo")
        assert kinds(found) == [DoubtKind.REMOTE_SOURCE]
        assert source in found[0].text


def test_the_namespace_of_the_thread(wire: Wire) -> None:
    """Its /proc/sys/net is that of who opens a file there, also in one thread from one to the next."""
    setting = Path("/proc/sys/net/ipv6/conf/v0/disable_ipv6")
    setting.write_text("1")
    assert kinds(wire.doubts(GROUPS[1])) == [DoubtKind.IPV6_OFF]

    def elsewhere() -> None:
        with Place() as other:
            other.cable("v0", "p0")
            assert wire.doubts(GROUPS[1]) == []
            assert setting.read_text().strip() == "0"

    apart(elsewhere)
    elsewhere()
    assert kinds(wire.doubts(GROUPS[1])) == [DoubtKind.IPV6_OFF]


# What the system does refuse.


@pytest.mark.parametrize("wanted", [ANY, SourceFilter.include({FAR[6]})], ids=["any", "source"])
def test_an_ipv6_join_below_its_least_mtu(wire: Wire, wanted: SourceFilter) -> None:
    wire.near.ip("link set v0 mtu 1279")
    with open_socket(GROUPS[1], PORT, "v0") as sock:
        with pytest.raises(RefusedError) as caught:
            sock.set_filter(wanted)
        assert caught.value.errno == errno.EINVAL
        assert caught.value.hint == "v0 has an MTU of 1279, and IPv6 needs 1280: ip link set v0 mtu 1280"
        assert caught.value.hint in str(caught.value)
        assert sock.filter.is_none
        wire.near.ip("link set v0 mtu 1280")
        sock.set_filter(wanted)
        assert sock.kernel_filter() == wanted


def test_the_mtu_is_asked_for_once_the_join_is_refused(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> str:
        raise AssertionError("nothing was refused")

    monkeypatch.setattr("aiomcast.system.sockets.why_invalid", never)
    for group in GROUPS:
        joined(group).close()


def test_a_join_that_is_refused_for_another_reason(wire: Wire) -> None:
    assert why_invalid(wire.v0, GROUPS[1]) == ""
    wire.near.ip("link set v0 mtu 1000")
    assert why_invalid(wire.v0, GROUPS[0]) == "", "IPv4 has no such limit"
    sock = open_socket(GROUPS[1], PORT, "v0")
    sock.close()
    with pytest.raises(RefusedError) as caught:
        sock.set_filter(ANY)
    assert (caught.value.errno, caught.value.hint) == (errno.EBADF, "")


@each_family
def test_a_membership_that_its_interface_has_lost(wire: Wire, group: str) -> None:
    version = family(group)
    with joined(group, "v0", SourceFilter.include({FAR[version]})) as sock:
        if version == 6:
            wire.near.ip("link set v0 mtu 1279", "link set v0 mtu 1500")
        else:
            index = wire.v0
            again = f"link add v0 index {index} type veth peer name p0 index {index + 100}"
            wire.near.ip("link del v0", again, "link set v0 up")
        with pytest.raises(RefusedError) as caught:
            sock.set_filter({NEAR[version]})
        assert caught.value.errno == errno.ESRCH
        assert "refresh()" in caught.value.hint
        assert sock.filter == SourceFilter.include({FAR[version]})
        sock.rejoin()
        sock.set_filter({NEAR[version]})
        assert sock.kernel_filter() == SourceFilter.include({NEAR[version]})
