"""A `PacketPush` as the sink of a reader: a datagram that comes alone is handed on like any other.

The compiled reader makes no packet of it where only its payload is wanted; nobody can tell but by the time.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import aiomcast
from aiomcast import Packet, SourceFilter
from aiomcast.reading.options import STAMPS
from tests.support.readers import reading, sender, sock
from tests.support.sending import A

__all__ = ["reading", "sender", "sock"]

LARGE = b"l" * 1400


class Scene:
    """A reader in a set of its own, and a push of the same kind, which notes what it hands on."""

    def __init__(self, reading: ModuleType, sock: aiomcast.MulticastSocket, kind: type[Any]) -> None:
        self.push = kind()
        self.handed: list[bytes] = []
        self.push._receive = lambda data, address: self.handed.append(data)
        self.push._is_open = True
        self.reader = reading.Reader(sock, SourceFilter.any())
        self.reader.sink = self.push.packets
        self.set = reading.ReadSet()
        self.set.add(self.reader)

    def counts(self) -> tuple[int, int, int]:
        return self.reader.received, self.reader.octets, self.reader.unmade


def noting(reading: ModuleType) -> type[Any]:  # Any: of whichever reader
    """Return a kind of push that notes what it is to tell."""

    class Push(reading.PacketPush):  # type: ignore[misc, name-defined]  # of whichever reader
        def __init__(self) -> None:
            super().__init__()
            self.told: list[BaseException] = []
            self.ended: list[BaseException] = []

        def _address_of(self, flow: aiomcast.Flow) -> str:
            return flow.source

        def _report(self, error: Exception, what: str) -> None:
            self.told.append(error)

        def _end_program(self, error: BaseException) -> None:
            self.ended.append(error)

    return Push


@pytest.fixture
def scene(reading: ModuleType, sock: aiomcast.MulticastSocket) -> Iterator[Scene]:
    made = Scene(reading, sock, noting(reading))
    yield made
    made.set.close()


@pytest.mark.parametrize("payloads", [[b"one"], [b""], [LARGE], [b"one", b"two", b""]])
def test_payloads_are_handed_on_and_counted(
    scene: Scene, sender: socket.socket, payloads: list[bytes]
) -> None:
    for payload in payloads:
        sender.send(payload)
    scene.set.read(64)
    assert scene.handed == payloads
    assert scene.counts() == (len(payloads), sum(map(len, payloads)), 0)
    assert (scene.reader.latest_ns is not None) == STAMPS
    assert scene.reader.dry


def test_one_after_the_other(scene: Scene, sender: socket.socket) -> None:
    stamps = []
    for number in range(3):
        sender.send(b"%d" % number)
        scene.set.read(64)
        stamps.append(scene.reader.latest_ns)
    assert scene.handed == [b"0", b"1", b"2"]
    assert stamps == (sorted(set(stamps)) if STAMPS else [None] * 3)


@pytest.mark.parametrize("error", [LookupError("mine"), SystemExit(3)])
def test_what_is_raised_is_told_and_costs_nothing(
    scene: Scene, sender: socket.socket, error: BaseException
) -> None:
    def fail(data: bytes, address: object) -> None:
        raise error

    scene.push._receive = fail
    sender.send(b"lone")
    scene.set.read(64)
    assert (scene.push.told, scene.push.ended) == (
        ([error], []) if isinstance(error, Exception) else ([], [error])
    )
    assert scene.counts() == (1, 4, 0)


def test_what_telling_raises_is_raised_and_the_datagram_counted(scene: Scene, sender: socket.socket) -> None:
    def fail(*_: object) -> None:
        raise SystemExit

    scene.push._receive = scene.push._end_program = fail
    sender.send(b"lone")
    with pytest.raises(SystemExit):
        scene.set.read(64)
    assert scene.counts() == (1, 4, 1)


def test_in_a_pause_it_waits_as_a_packet(scene: Scene, sender: socket.socket) -> None:
    scene.push._is_open = False
    sender.send(b"lone")
    scene.set.read(64)
    (packet,) = scene.push._queue
    assert isinstance(packet, Packet)
    assert (packet.data, packet.flow.source, packet.timestamp_ns) == (b"lone", A, scene.reader.latest_ns)


def test_it_goes_on_behind_what_waits(scene: Scene, sender: socket.socket) -> None:
    scene.push._is_open = False
    sender.send(b"first")
    scene.set.read(64)
    scene.push._is_open = True
    sender.send(b"second")
    scene.set.read(64)
    assert scene.handed == [b"first", b"second"]


@pytest.mark.parametrize("whose", ["the push's", "another sink's"])
def test_who_takes_batches_is_given_one(scene: Scene, sender: socket.socket, whose: str) -> None:
    batches: list[list[Packet]] = []
    if whose == "the push's":
        scene.push._receive_batch = batches.append
    else:
        scene.reader.sink = batches.append
    sender.send(b"lone")
    scene.set.read(64)
    assert [[packet.data for packet in batch] for batch in batches] == [[b"lone"]]
    assert scene.handed == []


def test_a_push_that_takes_packets_in_its_own_way_is_given_them(
    reading: ModuleType, sock: aiomcast.MulticastSocket, sender: socket.socket
) -> None:
    taken: list[Packet] = []

    class Own(noting(reading)):  # type: ignore[misc]  # of whichever reader
        def packets(self, batch: list[Packet]) -> None:
            taken.extend(batch)

    scene = Scene(reading, sock, Own)
    sender.send(b"lone")
    scene.set.read(64)
    scene.set.close()
    assert [packet.data for packet in taken] == [b"lone"]


@pytest.mark.parametrize("turn", ["closes", "takes out", "swaps"])
def test_whatever_is_done_meanwhile_holds_for_the_next(
    scene: Scene, sender: socket.socket, turn: str
) -> None:
    work: dict[str, Callable[[], None]] = {
        "closes": scene.set.close,
        "takes out": lambda: scene.set.discard(scene.reader),
        "swaps": lambda: scene.reader.set_filter(SourceFilter.exclude([A])),
    }

    def act(data: bytes, address: object) -> None:
        scene.handed.append(data)
        work[turn]()

    scene.push._receive = act
    sender.send(b"first")
    scene.set.read(64)
    sender.send(b"second")
    scene.set.read(64)
    assert scene.handed == [b"first"]
    assert scene.reader.filtered == (turn == "swaps")


def test_what_the_kernel_has_coalesced_is_cut(scene: Scene, sender: socket.socket) -> None:
    if not scene.reader.coalesces:
        pytest.skip("this system coalesces nothing")
    sender.setsockopt(17, 103, 10)  # SOL_UDP, UDP_SEGMENT
    sender.send(b"0123456789" * 3 + b"end")
    scene.set.read(64)
    assert scene.handed == [b"0123456789"] * 3 + [b"end"]
    assert scene.counts() == (4, 33, 0)
