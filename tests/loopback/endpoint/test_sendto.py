"""Sending from an endpoint: to the group, and to whoever has asked."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

import aiomcast
from aiomcast import (
    AddressError,
    ArgumentError,
    ArgumentTypeError,
    MulticastProtocol,
    MulticastTransport,
    Packet,
    RefusedError,
    create_multicast_endpoint,
)
from aiomcast.reading.options import STAMPS
from tests.support.accounts import open_descriptors
from tests.support.interfaces import ipv6_way
from tests.support.seam import Faults, faults
from tests.support.sending import LO
from tests.support.waiting import turns, until

__all__ = ["faults"]

PORT = 5000
HOST = "127.0.0.1"
Peer: TypeAlias = tuple[Any, ...]  # Any: asyncio's own type for an address


class Kept(MulticastProtocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.came: list[tuple[bytes, Peer]] = []
        self.errors: list[Exception] = []
        self.told: list[str] = []
        self.on_first: Callable[[], object] = lambda: None

    def datagram_received(self, data: bytes, addr: Peer) -> None:
        self.came.append((data, addr))
        if len(self.came) == 1:
            self.on_first()

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.told.append("lost")

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.came]


class KeptPackets(Kept):
    """Keeps packets."""

    def __init__(self) -> None:
        super().__init__()
        self.packets: list[Packet] = []

    def packets_received(self, packets: list[Packet]) -> None:
        self.packets += packets


Opened: TypeAlias = tuple[MulticastTransport, Any]  # Any: the kind of protocol that was asked for
Opening: TypeAlias = Callable[..., Any]  # Any: an awaitable of the above


@pytest_asyncio.fixture
async def opening(any_group: str) -> AsyncIterator[Opening]:
    """Give `await opening(kind, **arguments)`: an endpoint of `any_group` on lo, closed at the end."""
    async with AsyncExitStack() as stack:

        async def opened(kind: type[Kept] = Kept, group: str = any_group, **arguments: Any) -> Opened:
            arguments = {"interface": LO, "sources": None, **arguments}
            transport, protocol = await create_multicast_endpoint(kind, group, PORT, **arguments)
            stack.push_async_callback(turns)
            stack.callback(transport.close)
            return transport, protocol

        yield opened


async def test_to_the_group_by_default(opening: Opening) -> None:
    _, hears = await opening()
    transport, speaks = await opening(sources=())
    before = transport.source
    for payload in (b"one", bytearray(b"two"), memoryview(b"three"), b""):
        transport.sendto(payload)
    await until(lambda: len(hears.came) == 4)
    assert hears.data == [b"one", b"two", b"three", b""]
    assert {peer for _, peer in hears.came} == {transport.source}
    assert before is None
    assert transport.source[:1] == (HOST,)
    assert transport.source[1] != PORT
    assert speaks.came == []


async def test_an_answer_comes_back_whatever_the_filter(opening: Opening) -> None:
    answers_transport, answers = await opening()
    transport, asks = await opening(sources=())
    transport.sendto(b"who is there?")
    await until(lambda: bool(answers.came))
    answers_transport.sendto(b"me", answers.came[0][1])
    await until(lambda: bool(asks.came))
    assert asks.came == [(b"me", answers_transport.source)]
    assert answers.data == [b"who is there?"]
    asks.set_filter([HOST])  # what waits of the group is judged, what is an answer is not
    answers_transport.sendto(b"me again", transport.source)
    asks.set_filter(())
    await until(lambda: len(asks.came) == 2)


async def test_an_answer_is_a_packet_to_the_host(opening: Opening) -> None:
    answers_transport, answers = await opening()
    transport, asks = await opening(KeptPackets, sources=())
    transport.sendto(b"who is there?")
    await until(lambda: bool(answers.came))
    answers_transport.sendto(b"me", answers.came[0][1])
    await until(lambda: bool(asks.packets))
    [packet] = asks.packets
    assert (packet.group, packet.port) == transport.source
    assert (packet.source, packet.source_port) == answers_transport.source
    assert (packet.timestamp_ns is None) is not STAMPS


async def test_a_pause_holds_for_answers_too(opening: Opening) -> None:
    answers_transport, answers = await opening()
    transport, asks = await opening(sources=())
    transport.pause_reading()
    transport.sendto(b"who is there?")
    await until(lambda: bool(answers.came))
    answers_transport.sendto(b"me", answers.came[0][1])
    await turns(20)
    assert (asks.came, transport.statistics().queued) == ([], 0)  # nor read, or memory would grow
    transport.resume_reading()
    await until(lambda: asks.data == [b"me"])


async def test_answers_that_wait_are_none_of_a_filters_business(opening: Opening) -> None:
    answers_transport, answers = await opening()
    transport, asks = await opening(sources=())
    transport.sendto(b"who is there?")
    await until(lambda: bool(answers.came))
    asks.on_first = transport.pause_reading
    for number in range(5):
        answers_transport.sendto(b"%d" % number, answers.came[0][1])
    await until(lambda: bool(asks.came))
    asks.set_filter([HOST])
    asks.set_filter(())
    transport.resume_reading()
    await until(lambda: len(asks.came) == 5)


async def test_from_the_port_of_the_group(opening: Opening, any_group: str) -> None:
    """As mDNS asks for (RFC 6762, 5.2); the port is shared, and each hears the other."""
    one_transport, one = await opening(source_port=PORT)
    other_transport, other = await opening(source_port=PORT)
    assert one_transport.source == other_transport.source == (HOST, PORT)  # before the first datagram
    one_transport.sendto(b"from one")
    await until(lambda: one.came == other.came == [(b"from one", (HOST, PORT))])


async def test_from_an_address_and_a_port(opening: Opening) -> None:
    _, hears = await opening()
    transport, _ = await opening(source="127.0.0.9", source_port=0)
    assert transport.source[0] == "127.0.0.9"
    transport.sendto(b"one")
    await until(lambda: hears.came == [(b"one", transport.source)])


async def test_the_ttl(opening: Opening, any_group: str) -> None:
    async with aiomcast.listen(any_group, PORT, interface=LO, ancillary=["hop_limit"]) as feed:
        transport, _ = await opening(ttl=7)
        transport.sendto(b"one")
        packet = await anext(aiter(feed))
        assert (packet.data, packet.hop_limit) == (b"one", 7)


async def test_ipv6(group6: str) -> None:
    interface, _source = ipv6_way()
    protocols = []
    async with AsyncExitStack() as stack:
        for sources in (None, ()):
            group = group6.replace("ff31", "ff11")  # outside the source-specific ranges
            transport, protocol = await create_multicast_endpoint(
                Kept, group, PORT, interface=interface, sources=sources
            )
            stack.push_async_callback(turns)
            stack.callback(transport.close)
            protocols.append((transport, protocol))
        (hears_transport, hears), (transport, asks) = protocols
        transport.sendto(b"who is there?")
        await until(lambda: bool(hears.came))
        [(_, peer)] = hears.came
        assert len(peer) == 4
        assert transport.source is not None
        assert peer[:2] == transport.source[:2]
        hears_transport.sendto(b"me", peer)
        await until(lambda: asks.data == [b"me"])
        hears_transport.sendto(b"me again", peer[:2])  # the zone is known
        await until(lambda: asks.data == [b"me", b"me again"])


async def test_what_the_system_refuses_goes_to_the_protocol(opening: Opening) -> None:
    transport, protocol = await opening()
    transport.sendto(b"x" * 65508)
    [error] = protocol.errors
    assert isinstance(error, RefusedError)
    assert error.errno == errno.EMSGSIZE
    transport.sendto(b"goes on")
    await until(lambda: protocol.data == [b"goes on"])


async def test_a_socket_that_cannot_be_had_is_told_too(opening: Opening, faults: Faults) -> None:
    transport, protocol = await opening()
    before = open_descriptors()
    faults.fail_at(1, errno.ENOBUFS)
    transport.sendto(b"lost")
    faults.stop()
    [error] = protocol.errors
    assert isinstance(error, RefusedError)
    assert (error.errno, open_descriptors()) == (errno.ENOBUFS, before)
    transport.sendto(b"goes on")
    await until(lambda: protocol.data == [b"goes on"])


async def test_the_soft_limit_of_open_files_is_raised(opening: Opening) -> None:
    transport, protocol = await opening()
    resource = pytest.importorskip("resource", reason="Windows has no such limits")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        transport.sendto(b"one")
        await until(lambda: protocol.data == [b"one"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("data", "addr", "error"),
    [
        ("text", None, ArgumentTypeError), (5, None, TypeError), (None, None, TypeError),
        (b"x", "127.0.0.1", ArgumentTypeError), (b"x", ("127.0.0.1",), ArgumentTypeError),
        (b"x", (5, 5), ArgumentTypeError), (b"x", ("127.0.0.1", "5"), ArgumentTypeError),
        (b"x", ("127.0.0.1", 0), ArgumentError), (b"x", ("127.0.0.1", 65536), ArgumentError),
        (b"x", ("127.0.0.1", 5, 0, 0), ArgumentTypeError), (memoryview(b"xyz")[::2], None, ArgumentTypeError),
        (b"x", ("localhost", 5), AddressError), (b"x", ("::1", 5), AddressError),
    ],
)  # fmt: skip
async def test_wrong_arguments(
    opening: Opening,
    data: Any,  # Any: wrong on purpose
    addr: Any,  # Any: as above
    error: type[Exception],
) -> None:
    transport, protocol = await opening()
    with pytest.raises(error) as caught:
        transport.sendto(data, addr)
    assert isinstance(caught.value, aiomcast.MulticastError)
    assert caught.value.hint
    assert (transport.source, protocol.errors) == (None, [])
    transport.close()
    with pytest.raises(error):
        transport.sendto(data, addr)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"ttl": 256}, ArgumentError), ({"ttl": "1"}, ArgumentTypeError), ({"loop": 1}, ArgumentTypeError),
        ({"source": "x"}, AddressError), ({"source": "::1"}, AddressError),
        ({"source_port": 65536}, ArgumentError), ({"source_port": "x"}, ArgumentTypeError),
        ({"source": "192.0.2.99"}, RefusedError),
    ],
)  # fmt: skip
async def test_wrong_ways_to_send_are_refused_at_the_opening(
    opening: Opening,
    arguments: dict[str, Any],
    error: type[Exception],  # Any: wrong on purpose
) -> None:
    before = open_descriptors()
    with pytest.raises(error) as caught:
        await opening(**arguments)
    assert isinstance(caught.value, aiomcast.MulticastError)
    assert caught.value.hint
    assert open_descriptors() == before


async def test_once_it_is_closed_nothing_is_sent_and_the_log_says_so_once(
    opening: Opening, caplog: pytest.LogCaptureFixture
) -> None:
    _, hears = await opening()
    transport, speaks = await opening()
    transport.sendto(b"one")
    transport.close()
    with caplog.at_level(logging.WARNING, "aiomcast"):
        for _ in range(3):
            transport.sendto(b"two")
            await turns()
    await until(lambda: speaks.told == ["lost"])
    transport.sendto(b"three")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await until(lambda: bool(hears.came))
    await turns(20)
    assert hears.data == [b"one"]


async def test_the_limits_of_the_write_buffer(opening: Opening) -> None:
    transport, _ = await opening()
    assert transport.get_write_buffer_size() == 0
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    for high, low, expected in ((100, 50, (50, 100)), (100, None, (25, 100)), (None, 10, (10, 40))):
        transport.set_write_buffer_limits(high, low)
        assert transport.get_write_buffer_limits() == expected
        transport.sendto(b"x")
        assert transport.get_write_buffer_limits() == expected
    for high, low in ((10, 20), (-1, None)):
        with pytest.raises(ArgumentError):
            transport.set_write_buffer_limits(high, low)


async def test_a_transport_is_of_asyncio(opening: Opening) -> None:
    transport, _ = await opening()
    assert isinstance(transport, asyncio.DatagramTransport)
    assert isinstance(transport, asyncio.ReadTransport)
