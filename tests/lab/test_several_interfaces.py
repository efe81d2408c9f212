"""One membership on several links of a real kernel: beside the snooping bridge, cables from host to host."""

from __future__ import annotations

import errno
import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial

import pytest

import aiomcast
from aiomcast import (
    ALL_INTERFACES,
    EventKind,
    EventStream,
    InterfaceGoneError,
    Membership,
    RefusedError,
    SourceFilter,
)
from aiomcast.rfc3678 import kernel
from tests.support.inside import is_settled, readers_of
from tests.support.packets import take
from tests.support.waiting import until

from .network import LabError, Network, wait_until

GROUP, PORT = "239.9.1.{}", 5000
FAMILIES = [pytest.param(socket.AF_INET, id="ipv4"), pytest.param(socket.AF_INET6, id="ipv6")]
# Two cables from s1 to the receiver, and the addresses at s1's ends: 4 and 6.
CABLES = {"w1": ("198.51.100.{}", "2001:db8:1::{}"), "w2": ("203.0.113.{}", "2001:db8:2::{}")}
SOURCES = (2, 3, 4)  # the last part of an address
ROUNDS = 60
BUFFER = 1 << 22


class Links:
    """The cables w1 and w2, and who sends on them. A context manager that takes them away at the end."""

    def __init__(self, network: Network, family: int, group: str) -> None:
        self._network = network
        self._family = family
        self.group = group
        self._senders: dict[tuple[str, int], socket.socket] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Links:
        for name in CABLES:
            self.plug(name)
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()
        for name in CABLES:
            self.cut(name)

    def plug(self, name: str) -> None:
        """Put a cable from s1 to the receiver, with an address for each source at s1's end."""
        far, network = self._network.namespace("s1"), self._network
        network.ip("rcv", f"link add {name} type veth peer name {name} netns {far}")
        four, six = CABLES[name]
        for host, numbers in (("rcv", (1,)), ("s1", SOURCES)):
            for number in numbers:
                network.ip(host, f"addr add {four.format(number)}/24 dev {name}")
                network.ip(host, f"addr add {six.format(number)}/64 dev {name} nodad")
            network.ip(host, f"link set {name} up")
        # IPv6 has no way to a group before it has taken note of the carrier.
        for host in ("s1", "rcv"):
            wait_until(partial(self._has_route, host, name), 20, f"{name} carries multicast at {host}")

    def _has_route(self, host: str, name: str) -> bool:
        shown = self._network.ip(host, f"-6 route show table all type multicast dev {name}")
        return "ff00::/8" in shown and "linkdown" not in shown

    def cut(self, name: str) -> None:
        """Take a cable away, if it is there."""
        with suppress(LabError):
            self._network.ip("rcv", f"link del {name}")

    def source(self, name: str, number: int) -> str:
        """The address of a source on a cable."""
        return CABLES[name][self._family == socket.AF_INET6].format(number)

    def sources(self, *numbers: int) -> list[str]:
        """The addresses of these sources on both cables."""
        return [self.source(name, number) for name in CABLES for number in numbers]

    def send(self, name: str, number: int, *payloads: bytes) -> None:
        """Send each payload from a source on a cable."""
        if (name, number) not in self._senders:
            with self._network.inside("s1"):
                sock = self._opened.enter_context(socket.socket(self._family, socket.SOCK_DGRAM))
                index = socket.if_nametoindex(name)
            if self._family == socket.AF_INET:
                there = struct.pack("4s4si", bytes(4), bytes(4), index)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, there)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.bind((self.source(name, number), 0))
            self._senders[name, number] = sock
        for payload in payloads:
            self._senders[name, number].sendto(payload, (self.group, PORT))


@pytest.fixture(params=FAMILIES)
def links(request: pytest.FixtureRequest, network: Network) -> Iterator[Links]:
    """Two cables; the test is in the receiver's namespace."""
    group = "239.9.1.1" if request.param == socket.AF_INET else "ff1e::9:1"
    with network.inside("rcv"), Links(network, request.param, group) as links:
        yield links


def index_of(name: str) -> int:
    return socket.if_nametoindex(name)


def held(membership: Membership) -> list[SourceFilter]:
    """What each socket holds in the kernel."""
    return [reader.sock.kernel_filter() for reader in readers_of(membership)]


async def test_packets_are_tagged_by_the_link_they_came_on(links: Links) -> None:
    async with aiomcast.listen(links.group, PORT, sources=links.sources(2), interface=list(CABLES)) as feed:
        packets = feed.packets()
        for name in CABLES:
            links.send(name, 3, b"not let in")
            links.send(name, 2, name.encode())
        got = await take(packets, 2)
        assert {(packet.data, packet.interface_index, packet.source) for packet in got} == {
            (name.encode(), index_of(name), links.source(name, 2)) for name in CABLES
        }
        assert (feed.statistics().received, feed.kernel_filter()) == (2, feed.filter)


async def test_each_link_hears_its_own(links: Links) -> None:
    """A source of one link that sends on the other is one there too, and comes once."""
    async with aiomcast.listen(links.group, PORT, interface=list(CABLES)) as feed:
        packets = feed.packets()
        links.send("w1", 2, b"1", b"2")
        links.send("w2", 2, b"3")
        got = await take(packets, 3)
        assert sorted(packet.data for packet in got) == [b"1", b"2", b"3"]
        assert feed.statistics().received == 3


@pytest.mark.parametrize("refused", [1, 2], ids=["the first", "the second"])
@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "by other sockets"])
async def test_a_swap_that_the_kernel_refuses_on_one_link(
    links: Links, monkeypatch: pytest.MonkeyPatch, refused: int, in_place: bool
) -> None:
    before = SourceFilter.include(links.sources(2))
    after = SourceFilter.include(links.sources(2, 3)) if in_place else SourceFilter.exclude(links.sources(3))
    async with aiomcast.listen(links.group, PORT, sources=before, interface=list(CABLES)) as feed:
        packets, was = feed.packets(), held(feed)
        with monkeypatch.context() as patched:
            patched.setattr(kernel, "setsockopt", refusing(kernel.setsockopt, list(CABLES)[refused - 1]))
            with pytest.raises(RefusedError, match=f"w{refused}"):
                await feed.swap(after)
        assert (feed.filter, held(feed)) == (before, was)
        for name in CABLES:
            links.send(name, 3, b"no")
            links.send(name, 2, b"yes")
        assert [packet.data for packet in await take(packets, 2)] == [b"yes"] * 2
        await feed.swap(after)
        assert feed.kernel_filter() == feed.filter == after


def refusing(call: Callable[..., None], name: str) -> Callable[..., None]:
    """Refuse, once, what joins or sets a list on this interface: its index stands first in the argument."""
    index, left = index_of(name), [True]

    def setsockopt(sock: socket.socket, level: int, option: int, value: bytes | int) -> None:
        if left and isinstance(value, bytes) and value[:4] == struct.pack("=I", index):
            left.clear()
            raise OSError(errno.ENOMEM, "refused")
        call(sock, level, option, value)

    return setsockopt


async def test_swaps_and_mode_switches_under_traffic_lose_and_double_nothing(links: Links) -> None:
    chosen = random.Random(9)
    always, others = links.sources(2), [links.sources(*some) for some in ((), (3,), (4,), (3, 4))]
    filters = [SourceFilter.include([*always, *more]) for more in others]
    filters += [SourceFilter.exclude(some) for some in others]
    sent: dict[str, list[bytes]] = {name: [] for name in CABLES}
    got: dict[str, list[bytes]] = {name: [] for name in CABLES}
    names = {index_of(name): name for name in CABLES}
    options = {"receive_buffer": BUFFER, "capacity": 1 << 16}
    async with aiomcast.listen(
        links.group,
        PORT,
        sources=filters[0],
        interface=list(CABLES),
        **options,  # type: ignore[arg-type]  # right ones
    ) as feed:
        packets = feed.packets()
        for number in range(ROUNDS):
            for name in CABLES:
                for part in range(5):
                    data = b"%d.%d" % (number, part)
                    links.send(name, 2, data)
                    links.send(name, 3, b"other")
                    sent[name].append(data)
            await feed.swap(chosen.choice(filters))
            if chosen.random() < 0.5:
                await until(lambda: is_settled(feed))
        expected = sum(map(len, sent.values()))
        while sum(map(len, got.values())) < expected:
            for packet in await take(packets, 1):
                if packet.data != b"other":
                    got[names[packet.interface_index]].append(packet.data)
        await until(lambda: is_settled(feed))
        left = [packets.receive_nowait().data for _ in range(len(packets))]
        assert feed.statistics().kernel_drops == 0, "the kernel's buffer was too small: this is no verdict"
    assert got == sent
    assert set(left) <= {b"other"}


def happened(events: EventStream) -> set[tuple[EventKind, str | None]]:
    told = set()
    while len(events):
        event = events.receive_nowait()
        told.add((event.kind, event.interface))
    return told


async def test_all_interfaces_and_links_that_come_and_go(links: Links) -> None:
    links.cut("w2")
    listener = aiomcast.listen(links.group, PORT, interface=ALL_INTERFACES)
    async with listener as feed:
        assert {one.name for one in feed.interfaces} == {"v0", "w1"}, "lo has no MULTICAST flag"
        packets, events = feed.packets(), listener.receiver.events()
        links.plug("w2")
        await feed.refresh()
        assert {one.name for one in feed.interfaces} == {"v0", "w1", "w2"}
        assert (EventKind.JOINED, "w2") in happened(events)
        links.send("w1", 2, b"1")
        links.send("w2", 2, b"2")
        assert {packet.data for packet in await take(packets, 2)} == {b"1", b"2"}
        links.send("w1", 2, b"last")
        (last,) = await take(packets, 1)
        assert last.data == b"last"
        links.cut("w1")
        await feed.refresh()
        assert {one.name for one in feed.interfaces} == {"v0", "w2"}
        told = happened(events)
        assert {(EventKind.LEFT, "w1"), (EventKind.REFRESHED, "w2")} <= told
        links.send("w2", 2, b"on")
        (packet,) = await take(packets, 1)
        assert (packet.data, packet.interface_index) == (b"on", index_of("w2"))
        assert feed.statistics().received == 4
        await feed.swap(links.sources(3))
        links.send("w2", 2, b"no")
        links.send("w2", 3, b"yes")
        assert [packet.data for packet in await take(packets, 1)] == [b"yes"]


async def test_links_that_cannot_multicast_or_are_down_are_not_among_all(
    links: Links, network: Network
) -> None:
    network.ip("rcv", "link set w1 multicast off")
    network.ip("rcv", "link set w2 down")
    async with aiomcast.listen(links.group, PORT, interface=ALL_INTERFACES) as feed:
        assert [one.name for one in feed.interfaces] == ["v0"]
        network.ip("rcv", "link set w2 up")
        network.ip("rcv", "link set lo multicast on")
        try:
            await feed.refresh()
            assert {one.name for one in feed.interfaces} == {"v0", "w2", "lo"}
        finally:
            network.ip("rcv", "link set lo multicast off")


async def test_an_interface_without_an_address_is_joined_by_its_index(links: Links, network: Network) -> None:
    network.ip("rcv", "addr flush dev w1")
    async with aiomcast.listen(links.group, PORT, interface=ALL_INTERFACES) as feed:
        assert "w1" in {one.name for one in feed.interfaces}
        assert feed.kernel_filter() == SourceFilter.any()


async def test_of_a_list_one_link_is_deleted_and_the_other_goes_on(links: Links) -> None:
    # Where it does not mend itself a swap is refused meanwhile; where it does, it is held at the joined ones.
    listener = aiomcast.listen(
        links.group, PORT, sources=links.sources(2), interface=list(CABLES), heal=False
    )
    async with listener as feed:
        packets, events = feed.packets(), listener.receiver.events()
        links.cut("w1")
        links.send("w2", 2, b"1")
        assert [packet.data for packet in await take(packets, 1)] == [b"1"]
        with pytest.raises(InterfaceGoneError, match="w1"):
            await feed.swap(links.sources(2, 3))
        assert feed.filter == SourceFilter.include(links.sources(2))
        await feed.refresh()
        assert {(EventKind.FAILED, "w1"), (EventKind.REFRESHED, "w2")} == happened(events)
        await feed.swap(links.sources(3))
        links.send("w2", 3, b"2")
        assert [packet.data for packet in await take(packets, 1)] == [b"2"]
        links.plug("w1")
        await feed.refresh()
        assert (EventKind.JOINED, "w1") in happened(events)
        assert feed.kernel_filter() == feed.filter
