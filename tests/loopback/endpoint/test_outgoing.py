"""What waits to be sent, with asyncio's and uvloop's own transports as the reference for its limits.

A UDP socket on lo takes whatever is sent. So these have the end of a pair of sockets that takes a few
datagrams and then no more until they are read at the other.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from aiomcast import (
    ArgumentError,
    ArgumentTypeError,
    MulticastProtocol,
    RefusedError,
    create_multicast_endpoint,
)
from aiomcast.endpoint.outgoing import Outgoing, write_buffer_limits
from tests.support.platforms import needs_datagram_pairs
from tests.support.sending import LO
from tests.support.waiting import turns, until

Peer = tuple[Any, ...]  # Any: asyncio's own type for an address


class Pair:
    """An `Outgoing` on the end of a pair, and what it tells."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        end, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.end = Connected(end)
        self.told: list[object] = []
        self.on_error: Callable[[], object] = lambda: None
        self.outgoing = Outgoing(
            self.loop,
            self.end,
            pause_writing=lambda: self.told.append("pause"),
            resume_writing=lambda: self.told.append("resume"),
            error_received=self.refused,
        )
        self.before = fill(self.end, self.other)

    def refused(self, error: OSError) -> None:
        """Be told of an error, and do what a test wants done then."""
        self.told.append(error)
        self.on_error()

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send to anybody: the pair knows one peer only."""
        self.outgoing.sendto(data, ("127.0.0.1", 5))

    async def read(self, count: int) -> list[bytes]:
        """Read at the other end, which makes room."""
        async with asyncio.timeout(10):
            return [await self.loop.sock_recv(self.other, 1 << 17) for _ in range(count)]


class Connected(socket.socket):
    """One that sends to its only peer, whatever the address."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.raising: OSError | None = None
        self.setblocking(False)

    def sendto(self, data: Any, *_: Any) -> int:  # Any: what the base class takes
        """Send, or raise what a test wants."""
        if self.raising is not None:
            raise self.raising
        return self.send(data)


KINDS = ["a loop that watches", "a loop that does not"]


def fill(end: socket.socket, other: socket.socket) -> int:
    """Fill the pair up; return how many datagrams that took."""
    other.setblocking(False)
    end.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            end.send(b"before")
            count += 1
    return count


@pytest_asyncio.fixture(params=[pytest.param(kind, marks=needs_datagram_pairs) for kind in KINDS])
async def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Give one, also on a loop that cannot tell when it may be written to."""
    made = Pair()
    if request.param == "a loop that does not":

        def unable(*arguments: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(made.loop, "add_writer", unable)
        monkeypatch.setattr(made.loop, "remove_writer", unable)
    yield made
    made.outgoing.abort()
    made.end.close()
    made.other.close()


async def test_what_waits_goes_in_order_when_there_is_room(pair: Pair) -> None:
    payloads = [b"%d" % number for number in range(20)]
    for payload in payloads:
        pair.send(payload)
    assert pair.outgoing.get_write_buffer_size() > sum(map(len, payloads))
    assert (await pair.read(pair.before + 20))[pair.before :] == payloads
    assert pair.outgoing.get_write_buffer_size() == 0
    await turns()
    with contextlib.suppress(NotImplementedError):
        assert not pair.loop.remove_writer(pair.end)  # not watched any more
    pair.send(b"at once")
    assert pair.other.recv(100) == b"at once"
    assert pair.told == []


async def test_a_copy_waits(pair: Pair) -> None:
    data = bytearray(b"as it was")
    pair.send(data)
    data[:] = b"different"
    assert (await pair.read(pair.before + 1))[-1] == b"as it was"


async def test_an_empty_datagram_goes_and_takes_room(pair: Pair) -> None:
    pair.send(b"")
    assert pair.outgoing.get_write_buffer_size() > 0
    assert (await pair.read(pair.before + 1))[-1] == b""
    pair.send(b"")
    assert await pair.read(1) == [b""]


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_buffer_in_pieces_is_no_datagram(pair: Pair, is_full: bool) -> None:
    """Whether anything waits or not."""
    if not is_full:
        await pair.read(pair.before)
    with pytest.raises(ArgumentTypeError) as caught:
        pair.send(memoryview(b"in pieces")[::2])
    assert caught.value.hint
    assert (pair.told, pair.outgoing.get_write_buffer_size()) == ([], 0)


async def test_what_cannot_be_waited_for_is_told_of(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no more may be watched")

    with monkeypatch.context() as patched:
        patched.setattr(pair.loop, "add_writer", unable)
        pair.send(b"gone")
    [error] = pair.told
    assert isinstance(error, RefusedError)
    assert (error.errno, pair.outgoing.get_write_buffer_size()) == (errno.ENOSPC, 0)
    pair.send(b"goes on")
    assert (await pair.read(pair.before + 1))[-1] == b"goes on"


async def test_an_abort_in_what_is_told_of_an_error_ends_it(pair: Pair) -> None:
    pair.send(b"one")
    pair.send(b"two")
    pair.end.raising = OSError(errno.EPERM, "no")
    pair.on_error = pair.outgoing.abort
    failures: list[object] = []
    pair.loop.set_exception_handler(lambda _, context: failures.append(context))
    await pair.read(pair.before)
    await until(lambda: bool(pair.told))
    await turns()
    assert (len(pair.told), failures) == (1, [])
    assert (pair.outgoing.dropped, pair.outgoing.get_write_buffer_size()) == (1, 0)  # the other was told of
    pair.send(b"late")
    assert (pair.outgoing.dropped, pair.outgoing.get_write_buffer_size()) == (2, 0)
    with contextlib.suppress(NotImplementedError):
        assert not pair.loop.remove_writer(pair.end)


async def test_what_is_raised_of_an_error_does_not_come_again(pair: Pair) -> None:
    def cancelled() -> None:
        raise asyncio.CancelledError

    failures: list[object] = []
    pair.loop.set_exception_handler(lambda _, context: failures.append(context))
    pair.send(b"one")
    pair.send(b"two")
    pair.end.raising = OSError(errno.EPERM, "no")
    pair.on_error = cancelled
    await pair.read(pair.before)
    await until(lambda: len(pair.told) == 2)
    await turns(20)
    assert (len(pair.told), len(failures)) == (2, 2)
    assert pair.outgoing.get_write_buffer_size() == 0


async def test_nothing_overtakes_what_waits(pair: Pair) -> None:
    pair.send(b"first")
    pair.other.recv(100)
    pair.send(b"second")
    assert (await pair.read(pair.before + 1))[-2:] == [b"first", b"second"]


async def test_pauses_above_the_high_limit_and_resumes_at_the_low_one(pair: Pair) -> None:
    pair.outgoing.set_write_buffer_limits(3000, 6000)
    for _ in range(5):
        pair.send(bytes(1000))
    assert pair.told == []
    pair.send(bytes(1000))
    pair.send(bytes(1000))
    assert pair.told == ["pause"]
    await pair.read(pair.before)
    await until(lambda: pair.told == ["pause", "resume"])
    assert 0 <= pair.outgoing.get_write_buffer_size() <= 3000
    await pair.read(7)


async def test_new_limits_hold_at_once(pair: Pair) -> None:
    pair.send(bytes(1000))
    pair.outgoing.set_write_buffer_limits(0, 10)
    assert pair.told == ["pause"]
    pair.outgoing.set_write_buffer_limits(5000, 10000)
    assert pair.told == ["pause", "resume"]


async def test_what_is_refused_is_told_and_costs_no_other(pair: Pair) -> None:
    pair.send(b"one")
    pair.send(b"two")
    pair.end.raising = OSError(errno.EPERM, "no")
    await pair.read(pair.before)  # there is room, and the system refuses all the same
    await until(lambda: len(pair.told) == 2)
    assert all(isinstance(error, RefusedError) and error.errno == errno.EPERM for error in pair.told)
    assert pair.outgoing.get_write_buffer_size() == 0
    pair.end.raising = None
    pair.send(b"three")
    assert await pair.read(1) == [b"three"]


async def test_a_close_waits_for_what_waits(pair: Pair) -> None:
    ended: list[bool] = []
    pair.send(b"last")
    pair.outgoing.close(lambda: ended.append(True))
    await turns(20)
    assert ended == []
    assert (await pair.read(pair.before + 1))[-1] == b"last"
    await until(lambda: ended == [True])
    await turns()
    assert ended == [True]


async def test_a_close_with_nothing_waiting_is_at_once(pair: Pair) -> None:
    ended: list[bool] = []
    pair.outgoing.close(lambda: ended.append(True))
    assert ended == [True]


async def test_an_abort_drops_and_counts(pair: Pair) -> None:
    ended: list[bool] = []
    for _ in range(3):
        pair.send(b"x")
    pair.outgoing.close(lambda: ended.append(True))
    pair.outgoing.abort()
    assert (ended, pair.outgoing.dropped, pair.outgoing.get_write_buffer_size()) == ([True], 3, 0)
    await pair.read(pair.before)
    await turns()
    with pytest.raises(BlockingIOError):
        pair.other.recv(1)


@pytest.mark.parametrize(
    ("high", "low"),
    [(None, None), (100, None), (None, 100), (100, 50), (0, 0), (10, 20), (-1, None), (5, -1)],
)
async def test_limits_are_those_of_the_loops_own(high: int | None, low: int | None) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    try:
        expected = None
        with contextlib.suppress(ValueError):
            transport.set_write_buffer_limits(high, low)  # type: ignore[attr-defined]  # of both loops' own
            expected = transport.get_write_buffer_limits()  # type: ignore[attr-defined]  # as above
        found = None
        with contextlib.suppress(ArgumentError):
            found = write_buffer_limits(high, low)
        assert found == expected
    finally:
        transport.close()
        await turns()


# In a transport


class Told(MulticastProtocol):
    def __init__(self) -> None:
        self.told: list[str] = []

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.told.append("lost")


@needs_datagram_pairs
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_transport_tells_its_protocol(how: str, any_group: str) -> None:
    transport, protocol = await create_multicast_endpoint(Told, any_group, 5000, interface=LO)
    transport.set_write_buffer_limits(high=1000)
    transport.sendto(b"opens the socket")
    plain, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    end = Connected(plain)
    before = fill(end, other)
    [way] = transport._sending._ways
    way.outgoing._sock = way.outgoing._writable._sock = end
    with other, end:
        transport.sendto(bytes(1001))
        transport.sendto(b"last")
        assert protocol.told == ["pause"]
        assert transport.get_write_buffer_size() > 1005
        getattr(transport, how)()
        await turns(20)
        if how == "abort":
            assert protocol.told == ["pause", "lost"]
            return
        assert protocol.told == ["pause"]
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            got = [await loop.sock_recv(other, 2000) for _ in range(before + 2)]
        assert got[-1] == b"last"
        await until(lambda: protocol.told == ["pause", "resume", "lost"])
