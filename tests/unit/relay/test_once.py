"""What is new of the stored messages, and what is missing."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from aiomcast import Packet
from aiomcast.relay.broker import Outcome, Stored
from aiomcast.relay.counters import FlowCounter
from aiomcast.relay.identity import PayloadIdentity
from aiomcast.relay.messages import Message
from aiomcast.relay.once import Missing, Once
from aiomcast.values import bounds
from aiomcast.values.packets import Flow

FLOW = Flow("10.0.0.2", 4000, "239.1.1.1", 5000, 3)
SECOND = 1_000_000_000
SUBJECT = "mcast.x"


class Line:
    """A relay, as far as its messages go; its clock is off by `skew` seconds."""

    def __init__(self, name: str, skew: float = 0.0, flow: Flow = FLOW) -> None:
        self.flow = flow
        self.counter = FlowCounter(flow, SUBJECT, "eth0", name, "0f")
        self.identify = PayloadIdentity(10.0)
        self.skew = skew

    def message(self, data: bytes, at: float) -> tuple[int, Message]:
        packet = Packet(data, self.flow, int((at + self.skew) * SECOND))
        number, tags = self.counter.next(packet)
        return number, Message(SUBJECT, tags, data, self.identify(packet))


class Server:
    """A server's stream, and what a subscription takes of it."""

    def __init__(self) -> None:
        self.once = Once()
        self.known: set[str] = set()
        self.came: list[bytes] = []
        self.told: list[Missing] = []

    def store(self, line: Line, data: bytes, at: float, *, is_lost: bool = False) -> None:
        """Store a message of a line, `at` seconds; one that is lost is acknowledged and gone."""
        number, message = line.message(data, at)
        if message.identity in self.known:
            line.counter.settle(number, Outcome.MERGED)
            return
        self.known.add(message.identity)
        line.counter.settle(number, Outcome.STORED)
        if not is_lost:
            self.take(message, at)

    def take(self, message: Message, at: float) -> None:
        is_new, missing = self.once.take(Stored(int(at * SECOND), message), is_packet=True)
        if is_new:
            self.came.append(message.data)
        if missing:
            self.told.append(missing)


def numbered(numbers: Iterable[int]) -> list[bytes]:
    return [b"%d" % number for number in numbers]


def test_one_relay_and_nothing_missing() -> None:
    server, line = Server(), Line("a")
    for at, data in enumerate(numbered(range(50))):
        server.store(line, data, at)
    assert server.came == numbered(range(50))
    assert server.told == []


def test_flows_that_share_a_subject_are_counted_apart() -> None:
    """The source sends from two ports, and the template of the subject has no port of the source."""
    server = Server()
    lines = [Line("a", flow=Flow(FLOW.source, port, FLOW.group, FLOW.port, 3)) for port in (4000, 4001)]
    for at, number in enumerate(range(0, 90, 3)):
        for line, data in zip([lines[0], *lines], numbered([number, number + 1, number + 2]), strict=True):
            server.store(line, data, at)
    assert server.came == numbered(range(90))
    assert server.told == []


@pytest.mark.parametrize("seed", range(20))
def test_two_relays_that_lose_differently(seed: int) -> None:
    draw = random.Random(seed)
    server, a, b = Server(), Line("a"), Line("b")
    either = []
    for at, data in enumerate(numbered(range(300))):
        lines = [line for line in (a, b) if draw.random() < 0.8]
        draw.shuffle(lines)
        for line in lines:
            server.store(line, data, at * 0.1)
        if lines:
            either.append(data)
    assert server.came == either
    assert server.told == []


def test_what_was_acknowledged_and_is_gone_is_told_of() -> None:
    server, line = Server(), Line("a")
    for at, data in enumerate(numbered(range(20))):
        server.store(line, data, at, is_lost=at in (5, 6, 12))
    assert [one.count for one in server.told] == [2, 1]
    assert server.told[0] == Missing("a", SUBJECT, 2)
    assert server.once.statistics().missing == 3
    assert server.came == numbered(at for at in range(20) if at not in (5, 6, 12))


def test_what_came_before_the_first_that_is_seen_is_not_missing() -> None:
    server, line = Server(), Line("a")
    for at, data in enumerate(numbered(range(20))):
        server.store(line, data, at, is_lost=at < 10)
    assert server.told == []


def test_a_packet_on_the_edge_of_two_slots_comes_once() -> None:
    server, a, b = Server(), Line("a"), Line("b", skew=0.002)
    for number, at in enumerate([5.0, 9.999, 15.0]):
        for line in (a, b):
            server.store(line, b"%d" % number, at)
    assert server.came == numbered(range(3))
    assert server.once.statistics().repeated == 1
    assert server.told == []


@pytest.mark.parametrize("skew", [3600.0, -3600.0, 11.0])
def test_clocks_that_differ_double_nothing(skew: float) -> None:
    server, a, b = Server(), Line("a"), Line("b", skew=skew)
    for number in range(100):
        for line in (a, b):
            server.store(line, b"%d" % number, number * 0.3)
    assert server.came == numbered(range(100))
    assert server.once.statistics().repeated == 100


@pytest.mark.parametrize("skew", [0.0, 3600.0])
def test_what_a_source_repeats_is_not_taken_for_a_copy(skew: float) -> None:
    server, a, b = Server(), Line("a"), Line("b", skew=skew)
    for number in range(100):
        for line in (a, b) if number % 2 else (b, a):
            server.store(line, b"heartbeat", number * 1.0)
    assert len(server.came) == 100


def test_what_is_stored_again_comes_once() -> None:
    server, line = Server(), Line("a")
    for at in range(3):
        _, message = line.message(b"%d" % at, at)
        server.take(message, at)
        server.take(message, at + 0.5)
    assert server.came == numbered(range(3))
    assert server.once.statistics().repeated == 3


def test_what_is_no_relays_is_foreign() -> None:
    once = Once()
    foreign = Stored(0, Message("mcast.x", {}, b"", ""))
    assert once.take(foreign, is_packet=False) == (False, None)
    assert once.statistics().foreign == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "IDENTITIES", 10)
    monkeypatch.setattr(bounds, "FLOWS_RELAYED", 10)
    server = Server()
    for number in range(100):
        server.store(Line(f"relay{number}"), b"%d" % number, number)
    kept = (server.once._seen, server.once._recent, server.once._clocks, server.once._lines)
    assert max(len(one) for one in kept) <= 10
