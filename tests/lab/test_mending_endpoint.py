"""Endpoints that mend themselves, in a namespace of their own, with another host at the end of a cable."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiomcast import (
    ALL_INTERFACES,
    EventKind,
    Interface,
    MulticastProtocol,
    MulticastTransport,
    Receiver,
    RefusedError,
    Sender,
    SourceFilter,
    create_multicast_endpoint,
)
from aiomcast.system.device_groups import device_groups
from aiomcast.values.links import DeviceGroup

from .two_hosts import FAR, GROUPS, NEAR, PORT, Wire, each_family, family, sender, wire

__all__ = ["wire"]

SOON = 5
_PAUSE = 0.01
OTHER = "198.51.100.{}"


class Kept(MulticastProtocol):
    """Keeps what comes and what is told."""

    def __init__(self) -> None:
        self.came: list[tuple[bytes, Any]] = []  # Any: asyncio's own type for an address
        self.told: list[tuple[EventKind, str, str | None]] = []
        self.errors: list[Exception] = []

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.came.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def interface_changed(self, interface: Interface, kind: EventKind, cause: str | None) -> None:
        self.told.append((kind, interface.name, cause))

    @property
    def kinds(self) -> list[EventKind]:
        return [kind for kind, *_ in self.told]


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(SOON):
        while not is_so():
            await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def opened(group: str, **keywords: Any) -> AsyncIterator[tuple[MulticastTransport, Kept]]:
    """An endpoint that is closed at the end."""
    keywords = {"interface": "v0", "sources": None, **keywords}
    transport, protocol = await create_multicast_endpoint(Kept, group, PORT, **keywords)
    try:
        yield transport, protocol
    finally:
        transport.close()
        await asyncio.sleep(0)


def is_on(group: str, name: str) -> bool:
    """Whether the interface itself is a member."""
    try:
        return DeviceGroup(socket.if_nametoindex(name), group) in device_groups(family(group))
    except OSError:
        return False


def delete(wire: Wire) -> None:
    wire.near.ip("link del v0")


def make(wire: Wire, index: int) -> None:
    """Make the cable anew, with this index."""
    wire.near.ip(
        f"link add v0 index {index} type veth peer name p0 netns {wire.far.namespace}", "link set v0 up"
    )
    for place, interface, addresses in ((wire.near, "v0", NEAR), (wire.far, "p0", FAR)):
        place.ip(
            f"link set {interface} up",
            f"addr add {addresses[4]}/24 dev {interface}",
            f"addr add {addresses[6]}/64 dev {interface} nodad",
        )


async def comes(wire: Wire, group: str, protocol: Kept, payload: bytes) -> None:
    """Have the other host send until it comes."""
    with wire.far.inside():
        by = sender("p0", family(group))
    with by:

        def has_come() -> bool:
            wire.send(payload, group, by)
            return payload in [data for data, _ in protocol.came]

        await until(has_come)


@each_family
@pytest.mark.parametrize("is_same_index", [True, False])
async def test_an_interface_that_is_made_anew(wire: Wire, group: str, is_same_index: bool) -> None:
    async with opened(group) as (transport, protocol):
        index = wire.v0
        await comes(wire, group, protocol, b"before")
        await asyncio.to_thread(delete, wire)
        await until(lambda: protocol.kinds == [EventKind.LOST])
        await asyncio.to_thread(make, wire, index if is_same_index else index + 100)
        await until(lambda: EventKind.HEALED in protocol.kinds)
        await until(lambda: is_on(group, "v0"))
        assert protocol.kinds == [EventKind.LOST, EventKind.HEALED]
        assert transport.get_extra_info("interface").index == wire.v0
        assert (wire.v0 == index) is is_same_index
        await comes(wire, group, protocol, b"after")
        assert protocol.errors == []
        assert transport.statistics().received == len(protocol.came)
        protocol.set_filter([FAR[family(group)]])
        assert protocol.get_filter() == transport.filter == SourceFilter.include([FAR[family(group)]])
    assert not is_on(group, "v0")


@each_family
async def test_without_healing_it_stays_as_it_is(wire: Wire, group: str) -> None:
    async with opened(group, heal=False) as (_, protocol):
        index = wire.v0
        delete(wire)
        make(wire, index)
        other = Kept()
        transport, _ = await create_multicast_endpoint(lambda: other, group, PORT + 1, interface="v0")
        wire.near.ip("link set v0 name w0", "link set w0 name v0")
        await asyncio.sleep(0.1)
        assert not is_on(group, "v0")
        assert protocol.told == []
        transport.close()


@each_family
async def test_a_filter_that_is_set_while_it_is_gone_holds_when_it_is_back(wire: Wire, group: str) -> None:
    far, number = FAR[family(group)], family(group)
    async with opened(group, sources=[far]) as (transport, protocol):
        for index in (wire.v0, wire.v0 + 100):
            await asyncio.to_thread(delete, wire)
            with pytest.raises(ValueError, match="joined already"):
                protocol.join_source(far)
            protocol.join_source(NEAR[number])
            protocol.leave_source(far)
            assert transport.filter == SourceFilter.include([NEAR[number]])
            await asyncio.to_thread(make, wire, index)
            await until(lambda: protocol.kinds[-1:] == [EventKind.HEALED])
            assert protocol.get_filter() == transport.filter
            protocol.set_filter([far])
            protocol.told.clear()
        await comes(wire, group, protocol, b"after")


@each_family
async def test_a_carrier_that_is_back(wire: Wire, group: str) -> None:
    async with opened(group) as (_, protocol):
        wire.far.ip("link set p0 down")
        await until(lambda: protocol.told == [(EventKind.LOST, "v0", "carrier")])
        wire.far.ip("link set p0 up")
        await until(lambda: protocol.told[1:] == [(EventKind.HEALED, "v0", "carrier")])
        await comes(wire, group, protocol, b"after")


async def test_an_interface_that_is_renamed(wire: Wire) -> None:
    async with opened(GROUPS[0]) as (transport, protocol):
        wire.near.ip("link set v0 name w0")
        await until(lambda: protocol.told == [(EventKind.RENAMED, "w0", "v0")])
        assert transport.get_extra_info("interface").name == "w0"
        wire.near.ip("link set w0 name v0")
        await until(lambda: len(protocol.told) == 2)


async def test_an_alternative_name_is_followed_to_what_has_it_next(wire: Wire) -> None:
    altname = "a-name-that-stays-with-the-card"
    wire.near.ip(f"link property add dev v0 altname {altname}")
    async with opened(GROUPS[0], interface=altname) as (transport, protocol):
        wire.near.ip("link del v0")
        await until(lambda: protocol.kinds == [EventKind.LOST])
        # The peer has the index that was v0's, and is another interface.
        wire.near.ip("link add w0 index 200 type veth peer name p0", "link set p0 up", "link set w0 up")
        wire.near.ip(f"link property add dev w0 altname {altname}")
        await until(lambda: protocol.kinds == [EventKind.LOST, EventKind.HEALED])
        assert transport.get_extra_info("interface").name == "w0"
        assert is_on(GROUPS[0], "w0")


async def test_ipv6_without_room_is_refused_and_comes_back(wire: Wire) -> None:
    async with opened(GROUPS[1]) as (_, protocol):
        wire.near.ip("link set v0 mtu 1000")
        await until(lambda: protocol.told == [(EventKind.LOST, "v0", "device")])
        await until(lambda: [getattr(one, "errno", 0) for one in protocol.errors] == [errno.EINVAL])
        wire.near.ip("link set v0 mtu 1500")
        await until(lambda: protocol.told[1:] == [(EventKind.HEALED, "v0", "device")])
        assert is_on(GROUPS[1], "v0")
        assert len(protocol.errors) == 1


@each_family
async def test_with_a_receiver_and_another_endpoint_of_the_group(wire: Wire, group: str) -> None:
    async with (
        opened(group) as (one, protocol),
        opened(group, sources=[FAR[family(group)]]) as (other, _),
        Receiver() as receiver,
    ):
        feed = await receiver.join(group, PORT + 1, interface="v0")
        index = wire.v0
        await asyncio.to_thread(delete, wire)
        await asyncio.to_thread(make, wire, index)
        await until(lambda: EventKind.HEALED in protocol.kinds and feed.on_device() == {"v0": True})
        await asyncio.sleep(0.2)
        one.close()  # what one of them leaves is still joined for the others
        await asyncio.sleep(0)
        assert is_on(group, "v0")
        await feed.leave()
        assert is_on(group, "v0")
        other.close()
        await until(lambda: not is_on(group, "v0"))


async def test_all_interfaces_are_followed(wire: Wire) -> None:
    async with opened(GROUPS[0], interface=ALL_INTERFACES) as (transport, protocol):
        transport.sendto(b"first")
        wire.near.cable("v1", "p1", "203.0.113.1/24")
        await until(lambda: {name for _, name, _ in protocol.told} >= {"v1", "p1"})
        assert set(protocol.kinds) <= {EventKind.JOINED}
        assert {one.name for one in transport.get_extra_info("interfaces")} == {"v0", "v1", "p1"}
        assert is_on(GROUPS[0], "v1")
        with sender("p1", 4) as by:

            def has_come() -> bool:
                wire.send(b"there", GROUPS[0], by)
                return b"there" in [data for data, _ in protocol.came]

            await until(has_come)
        wire.near.ip("link del v1")
        await until(lambda: protocol.kinds.count(EventKind.LEFT) == 2)
        assert [one.name for one in transport.get_extra_info("interfaces")] == ["v0"]
        await comes(wire, GROUPS[0], protocol, b"here")


async def test_the_route_moves(wire: Wire) -> None:
    wire.near.cable("v1", "p1", OTHER.format(1) + "/24")
    wire.near.ip(f"route add 203.0.113.0/24 via {FAR[4]}")
    async with (
        opened(GROUPS[0], interface=None, sources=iter(["203.0.113.9"])) as (transport, protocol),
        opened(GROUPS[0], interface="v0", sources=["203.0.113.9"]) as (named, _),
    ):
        wire.near.ip(f"route replace 203.0.113.0/24 via {OTHER.format(2)}")
        await until(lambda: protocol.told == [(EventKind.MOVED, "v1", "route")])
        assert is_on(GROUPS[0], "v1")
        assert named.get_extra_info("interface").name == "v0"
        protocol.set_filter([FAR[4]])  # lies elsewhere
        await until(lambda: protocol.told[1:] == [(EventKind.MOVED, "v0", "route")])
        assert transport.get_extra_info("interface").name == "v0"
        assert protocol.get_filter() == SourceFilter.include([FAR[4]])


# What is sent


@pytest.fixture
def heard(wire: Wire) -> socket.socket:
    """A socket of the other host that hears the first group."""
    with wire.far.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((GROUPS[0], PORT))
        index = socket.if_nametoindex("p0")
        joined = socket.inet_aton(GROUPS[0]) + bytes(4) + index.to_bytes(4, "little")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        sock.setblocking(False)
    return sock


async def sent_from(transport: MulticastTransport, heard: socket.socket) -> str:
    """Send, and return from where the other host has heard it."""
    senders: list[str] = []

    def is_heard() -> bool:
        transport.sendto(b"x")
        try:
            senders.append(heard.recvfrom(100)[1][0])
        except BlockingIOError:
            return False
        return True

    await until(is_heard)
    while True:  # what was sent before
        try:
            senders.append(heard.recvfrom(100)[1][0])
        except BlockingIOError:
            return senders[-1]


async def test_after_a_renumbering_it_sends_from_the_new_address(wire: Wire, heard: socket.socket) -> None:
    with heard:
        async with opened(GROUPS[0]) as (transport, protocol):
            assert await sent_from(transport, heard) == NEAR[4]
            before = transport.source
            wire.near.ip("addr add 192.0.2.77/24 dev v0")  # another one changes nothing
            await asyncio.sleep(0.1)
            assert transport.source == before
            wire.near.ip(f"addr del {NEAR[4]}/24 dev v0", "addr replace 192.0.2.77/24 dev v0")
            await until(lambda: transport.source is not None and transport.source[0] == "192.0.2.77")
            assert await sent_from(transport, heard) == "192.0.2.77"
            with wire.far.inside():
                asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with asked:
                asked.sendto(b"answer", transport.source or ())
                await until(lambda: b"answer" in [data for data, _ in protocol.came])
            assert protocol.errors == []


async def test_an_address_that_was_asked_for_stays(wire: Wire) -> None:
    async with opened(GROUPS[0], source=NEAR[4]) as (transport, _):
        before = transport.source
        wire.near.ip("addr add 192.0.2.77/24 dev v0", f"addr del {NEAR[4]}/24 dev v0")
        await asyncio.sleep(0.1)
        assert transport.source == before


# A sender


async def heard_from(one: Sender, heard: socket.socket) -> str:
    """Send until the other host hears what is sent now, and return from where."""
    payload = secrets.token_bytes(8)
    async with asyncio.timeout(SOON):
        while True:
            with contextlib.suppress(RefusedError):
                await one.send(payload)
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, address = heard.recvfrom(100)
                    if data == payload:
                        return str(address[0])
            await asyncio.sleep(_PAUSE)


async def test_a_sender_goes_on_with_another_address(wire: Wire, heard: socket.socket) -> None:
    with heard:
        async with Sender(GROUPS[0], PORT, interface="v0", ttl=3, loop=False) as one:
            assert await heard_from(one, heard) == NEAR[4]
            port = one.source_port
            wire.near.ip("addr add 192.0.2.77/24 dev v0")
            await asyncio.sleep(0.1)
            assert await heard_from(one, heard) == NEAR[4]
            assert one.source_port == port, "nothing has changed"
            wire.near.ip(f"addr del {NEAR[4]}/24 dev v0", "addr replace 192.0.2.77/24 dev v0")
            async with asyncio.timeout(SOON):
                while await heard_from(one, heard) != "192.0.2.77":
                    await asyncio.sleep(_PAUSE)
            assert (one.source, one.ttl, one.loop) == ("192.0.2.77", 3, False)


async def test_a_sender_goes_on_with_another_ipv6_address(wire: Wire) -> None:
    async with Sender(GROUPS[1], PORT, interface="v0") as one:
        await one.send(b"1")
        assert one.source == NEAR[6]
        wire.near.ip(f"addr del {NEAR[6]}/64 dev v0", "addr add 2001:db8::77/64 dev v0 nodad")
        async with asyncio.timeout(SOON):
            while one.source != "2001:db8::77":
                await one.send(b"2")
                await asyncio.sleep(_PAUSE)


async def test_a_sender_follows_its_route(wire: Wire) -> None:
    wire.near.cable("v1", "p1", OTHER.format(1) + "/24")
    wire.near.ip("route add 239.0.0.0/8 dev v0")
    async with Sender(GROUPS[0], PORT) as one, Sender(GROUPS[0], PORT, interface="v0") as named:
        for sent in (one, named):
            await sent.send(b"1")
        assert one.interface.name == "v0"
        wire.near.ip("route replace 239.0.0.0/8 dev v1")
        async with asyncio.timeout(SOON):
            while one.interface.name != "v1":
                await one.send(b"2")
                await named.send(b"2")
                await asyncio.sleep(_PAUSE)
        assert one.source == OTHER.format(1)
        assert named.source == NEAR[4]


@pytest.mark.parametrize("source", [None, NEAR[4]])
async def test_a_sender_goes_on_where_its_interface_is_made_anew(wire: Wire, source: str | None) -> None:
    async with Sender(GROUPS[0], PORT, interface="v0", source=source) as one:
        await one.send(b"1")
        index = wire.v0
        await asyncio.to_thread(delete, wire)
        await asyncio.sleep(0.05)
        with pytest.raises(RefusedError):
            await one.send(b"2")
        await asyncio.to_thread(make, wire, index + 100)
        async with asyncio.timeout(SOON):
            while one.interface.index != wire.v0 or one.source != NEAR[4]:
                with contextlib.suppress(RefusedError):
                    await one.send(b"3")
                await asyncio.sleep(_PAUSE)
        await one.send(b"4")


async def test_without_healing_a_sender_stays_as_it_is(wire: Wire) -> None:
    async with Sender(GROUPS[0], PORT, interface="v0", heal=False) as one:
        await one.send(b"1")
        wire.near.ip(f"addr del {NEAR[4]}/24 dev v0", "addr add 192.0.2.77/24 dev v0")
        await asyncio.sleep(0.1)
        with pytest.raises(RefusedError):
            await one.send(b"2")
        assert one.source == NEAR[4]


def test_a_sender_that_is_dropped_lets_go_of_what_it_listens_to(wire: Wire) -> None:
    async def dropped() -> None:
        one = Sender(GROUPS[0], PORT, interface="v0")
        await one.send(b"1")
        one._socket.close()

    before = set(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with asyncio.Runner() as running:
            running.run(dropped())
            gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= before
