"""What waits in front of a protocol, and when it is handed on: a loop that a test turns by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from aiomcast import ArgumentTypeError, Flow, MulticastProtocol, Packet
from aiomcast.endpoint.delivery import Delivery

A, B = (Flow(source, 4000, "239.1.1.1", 5000, 1) for source in ("127.0.0.2", "127.0.0.3"))


class Turned:
    """As much of an event loop as it needs."""

    def __init__(self) -> None:
        self.due: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def call_soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Note a call."""
        self.due.append((call, arguments))

    def turn(self) -> None:
        """Make the calls that are due; those that come up meanwhile are for the next turn."""
        due, self.due = self.due, []
        for call, arguments in due:
            call(*arguments)


class OneByOne(MulticastProtocol):
    def __init__(self) -> None:
        self.handed: list[object] = []
        self.then: Callable[[], object] = lambda: None

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:  # Any: asyncio's own type
        self.handed.append(data)
        self.then()


class InBatches(OneByOne):
    def packets_received(self, packets: list[Packet]) -> None:
        self.handed.append([packet.data for packet in packets])
        self.then()


@pytest.fixture
def loop() -> Turned:
    return Turned()


def delivery(
    loop: Turned, protocol: asyncio.BaseProtocol, told: list[Exception] | None = None, *, is_open: bool = True
) -> Delivery:
    """Return one that reports to `told`."""
    made = Delivery(
        cast(asyncio.AbstractEventLoop, loop),
        protocol,
        lambda error, what: (told or []).append(error),
        lambda: None,
    )
    if is_open:
        made.open()
    return made


def packets(flow: Flow, *payloads: bytes) -> list[Packet]:
    return [Packet(payload, flow) for payload in payloads]


@pytest.mark.parametrize("kind", [OneByOne, InBatches])
def test_nothing_is_handed_on_before_it_is_open(loop: Turned, kind: type[OneByOne]) -> None:
    protocol = kind()
    made = delivery(loop, protocol, is_open=False)
    made.packets(packets(A, b"1", b"2"))
    made.packets(packets(A, b"3"))
    assert (protocol.handed, len(made)) == ([], 3)
    made.open()
    assert protocol.handed == []
    loop.turn()
    assert (protocol.handed, len(made)) == (
        [b"1", b"2", b"3"] if kind is OneByOne else [[b"1", b"2", b"3"]],
        0,
    )


@pytest.mark.parametrize("kind", [OneByOne, InBatches])
def test_what_waits_goes_before_what_comes(loop: Turned, kind: type[OneByOne]) -> None:
    protocol = kind()
    made = delivery(loop, protocol, is_open=False)
    made.packets(packets(A, b"1"))
    made.open()
    made.packets(packets(A, b"2"))
    loop.turn()
    flat = [one for handed in protocol.handed for one in (handed if isinstance(handed, list) else [handed])]
    assert flat == [b"1", b"2"]


def test_a_batch_is_handed_on_as_it_is(loop: Turned) -> None:
    got: list[list[Packet]] = []

    class Keeps(MulticastProtocol):
        def packets_received(self, packets: list[Packet]) -> None:
            got.append(packets)

    batch = packets(A, b"1", b"2")
    delivery(loop, Keeps()).packets(batch)
    assert got[0] is batch


def test_a_successor_in_the_other_form(loop: Turned) -> None:
    first, second = OneByOne(), InBatches()
    made = delivery(loop, first)
    first.then = lambda: made.set_protocol(second)
    made.packets(packets(A, b"1", b"2", b"3"))
    assert (first.handed, second.handed) == ([b"1"], [[b"2", b"3"]])
    third = OneByOne()
    made.set_protocol(third)
    made.packets(packets(A, b"4"))
    assert third.handed == [b"4"]


def test_the_end_counts_what_waits(loop: Turned) -> None:
    protocol = OneByOne()
    made = delivery(loop, protocol)
    protocol.then = made.end
    made.packets(packets(A, b"1", b"2", b"3"))
    made.packets(packets(A, b"4"))  # as late as it can come
    loop.turn()
    assert (protocol.handed, made.dropped, len(made)) == ([b"1"], 3, 0)


def test_a_refusal_takes_out_what_waits(loop: Turned) -> None:
    protocol = OneByOne()
    made = delivery(loop, protocol)
    protocol.then = lambda: made.refuse(lambda flow: flow.source == A.source)
    made.packets(packets(A, b"1", b"2") + packets(B, b"3") + packets(A, b"4"))
    assert (protocol.handed, made.refused) == ([b"1", b"3"], 2)


def test_instances_may_have_their_own(loop: Turned) -> None:
    protocol = OneByOne()
    got: list[list[Packet]] = []
    setattr(protocol, "packets_received", got.append)  # noqa: B010  # as a test double does
    batch = packets(A, b"1")
    delivery(loop, protocol).packets(batch)
    assert (got, protocol.handed) == ([batch], [])


@pytest.mark.parametrize("wrong", [asyncio.Protocol(), object(), None])
def test_what_takes_no_packets(loop: Turned, wrong: Any) -> None:  # Any: wrong on purpose
    made = delivery(loop, OneByOne())
    with pytest.raises(ArgumentTypeError) as caught:
        made.set_protocol(wrong)
    assert caught.value.hint
    assert isinstance(made.protocol, OneByOne)
