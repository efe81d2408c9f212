"""A membership whose interfaces come and go under random swaps, against a model of what is to come."""

import asyncio
import errno
import random
from collections import defaultdict

import pytest

from aiomcast import (
    ALL_INTERFACES,
    Interface,
    InterfaceError,
    InterfaceGoneError,
    Membership,
    Packet,
    Receiver,
    RefusedError,
    SourceFilter,
)
from aiomcast.testing import MemoryNetwork
from tests.support.inside import is_settled, readers_of
from tests.support.waiting import turns

pytestmark = pytest.mark.timeout(60)  # a clock that stands still ends nothing

GROUP, PORT = "239.1.1.1", 5000
SOURCES = [f"192.0.2.{number}" for number in range(10, 45)]
LINKS = ["eth0", "eth1", "eth2", "eth3"]
STEPS = 60


def some_filter(draw: random.Random) -> SourceFilter:
    """Return a filter that the kernel can hold, in one socket or in several, and that lets something in."""
    if draw.random() < 0.5:
        return SourceFilter.exclude(draw.sample(SOURCES, draw.randrange(11)))
    return SourceFilter.include(draw.sample(SOURCES, draw.randrange(1, len(SOURCES))))


class Model:
    """What a membership is on and lets in, and what is to come through it, by interface index."""

    def __init__(self, net: MemoryNetwork, names: list[str] | None, wanted: SourceFilter) -> None:
        self.net = net
        self.names = names  # None: all
        self.filter = wanted
        self.joined = {one.index: one.name for one in self.wanted()}
        self.coming: defaultdict[int, list[bytes]] = defaultdict(list)
        self._sent = 0

    def wanted(self) -> list[Interface]:
        """Which of the interfaces that there are it is to be on."""
        return [one for one in self.net.host.interfaces if self.names is None or one.name in self.names]

    @property
    def has_gone(self) -> bool:
        """Whether it is on one that is no more."""
        return not self.joined.keys() <= {one.index for one in self.net.host.interfaces}

    def send(self, link: str, source: str) -> None:
        """Send one datagram, which comes where it is joined and lets it in."""
        self._sent += 1
        data = b"%d" % self._sent
        self.net.send(source, GROUP, PORT, data, link=link)
        for one in self.net.host.interfaces:
            if one.name == link and one.index in self.joined and self.filter.allows(source):
                self.coming[one.index].append(data)


async def swap(draw: random.Random, model: Model, feed: Membership) -> None:
    """Swap, now and then with one interface that refuses: then everything is as it was."""
    wanted, pending = some_filter(draw), draw.choice(["deliver", "discard"])
    hands_over = wanted.mode is not model.filter.mode and not (wanted & model.filter).is_none
    is_refused = hands_over and not model.has_gone and draw.random() < 0.4
    if is_refused:
        refusing = draw.choice(sorted(model.joined.values()))
        call = draw.choice(["open", "join"])
        model.net.refuse(call, errno.ENOMEM, interface=refusing)  # type: ignore[arg-type]  # one of its values
    if pending == "discard":  # what arrived before may be dropped: have it taken
        await model.net.run_for(1)
    before = [reader.sock.kernel_filter() for reader in readers_of(feed)]
    try:
        await feed.swap(wanted, pending)  # type: ignore[arg-type]  # one of its values
    except RefusedError as error:
        assert is_refused or model.has_gone
        assert isinstance(error, InterfaceGoneError) is model.has_gone
        assert [reader.sock.kernel_filter() for reader in readers_of(feed)] == before
    else:
        assert not is_refused
        model.filter = wanted
    assert feed.filter == model.filter


async def refresh(model: Model, feed: Membership) -> None:
    """Have it follow what has come and gone."""
    try:
        await feed.refresh()
    except InterfaceError:
        assert not model.wanted()
    else:
        model.joined = {one.index: one.name for one in model.wanted()}


def plug(draw: random.Random, net: MemoryNetwork) -> None:
    """Have a link come, or go."""
    link = draw.choice(LINKS)
    if any(one.name == link for one in net.host.interfaces):
        net.host.remove_interface(link)
    else:
        net.host.add_interface(link, "198.51.100.1")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("names", [None, ["eth0", "eth2", "eth3"]], ids=["all", "a list"])
async def test_nothing_is_lost_doubled_or_let_through(names: list[str] | None, seed: int) -> None:
    draw = random.Random(seed)
    net = MemoryNetwork(real_timers=draw.random() < 0.5)
    for link in LINKS[1:]:
        net.host.add_interface(link, "198.51.100.1")
    got: defaultdict[int, list[bytes]] = defaultdict(list)
    latest: dict[int, Packet] = {}
    async with Receiver(network=net, heal=False) as receiver:
        first = some_filter(draw)
        model = Model(net, names, first)
        interface = ALL_INTERFACES if names is None else names
        feed = await receiver.join(GROUP, PORT, sources=first, interface=interface)

        async def take() -> None:
            async for packet in feed:
                latest[packet.interface_index] = packet
                got[packet.interface_index].append(packet.data)

        task = asyncio.create_task(take())
        await turns(1)
        for _ in range(STEPS):
            chosen = draw.random()
            if chosen < 0.4:
                await swap(draw, model, feed)
            elif chosen < 0.6:
                plug(draw, net)
            elif chosen < 0.8:
                await refresh(model, feed)
            else:
                await net.run_for(draw.choice([0, 0.004, 0.01, 0.2]))
            for _ in range(draw.randrange(20)):
                model.send(draw.choice(LINKS), draw.choice(SOURCES))
            assert {one.index: one.name for one in feed.interfaces} == model.joined
        await net.settle()
        await net.run_for(1)
        assert got == model.coming
        assert {receiver.membership_of(packet) for packet in latest.values()} <= {feed}
        assert is_settled(feed)
        counted = feed.statistics()
        assert (counted.queue_drops, counted.queued, counted.kernel_drops) == (0, 0, 0)
        assert counted.received - counted.filtered == sum(map(len, got.values()))
    async with asyncio.timeout(10):
        await task
