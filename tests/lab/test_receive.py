"""Only what was joined comes in, with the right tags, whatever else reaches the host."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

import aiomcast
from aiomcast import SourceFilter
from tests.support.packets import take

from .network import BRIDGE, SWITCH, Network, stop, wait_until
from .traffic import Traffic, witnessed

# A second cable of the receiver, into the same bridge, on a subnet of its own.
SECOND_ADDRESS, SECOND_NEIGHBOUR = "203.0.113.1", "203.0.113.11"
SECOND_ADDRESS6, SECOND_NEIGHBOUR6 = "2001:db8:2::1", "2001:db8:2::11"
SECOND_PORT = "p-rcv1"
SOURCES = ("s1", "s2", "s3")


@pytest.fixture(scope="module")
def second_interface(network: Network) -> str:
    """The receiver's v1, which sees what v0 sees once something is joined on it."""
    network.ip("rcv", f"link add v1 type veth peer name {SECOND_PORT} netns {network.namespace(SWITCH)}")
    network.ip("rcv", f"addr add {SECOND_ADDRESS}/24 dev v1")
    network.ip("rcv", "link set v1 up")
    network.ip("rcv", f"addr add {SECOND_ADDRESS6}/64 dev v1 nodad")
    for name in ("all", "v0", "v1"):  # its packets come from where no route leads back
        network.run("rcv", ["sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=0"])
    network.ip(SWITCH, f"link set {SECOND_PORT} master {BRIDGE} up")
    return "v1"


def wait_for_second(network: Network, traffic: Traffic, *names: str) -> None:
    """Wait until the bridge forwards the group from these hosts (none: from any) to v1."""
    wanted: set[str | None] = {traffic.address(name) for name in names} or {None}

    def forwarded() -> bool:
        entries = [entry for entry in network.mdb() if entry["port"] == SECOND_PORT]
        return wanted <= {entry.get("src") for entry in entries if entry["grp"] == traffic.group}

    wait_until(forwarded, 20, f"{SECOND_PORT} is a member of {traffic.group}")


async def test_only_its_source_is_let_in(ssm: Traffic) -> None:
    others = ssm.witness("s2", "s3")
    async with aiomcast.Receiver() as receiver:
        membership = await receiver.join(ssm.group, ssm.port, sources={ssm.address("s1")}, interface="v0")
        ssm.forwarded("s1")
        ssm.send("s2", b"unwanted 2")
        ssm.send("s3", b"unwanted 3")
        witnessed(others, b"unwanted 2", b"unwanted 3")
        ssm.send("s1", b"wanted")
        (packet,) = await take(aiter(receiver), 1)
        assert (packet.data, packet.source) == (b"wanted", ssm.address("s1"))
        statistics = membership.statistics()
        assert (statistics.received, statistics.filtered, statistics.kernel_drops) == (1, 0, 0)


async def test_a_swap_lets_in_the_new_and_shuts_out_the_old(ssm: Traffic) -> None:
    everything = ssm.witness("s1", "s2", "s3")
    first, second, third = (ssm.address(name) for name in ("s1", "s2", "s3"))
    async with aiomcast.listen(ssm.group, ssm.port, sources=[first, second], interface="v0") as feed:
        await feed.swap([second, third])
        ssm.send("s1", b"old")
        ssm.send("s2", b"retained")
        ssm.send("s3", b"new")
        witnessed(everything, b"old", b"retained", b"new")
        assert {packet.data for packet in await take(aiter(feed), 2)} == {b"retained", b"new"}
        assert feed.kernel_filter() == SourceFilter.include([second, third])
        assert feed.statistics().received == 2


@pytest.mark.parametrize("how", ["name", "index", "address", "route"])
async def test_tags(network: Network, ssm: Traffic, how: str) -> None:
    index = socket.if_nametoindex("v0")
    address = network.hosts["rcv"].address(ssm.family)
    ways: dict[str, str | int | None] = {"name": "v0", "index": index, "address": address, "route": None}
    source = ssm.address("s1")
    async with aiomcast.listen(
        ssm.group, ssm.port, sources=[source], interface=ways[how], ancillary=["hop_limit"]
    ) as feed:
        assert feed.interface.name == "v0"
        ssm.forwarded("s1")
        with network.sender("s1", ssm.family) as sender:
            port = sender.getsockname()[1]
            before = time.time_ns()
            sender.sendto(b"tagged", (ssm.group, ssm.port))
            (packet,) = await take(aiter(feed), 1)
            after = time.time_ns()
    assert packet.flow == aiomcast.Flow(source, port, ssm.group, ssm.port, index)
    assert packet.channel == aiomcast.Channel(source, ssm.group)
    assert packet.timestamp_ns is not None
    assert before <= packet.timestamp_ns <= after
    assert (packet.data, packet.truncated, packet.hop_limit) == (b"tagged", False, 8)


async def test_interfaces_do_not_mix(network: Network, ssm: Traffic, second_interface: str) -> None:
    both = ssm.witness("s1", "s2", interfaces=("v0", second_interface))
    async with aiomcast.Receiver() as receiver:
        here = await receiver.join(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0")
        there = await receiver.join(
            ssm.group, ssm.port, sources=[ssm.address("s2")], interface=second_interface
        )
        wait_for_second(network, ssm, "s1", "s2")
        for payload in (b"1", b"2"):
            ssm.send("s1", b"from s1 " + payload)
            ssm.send("s2", b"from s2 " + payload)
        witnessed(both, *[b"from s1 1", b"from s1 2", b"from s2 1", b"from s2 2"] * 2)
        for membership, name, interface in ((here, "s1", "v0"), (there, "s2", second_interface)):
            packets = await take(aiter(membership), 2)
            assert [packet.data for packet in packets] == [f"from {name} {n}".encode() for n in (1, 2)]
            assert {packet.interface_index for packet in packets} == {socket.if_nametoindex(interface)}
            assert membership.statistics().received == 2


_ANOTHER_PROCESS = """
import asyncio, sys, aiomcast
async def main(group, port, interface, *sources):
    async with aiomcast.listen(group, int(port), sources=sources, interface=interface) as feed:
        print("joined", flush=True)
        async for packet in feed:
            print(packet.data.decode(), flush=True)
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def elsewhere(network: Network, ssm: Traffic, second_interface: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that joined the same group on the other interface for s1 and s2."""
    arguments = [ssm.group, str(ssm.port), second_interface, ssm.address("s1"), ssm.address("s2")]
    process = network.popen(
        "rcv", [sys.executable, "-c", _ANOTHER_PROCESS, *arguments], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"joined\n"
    wait_for_second(network, ssm, "s1", "s2")
    yield process
    stop(process)


async def test_another_process_on_another_interface_does_not_leak_in(
    ssm: Traffic, elsewhere: subprocess.Popen[bytes]
) -> None:
    assert elsewhere.stdout is not None
    async with aiomcast.listen(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0") as feed:
        ssm.forwarded("s1")
        ssm.send("s1", b"first")
        ssm.send("s2", b"unwanted")
        heard = {elsewhere.stdout.readline() for _ in range(2)}
        assert heard == {b"first\n", b"unwanted\n"}
        ssm.send("s1", b"last")
        packets = await take(aiter(feed), 2)
        assert [packet.data for packet in packets] == [b"first", b"last"]
        assert {packet.interface_index for packet in packets} == {socket.if_nametoindex("v0")}
        assert elsewhere.stdout.readline() == b"last\n"
        statistics = feed.statistics()
        assert (statistics.received, statistics.filtered) == (2, 0)


async def test_other_sockets_of_the_process_do_not_leak_in(network: Network, ssm: Traffic) -> None:
    source, other_source = ssm.address("s1"), ssm.address("s2")
    neighbour = ssm.group.replace("232.2.", "232.3.").replace(":8002:", ":8003:")
    async with aiomcast.Receiver() as receiver, aiomcast.Receiver() as another:
        mine = await receiver.join(ssm.group, ssm.port, sources=[source], interface="v0")
        next_to_it = await receiver.join(neighbour, ssm.port, sources=[source], interface="v0")
        theirs = await another.join(ssm.group, ssm.port, sources=[other_source], interface="v0")
        ssm.forwarded("s1", "s2")
        network.wait_for_member(neighbour, source)
        with network.sender("s1", ssm.family) as sender:
            sender.sendto(b"neighbour", (neighbour, ssm.port))
        ssm.send("s2", b"theirs")
        ssm.send("s1", b"mine")
        for membership, payload in ((next_to_it, b"neighbour"), (theirs, b"theirs"), (mine, b"mine")):
            (packet,) = await take(aiter(membership), 1)
            assert packet.data == payload
            assert (packet.group, membership.statistics().received) == (membership.group, 1)


async def test_any_source_and_exclude(asm: Traffic) -> None:
    everything = asm.witness()
    async with aiomcast.Receiver() as receiver:
        membership = await receiver.join(asm.group, asm.port, interface="v0")
        feed = membership.packets()
        for refused in ((), ("s2",), ("s1", "s3")):
            await membership.swap(SourceFilter.exclude([asm.address(name) for name in refused]))
            payloads = {name: f"{name} while {refused} are refused".encode() for name in SOURCES}
            for name, payload in payloads.items():
                asm.send(name, payload)
            witnessed(everything, *payloads.values())
            allowed = {(asm.address(name), payloads[name]) for name in SOURCES if name not in refused}
            packets = await take(feed, len(allowed))
            assert {(packet.source, packet.data) for packet in packets} == allowed
            assert membership.kernel_filter() == membership.filter


async def test_link_local_group_by_its_zone(network: Network, in_receiver: object) -> None:
    (shown,) = filter(None, json.loads(network.ip("s1", "-j -6 addr show dev v0")))
    (source,) = [entry["local"] for entry in shown["addr_info"] if entry["scope"] == "link"]
    group = "ff32::8000:77"
    async with aiomcast.listen(f"{group}%v0", 5000, sources=[source]) as feed:
        assert (feed.group, feed.interface.name) == (group, "v0")
        network.wait_for_member(group, source)
        with network.inside("s1"):
            index = socket.if_nametoindex("v0")
            sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with sender:
            sender.bind((source, 0, 0, index))
            sender.sendto(b"on the link", (group, 5000, 0, index))
            (packet,) = await take(aiter(feed), 1)
    assert packet.channel == aiomcast.Channel(source, group)
    assert packet.interface_index == socket.if_nametoindex("v0")


async def test_no_interface_means_the_route_to_the_source(
    network: Network, in_receiver: object, second_interface: str
) -> None:
    async with aiomcast.Receiver() as receiver:
        joins = {
            ("232.2.200.1", SECOND_NEIGHBOUR): second_interface,
            ("232.2.200.1", network.hosts["s1"].address4): "v0",
            ("ff3e::8002:c801", SECOND_NEIGHBOUR6): second_interface,
            ("ff3e::8002:c801", network.hosts["s1"].address6): "v0",
        }
        for (group, source), interface in joins.items():
            membership = await receiver.join(group, 5000, sources=[source])
            assert membership.interface.name == interface
        anyone = await receiver.join("239.2.200.1", 5000)
        assert anyone.interface.name == "v0", "where the route to the group leads"
