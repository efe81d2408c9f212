"""Kernels that lack an option each, which is refused where options are set: what holds, and what is told.

docs/reference/platforms.md has the same as a table.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import attrs
import pytest

from aiomcast import Capabilities, EventKind, Receiver, SourceFilter, open_socket
from aiomcast.reading import Reader, options
from aiomcast.rfc3678.abi import native
from tests.support.packets import payloads, take
from tests.support.seam import intercepted, refusal
from tests.support.sending import sending

from .place import Place

ABI = native()
PORT = 5000
FAMILIES = {4: ("239.1.1.1", "192.0.2.1", "198.51.100.1"), 6: ("ff1e::1:1", "2001:db8::1", "2001:db8:1::1")}
EVERYTHING = Capabilities(
    timestamps=True, lossless_switch=True, kernel_drops=True, coalescing=True, kept_out_by_kernel=True
)
# What is lacking, and what the capabilities are then. A kernel before 4.12 has no SO_MEMINFO either.
LACKING: dict[str, dict[str, bool]] = {
    "SO_TIMESTAMPNS": {"timestamps": False, "lossless_switch": False},
    "SO_RXQ_OVFL": {},
    "SO_MEMINFO": {},
    "SO_RXQ_OVFL SO_MEMINFO": {"kernel_drops": False},
    "UDP_GRO": {"coalescing": False},
    "IP_MULTICAST_ALL": {"kept_out_by_kernel": False},
    "IPV6_MULTICAST_ALL": {},
    "SO_BINDTOIFINDEX": {"kept_out_by_kernel": False},
    "IPV6_MULTICAST_ALL SO_BINDTOIFINDEX": {"kept_out_by_kernel": False},
}
LACKING[" ".join(LACKING)] = dict.fromkeys(attrs.asdict(EVERYTHING), False)  # all at once
LEVELS = {"SO": ABI.SOL_SOCKET, "UDP": ABI.SOL_UDP, "IP": ABI.IPPROTO_IP, "IPV6": ABI.IPPROTO_IPV6}
each_lacking = pytest.mark.parametrize("lacking", LACKING)
each_family = pytest.mark.parametrize("family", FAMILIES, ids="ipv{}".format)


@pytest.fixture
def place() -> Iterator[Place]:
    """A host with two interfaces, v0 and v1."""
    with Place() as made:
        made.cable("v0", "p0", "192.0.2.1/24", "2001:db8::1/64")
        made.cable("v1", "p1", "198.51.100.1/24", "2001:db8:1::1/64")
        yield made


TakeAway = Callable[..., None]


@pytest.fixture
def take_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[TakeAway]:
    """Have the kernel refuse the options that a text names, up to the end of the test."""
    with ExitStack() as stack:

        def lack(lacking: str, number: int = errno.ENOPROTOOPT) -> None:
            names = lacking.split()
            refused = {(LEVELS[name[: name.index("_")]], getattr(ABI, name)) for name in names}

            def refuse(sock: socket.socket, level: int, option: int, value: object) -> None:
                if (level, option) in refused:
                    raise refusal(number)

            stack.enter_context(intercepted("setsockopt", refuse))
            if "SO_MEMINFO" in names:  # it is read, not set
                monkeypatch.setattr(options, "ABI", attrs.evolve(options.ABI, SO_MEMINFO=None))

        yield lack


def expected(lacking: str) -> Capabilities:
    """Return the capabilities without what `lacking` names."""
    return attrs.evolve(EVERYTHING, **LACKING[lacking])


@each_lacking
@each_family
async def test_its_own_packets_come_and_no_others(
    family: int, lacking: str, place: Place, take_away: TakeAway
) -> None:
    """Another socket has joined the group on v1: where the kernel hands on its packets, they are refused."""
    group, own, strange = FAMILIES[family]
    there = socket.if_nametoindex("v1")
    take_away(lacking)
    async with Receiver(gro=None) as receiver:
        capabilities = receiver.capabilities
        assert capabilities == expected(lacking)
        feed = await receiver.join(group, PORT, interface="v0")
        with (
            open_socket(group, PORT, "v1") as other,
            sending(strange, group, PORT, there) as stranger,
            sending(own, group, PORT, feed.interface.index) as sender,
        ):
            other.set_filter(None)
            for number in range(20):
                stranger.send(b"strange")
                sender.send(b"%d" % number)
            async with feed.packets() as stream:
                packets = await take(stream, 20)
        assert payloads(packets) == [b"%d" % number for number in range(20)]
        stamped = {packet.timestamp_ns is not None for packet in packets}
        assert stamped == {capabilities.timestamps}
        leaks = "IP_MULTICAST_ALL" if family == 4 else "SO_BINDTOIFINDEX"
        assert receiver.statistics().filtered == 20 * (leaks in lacking.split())


@each_lacking
@each_family
async def test_filters_change(family: int, lacking: str, place: Place, take_away: TakeAway) -> None:
    """Between the modes too, and over several sockets: every change holds from the next packet on."""
    group, own, _ = FAMILIES[family]
    nobody = [f"{own[:-1]}{number}" for number in range(2, 10)] if family == 6 else ["192.0.2.9"]
    take_away(lacking)
    async with Receiver() as receiver:
        feed = await receiver.join(group, PORT, sources=[own], interface="v0")
        many = [own, *(f"2001:db8::2:{n:x}" if family == 6 else f"192.0.2.{n + 10}" for n in range(80))]
        changes = [SourceFilter.exclude(nobody), SourceFilter.include(many), SourceFilter.include([own])]
        with sending(own, group, PORT, feed.interface.index) as sender:
            async with feed.packets() as stream:
                for number, wanted in enumerate(changes):
                    sender.send(b"before %d" % number)
                    await take(stream, 1)
                    await feed.swap(wanted)
                    sender.send(b"after %d" % number)
                    assert payloads(await take(stream, 1)) == [b"after %d" % number]
                await feed.swap(nobody)
                sender.send(b"no longer")
                await feed.swap([own])
                sender.send(b"again")
                assert payloads(await take(stream, 1)) == [b"again"]


@each_lacking
async def test_drops_are_counted_as_far_as_they_are_told(
    lacking: str, place: Place, take_away: TakeAway
) -> None:
    group, own, _ = FAMILIES[4]
    take_away(lacking)
    async with Receiver(receive_buffer=4096) as receiver:
        feed = await receiver.join(group, PORT, interface="v0")
        with sending(own, group, PORT, feed.interface.index) as sender:
            for _ in range(50):
                sender.send(bytes(1000))
            async with receiver.events() as events, feed.packets() as stream:
                got = len(await take(stream, 1))
                sender.send(b"the last")  # with this one SO_RXQ_OVFL tells
                while (await take(stream, 1))[0].data != b"the last":
                    got += 1
                lost = 50 - got
                assert lost > 0
                told = receiver.capabilities.kernel_drops
                assert receiver.statistics().kernel_drops == (lost if told else 0)
                if told:
                    async with asyncio.timeout(10):
                        event = await anext(one async for one in events if one.kind is EventKind.DROPPED)
                    assert event.count == lost


@each_family
def test_a_socket_that_was_bound_elsewhere(family: int, place: Place, take_away: TakeAway) -> None:
    group, own, strange = FAMILIES[family]
    here, there = map(socket.if_nametoindex, ("v0", "v1"))
    take_away("IP_MULTICAST_ALL IPV6_MULTICAST_ALL SO_BINDTOIFINDEX")
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((group, PORT))
        with (
            open_socket(group, interface="v0", sock=made) as sock,
            open_socket(group, PORT, "v1") as other,
            sending(strange, group, PORT, there) as stranger,
            sending(own, group, PORT, here) as sender,
        ):
            sock.set_filter(None)
            other.set_filter(None)
            reader = Reader(sock, SourceFilter.any())
            stranger.send(b"strange")
            sender.send(b"own")
            assert payloads(reader.read(10)[0]) == [b"own"]
            assert reader.filtered == 1


async def test_an_unprivileged_process_before_5_7(place: Place, take_away: TakeAway) -> None:
    """To bind to an interface took CAP_NET_RAW: EPERM is as good as not to have the option."""
    take_away("SO_BINDTOIFINDEX", errno.EPERM)
    async with Receiver() as receiver:
        assert receiver.capabilities == expected("SO_BINDTOIFINDEX")
        await receiver.join(FAMILIES[6][0], PORT, interface="v0")


def test_any_other_refusal_is_an_error(place: Place, take_away: TakeAway) -> None:
    take_away("SO_BINDTOIFINDEX", errno.ENOMEM)
    with pytest.raises(OSError, match="memory") as caught:
        open_socket(FAMILIES[6][0], PORT, "v0")
    assert caught.value.errno == errno.ENOMEM
