"""By what a packet is known wherever it was received."""

from __future__ import annotations

import pytest

from aiomcast import ArgumentError, ArgumentTypeError, Packet
from aiomcast.feeds import Sequence
from aiomcast.relay import PayloadIdentity, SequenceIdentity
from aiomcast.values import bounds
from aiomcast.values.packets import Flow

FLOW = Flow("10.0.0.2", 4000, "239.1.1.1", 5000, 3)
SECOND = 1_000_000_000


def packet(data: bytes = b"abcd", at: float = 100.0, flow: Flow = FLOW) -> Packet:
    return Packet(data, flow, int(at * SECOND))


def test_the_same_at_two_relays() -> None:
    one, other = PayloadIdentity(), PayloadIdentity()
    elsewhere = Flow("10.0.0.2", 4000, "239.1.1.1", 5000, 7)
    assert one(packet(at=101.0)) == other(packet(at=101.5, flow=elsewhere))
    assert one(packet(b"other")) != other(packet(b"abcd"))


def test_what_is_repeated_is_told_apart() -> None:
    identify = PayloadIdentity(10.0)
    named = [identify(packet(at=at)) for at in (100.0, 101.0, 102.0, 110.0)]
    assert len(set(named)) == 4
    again = PayloadIdentity(10.0)
    assert [again(packet(at=at)) for at in (100.1, 101.1, 102.1, 110.1)] == named


def test_packets_without_a_stamp_go_by_the_clock() -> None:
    now = 100 * SECOND
    identify = PayloadIdentity(10.0, clock=lambda: now)
    assert identify(Packet(b"abcd", FLOW)) == PayloadIdentity(10.0)(packet(at=100.0))


def test_a_slot_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "IDENTITIES", 3)
    identify = PayloadIdentity()
    first = [identify(packet(bytes([number]))) for number in range(4)]
    assert identify(packet(bytes([3]))).startswith(first[3] + "/"), "it is remembered: this is its second"
    assert identify(packet(bytes([0]))) == first[0], "it is forgotten: this is its first again"


def test_by_number() -> None:
    one, other = SequenceIdentity(Sequence.at(0)), SequenceIdentity(Sequence.at(0))
    assert one(packet(b"\0\0\0\1x", 1.0)) == other(packet(b"\0\0\0\1x", 9999.0))
    assert one(packet(b"\0\0\0\1x")) != one(packet(b"\0\0\0\1y")), "after a restart of the source"
    line_b = Flow("10.9.9.9", 1, "239.2.2.2", 6000, 3)
    assert one(packet(b"\0\0\0\1x")) != one(packet(b"\0\0\0\1x", flow=line_b))
    feed = SequenceIdentity(Sequence.at(0), feed="prices")
    assert feed(packet(b"\0\0\0\1x")) == feed(packet(b"\0\0\0\1x", flow=line_b))


def test_without_a_number_by_payload() -> None:
    assert SequenceIdentity(Sequence.at(0))(packet(b"x")) == PayloadIdentity()(packet(b"x"))


@pytest.mark.parametrize("slot", [0, -1.0, float("nan"), float("inf"), 1e9])
def test_slots_that_cannot_be(slot: float) -> None:
    with pytest.raises(ArgumentError, match="slot"):
        PayloadIdentity(slot)


def test_what_is_no_sequence() -> None:
    with pytest.raises(ArgumentTypeError, match="sequence"):
        SequenceIdentity("rtp")  # type: ignore[arg-type]  # which it refuses
    with pytest.raises(ArgumentError, match="feed"):
        SequenceIdentity(Sequence.rtp(), feed="")
