"""asyncio's contract of a datagram transport, on this package's and, as the reference, on the loops' own.

`docs/reference/endpoint.md` has the same, point by point.
"""

import asyncio
import errno
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest

from aiomcast import (
    ArgumentTypeError,
    MulticastProtocol,
    MulticastTransport,
    Packet,
    RefusedError,
    SourceFilter,
    StateError,
    create_multicast_endpoint,
    open_socket,
)
from aiomcast.loops import waking
from aiomcast.rfc3678 import calls
from aiomcast.values import bounds
from tests.support.accounts import accounted, open_descriptors
from tests.support.interfaces import ipv6_way
from tests.support.loops import LOOPS, NewLoop
from tests.support.platforms import bound_host
from tests.support.sending import LO, A, B, Sources, sending
from tests.support.waiting import turns, until

PORT = 5000
Peer: TypeAlias = tuple[Any, ...]  # Any: asyncio's own type for an address


class Recorder(MulticastProtocol):
    """Keeps what it is told, in order, and does what a test wants when a datagram comes."""

    def __init__(self, on_first: Callable[["Recorder"], None] | None = None) -> None:
        self.data: list[bytes] = []
        self.peers: list[Peer] = []
        self.told: list[str] = []
        self.on_first = on_first
        self.transport: Any = None  # Any: either kind of transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = transport
        self.told.append("made")

    def datagram_received(self, data: bytes, addr: Peer) -> None:
        self.data.append(data)
        self.peers.append(addr)
        if self.on_first is not None and len(self.data) == 1:
            self.on_first(self)

    def error_received(self, exc: Exception) -> None:
        self.told.append(f"error {type(exc).__name__}")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.told.append("lost" if exc is None else f"lost: {exc}")


Opening: TypeAlias = Callable[..., Coroutine[Any, Any, tuple[Any, Any]]]  # Any: either kind of transport


async def own(
    factory: Callable[[], asyncio.DatagramProtocol], group: str, *sources: str, interface: str | int = LO
) -> tuple[MulticastTransport, asyncio.DatagramProtocol]:
    """Open this package's transport."""
    return await create_multicast_endpoint(factory, group, PORT, interface=interface, sources=sources)


async def stock(
    factory: Callable[[], asyncio.DatagramProtocol], group: str, *sources: str, interface: str | int = LO
) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
    """Open the loop's own transport."""
    sock = open_socket(group, PORT, interface)
    sock.set_filter(sources)
    return await asyncio.get_running_loop().create_datagram_endpoint(factory, sock=sock)


either = pytest.mark.parametrize("opening", [own, stock], ids=["own", "reference"])


@asynccontextmanager
async def opened(
    opening: Opening, protocol: asyncio.DatagramProtocol, group: str, *sources: str, interface: str | int = LO
) -> AsyncIterator[Any]:  # Any: either kind of transport
    """Open a transport for `protocol`, and see it closed."""
    transport, made = await opening(lambda: protocol, group, *sources, interface=interface)
    assert made is protocol
    try:
        yield transport
    finally:
        transport.close()
        await turns()


@pytest.fixture
def sources(any_group: str) -> Iterator[Sources]:
    """Blocking senders: what they send is in the socket's buffer before the loop turns."""
    with Sources(any_group, PORT) as made:
        yield made


@pytest.fixture
def reported() -> list[dict[str, Any]]:  # Any: asyncio's own type for a context
    """What the loop's exception handler is told; `reporting` sets it."""
    return []


def reporting(reported: list[dict[str, Any]]) -> None:  # Any: as above
    """Have the running loop report to `reported`."""
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))


def numbered(first: int, last: int) -> list[bytes]:
    """Return payloads that are numbers."""
    return [b"%d" % number for number in range(first, last)]


# One datagram at a time


@either
async def test_a_datagram_that_raises_costs_no_other(
    opening: Opening,
    any_group: str,
    sources: Sources,
    reported: list[dict[str, Any]],  # Any: as above
) -> None:
    class Reads(Recorder):
        def datagram_received(self, data: bytes, addr: Peer) -> None:
            super().datagram_received(b"%d" % int(data), addr)

    reporting(reported)
    protocol = Reads()
    async with opened(opening, protocol, any_group, A):
        sources.send(A, *numbered(0, 25), b"no number", *numbered(25, 49))
        await until(lambda: len(protocol.data) == 49)
    assert protocol.data == numbered(0, 49)
    assert [type(context["exception"]) for context in reported] == [ValueError]


@either
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_after_a_close_nothing_is_handed_on(
    opening: Opening, how: str, any_group: str, sources: Sources
) -> None:
    protocol = Recorder(lambda one: getattr(one.transport, how)())
    async with opened(opening, protocol, any_group, A) as transport:
        sources.send(A, *numbered(0, 10))
        await until(lambda: "lost" in protocol.told)
        await turns()
        assert (protocol.data, protocol.told) == ([b"0"], ["made", "lost"])
        if opening is own:
            accounted(transport.statistics(), 1)
            assert transport.statistics().queue_drops == 9


@pytest.mark.parametrize("pauses", [False, True], ids=["reading", "paused"])
async def test_what_the_system_holds_at_a_close_is_counted(
    pauses: bool, any_group: str, sources: Sources
) -> None:
    protocol = Recorder()
    async with opened(own, protocol, any_group, A) as transport:
        if pauses:
            transport.pause_reading()
        sources.send(A, *numbered(0, 200))
        transport.close()
        await until(lambda: "lost" in protocol.told)
        await turns()
        counted = transport.statistics()
        assert (counted.received, counted.queue_drops, counted.octets) == (200, 200, 490)
        assert counted.receive_buffer == 0
    assert protocol.data == []


@either
async def test_another_protocol_has_the_next_datagram(
    opening: Opening, any_group: str, sources: Sources
) -> None:
    successor = Recorder()
    protocol = Recorder(lambda one: one.transport.set_protocol(successor))
    async with opened(opening, protocol, any_group, A) as transport:
        sources.send(A, *numbered(0, 10))
        await until(lambda: len(successor.data) == 9)
        assert transport.get_protocol() is successor
    assert (protocol.data, successor.data) == ([b"0"], numbered(1, 10))
    assert (protocol.told, successor.told) == (["made"], ["lost"])


async def test_a_pause_holds_from_the_next_datagram_on(any_group: str, sources: Sources) -> None:
    protocol = Recorder(lambda one: one.transport.pause_reading())
    async with opened(own, protocol, any_group, A) as transport:
        sources.send(A, *numbered(0, 10))
        await until(lambda: bool(protocol.data))
        sources.send(A, *numbered(10, 15))
        await turns(20)
        assert protocol.data == [b"0"]
        assert transport.statistics().queued + 1 == transport.statistics().received
        transport.resume_reading()
        assert protocol.data == [b"0"]  # not inside the call
        await until(lambda: len(protocol.data) == 15)
        accounted(transport.statistics(), 15)
    assert protocol.data == numbered(0, 15)


async def test_a_pause_reads_no_more_however_often_it_is_ended(any_group: str, sources: Sources) -> None:
    """Else every end of a pause would read a turn's worth more than is handed on, and memory would grow."""
    resume = asyncio.Event()

    class Pauses(Recorder):
        def datagram_received(self, data: bytes, addr: Peer) -> None:
            super().datagram_received(data, addr)
            self.transport.pause_reading()
            resume.set()

    protocol = Pauses()
    most = 0
    transport, _ = await create_multicast_endpoint(
        lambda: protocol, any_group, PORT, interface=LO, sources=[A], receive_buffer=1 << 23
    )
    sources.send(A, *numbered(0, 4000))
    async with asyncio.timeout(30):
        while len(protocol.data) < 4000:
            await resume.wait()
            resume.clear()
            transport.resume_reading()
            most = max(most, transport.statistics().queued)
    assert most <= bounds.READ_PER_TURN
    assert protocol.data == numbered(0, 4000)
    transport.close()
    await turns()


async def test_a_pause_and_its_end_within_one_datagram(any_group: str, sources: Sources) -> None:
    def pause_and_resume(one: Recorder) -> None:
        for _ in range(3):
            one.transport.pause_reading()
            one.transport.resume_reading()

    protocol = Recorder(pause_and_resume)
    async with opened(own, protocol, any_group, A):
        sources.send(A, *numbered(0, 10))
        await until(lambda: len(protocol.data) == 10)
        await turns()
    assert protocol.data == numbered(0, 10)


@pytest.mark.parametrize("how", ["leave_source", "block_source", "set_filter", "transport.set_filter"])
@pytest.mark.parametrize("takes_batches", [False, True], ids=["datagrams", "batches"])
async def test_no_datagram_of_a_source_that_was_left(
    how: str, takes_batches: bool, any_group: str, sources: Sources
) -> None:
    def change(one: Recorder) -> None:
        match how:
            case "leave_source":
                one.leave_source(A)
            case "block_source":
                one.block_source(A)
            case "set_filter":
                one.set_filter([B])
            case _:
                one.transport.set_filter([B])

    class Batches(Recorder):
        def packets_received(self, packets: list[Packet]) -> None:
            if not self.data:
                self.transport.pause_reading()  # what waits is judged too
                self.transport.resume_reading()
            for packet in packets:
                self.datagram_received(packet.data, (packet.source, packet.source_port))

    protocol = Recorder(change) if not takes_batches else Batches()
    async with opened(own, protocol, any_group, A, B) as transport:
        if how == "block_source":
            transport.set_filter(None)
        for number in range(5):
            sources.send(A, b"a%d" % number)
            sources.send(B, b"b%d" % number)
        if takes_batches:
            change(protocol)
        await until(lambda: b"b4" in protocol.data)
        accounted(transport.statistics(), len(protocol.data))
    expected = [b"b%d" % number for number in range(5)]
    assert protocol.data == (expected if takes_batches else [b"a0", *expected])


async def test_a_filter_judges_what_waits_in_a_pause(any_group: str, sources: Sources) -> None:
    protocol = Recorder(lambda one: one.transport.pause_reading())
    async with opened(own, protocol, any_group, A, B) as transport:
        for number in range(5):
            sources.send(A, b"a%d" % number)
            sources.send(B, b"b%d" % number)
        await until(lambda: bool(protocol.data))
        protocol.leave_source(A)
        transport.resume_reading()
        await until(lambda: b"b4" in protocol.data)
        assert protocol.data == [b"a0", *(b"b%d" % number for number in range(5))]
        counted = transport.statistics()
        assert (counted.received, counted.filtered, counted.queued) == (10, 4, 0)


@pytest.mark.parametrize("takes_batches", [False, True], ids=["datagrams", "batches"])
def test_an_end_of_the_program_costs_no_other(takes_batches: bool, any_group: str, sources: Sources) -> None:
    """SystemExit goes through the loop, as in asyncio; if the loop goes on, so does what was read."""

    class Exits(Recorder):
        def datagram_received(self, data: bytes, addr: Peer) -> None:
            super().datagram_received(data, addr)
            if data == b"2":
                raise SystemExit(3)

    class ExitsInBatches(Recorder):
        def packets_received(self, packets: list[Packet]) -> None:
            self.data += [packet.data for packet in packets]
            raise SystemExit(3)

    protocol = ExitsInBatches() if takes_batches else Exits()
    with asyncio.Runner() as runner:
        transport, _ = runner.run(own(lambda: protocol, any_group, A))
        sources.send(A, *numbered(0, 6))
        with pytest.raises(SystemExit):
            runner.run(until(lambda: len(protocol.data) == 10))
        runner.run(until(lambda: len(protocol.data) == 6))
        accounted(transport.statistics(), 6)
        transport.close()
        runner.run(turns())
    assert protocol.data == numbered(0, 6)


# The beginning


class PausesAtOnce(Recorder):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.ReadTransport)
        self.told.append(f"reading {transport.is_reading()}")
        transport.pause_reading()


async def test_a_pause_in_connection_made(any_group: str, sources: Sources) -> None:
    protocol = PausesAtOnce()
    async with opened(own, protocol, any_group, A) as transport:
        assert protocol.told == ["made", "reading True"]
        assert not transport.is_reading()
        sources.send(A, *numbered(0, 3))
        await turns(20)
        assert protocol.data == []
        transport.resume_reading()
        await until(lambda: len(protocol.data) == 3)


async def test_a_close_in_connection_made(any_group: str, sources: Sources) -> None:
    class Closes(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            transport.close()

    protocol = Closes()
    async with opened(own, protocol, any_group, A) as transport:
        assert transport.is_closing()
        await until(lambda: protocol.told == ["made", "lost"])


@either
@pytest.mark.parametrize("raised", [ZeroDivisionError, asyncio.CancelledError])
async def test_an_exception_in_connection_made_goes_to_the_handler(
    opening: Opening,
    raised: type[BaseException],
    any_group: str,
    sources: Sources,
    reported: list[dict[str, Any]],  # Any: as above
) -> None:
    class Raises(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise raised

    reporting(reported)
    protocol = Raises()
    async with opened(opening, protocol, any_group, A) as transport:
        assert [type(context["exception"]) for context in reported] == [raised]
        assert not transport.is_closing()
        if "uvloop" not in type(transport).__module__:  # it does not read then
            sources.send(A, b"one")
            await until(lambda: protocol.data == [b"one"])


@either
async def test_a_plain_protocol_of_asyncio(opening: Opening, any_group: str, sources: Sources) -> None:
    class Plain(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.data: list[bytes] = []

        def datagram_received(self, data: bytes, addr: Peer) -> None:
            self.data.append(data)

    protocol = Plain()
    async with opened(opening, protocol, any_group, A):
        sources.send(A, *numbered(0, 10))
        await until(lambda: len(protocol.data) == 10)
    assert protocol.data == numbered(0, 10)


async def test_what_is_no_datagram_protocol_is_refused(any_group: str) -> None:
    with pytest.raises(ArgumentTypeError, match="no datagram protocol"):
        await own(asyncio.Protocol, any_group, A)  # type: ignore[arg-type]  # wrong on purpose
    async with opened(own, Recorder(), any_group, A) as transport:
        with pytest.raises(ArgumentTypeError, match="no datagram protocol"):
            transport.set_protocol(asyncio.Protocol())
        assert isinstance(transport.get_protocol(), Recorder)


# Addresses and what is known


@either
async def test_addresses_are_those_of_the_socket_module(
    opening: Opening, any_group: str, sources: Sources
) -> None:
    protocol = Recorder()
    async with opened(opening, protocol, any_group, A):
        sources.send(A, b"one")
        await until(lambda: bool(protocol.peers))
    [(host, port)] = protocol.peers
    assert host == A
    assert isinstance(port, int)


@either
async def test_ipv6_addresses_have_four_parts(opening: Opening, group6: str) -> None:
    """The zone of a link-local sender among them: it cannot be answered without."""
    interface, source = ipv6_way()
    local = [one for one in interface.addresses if one.startswith("fe80")]
    protocol = Recorder()
    async with opened(opening, protocol, group6, source, *local, interface=interface.name):
        with Sources(group6, PORT, interface.index) as six:
            six.send(source, b"one")
            await until(lambda: bool(protocol.peers))
        for address in local[:1]:
            with sending(address, group6, PORT, interface.index) as sock:
                sock.send(b"two")
                await until(lambda: len(protocol.peers) == 2)
    scopes = [(host, flow_info, scope) for host, _, flow_info, scope in protocol.peers]
    assert scopes == [(source, 0, 0), *((address, 0, interface.index) for address in local[:1])]


@either
async def test_extra_info(opening: Opening, any_group: str) -> None:
    async with opened(opening, Recorder(), any_group, A) as transport:
        assert transport.get_extra_info("sockname") == (bound_host(any_group), PORT)
        assert transport.get_extra_info("peername") is None
        assert transport.get_extra_info("socket").fileno() >= 0
        assert transport.get_extra_info("nothing known", "a default") == "a default"
        if "uvloop" not in type(transport).__module__:  # it knows no "peername" then
            assert transport.get_extra_info("peername", "a default") is None
        if opening is own:
            assert isinstance(transport, asyncio.DatagramTransport)
            assert transport.get_extra_info("interface").index == LO


async def test_a_transport_shows_itself(any_group: str) -> None:
    protocol = Recorder()
    async with opened(own, protocol, any_group, A) as transport:
        descriptor = transport.get_extra_info("socket").fileno()
        name = transport.get_extra_info("interface").name
        where = f"<MulticastTransport {any_group} port {PORT} on {name} fd={descriptor}: "
        assert repr(transport) == f"{where}SourceFilter.include({{'{A}'}}), reading>"
        transport.pause_reading()
        assert repr(transport).endswith("paused>")
        transport.close()
        assert repr(transport) == f"{where}closing>"
        await until(lambda: "lost" in protocol.told)
        assert repr(transport) == f"{where}closed>"


# The end


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_group_is_left_although_another_holds_the_socket(how: str, any_group: str) -> None:
    """A forked child, say: closing a descriptor leaves only with the last one."""
    async with opened(own, Recorder(), any_group, A) as transport:
        with transport.get_extra_info("socket").dup() as held:
            assert calls.getsourcefilter(held, LO, any_group) == SourceFilter.include([A])
            getattr(transport, how)()
            with pytest.raises(RefusedError) as caught:
                calls.getsourcefilter(held, LO, any_group)
            assert caught.value.errno == errno.EADDRNOTAVAIL


@either
async def test_the_filter_after_a_close(opening: Opening, any_group: str) -> None:
    class Forgets(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            self.told.append("lost")

    protocol = Forgets()
    async with opened(opening, protocol, any_group, A) as transport:
        transport.close()
        for _ in range(2):
            doings: list[Callable[[], object]] = [
                lambda: protocol.set_filter([B]), lambda: protocol.join_source(B), protocol.get_filter,
            ]  # fmt: skip
            if isinstance(transport, MulticastTransport):
                doings.append(lambda: transport.set_filter([B]))
            for doing in doings:
                with pytest.raises(StateError) as caught:
                    doing()
                assert caught.value.hint
            await until(lambda: "lost" in protocol.told)
            await turns()


@either
async def test_one_protocol_on_two_transports(opening: Opening, any_group: str, sources: Sources) -> None:
    protocol = Recorder()
    other_group = any_group.replace("239", "238", 1)
    async with opened(opening, protocol, any_group, A) as first:
        async with opened(opening, protocol, other_group, A):
            protocol.set_filter([B])
            assert first.get_extra_info("socket") is not None
        await until(lambda: protocol.told.count("lost") == 1)
        assert protocol.get_filter() == SourceFilter.include([A])
        protocol.join_source(B)
        sources.send(B, b"goes on")
        await until(lambda: protocol.data == [b"goes on"])
    with pytest.raises(StateError):
        protocol.get_filter()


@either
async def test_of_three_transports_two_are_closed_at_once(opening: Opening, any_group: str) -> None:
    protocol = Recorder()
    groups = [any_group, any_group.replace("239", "238", 1), any_group.replace("239", "237", 1)]
    async with opened(opening, protocol, groups[0], A):
        transports = [(await opening(lambda: protocol, group, A))[0] for group in groups[1:]]
        for transport in transports:
            transport.close()
        await until(lambda: protocol.told.count("lost") == 2)
        protocol.set_filter([B])
        assert protocol.get_filter() == SourceFilter.include([B])


async def test_an_override_may_call_what_it_overrides(any_group: str, sources: Sources) -> None:
    class Super(MulticastProtocol):
        def __init__(self) -> None:
            self.packets: list[Packet] = []

        def packets_received(self, packets: list[Packet]) -> None:
            super().packets_received(packets)
            self.packets += packets

    protocol = Super()
    async with opened(own, protocol, any_group, A):
        sources.send(A, b"one")
        await until(lambda: len(protocol.packets) == 1)


async def test_an_end_of_the_program_in_connection_made_leaves_nothing_open(any_group: str) -> None:
    class Exits(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise SystemExit(3)

    before = open_descriptors()
    with pytest.raises(SystemExit):
        await own(Exits, any_group, A)
    await turns()
    assert open_descriptors() == before


async def test_a_closed_socket_has_no_filter(any_group: str) -> None:
    async with opened(own, Recorder(), any_group, A) as transport:
        transport.get_extra_info("socket").close()
        with pytest.raises(StateError):
            transport.set_filter([B])


async def test_a_factory_that_cannot_be_called(any_group: str) -> None:
    for wrong in (None, 5, Recorder()):
        with pytest.raises(ArgumentTypeError):
            await own(wrong, any_group, A)  # type: ignore[arg-type]  # wrong on purpose


async def test_resuming_takes_no_descriptor(any_group: str, sources: Sources) -> None:
    protocol = Recorder()
    async with opened(own, protocol, any_group, A) as transport:
        transport.pause_reading()
        await turns()
        sources.send(A, b"one")
        resource = pytest.importorskip("resource", reason="Windows has no such limits")
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                os.dup(0)
            transport.resume_reading()
            await until(lambda: protocol.data == [b"one"])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_a_close_after_its_loop_leaves_nothing_open(new_loop: NewLoop, any_group: str) -> None:
    """It is a RuntimeError, as asyncio's."""
    before = open_descriptors()
    loop = new_loop()
    transport, _ = loop.run_until_complete(own(Recorder, any_group, A))
    loop.close()
    with pytest.raises(RuntimeError):
        transport.close()
    del loop, transport
    gc.collect()
    assert open_descriptors() == before


def without_threads(before: list[threading.Thread]) -> None:
    """Collect what a thread that waits for a loop's sockets lets go of once it has seen the loop's end."""
    for thread in threading.enumerate():
        if thread not in before:
            thread.join(10)
    gc.collect()


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_a_loop_that_ends_before_all_is_sent_leaves_nothing_open(
    new_loop: NewLoop, any_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, threads = open_descriptors(), threading.enumerate()

    async def send_and_close() -> None:
        transport, _ = await own(Recorder, any_group, A)
        transport.sendto(b"opens the socket")
        [way] = transport._sending._ways
        way.outgoing._queue.append((b"waits", ("127.0.0.1", 9)))
        transport.close()

    def run() -> None:
        loop = new_loop()
        loop.run_until_complete(send_and_close())
        loop.close()
        del loop
        without_threads(threads)

    monkeypatch.setattr(waking, "_LOOKS", 0.01)
    with pytest.warns(ResourceWarning, match="unclosed transport <MulticastTransport .*closing"):
        run()
    assert open_descriptors() == before


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_a_transport_that_was_never_closed_says_so(
    new_loop: NewLoop, any_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop holds it as long as there is one."""
    threads = threading.enumerate()

    def forget() -> None:
        loop = new_loop()
        loop.run_until_complete(own(Recorder, any_group, A))
        gc.collect()
        loop.run_until_complete(turns())
        loop.close()
        del loop
        without_threads(threads)

    monkeypatch.setattr(waking, "_LOOKS", 0.01)
    with pytest.warns(ResourceWarning, match="unclosed transport <MulticastTransport"):
        forget()
