"""`MulticastProtocol` on the package's transport and on the loops' own datagram transports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import aiomcast
from aiomcast import (
    AddressError,
    FilterError,
    LimitError,
    MulticastProtocol,
    MulticastTransport,
    Packet,
    SourceFilter,
    StateError,
    create_multicast_endpoint,
    open_socket,
)
from aiomcast.reading.options import STAMPS
from aiomcast.rfc3678.abi import native
from tests.loopback.conftest import Senders
from tests.support.accounts import open_descriptors
from tests.support.platforms import IS_WINDOWS, bound_host
from tests.support.seam import Faults, faults
from tests.support.sending import LO, A, B
from tests.support.waiting import turns, until

__all__ = ["faults"]

include, exclude = SourceFilter.include, SourceFilter.exclude


class Batches(MulticastProtocol):
    """Keeps whole batches."""

    def __init__(self) -> None:
        self.batches: list[list[Packet]] = []
        self.lost: list[Exception | None] = []
        self.raising: Exception | None = None

    def packets_received(self, packets: list[Packet]) -> None:
        self.batches.append(packets)
        if self.raising is not None:
            raise self.raising

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.append(exc)

    @property
    def data(self) -> list[bytes]:
        return [packet.data for batch in self.batches for packet in batch]


class Datagrams(MulticastProtocol):
    """Keeps datagrams, as protocols of asyncio do."""

    def __init__(self) -> None:
        self.datagrams: list[tuple[bytes, Any]] = []  # Any: an address as asyncio hands it on

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self.datagrams.append((data, addr))

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.datagrams]


Kept = Batches | Datagrams


@asynccontextmanager
async def endpoint(
    kind: type[Kept], group: str, port: int, stock: bool
) -> AsyncIterator[tuple[asyncio.BaseTransport, Any]]:  # Any: either kind of protocol
    """Open one or the other transport, and close it."""
    transport: asyncio.BaseTransport
    if stock:
        sock = open_socket(group, port, LO)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(kind, sock=sock)
    else:
        transport, protocol = await create_multicast_endpoint(kind, group, port, interface=LO)
    try:
        yield transport, protocol
    finally:
        transport.close()
        await turns()


both = pytest.mark.parametrize("stock", [False, True], ids=["own transport", "stock transport"])


@both
@pytest.mark.parametrize("kind", [Batches, Datagrams])
async def test_either_protocol_on_either_transport(
    kind: type[Kept], stock: bool, any_group: str, senders: Senders
) -> None:
    loop = asyncio.get_running_loop()
    async with endpoint(kind, any_group, senders.port, stock) as (_, protocol):
        await senders.send(A, any_group, b"nobody has joined")
        protocol.join_source(A)
        await senders.send(B, any_group, b"stranger")
        await senders.send(A, any_group, b"", b"one", b"two")
        expected = [b"", b"one", b"two"]
        if stock and IS_WINDOWS and not isinstance(loop, asyncio.SelectorEventLoop):
            del expected[0]  # asyncio's own transport on the proactor loop hands on no empty ones
        await until(lambda: len(protocol.data) >= len(expected))
        assert protocol.data == expected
        if isinstance(protocol, Batches):
            packet = protocol.batches[0][0]
            assert (packet.source, packet.group, packet.port) == (A, any_group, senders.port)
            assert (packet.timestamp_ns is None) is (stock or not STAMPS)
        else:
            assert {addr[0] for _, addr in protocol.datagrams} == {A}


@both
async def test_the_source_filter_in_hand(stock: bool, any_group: str) -> None:
    async with endpoint(Batches, any_group, 5000, stock) as (_, protocol):
        assert protocol.get_filter() == SourceFilter.none()
        for call, argument, expected in (
            (protocol.join_source, A, include([A])), (protocol.join_source, B, include([A, B])),
            (protocol.leave_source, A, include([B])), (protocol.leave_source, B, SourceFilter.none()),
            (protocol.set_filter, None, SourceFilter.any()), (protocol.block_source, A, exclude([A])),
            (protocol.block_source, B, exclude([A, B])), (protocol.unblock_source, A, exclude([B])),
            (protocol.set_filter, [A, B], include([A, B])), (protocol.set_filter, (), SourceFilter.none()),
        ):  # fmt: skip
            call(argument)
            assert protocol.get_filter() == expected


@both
async def test_misuse_leaves_the_filter(stock: bool, group: str) -> None:
    async with endpoint(Batches, group, 5000, stock) as (_, protocol):
        protocol.join_source(A)
        for call, argument, error in (
            (protocol.join_source, A, FilterError), (protocol.leave_source, B, FilterError),
            (protocol.block_source, B, FilterError), (protocol.unblock_source, A, FilterError),
            (protocol.join_source, "::1", AddressError), (protocol.join_source, "x", AddressError),
            (protocol.set_filter, None, AddressError), (protocol.set_filter, [A, A], FilterError),
            (protocol.set_filter, SourceFilter.any(), AddressError), (protocol.set_filter, 5, FilterError),
            (protocol.set_filter, exclude([B]), AddressError), (protocol.set_filter, [5], AddressError),
        ):  # fmt: skip
            with pytest.raises(error) as caught:
                call(argument)
            assert caught.value.hint
            assert protocol.get_filter() == include([A])
        if native().facts.sources_ipv4.default is not None:
            with pytest.raises(LimitError) as too_long:
                protocol.set_filter([f"127.0.1.{n}" for n in range(1, 200)])
            assert too_long.value.hint
            assert protocol.get_filter() == include([A])


async def test_the_transport_takes_what_the_socket_takes(group: str, any_group: str) -> None:
    async with endpoint(Batches, any_group, 5000, False) as (transport, protocol):
        assert isinstance(transport, aiomcast.MulticastTransport)
        for sources, expected in (
            ([A], include([A])),
            (None, SourceFilter.any()),
            (exclude([A]), exclude([A])),
        ):
            transport.set_filter(sources)
            assert protocol.get_filter() == expected
    async with endpoint(Batches, group, 5000, False) as (transport, protocol):
        assert isinstance(transport, aiomcast.MulticastTransport)
        transport.set_filter([A])
        for wrong in (None, SourceFilter.any(), exclude([A])):
            with pytest.raises(AddressError, match="source-specific"):
                transport.set_filter(wrong)
            assert protocol.get_filter() == include([A])


@both
async def test_after_connection_lost(stock: bool, group: str) -> None:
    async with endpoint(Batches, group, 5000, stock) as (transport, protocol):
        assert isinstance(protocol, Batches)
        transport.close()
        transport.close()
        await until(lambda: bool(protocol.lost))
        await turns()
        assert protocol.lost == [None]
        for call in (lambda: protocol.join_source(A), lambda: protocol.set_filter([A]), protocol.get_filter):
            with pytest.raises(StateError) as caught:
                call()
            assert caught.value.hint
        assert transport.is_closing()


def test_a_protocol_without_a_transport() -> None:
    with pytest.raises(StateError):
        Batches().join_source(A)


async def test_a_stock_socket_is_refused(group: str) -> None:
    """A transport whose socket knows no group cannot be helped."""
    loop = asyncio.get_running_loop()
    protocol = Batches()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    with pytest.raises(StateError) as caught:
        protocol.connection_made(transport)
    assert caught.value.hint
    transport.close()
    await turns()


async def test_pausing(group: str, senders: Senders) -> None:
    transport, protocol = await create_multicast_endpoint(
        Batches, group, senders.port, interface=LO, sources=[A]
    )
    assert isinstance(transport, MulticastTransport)
    assert transport.is_reading()
    transport.pause_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    await senders.send(A, group, *[b"%d" % number for number in range(10)])
    await turns(20)
    assert protocol.batches == []
    transport.resume_reading()
    transport.resume_reading()
    await until(lambda: len(protocol.data) == 10)
    assert len(protocol.batches) == 1
    assert transport.get_protocol() is protocol
    assert transport.get_extra_info("sockname") == (bound_host(group), senders.port)
    assert transport.get_extra_info("interface").index == LO
    transport.abort()
    transport.resume_reading()
    assert not transport.is_reading()
    await until(lambda: bool(protocol.lost))


async def test_a_change_of_filter_holds_back_what_was_queued(group: str, senders: Senders) -> None:
    transport, protocol = await create_multicast_endpoint(
        Batches, group, senders.port, interface=LO, sources=[A, B]
    )
    await senders.send(A, group, b"a")
    await senders.send(B, group, b"b")
    protocol.leave_source(A)
    await until(lambda: bool(protocol.data))
    assert protocol.data == [b"b"]
    counted = transport.statistics()
    assert (counted.received, counted.filtered) == (2, 1)
    transport.close()
    await turns()


@pytest.mark.parametrize("doing", ["pause", "close"])
async def test_a_protocol_may_pause_or_close_while_it_is_handed_packets(
    doing: str, group: str, senders: Senders
) -> None:
    class Once(Batches):
        def packets_received(self, packets: list[Packet]) -> None:
            super().packets_received(packets)
            transport.pause_reading() if doing == "pause" else transport.close()

    transport, protocol = await create_multicast_endpoint(
        Once, group, senders.port, interface=LO, sources=[A]
    )
    await senders.send(A, group, b"one")
    await until(lambda: bool(protocol.data))
    await senders.send(A, group, b"two")
    await turns(20)
    assert protocol.data == [b"one"]
    transport.resume_reading()
    if doing == "pause":
        await until(lambda: len(protocol.data) == 2)
    transport.close()
    await until(lambda: bool(protocol.lost))


async def test_an_exception_goes_to_the_loop_and_reading_goes_on(group: str, senders: Senders) -> None:
    contexts: list[dict[str, Any]] = []  # Any: asyncio's own type for a context
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))
    transport, protocol = await create_multicast_endpoint(
        Batches, group, senders.port, interface=LO, sources=[A]
    )
    protocol.raising = ZeroDivisionError("mine")
    await senders.send(A, group, b"one")
    await until(lambda: bool(contexts))
    assert contexts[0]["exception"] is protocol.raising
    assert contexts[0]["protocol"] is protocol
    protocol.raising = None
    await senders.send(A, group, b"two")
    await until(lambda: len(protocol.data) == 2)
    assert len(contexts) == 1
    transport.close()
    await turns()


async def test_a_sender_that_never_stops_starves_no_task(group: str, senders: Senders) -> None:
    transport, protocol = await create_multicast_endpoint(
        Batches, group, senders.port, interface=LO, sources=[A], receive_buffer=1 << 22
    )
    await senders.send(A, group, *[b"x"] * 2000)
    await until(lambda: len(protocol.data) == 2000)
    assert max(map(len, protocol.batches)) <= 1024
    transport.close()
    await turns()


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("192.0.2.1", 5000), {}, AddressError), (("232.9.9.9", -1), {}, aiomcast.ArgumentError),
        (("232.9.9.9", 5000), {"sources": None}, AddressError),
        (("232.9.9.9", 5000), {"interface": "nosuch0"}, aiomcast.InterfaceError),
        (("232.9.9.9", 5000), {"ancillary": ["ttl"]}, aiomcast.ArgumentError),
        (("232.9.9.9", 5000), {"receive_buffer": 0}, aiomcast.ArgumentError),
        (("232.9.9.9", 5000), {"ancillary": "hop_limit"}, aiomcast.ArgumentTypeError),
        (("232.9.9.9", 5000), {"receive_buffer": "big"}, aiomcast.ArgumentTypeError),
        (("232.9.9.9", 5000), {"gro": 1}, aiomcast.ArgumentTypeError),
        (("ff32::9%nosuch0", 5000), {}, aiomcast.InterfaceError),
    ],
)  # fmt: skip
async def test_wrong_arguments_leave_nothing_open(
    # Any: wrong on purpose
    arguments: tuple[str, int],
    options: dict[str, Any],
    error: type[Exception],
) -> None:
    before = open_descriptors()
    with pytest.raises(error):
        await create_multicast_endpoint(Batches, *arguments, **{"interface": LO, **options})
    assert open_descriptors() == before


async def test_a_refusal_or_a_bad_factory_leaves_nothing_open(group: str, faults: Faults) -> None:
    before = open_descriptors()
    for failing in (1, 3):
        faults.fail_at(failing)
        with pytest.raises(aiomcast.RefusedError):
            await create_multicast_endpoint(Batches, group, 5000, interface=LO, sources=[A])
        faults.stop()

    def factory() -> Batches:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await create_multicast_endpoint(factory, group, 5000, interface=LO, sources=[A])
    assert open_descriptors() == before
