"""What breaks under a receiver: interfaces that go, limits that are low, rights that are missing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import aiomcast
from aiomcast import EventKind, InterfaceError, NoRouteError, SourceFilter, StateError
from tests.support.packets import take

from .network import BRIDGE, SWITCH, Host, LabError, Network
from .traffic import Traffic, witnessed


@pytest.fixture(autouse=True)
def replugged(network: Network) -> Iterator[None]:
    """Whatever a test does to the receiver's cable, the next one finds it new."""
    yield
    with suppress(LabError):  # where the test has left none
        network.ip("rcv", "link del v0")
    network.plug("rcv")


async def hears(traffic: Traffic, feed: aiomcast.PacketStream, payload: bytes) -> None:
    """What s1 sends next is what comes next."""
    traffic.forwarded("s1")
    traffic.send("s1", payload)
    (packet,) = await take(feed, 1)
    assert (packet.data, packet.source) == (payload, traffic.address("s1"))
    assert packet.interface_index == socket.if_nametoindex("v0")


async def test_link_down_and_up(network: Network, ssm: Traffic) -> None:
    async with aiomcast.listen(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0") as feed:
        packets = feed.packets()
        await hears(ssm, packets, b"before")
        network.ip("rcv", "link set v0 down")
        network.ip("rcv", "link set v0 up")
        await hears(ssm, packets, b"after")


async def test_addresses_flushed_and_added_again(network: Network, ssm: Traffic) -> None:
    host = network.hosts["rcv"]
    async with aiomcast.listen(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0") as feed:
        packets = feed.packets()
        await hears(ssm, packets, b"before")
        network.ip("rcv", "addr flush dev v0 scope global")
        network.ip("rcv", f"addr add {host.address4}/24 dev v0")
        network.ip("rcv", f"addr add {host.address6}/64 dev v0 nodad")
        network.ip("rcv", "route replace 224.0.0.0/4 dev v0")
        await hears(ssm, packets, b"between")
        # No report follows an address change: a switch that forgot hears of it by the refresh.
        forget = f"mdb del dev {BRIDGE} port {host.port} grp {ssm.group}"
        network.run(SWITCH, ["bridge", *forget.split()])
        await feed.refresh()
        await hears(ssm, packets, b"after")
        assert feed.kernel_filter() == feed.filter


async def test_interface_made_anew(network: Network, ssm: Traffic) -> None:
    source = ssm.address("s1")
    listener = aiomcast.listen(ssm.group, ssm.port, sources=[source], interface="v0")
    async with listener as membership:
        packets, events = membership.packets(), listener.receiver.events()
        await hears(ssm, packets, b"before")
        network.ip("rcv", "link del v0")
        network.plug("rcv")
        other = ssm.witness("s1")
        ssm.send("s1", b"unheard")
        witnessed(other, b"unheard")
        assert membership.statistics().received == 1, "the membership is dead"
        await membership.refresh()
        assert membership.interface.index == socket.if_nametoindex("v0")
        assert listener.receiver.filters == {membership: SourceFilter.include([source])}
        assert (await anext(events)).kind is EventKind.REFRESHED
        await hears(ssm, packets, b"after")
        await membership.swap([source, ssm.address("s2")])
        ssm.forwarded("s2")
        await hears(ssm, packets, b"after a swap")


async def test_interface_made_anew_with_the_same_index(network: Network, ssm: Traffic) -> None:
    async with aiomcast.listen(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0") as feed:
        packets = feed.packets()
        await hears(ssm, packets, b"before")
        host, index = network.hosts["rcv"], socket.if_nametoindex("v0")
        network.ip("rcv", "link del v0")
        network.ip(
            "rcv",
            f"link add v0 index {index} type veth peer name {host.port} netns {network.namespace(SWITCH)}",
        )
        network.ip("rcv", f"addr add {host.address4}/24 dev v0")
        network.ip("rcv", "link set v0 up")
        network.ip("rcv", f"addr add {host.address6}/64 dev v0 nodad")
        network.ip(SWITCH, f"link set {host.port} master {BRIDGE} up")
        await feed.refresh()
        await hears(ssm, packets, b"after")


async def test_refresh_without_the_interface(network: Network, ssm: Traffic) -> None:
    listener = aiomcast.listen(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0")
    async with listener as feed:
        network.ip("rcv", "link del v0")
        with pytest.raises(InterfaceError, match="v0"):
            await feed.refresh()
        assert listener.receiver.memberships == (feed,)
        network.plug("rcv")
        await feed.refresh()
        await hears(ssm, aiter(feed), b"after")


async def test_leave_and_close_without_the_interface(network: Network, ssm: Traffic) -> None:
    receiver = aiomcast.Receiver()
    first = await receiver.join(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0")
    second = await receiver.join(ssm.group, ssm.port + 1, sources=[ssm.address("s1")], interface="v0")
    packets = receiver.packets()
    ssm.forwarded("s1")
    ssm.send("s1", b"last")
    (packet,) = await take(packets, 1)
    assert packet.data == b"last"
    network.ip("rcv", "link del v0")
    await first.leave()
    with pytest.raises(StateError):
        await first.swap([ssm.address("s2")])
    assert receiver.memberships == (second,)
    await receiver.aclose()
    assert [packet async for packet in packets] == []
    assert receiver.statistics().received == 1


async def test_interface_that_cannot_multicast(network: Network, ssm: Traffic) -> None:
    network.ip("rcv", "link set v0 multicast off")
    async with aiomcast.Receiver() as receiver:
        with pytest.raises(InterfaceError, match="v0 cannot multicast"):
            await receiver.join(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0")
        assert receiver.memberships == ()


@pytest.mark.parametrize(
    ("group", "source"),
    [("232.4.1.1", "198.51.100.9"), ("ff3e::8004:1", "2001:db8:ffff::9")],
    ids=["ipv4", "ipv6"],
)
async def test_no_route_to_the_source(in_receiver: Host, group: str, source: str) -> None:
    async with aiomcast.Receiver() as receiver:
        with pytest.raises(NoRouteError, match=source):
            await receiver.join(group, 5000, sources=[source])
        assert receiver.memberships == ()


@pytest.fixture
def three_per_socket(in_receiver: Host) -> Iterator[None]:
    """The receiver's kernel takes three IPv4 sources; mld_max_msf is no namespace's own."""
    limit = Path("/proc/sys/net/ipv4/igmp_max_msf")
    before = limit.read_text()
    limit.write_text("3")
    yield
    limit.write_text(before)


@pytest.mark.parametrize("ssm", ["232.4.3.1"], ids=["ipv4"], indirect=True)
async def test_few_sources_per_socket(network: Network, ssm: Traffic, three_per_socket: None) -> None:
    fill = [f"192.0.2.{number}" for number in range(100, 107)]
    every = [*fill, *(ssm.address(name) for name in ("s1", "s2", "s3"))]
    async with aiomcast.listen(ssm.group, ssm.port, sources=every, interface="v0") as feed:
        ssm.forwarded("s1", "s2", "s3")
        assert feed.kernel_filter() == SourceFilter.include(every)
        for name in ("s1", "s2", "s3"):
            ssm.send(name, b"from " + name.encode())
        packets = await take(aiter(feed), 3)
        assert {packet.data for packet in packets} == {b"from s1", b"from s2", b"from s3"}
        await feed.swap(every[5:])
        assert feed.kernel_filter() == SourceFilter.include(every[5:])
        assert feed.statistics().received == 3


async def test_more_groups_than_one_socket_may_join(network: Network, in_receiver: Host) -> None:
    source = network.hosts["s1"].address4
    groups = [f"232.4.2.{number}" for number in range(1, 101)]
    limit = network.run("rcv", ["sysctl", "-n", "net.ipv4.igmp_max_memberships"]).stdout
    assert len(groups) > int(limit)
    async with aiomcast.Receiver() as receiver:
        for group in groups:
            await receiver.join(group, 5000, sources=[source], interface="v0")
        network.wait_for_member(groups[0], source)
        network.wait_for_member(groups[-1], source)
        with network.sender("s1") as sender:
            for group in (groups[0], groups[-1]):
                sender.sendto(group.encode(), (group, 5000))
        packets = await take(aiter(receiver), 2)
    assert {(packet.group, packet.data.decode()) for packet in packets} == {
        (group, group) for group in (groups[0], groups[-1])
    }


_UNPRIVILEGED = """
import asyncio, os, sys, aiomcast
async def main(group, source, user):
    async with aiomcast.Receiver() as receiver:
        # All modules are imported by then: the next user may not read where they are.
        await receiver.join(group, 5001, sources=[source], interface="v0")
        os.seteuid(int(user))
        try:
            await receiver.join(group, 500, sources=[source], interface="v0")
        except aiomcast.NoPermissionError as error:
            print(type(error).__name__, error.errno, error.hint)
        await receiver.join(group, 5000, sources=[source], interface="v0")
        print("joined", len(receiver.memberships))
asyncio.run(main(*sys.argv[1:]))
"""


def test_a_privileged_port_without_privilege(network: Network, ssm: Traffic) -> None:
    if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        pytest.skip("a user namespace with no other user in it")
    command = [sys.executable, "-c", _UNPRIVILEGED, ssm.group, ssm.address("s1"), "65534"]
    process = network.popen("rcv", command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate(timeout=20)
    said = output.decode()
    assert process.returncode == 0, said
    refused, joined = said.splitlines()
    assert refused.split()[:2] == ["NoPermissionError", "13"]
    assert "1024" in refused
    assert joined == "joined 2"
    assert os.geteuid() == 0
