"""Endpoints on real links: several at once, link-local peers, and what does not come back."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

import aiomcast
from aiomcast import (
    ArgumentError,
    MulticastProtocol,
    MulticastTransport,
    Packet,
    RefusedError,
    SourceFilter,
    create_multicast_endpoint,
)
from tests.support.seam import Faults, faults
from tests.support.waiting import turns, until

from .network import BRIDGE, SWITCH, Host, Network, wait_until
from .traffic import IP_MULTICAST_ALL

__all__ = ["faults"]

PORT = 5000
_numbers = itertools.count(1)
V1_ADDRESS, V1_NEIGHBOUR = "203.0.113.1", "203.0.113.11"
Peer: TypeAlias = tuple[Any, ...]  # Any: asyncio's own type for an address


class Kept(MulticastProtocol):
    def __init__(self) -> None:
        self.came: list[tuple[bytes, Peer]] = []
        self.errors: list[Exception] = []

    def datagram_received(self, data: bytes, addr: Peer) -> None:
        self.came.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)


class KeptPackets(MulticastProtocol):
    def __init__(self) -> None:
        self.packets: list[Packet] = []

    def packets_received(self, packets: list[Packet]) -> None:
        self.packets += packets


@pytest.fixture(scope="module")
def two_links(network: Network) -> None:
    """Give the receiver a second cable, v1, into the same bridge, on a subnet of its own."""
    network.ip("rcv", f"link add v1 type veth peer name p-rcv1 netns {network.namespace(SWITCH)}")
    network.ip("rcv", f"addr add {V1_ADDRESS}/24 dev v1")
    network.ip("rcv", "link set v1 up")
    network.ip("s1", f"addr add {V1_NEIGHBOUR}/24 dev v0")
    for name in ("all", "v0", "v1"):
        network.run("rcv", ["sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=0"])
    # Each link answers for its own address alone, as two networks would.
    network.run("rcv", ["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1"])
    network.ip(SWITCH, f"link set p-rcv1 master {BRIDGE} up")


@pytest.fixture
def group() -> str:
    """A group of its own for each test: the switch takes a while to see that one was left."""
    return f"239.3.1.{next(_numbers)}"


@pytest.fixture
def group6() -> str:
    """One that stays on the link."""
    return f"ff12::3:{next(_numbers):x}"


@pytest_asyncio.fixture
async def opening(
    in_receiver: Host, two_links: None, group: str
) -> AsyncIterator[Any]:  # Any: an awaitable of endpoints
    """Give `await opening(kind, group, **arguments)`: an endpoint that is closed at the end."""
    async with AsyncExitStack() as stack:

        async def opened(kind: Any, group: str = group, **arguments: Any) -> tuple[MulticastTransport, Any]:
            arguments = {"interface": "v0", "sources": None, **arguments}
            transport, protocol = await create_multicast_endpoint(kind, group, PORT, **arguments)
            stack.push_async_callback(turns)
            stack.callback(transport.close)
            return transport, protocol

        yield opened


@pytest.fixture
def s1(network: Network, group: str) -> Iterator[socket.socket]:
    """A non-blocking socket of s1 that has joined the groups."""
    with network.inside("s1"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.bind((group, PORT))
        joined = socket.inet_aton(group) + socket.inet_aton(network.hosts["s1"].address4)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        sock.setblocking(False)
        network.wait_for_member(group, None, "s1")
        yield sock


def wait_for_both(network: Network, group: str, source: str | None = None) -> None:
    """Wait until the bridge forwards the group from `source` (None: from any) to both cables."""

    def forwarded() -> bool:
        entries = [one for one in network.mdb() if (one["grp"], one.get("src")) == (group, source)]
        return {"p-rcv", "p-rcv1"} <= {one["port"] for one in entries}

    wait_until(forwarded, 20, f"both cables are members of {group}")


async def received(sock: socket.socket, count: int) -> list[tuple[bytes, Peer]]:
    """Return what comes to a socket, sorted."""
    got: list[tuple[bytes, Peer]] = []

    def read() -> None:
        got.append(sock.recvfrom(2000))

    loop = asyncio.get_running_loop()
    loop.add_reader(sock, read)
    try:
        await until(lambda: len(got) >= count)
    finally:
        loop.remove_reader(sock)
    return sorted(got)


@pytest.mark.parametrize("interface", [["v0", "v1"], ("v1", "v0"), aiomcast.ALL_INTERFACES])
async def test_packets_come_from_every_link(
    opening: Any,
    group: str,
    network: Network,
    interface: Any,  # Any: what `interface=` takes
) -> None:
    transport, protocol = await opening(KeptPackets, interface=interface)
    names = [one.name for one in transport.get_extra_info("interfaces")]
    assert sorted(names) == ["v0", "v1"]
    assert f"on {'+'.join(names)} " in repr(transport)
    indexes = {socket.if_nametoindex(name) for name in names}
    wait_for_both(network, group)
    with network.sender("s1") as sender:
        sender.sendto(b"one", (group, PORT))
        await until(lambda: len(protocol.packets) == 2)  # both cables lead to one bridge
    assert {packet.interface_index for packet in protocol.packets} == indexes
    assert {(packet.data, packet.group) for packet in protocol.packets} == {(b"one", group)}


async def test_packets_come_from_every_link_beside_one_that_shares_by_so_reuseport_alone(
    opening: Any, network: Network, group: str
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        other.bind(("0.0.0.0", PORT))
        _, protocol = await opening(KeptPackets, interface=["v0", "v1"])
        wait_for_both(network, group)
        with network.sender("s1") as sender:
            for number in range(10):
                sender.sendto(b"%d" % number, (group, PORT))
            await until(lambda: len(protocol.packets) == 20)
    for name in ("v0", "v1"):
        index = socket.if_nametoindex(name)
        on_link = [packet.data for packet in protocol.packets if packet.interface_index == index]
        assert on_link == [b"%d" % number for number in range(10)]


async def test_one_filter_for_all_links(opening: Any, group: str, network: Network, faults: Faults) -> None:
    transport, protocol = await opening(KeptPackets, interface=["v0", "v1"])
    first, second = (reader.sock for reader in transport._members)
    wanted = SourceFilter.include([network.hosts["s1"].address4])
    protocol.set_filter(wanted)
    assert first.kernel_filter() == second.kernel_filter() == wanted
    faults.fail_at(2)  # at the second link
    with pytest.raises(RefusedError):
        protocol.set_filter([network.hosts["s2"].address4])
    faults.stop()
    assert first.kernel_filter() == second.kernel_filter() == wanted
    with network.sender("s2") as refused, network.sender("s1") as sender:
        refused.sendto(b"refused", (group, PORT))
        wait_for_both(network, group, network.hosts["s1"].address4)
        sender.sendto(b"one", (group, PORT))
        await until(lambda: len(protocol.packets) == 2)
    assert {packet.data for packet in protocol.packets} == {b"one"}


async def test_to_the_group_on_every_link(opening: Any, s1: socket.socket) -> None:
    transport, _ = await opening(Kept, interface=["v0", "v1"], source_port=PORT)
    transport.sendto(b"hello")
    assert await received(s1, 2) == [(b"hello", ("192.0.2.1", PORT)), (b"hello", (V1_ADDRESS, PORT))]


async def test_an_answer_goes_out_where_its_address_is(opening: Any, network: Network) -> None:
    """From the address of that link, so that it comes back to the endpoint in turn."""
    transport, protocol = await opening(Kept, interface=["v0", "v1"])
    transport.sendto(b"opens the sockets")
    for host, expected in ((V1_NEIGHBOUR, V1_ADDRESS), (network.hosts["s1"].address4, "192.0.2.1")):
        with network.inside("s1"):
            asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with asker:
            asker.setblocking(False)
            asker.bind((host, 0))
            name = asker.getsockname()
            transport.sendto(b"answer", name)
            [(data, peer)] = await received(asker, 1)
            assert (data, peer[0]) == (b"answer", expected)
            asker.sendto(b"again", peer)
            await until(lambda: protocol.came[-1:] == [(b"again", name)])  # noqa: B023  # called here


async def test_an_answer_goes_by_the_route_where_a_link_has_several_addresses(
    opening: Any, network: Network
) -> None:
    network.ip("rcv", "addr add 198.51.101.1/24 dev v0")
    network.ip("s1", "addr add 198.51.101.11/24 dev v0")
    transport, _ = await opening(Kept, interface=["v1", "v0"])
    with network.inside("s1"):
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asker:
        asker.setblocking(False)
        asker.bind(("198.51.101.11", 0))
        transport.sendto(b"answer", asker.getsockname())
        [(data, peer)] = await received(asker, 1)
        assert (data, peer[0]) == (b"answer", "192.0.2.1")
    network.ip("rcv", "addr del 198.51.101.1/24 dev v0")
    network.ip("s1", "addr del 198.51.101.11/24 dev v0")


class Full(socket.socket):
    """One whose buffer is full."""

    def sendto(self, *_: Any) -> int:  # Any: what the base class takes
        raise BlockingIOError


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_an_end_while_writing_is_paused_holds_for_every_link(opening: Any, how: str) -> None:
    class Ends(Kept):
        told: list[str] = []  # noqa: RUF012  # made anew below

        def pause_writing(self) -> None:
            self.told.append("pause")
            getattr(transport, how)()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.told.append("lost")

    transport, protocol = await opening(Ends, interface=["v0", "v1"])
    protocol.told = []
    transport.sendto(b"opens the sockets")
    ways = transport._sending._ways
    full = [Full(socket.AF_INET, socket.SOCK_DGRAM) for _ in ways]
    for way, sock in zip(ways, full, strict=True):
        way.outgoing._sock = way.outgoing._writable._sock = sock
    transport.set_write_buffer_limits(high=0)
    transport.sendto(b"waits")
    assert protocol.told == ["pause"]
    await turns()
    loop = asyncio.get_running_loop()
    if how == "close":
        assert [way.outgoing.get_write_buffer_size() > 0 for way in ways] == [True, True]
        transport.abort()
        await turns()
    assert protocol.told == ["pause", "lost"]
    assert not any(loop.remove_writer(sock) for sock in full)
    for sock in full:
        sock.close()


async def test_a_source_belongs_to_one_link(opening: Any) -> None:
    with pytest.raises(ArgumentError):
        await opening(Kept, interface=["v0", "v1"], source="192.0.2.1")


async def test_what_is_not_looped_is_heard_elsewhere_alone(opening: Any, s1: socket.socket) -> None:
    _, here = await opening(Kept)
    deaf, _ = await opening(Kept, loop=False)
    loud, _ = await opening(Kept)
    deaf.sendto(b"one")
    loud.sendto(b"two")
    assert [data for data, _ in await received(s1, 2)] == [b"one", b"two"]
    await until(lambda: bool(here.came))
    assert [data for data, _ in here.came] == [b"two"]


def link_local(name: str) -> str:
    """Return the link-local address of an interface here."""
    [interface] = [one for one in aiomcast.list_interfaces() if one.name == name]
    return next(address for address in interface.addresses if address.startswith("fe80"))


async def test_a_link_local_peer_is_answered_on_its_link(opening: Any, group6: str, network: Network) -> None:
    """Both cables lead to it: the scope id of each address says by which it is to be answered."""
    transport, protocol = await opening(Kept, group6, interface=["v1", "v0"])
    with network.inside("s1"):
        index = socket.if_nametoindex("v0")
        asker_address = link_local("v0")
        asker = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with asker:
        asker.setblocking(False)
        asker.bind((asker_address, 0, 0, index))
        wait_for_both(network, group6)
        asker.sendto(b"who is there?", (group6, PORT, 0, index))
        await until(lambda: len(protocol.came) == 2)
        assert {(data, peer[0]) for data, peer in protocol.came} == {(b"who is there?", asker_address)}
        links = {peer[3]: socket.if_indextoname(peer[3]) for _, peer in protocol.came}
        assert sorted(links.values()) == ["v0", "v1"]
        for _, peer in protocol.came:
            transport.sendto(links[peer[3]].encode(), peer)
        answers = await received(asker, 2)
    assert [(data, peer[0]) for data, peer in answers] == [
        (b"v0", link_local("v0")), (b"v1", link_local("v1"))
    ]  # fmt: skip


async def test_a_link_that_goes_is_an_error_for_the_protocol(
    opening: Any, group: str, network: Network
) -> None:
    """And the other link goes on."""
    network.ip("rcv", f"link add v2 type veth peer name p-rcv2 netns {network.namespace(SWITCH)}")
    network.ip("rcv", "addr add 198.51.100.1/24 dev v2")
    network.ip("rcv", "link set v2 up")
    network.ip(SWITCH, f"link set p-rcv2 master {BRIDGE} up")
    transport, protocol = await opening(Kept, interface=["v0", "v2"])
    transport.sendto(b"one")
    network.ip("rcv", "link del v2")
    transport.sendto(b"two")
    assert len(protocol.errors) == 1
    assert isinstance(protocol.errors[0], RefusedError)
    protocol.set_filter([network.hosts["s1"].address4])  # on what there is
    assert protocol.get_filter() == SourceFilter.include([network.hosts["s1"].address4])
    network.wait_for_member(group, network.hosts["s1"].address4)
    with network.sender("s1") as sender:
        sender.sendto(b"goes on", (group, PORT))
        await until(lambda: b"goes on" in [data for data, _ in protocol.came])
