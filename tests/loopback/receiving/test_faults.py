"""Whichever call of the system is refused: what was in force stays so, in kernel, library and traffic."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

import aiomcast
from aiomcast import InconsistentError, LimitError, Membership, Receiver, RefusedError, SourceFilter, errors
from aiomcast.system.sockets import MulticastSocket
from tests.support.accounts import open_descriptors
from tests.support.inside import readers_of, shards_of
from tests.support.platforms import IS_WINDOWS
from tests.support.seam import Faults, changes_intercepted, faults, refusal
from tests.support.sending import A, B, C, sending
from tests.support.waiting import turns, until

__all__ = ["faults"]

include, exclude = SourceFilter.include, SourceFilter.exclude
MANY = [f"127.0.1.{number}" for number in range(1, 26)]
PROBES = [A, B, C, MANY[0], MANY[12], MANY[24]]
PORT = 5000
NUMBERS = [errno.ENOBUFS, errno.ENOMEM, errno.ENODEV]

Change = Callable[[Receiver, list[Membership]], Awaitable[None]]


def swap(wanted: aiomcast.Sources) -> Change:
    async def change(receiver: Receiver, ones: list[Membership]) -> None:
        await ones[0].swap(wanted)

    return change


def delta(name: str, source: str) -> Change:
    async def change(receiver: Receiver, ones: list[Membership]) -> None:
        await getattr(ones[0], name)(source)

    return change


async def apply_to_five(receiver: Receiver, ones: list[Membership]) -> None:
    wanted = [include([B]), include(MANY), exclude([A]), SourceFilter.none(), SourceFilter.any()]
    await receiver.filters.apply(dict(zip(ones, wanted, strict=True)))


# what: (the filters before, of memberships on ports 5000, 5001, ...; the change)
CHANGES: dict[str, tuple[list[SourceFilter], Change]] = {
    "list": ([include([A, B])], swap([B, C])),
    "sharded, growing": ([include(MANY[:12])], swap(MANY)),
    "sharded, shrinking": ([include(MANY)], swap(MANY[12:14])),
    "sharded, all others": ([include(MANY[:20])], swap([A, B, *MANY[20:]])),
    "to EXCLUDE": ([include([A, B])], swap(exclude([C, A]))),
    "to INCLUDE": ([exclude([C])], swap([A, C])),
    "to EXCLUDE, nothing in common": ([include([A])], swap(exclude([A, B]))),
    "sharded to EXCLUDE": ([include(MANY)], swap(exclude([A, MANY[0]]))),
    "EXCLUDE to sharded": ([exclude([A])], swap([A, *MANY])),
    "join_source": ([include([A])], delta("join_source", B)),
    "join_source, the first": ([SourceFilter.none()], delta("join_source", B)),
    "join_source, another socket": ([include(MANY[:10])], delta("join_source", A)),
    "leave_source": ([include([A, B])], delta("leave_source", A)),
    "leave_source, the last": ([include([A])], delta("leave_source", A)),
    "block_source": ([SourceFilter.any()], delta("block_source", A)),
    "unblock_source": ([exclude([A])], delta("unblock_source", A)),
    "apply": ([include([A]), include(MANY[:11]), include([A, B]), exclude([C]), SourceFilter.none()],
              apply_to_five),
}  # fmt: skip


@attrs.define
class Probes:
    """Senders at all of `PROBES`."""

    stack: ExitStack
    group: str
    rounds: int = 0
    open: dict[tuple[str, int], socket.socket] = attrs.field(factory=dict)

    async def get_through(self, stream: aiomcast.PacketStream, ones: list[Membership]) -> None:
        """Each source that a filter allows comes once, and no other comes."""
        self.rounds += 1
        payload = b"%d" % self.rounds
        for source, one in itertools.product(PROBES, ones):
            key = source, one.port
            if key not in self.open:
                self.open[key] = self.stack.enter_context(sending(source, self.group, one.port))
            self.open[key].send(payload)
        expected = sorted(
            (source, one.port) for source in PROBES for one in ones if one.filter.allows(source)
        )
        await until(lambda: len(stream) >= len(expected))
        await turns(3)
        packets = [await anext(stream) for _ in range(len(stream))]
        assert {packet.data for packet in packets} <= {payload}
        assert sorted((packet.source, packet.port) for packet in packets) == expected


def typed(error: RefusedError, number: int) -> None:
    assert error.errno == number
    assert error.hint or number == errno.ENOBUFS
    assert isinstance(error, errors.InterfaceGoneError) is (number == errno.ENODEV)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
async def test_a_refused_change_changes_nothing(
    change: str, number: int, any_group: str, faults: Faults
) -> None:
    before, make = CHANGES[change]
    async with Receiver() as receiver:
        with ExitStack() as stack:
            ones = [
                await receiver.join(any_group, PORT + n, sources=sources, interface="lo")
                for n, sources in enumerate(before)
            ]
            stream, probes = receiver.packets(), Probes(stack, any_group)
            await probes.get_through(stream, ones)
            for failing in itertools.count(1):
                descriptors = open_descriptors()
                faults.fail(failing.__eq__, number)
                try:
                    await make(receiver, ones)
                except RefusedError as error:
                    faults.stop()
                    typed(error, number)
                    assert list(receiver.filters.values()) == before == [one.filter for one in ones]
                else:
                    if faults.stop() < failing:
                        break  # there is no such call any more
                    # a socket can do without this one (UDP_GRO), or it was the leave of one that closes
                    assert [one.filter for one in ones] != before
                    await receiver.filters.apply(dict(zip(ones, before, strict=True)))
                    await until(
                        lambda: all(len(shards_of(one).all_readers) == len(readers_of(one)) for one in ones)
                    )
                assert [one.kernel_filter() for one in ones] == before
                assert open_descriptors() == descriptors
                await probes.get_through(stream, ones)
            assert failing > 1
            assert [one.kernel_filter() for one in ones] == [one.filter for one in ones] != before
            await probes.get_through(stream, ones)


JOINS = [include([A]), include(MANY[:5]), include(MANY), exclude(MANY[:3]), SourceFilter.any()]


@pytest.mark.parametrize("wanted", JOINS, ids=lambda one: f"{one.mode.value} {len(one.sources)}")
@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
async def test_a_refused_join_joins_nothing(
    wanted: SourceFilter, number: int, any_group: str, faults: Faults
) -> None:
    async with Receiver() as receiver:
        first = await receiver.join(any_group, PORT + 1, sources=[A], interface="lo")
        stream = receiver.packets()
        with ExitStack() as stack:
            probes = Probes(stack, any_group)
            await probes.get_through(stream, [first])
            descriptors = open_descriptors()
            for failing in itertools.count(1):
                faults.fail(failing.__eq__, number)
                try:
                    joined = await receiver.join(any_group, PORT, sources=wanted, interface="lo")
                except RefusedError as error:
                    typed(error, number)
                else:
                    assert joined.kernel_filter() == wanted == receiver.filters[joined]
                    await joined.leave()
                calls = faults.stop()
                assert receiver.memberships == (first,)
                assert open_descriptors() == descriptors
                if calls < failing:
                    break
            joined = await receiver.join(any_group, PORT, sources=wanted, interface="lo")
            await probes.get_through(stream, [first, joined])


def is_member(group: str) -> bool:
    return socket.inet_aton(group)[::-1].hex().upper() in Path("/proc/net/igmp").read_text("ascii")


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
@pytest.mark.parametrize("end", ["leave", "aclose"])
async def test_a_leave_that_is_refused_leaves_all_the_same(
    end: str, number: int, any_group: str, faults: Faults
) -> None:
    """Closing the socket leaves too."""
    descriptors = open_descriptors()
    async with Receiver() as receiver:
        one = await receiver.join(any_group, PORT, sources=MANY, interface="lo")
        assert is_member(any_group)
        faults.fail(lambda call: True, number)
        await (one.leave() if end == "leave" else receiver.aclose())
        faults.stop()
        assert receiver.memberships == ()
    assert open_descriptors() == descriptors
    assert not is_member(any_group)


@pytest.mark.skipif(IS_WINDOWS, reason="it counts the calls that Linux needs, with its limit of sources")
async def test_an_undo_that_is_refused_puts_back_all_that_it_can(any_group: str, faults: Faults) -> None:
    """One call of the undo fails: everything but that one socket is as before, and the error says which."""
    async with Receiver() as receiver:
        ones = [await receiver.join(any_group, PORT + n, sources=MANY, interface="lo") for n in range(2)]
        wanted = dict.fromkeys(ones, include([A, B, *MANY[3:10], *MANY[12:20], *MANY[21:]]))
        faults.fail(lambda call: call in (6, 7))  # the last set, and the first of the five of the undo
        with pytest.raises(InconsistentError) as caught:
            await receiver.filters.apply(wanted)
        assert faults.stop() == 11
        assert any_group in str(caught.value)
        assert isinstance(caught.value.__cause__, LimitError)
        assert [one.filter for one in ones] == [include(MANY)] * 2 == [ones[0].kernel_filter(), include(MANY)]
        held = [reader.sock.kernel_filter().sources for reader in readers_of(ones[1])]
        assert sum(not sources.issubset(MANY) for sources in held) <= 1
        for one in ones:  # it can be mended
            await one.swap(MANY)
            assert one.kernel_filter() == one.filter == include(MANY)


async def test_a_new_socket_that_cannot_be_undone_is_closed_and_that_is_enough(
    any_group: str, faults: Faults
) -> None:
    """A join is one source, then the list. The list is refused, and so is the leave: no harm is done."""
    async with Receiver() as receiver:
        await (await receiver.join(any_group, PORT, sources=[A], interface="lo")).leave()  # asks once
        faults.fail(lambda call: False)
        await (await receiver.join(any_group, PORT, sources=[A, B], interface="lo")).leave()
        descriptors = open_descriptors()
        last = faults.stop() - 1  # the leave came after it
        faults.fail(lambda call: call >= last)
        with pytest.raises(LimitError):
            await receiver.join(any_group, PORT, sources=[A, B], interface="lo")
        assert (receiver.memberships, open_descriptors()) == ((), descriptors)


class NoFiles:
    """From the `failing`-th on, no socket can be made; those that exist can be wrapped."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.made, self.failing = 0, 0
        real = socket.socket.__init__

        def init(
            sock: socket.socket, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
        ) -> None:
            self.made += fileno is None
            if fileno is None and 0 < self.failing <= self.made:
                raise refusal(errno.EMFILE)
            real(sock, family, type, proto, fileno)

        patch.setattr(socket.socket, "__init__", init)

    def fail(self, failing: int) -> None:
        """Count anew; 0: never."""
        self.made, self.failing = 0, failing


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[NoFiles]:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield NoFiles(monkeypatch)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


NEED_SOCKETS: dict[str, tuple[SourceFilter | None, SourceFilter]] = {
    "join": (None, include([A])), "sharded join": (None, include(MANY)),
    "growing": (include([A]), include([A, *MANY])), "to EXCLUDE": (include([A, B]), exclude([B])),
    "to sharded": (SourceFilter.any(), include([A, *MANY])),
}  # fmt: skip


@pytest.mark.parametrize("need", NEED_SOCKETS)
async def test_whichever_socket_cannot_be_made(need: str, any_group: str, no_files: NoFiles) -> None:
    before, wanted = NEED_SOCKETS[need]
    async with Receiver() as receiver:
        first = await receiver.join(any_group, PORT, sources=before or [A], interface="lo")
        held, descriptors = first.filter, open_descriptors()
        for failing in itertools.count(1):
            no_files.fail(failing)
            refused = None
            try:
                if before is None:
                    await receiver.join(any_group, PORT + 1, sources=wanted, interface="lo")
                else:
                    await first.swap(wanted)
            except OSError as error:
                refused = error
            no_files.fail(0)
            if refused is None:
                break
            assert isinstance(refused, LimitError), f"socket {failing}: {refused!r}"
            assert (refused.errno, refused.limit) == (errno.EMFILE, "open files")
            assert "ulimit" in refused.hint
            assert receiver.memberships == (first,)
            assert first.filter == first.kernel_filter() == held
            assert open_descriptors() == descriptors
        assert failing > 1
        assert receiver.memberships[-1].kernel_filter() == receiver.memberships[-1].filter == wanted


class Watched:
    """At each call of the system: sends a packet, and refuses one of a port's."""

    def __init__(self, sender: socket.socket, port: int, failing: int) -> None:
        self._sender, self._port, self._failing = sender, port, failing
        self._calls = 0
        self.sent: list[bytes] = []

    def count(self, sock: socket.socket, *arguments: object) -> None:
        """See one call."""
        self.sent.append(b"%d" % len(self.sent))
        self._sender.send(self.sent[-1])
        self._calls += isinstance(sock, MulticastSocket) and sock.port == self._port
        if self._calls == self._failing:
            self._failing = 0
            raise refusal(errno.ENOMEM)


REFUSING_LAST = {
    "another shrinks": (include([A, C]), include([A]), include(MANY[:12])),
    "another changes its list": (include([A, C]), include([A, B]), include(MANY[:12])),
    "another changes its mode": (include([A, C]), exclude([C]), include(MANY[:12])),
}


@pytest.mark.skipif(IS_WINDOWS, reason="it counts the calls that Linux needs, with its limit of sources")
@pytest.mark.parametrize("what", REFUSING_LAST)
async def test_a_refused_apply_costs_no_packet_while_it_tries(what: str, any_group: str) -> None:
    """All that can be refused without touching a membership comes first; then the sets that let in more.

    After every call of the system a packet of a source goes out that the one membership is to lose;
    the calls of the other are refused, one after the other, the last of them being a set.
    """
    before, after, growing = REFUSING_LAST[what]
    with sending(C, any_group, PORT) as sender:
        async with Receiver(receive_buffer=4 << 20, gro=False) as receiver:  # all calls are needed
            one = await receiver.join(any_group, PORT, sources=before, interface="lo")
            two = await receiver.join(any_group, PORT + 1, sources=MANY[:10], interface="lo")
            stream = receiver.packets()
            for failing in itertools.count(1):
                watched = Watched(sender, PORT + 1, failing)
                refused = False
                with changes_intercepted(watched.count):
                    try:
                        await receiver.filters.apply({one: after, two: growing})
                    except RefusedError:
                        refused = True
                if not refused:
                    break
                sender.send(b"last")
                got = []
                async with asyncio.timeout(10):
                    async for packet in stream:
                        got.append(packet.data)
                        if packet.data == b"last":
                            break
                assert got[:-1] == watched.sent, failing
                assert [one.filter, two.filter] == [before, include(MANY[:10])]
            assert failing > 7
            assert one.filter == one.kernel_filter() == after
