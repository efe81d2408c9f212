"""Joins that the system does not refuse and that hear nothing: each made for real, told, and mended.

That nothing came is proved by order: what is sent before the mending is not there when what is sent after it
comes, on the same socket and from the same sender.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from pathlib import Path

import attrs
import pytest

from aiomcast import SourceFilter
from aiomcast.system import doubts as module
from aiomcast.system.links import find_link
from aiomcast.system.netlink import Netlink
from aiomcast.values.doubts import DoubtKind
from aiomcast.values.links import Link

from .two_hosts import ANY, FAR, GROUPS, NEAR, PORT, Wire, each_family, family, joined, kinds, sender, wire

__all__ = ["wire"]


def needs(path: str) -> pytest.MarkDecorator:
    """Skip where the system does not have it, unless the lab is required."""
    is_required = os.environ.get("AIOMCAST_REQUIRE_LAB") == "1"
    return pytest.mark.skipif(not is_required and not Path(path).exists(), reason=f"no {path}")


# What cannot work.


@each_family
def test_an_interface_that_is_down(wire: Wire, group: str) -> None:
    wire.near.ip("link set v0 down")
    (found,) = wire.doubts(group)
    assert (found.kind, found.hint) == (DoubtKind.DOWN, "ip link set v0 up")
    with joined(group) as sock:
        wire.send(b"before", group)
        wire.near.ip(found.hint.removeprefix("ip "))
        assert wire.doubts(group) == []
        assert wire.first(sock, group) == b"after"


@each_family
def test_no_carrier(wire: Wire, group: str) -> None:
    wire.far.ip("link set p0 down")
    assert kinds(wire.doubts(group)) == [DoubtKind.NO_CARRIER]
    assert kinds(wire.doubts(group, SourceFilter.include({FAR[family(group)]}))) == [DoubtKind.NO_CARRIER]
    with joined(group) as sock:
        wire.send(b"before", group)
        wire.far.ip("link set p0 up")
        assert wire.doubts(group) == []
        assert wire.first(sock, group) == b"after"


def test_an_interface_on_top_of_one_that_is_down(wire: Wire) -> None:
    wire.near.ip("link add m0 link v0 type macvlan mode bridge", "link set m0 up")
    assert wire.doubts(GROUPS[0], interface="m0") == []
    wire.near.ip("link set v0 down")
    assert kinds(wire.doubts(GROUPS[0], interface="m0")) == [DoubtKind.NO_CARRIER]


def test_a_bridge_whose_last_port_is_gone(wire: Wire) -> None:
    wire.near.ip("link add br0 type bridge", "link set v0 master br0", "link set br0 up")
    assert wire.doubts(GROUPS[0], interface="br0") == []
    wire.near.ip("link set v0 nomaster")
    assert kinds(wire.doubts(GROUPS[0], interface="br0")) == [DoubtKind.NO_CARRIER]


def test_ipv6_that_is_switched_off(wire: Wire) -> None:
    setting = Path("/proc/sys/net/ipv6/conf/v0/disable_ipv6")
    setting.write_text("1")
    (found,) = wire.doubts(GROUPS[1])
    assert (found.kind, found.hint) == (DoubtKind.IPV6_OFF, "sysctl -w net.ipv6.conf.v0.disable_ipv6=0")
    assert wire.doubts(GROUPS[0]) == []
    with joined(GROUPS[1]) as sock:
        wire.send(b"before", GROUPS[1])
        setting.write_text("0")
        assert wire.doubts(GROUPS[1]) == []
        assert wire.first(sock, GROUPS[1]) == b"after"


def test_ipv6_that_has_been_taken_off(wire: Wire) -> None:
    wire.near.ip("link set v0 mtu 1279")
    (found,) = wire.doubts(GROUPS[1])
    assert found.kind is DoubtKind.IPV6_OFF
    assert "ip link set v0 mtu 1280" in found.hint
    assert wire.doubts(GROUPS[0]) == []
    wire.near.ip("link set v0 mtu 1280")
    assert wire.doubts(GROUPS[1]) == []


@each_family
def test_a_remote_source_on_loopback(wire: Wire, group: str) -> None:
    wire.near.ip("-6 route add local ff00::/8 dev lo")
    wanted = SourceFilter.include({FAR[family(group)]})
    (found,) = wire.doubts(group, wanted, "lo")
    assert found.kind is DoubtKind.REMOTE_SOURCE
    assert FAR[family(group)] in found.text
    assert wire.doubts(group, wanted, "v0") == []
    wire.senders[family(group)].bind((FAR[family(group)], 0))
    with joined(group, "v0", wanted) as right, joined(group, "lo", wanted) as wrong:
        assert wire.first(right, group) == b"after"
        with pytest.raises(BlockingIOError):
            wrong.recv(100)


def test_ipv6_on_loopback(wire: Wire) -> None:
    group = GROUPS[1]
    for wanted in (ANY, SourceFilter.include({"::1"})):
        (found,) = wire.doubts(group, wanted, "lo")
        assert found.kind is DoubtKind.NO_LOOPBACK_ROUTE
    with joined(group, "lo") as sock, sender("lo", 6, "::1") as ours:
        with pytest.raises(OSError, match=os.strerror(errno.ENETUNREACH)):
            ours.sendto(b"before", (group, PORT))
        for useless in ("ff00::/8 dev lo", "multicast ff00::/8 dev lo table local"):
            wire.near.ip(f"-6 route add {useless}")
            assert ours.sendto(b"before", (group, PORT))
            assert kinds(wire.doubts(group, interface="lo")) == [DoubtKind.NO_LOOPBACK_ROUTE]
            wire.near.ip(f"-6 route del {useless}")
        wire.near.ip(found.hint[found.hint.index("ip -6") :].removeprefix("ip "))
        assert wire.doubts(group, interface="lo") == []
        assert wire.first(sock, group, by=ours) == b"after"
    with joined(group) as sock:
        assert wire.first(sock, group) == b"after", "the route does no harm elsewhere"


@pytest.mark.parametrize("prefix", ["ff01", "ff11", "ff10"])
def test_a_scope_that_ends_before_the_wire(wire: Wire, prefix: str) -> None:
    group, wider = f"{prefix}::77", "ff12::77"
    assert kinds(wire.doubts(group)) == [DoubtKind.SCOPE]
    assert wire.doubts(wider) == []
    with joined(group) as sock, joined(wider) as other:
        wire.senders[6].sendto(b"before", (group, PORT))
        assert wire.first(other, wider) == b"after"
        with pytest.raises(BlockingIOError):
            sock.recv(100)


@each_family
def test_a_port_of_a_bridge(wire: Wire, group: str) -> None:
    wire.near.ip("link add br0 type bridge stp_state 0 forward_delay 0", "link set v0 master br0 up")
    wire.near.ip("link set br0 up")
    (found,) = wire.doubts(group)
    assert (found.kind, found.hint) == (DoubtKind.PORT, "join on br0")
    assert wire.doubts(group, interface="br0") == []
    with joined(group) as sock, joined(group, "br0") as right:
        assert wire.first(right, group, payload=b"before") == b"before", "it comes to the bridge"
        wire.near.ip("link set v0 nomaster")
        assert wire.doubts(group) == []
        assert wire.first(sock, group) == b"after"


@needs("/proc/sys/net/ipv4/udp_l3mdev_accept")
def test_a_member_of_a_vrf(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """This kernel may have none: the link is made up, what decides is not."""

    def member(kernel: Netlink, wanted: str | int) -> Link | None:
        found = find_link(kernel, wanted)
        assert found is not None
        return attrs.evolve(found, role="vrf", master=1) if found.name == "v0" else found

    monkeypatch.setattr(module, "find_link", member)
    (found,) = wire.doubts(GROUPS[0])
    assert found.kind is DoubtKind.VRF
    assert "v0 is a member of lo" in found.text
    assert wire.doubts(GROUPS[1]) == []
    setting = Path("/proc/sys/net/ipv4/udp_l3mdev_accept")
    setting.write_text("1")
    assert wire.doubts(GROUPS[0]) == []
    setting.write_text("0")

    class Bound(socket.socket):
        """As one is that a program of `ip vrf exec` makes."""

        def __init__(self, family: int, kind: int) -> None:
            super().__init__(family, kind)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")

    with monkeypatch.context() as patch:
        patch.setattr("aiomcast.system.doubts.socket.socket", Bound)
        enters = module._enters_vrf()
    assert enters
    monkeypatch.setattr(module, "sysctl_value", lambda name: None)
    assert wire.doubts(GROUPS[0]) == []


# What works, and is no doubt.


@each_family
def test_an_interface_without_any_address(wire: Wire, group: str) -> None:
    wire.near.ip("addr flush dev v0")
    assert wire.doubts(group) == []
    with joined(group) as sock:
        assert wire.first(sock, group) == b"after"


@each_family
def test_an_interface_with_a_link_local_address_alone(wire: Wire, group: str) -> None:
    wire.near.ip(f"addr del {NEAR[4]}/24 dev v0", f"addr del {NEAR[6]}/64 dev v0")
    assert wire.doubts(group) == []
    with joined(group) as sock:
        assert wire.first(sock, group) == b"after"


@each_family
def test_an_interface_whose_multicast_flag_is_taken_away(wire: Wire, group: str) -> None:
    with joined(group) as sock:
        wire.near.ip("link set v0 multicast off")
        assert wire.doubts(group) == []
        assert wire.first(sock, group) == b"after"


def test_a_dormant_interface(wire: Wire) -> None:
    wire.near.ip("link set v0 mode dormant", "link set v0 down", "link set v0 up")
    assert wire.doubts(GROUPS[0]) == []
    with joined(GROUPS[0]) as sock:
        assert wire.first(sock, GROUPS[0]) == b"after"


@each_family
@pytest.mark.parametrize("state", ["no carrier", "port"])
def test_sources_of_this_host_are_heard_where_others_are_not(wire: Wire, group: str, state: str) -> None:
    version = family(group)
    own = SourceFilter.include({NEAR[version]})
    if state == "port":
        wire.near.ip("link add br0 type bridge", "link set v0 master br0")
    else:
        wire.far.ip("link set p0 down")
    assert wire.doubts(group) != []
    assert wire.doubts(group, SourceFilter.include({NEAR[version], FAR[version]})) != []
    assert wire.doubts(group, own) == []
    with joined(group, "v0", own) as sock, sender("v0", version, NEAR[version]) as ours:
        assert wire.first(sock, group, by=ours) == b"after"


def test_an_interface_local_group_of_this_host(wire: Wire) -> None:
    own = SourceFilter.include({NEAR[6]})
    assert wire.doubts("ff11::78", own) == []
    with joined("ff11::78", "v0", own) as sock, sender("v0", 6, NEAR[6]) as ours:
        assert wire.first(sock, "ff11::78", by=ours) == b"after"


@pytest.mark.parametrize("source", ["127.0.0.1", "127.9.9.9", NEAR[4], "198.51.100.7"])
def test_sources_of_this_host_on_loopback(wire: Wire, source: str) -> None:
    group, own = GROUPS[0], SourceFilter.include({source})
    wire.near.ip("route add local 198.51.100.0/24 dev lo")
    assert wire.doubts(group, own, "lo") == []
    assert wire.doubts(group, ANY, "lo") == []
    with joined(group, "lo", own) as sock, sender("lo", 4, source) as ours:
        assert wire.first(sock, group, by=ours) == b"after"


@needs("/dev/net/tun")
def test_a_point_to_point_interface_of_unknown_state(wire: Wire) -> None:
    group, source = "239.1.1.1", "10.9.9.9"
    tunnel = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        # linux/if_tun.h: TUNSETIFF with IFF_TUN | IFF_NO_PI
        fcntl.ioctl(tunnel, 0x400454CA, struct.pack("16sH22x", b"t0", 0x1001))
        wire.near.ip("link set t0 up", "route add 10.9.9.9/32 dev t0")
        with Netlink() as kernel:
            link = find_link(kernel, "t0")
        assert link is not None
        assert link.operstate.name == "UNKNOWN"
        wanted = SourceFilter.include({source})
        assert wire.doubts(group, interface="t0") == wire.doubts(group, wanted, "t0") == []
        with joined(group, "t0", wanted) as sock:
            os.write(tunnel, datagram(source, group, b"after"))
            sock.settimeout(20)
            assert sock.recv(100) == b"after"
    finally:
        os.close(tunnel)


def datagram(source: str, group: str, payload: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram, the latter without a checksum."""
    udp = struct.pack("!HHHH", 4000, PORT, 8 + len(payload), 0) + payload
    ends = socket.inet_aton(source) + socket.inet_aton(group)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 8, 17, 0) + ends
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
    return head[:10] + checksum + head[12:] + udp
