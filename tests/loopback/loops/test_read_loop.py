"""`ReadLoop` by itself, woken by the loop and by a thread: opening, places, threads, and being let go of."""

import asyncio
import errno
import gc
import socket
import sys
import threading
import weakref
from collections.abc import Callable

import pytest

from aiomcast import RefusedError, SourceFilter, StateError, create_multicast_endpoint
from aiomcast.endpoint.protocol import MulticastProtocol
from aiomcast.loops.network import SystemNetwork
from aiomcast.loops.read_loop import ReadLoop
from aiomcast.reading.contract import Reader, Reading
from aiomcast.values.options import Options
from aiomcast.values.packets import Packet
from tests.support.accounts import open_descriptors
from tests.support.packets import payloads
from tests.support.seam import Faults, faults
from tests.support.sending import A, Sources
from tests.support.waiting import turns, until

from .unwatching import Woken

__all__ = ["faults"]

PORT = 5000
KINDS: list[Callable[[asyncio.AbstractEventLoop], Reading]] = [ReadLoop, Woken]
every_kind = pytest.mark.parametrize("kind", KINDS)
network = SystemNetwork()


def opened(reading: Reading, group: str, options: Options | None = None) -> Reader:
    """Open a reader that hears A."""
    into: list[Reader] = []
    reading.open(group, PORT, network.find("lo"), SourceFilter.include([A]), options or Options(), into)
    (reader,) = into
    reader.sock.set_filter([A])
    return reader


def end(reading: Reading, *readers: Reader) -> None:
    for reader in readers:
        assert reader.place is not None
        reader.place.forget()
        reader.close()
    reading.close()


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@every_kind
async def test_a_reader_is_read_from_add_to_discard(
    kind: Callable[[asyncio.AbstractEventLoop], Reading], any_group: str
) -> None:
    reading = kind(loop())
    reader = opened(reading, any_group, Options(receive_buffer=50_000))
    assert reader.count_drops() >= 50_000
    got: list[Packet] = []
    reader.sink = got.extend
    place = reader.place
    assert place is not None
    with Sources(any_group, PORT) as sources:
        sources.send(A, b"1")
        await turns()
        assert got == []
        place.add()
        place.add()
        await until(lambda: len(got) == 1)
        reading.pause()
        sources.send(A, b"2")
        await turns()
        assert len(got) == 1
        reading.resume()
        await until(lambda: len(got) == 2)
        place.discard()
        sources.send(A, b"3")
        await turns()
        place.add()
        await until(lambda: len(got) == 3)
        assert payloads(got) == sources.sent
        place.forget()
        place.forget()
        place.add()
        sources.send(A, b"4")
        await turns()
        assert len(got) == 3
    end(reading, reader)
    await turns()


async def test_the_network_of_the_system(any_group: str) -> None:
    reading = network.open()
    assert isinstance(reading, ReadLoop)
    wanted, (interface,) = network.place(any_group, [A], "lo")
    assert (wanted, interface.name) == (SourceFilter.include([A]), "lo")
    assert network.find("lo").index == interface.index
    limit = network.source_limit(any_group)
    assert limit is None or limit > 0
    assert abs(reading.monotonic() - loop().time()) < 5
    assert reading.shared_stamps is (sys.platform == "linux")
    called: list[int] = []
    reading.call_soon(lambda: called.append(1))
    reading.call_later(0, lambda: called.append(2))
    reading.call_later(0, lambda: called.append(3)).cancel()
    await until(lambda: len(called) == 2)
    assert called == [1, 2]
    reading.close()


async def test_a_refused_opening_leaves_nothing(any_group: str, faults: Faults) -> None:
    reading = ReadLoop(loop())
    before = open_descriptors()
    into: list[Reader] = []

    def open_one(options: Options) -> None:
        wanted = SourceFilter.include([A])
        reading.open(any_group, PORT, network.find("lo"), wanted, options, into)

    options = Options(receive_buffer=10_000, ancillary=["hop_limit"])
    open_one(options)
    end(reading, *into)
    into.clear()
    reading = ReadLoop(loop())
    calls = 0
    while True:
        calls += 1
        faults.fail_at(calls, errno.ENOBUFS)
        try:
            open_one(options)
        except RefusedError:
            assert into == []
            assert open_descriptors() == before
        else:
            if faults.stop() < calls:
                break
            end(ReadLoop(loop()), into.pop())  # the option could be done without
    assert calls > 4
    end(reading, *into)


@every_kind
async def test_another_thread_or_loop_is_told_so(
    kind: Callable[[asyncio.AbstractEventLoop], Reading],
) -> None:
    reading = kind(loop())
    reading.check()
    raised: list[StateError] = []

    def check() -> None:
        with pytest.raises(StateError) as caught:
            reading.check()
        raised.append(caught.value)

    async def check_in_another_loop() -> None:
        check()

    def in_another_loop() -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(check_in_another_loop())

    for doing in (check, in_another_loop):
        thread = threading.Thread(target=doing)
        thread.start()
        thread.join()
    assert ["thread" in str(error) for error in raised] == [True, False]
    assert all(error.hint for error in raised)
    reading.check()
    reading.close()


async def test_a_call_from_another_thread(any_group: str) -> None:
    reading = network.open()
    called = asyncio.Event()
    thread = threading.Thread(target=lambda: reading.call_soon(called.set))
    thread.start()
    async with asyncio.timeout(10):
        await called.wait()
    thread.join()
    reading.close()


# Being let go of


@every_kind
@pytest.mark.parametrize("closed_before", [False, True])
async def test_what_is_abandoned_leaves_no_descriptors(
    kind: Callable[[asyncio.AbstractEventLoop], Reading], closed_before: bool, any_group: str
) -> None:
    with Sources(any_group, PORT) as sources:
        sources.send(A, b"opens the sender")
        before = open_descriptors()
        for _ in range(50):
            reading = kind(loop())
            for _ in range(2):
                reader = opened(reading, any_group)
                assert reader.place is not None
                reader.sink = list[Packet]().extend
                reader.place.add()
            if closed_before:
                reading.close()
            reading.abandon()
            assert reader.place is not None
            reader.place.add()
            reading.abandon()
            del reading, reader
        gc.collect()
        sources.send(A, b"nobody is there")
        await until(lambda: open_descriptors() == before)


async def test_it_can_be_abandoned_in_another_thread(any_group: str) -> None:
    """As by a garbage collector that happens to run there."""
    before = open_descriptors()
    reading = ReadLoop(loop())
    reader = opened(reading, any_group)
    got: list[Packet] = []
    reader.sink = got.extend
    reader.failed = lambda error: pytest.fail(str(error))
    assert reader.place is not None
    reader.place.add()
    with Sources(any_group, PORT) as sources:
        sources.send(A, b"read by nobody")
        thread = threading.Thread(target=reading.abandon)
        thread.start()
        thread.join()
        await turns()
    assert (reader.sock.fileno(), got) == (-1, [])
    assert open_descriptors() == before


@pytest.mark.parametrize("when", ["after the loop has closed", "before it closes", "while it rests"])
def test_abandoning_where_the_loop_does_not_turn_any_more(when: str, any_group: str) -> None:
    gc.collect()
    before = open_descriptors()

    async def make() -> ReadLoop:
        reading = ReadLoop(loop())
        reader = opened(reading, any_group)
        if when == "while it rests":
            reader.failed = lambda error: None
            assert reader.place is not None
            reader.place.add()
            reading._resting[reading._placed.copy().pop()] = loop().call_later(1, pytest.fail)
        return reading

    made = asyncio.SelectorEventLoop()
    reading = made.run_until_complete(make())
    if when != "after the loop has closed":
        reading.abandon()
    made.close()
    if when == "after the loop has closed":
        reading.abandon()
    del reading, made
    gc.collect()
    assert open_descriptors() == before


async def test_the_event_loop_does_not_keep_it_alive(any_group: str) -> None:
    before = open_descriptors()
    reading = ReadLoop(loop())
    reader = opened(reading, any_group)
    assert reader.place is not None
    reader.place.add()
    await turns()
    gone = weakref.ref(reading)
    reading.abandon()
    del reading, reader
    await turns()
    gc.collect()
    assert gone() is None
    assert open_descriptors() == before


async def test_a_cycle_that_abandons_it_when_it_is_collected(any_group: str) -> None:
    """In whichever order the collector comes to its parts, no socket warns that it was left open."""

    class Holder:
        def __init__(self) -> None:
            self.reading = ReadLoop(loop())
            for _ in range(3):
                reader = opened(self.reading, any_group)
                reader.sink = self.sink
                assert reader.place is not None
                reader.place.add()

        def sink(self, packets: list[Packet]) -> None:
            raise AssertionError("nothing was sent")

        def __del__(self) -> None:
            self.reading.abandon()

    gc.collect()
    before = open_descriptors()
    for generation in (0, 1, 2) * 10:
        Holder()
        gc.collect(generation)
        await turns(2)
    gc.collect()
    await turns()
    assert open_descriptors() == before


async def test_the_event_loop_keeps_a_transport_alive(any_group: str) -> None:
    """As it does its own: a protocol goes on although nobody holds it."""
    got: list[bytes] = []

    class Kept(MulticastProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
            got.append(data)
            if data == b"close":
                self.transport.close()

    await create_multicast_endpoint(Kept, any_group, PORT, sources=[A], interface="lo")
    gc.collect()
    with Sources(any_group, PORT) as sources:
        sources.send(A, b"1", b"close")
        await until(lambda: got == [b"1", b"close"])
    await turns()


async def test_a_socket_that_is_taken_away_has_no_place_any_more(any_group: str) -> None:
    reading = ReadLoop(loop())
    reader = opened(reading, any_group)
    failed: list[OSError] = []
    reader.failed = failed.append
    assert isinstance(reader.sock, socket.socket)
    reader.sock.close()
    assert [error.errno for error in failed] == [errno.EBADF]
    assert reader.place is not None
    reader.place.add()
    reader.place.discard()
    await turns()
    assert len(failed) == 1
    end(reading, reader)
