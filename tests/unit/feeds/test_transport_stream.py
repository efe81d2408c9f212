"""MPEG-TS: continuity counters by PID, bare and in RTP, and what is no loss."""

from __future__ import annotations

import struct
from collections.abc import Sequence as Items

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast import ArgumentError
from aiomcast.feeds import Sequence, SequenceCounter, SequenceStatistics

VIDEO, AUDIO, NULL = 0x100, 0x101, 0x1FFF


def ts(
    counter: int,
    pid: int = VIDEO,
    *,
    payload: bytes | None = b"",
    flags: int | None = None,
    error: bool = False,
) -> bytes:
    """A transport packet. No payload if it is None; `flags` are those of an adaptation field."""
    field = b"" if flags is None and payload is not None else bytes([1, flags or 0])
    control = (0x10 if payload is not None else 0) | (0x20 if field else 0) | counter & 15
    head = struct.pack("!BHB", 0x47, (0x8000 if error else 0) | pid, control)
    if payload is None:
        return head + bytes([183, flags or 0]) + b"\xff" * 182
    return (head + field + (payload or bytes([counter & 255]) * 4)).ljust(188, b"\0")


def rtp(
    data: bytes, number: int = 0, source: int = 7, *, sources: int = 0, extension: int = 0, padding: int = 0
) -> bytes:
    first = 0x80 | sources | (0x10 if extension else 0) | (0x20 if padding else 0)
    head = struct.pack("!BBHII", first, 33, number & 0xFFFF, 0, source) + bytes(4 * sources)
    if extension:
        head += struct.pack("!HH", 0xBEDE, extension - 1) + bytes(4 * (extension - 1))
    return head + data + (bytes(padding - 1) + bytes([padding]) if padding else b"")


def counted(payloads: Items[bytes], *, in_rtp: bool = False) -> SequenceStatistics:
    counter = SequenceCounter(Sequence.mpegts(rtp=in_rtp))
    for data in payloads:
        counter.take(data)
    return counter.statistics()


def test_counters_go_round_by_pid() -> None:
    assert counted([ts(n) + ts(n + 5, AUDIO) + ts(3, NULL) for n in range(40)]) == SequenceStatistics(
        received=80
    )


def test_what_is_lost_of_each_pid() -> None:
    found = counted([ts(14) + ts(0, AUDIO), ts(1) + ts(1, AUDIO), ts(2) + ts(5, AUDIO)])
    assert found == SequenceStatistics(received=6, lost=2 + 3)


@given(st.lists(st.integers(0, 14), max_size=60), st.integers(0, 15))
def test_every_loss_below_sixteen_is_counted(skips: list[int], first: int) -> None:
    counters = [first]
    for skip in skips:
        counters.append(counters[-1] + 1 + skip)
    found = counted([ts(counter) for counter in counters])
    assert found == SequenceStatistics(received=len(counters), lost=sum(skips))


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ([ts(1), ts(1), ts(2)], {"duplicates": 1}),  # one may come twice
        ([ts(1), ts(1), ts(1)], {"duplicates": 1, "lost": 15}),
        ([ts(1, payload=b"a"), ts(1, payload=b"b")], {"lost": 15}),  # another one, with its counter
        ([ts(1), ts(1, payload=None), ts(1, payload=None), ts(2)], {}),  # without payload it does not count
        ([ts(1), ts(9, flags=0x80), ts(10)], {"restarts": 1}),
        ([ts(1), ts(2, flags=0x80), ts(3)], {}),
        ([ts(1), ts(7, payload=None, flags=0x80), ts(9)], {}),  # announced by one without payload
        ([ts(1), ts(9, flags=0x00)], {"lost": 7}),
    ],
)
def test_what_is_no_loss(packets: list[bytes], expected: dict[str, int]) -> None:
    for payloads in (packets, [b"".join(packets)]):
        assert counted(payloads) == SequenceStatistics(received=len(packets), **expected)


def test_one_with_an_error_is_not_looked_at() -> None:
    assert counted([ts(1), ts(9, error=True), ts(2)]) == SequenceStatistics(received=2)


@pytest.mark.parametrize(
    "extra",
    [{}, {"sources": 2}, {"extension": 3}, {"padding": 4}, {"sources": 1, "extension": 1, "padding": 9}],
)
def test_in_rtp(extra: dict[str, int]) -> None:
    found = counted([rtp(ts(n) + ts(n + 1), n, **extra) for n in (0, 2, 6)], in_rtp=True)
    assert found == SequenceStatistics(received=6, lost=2)


def test_another_source_of_rtp_begins_anew() -> None:
    found = counted(
        [rtp(ts(n), source=1) for n in range(3)] + [rtp(ts(n), source=2) for n in (9, 10)], in_rtp=True
    )
    assert found == SequenceStatistics(received=5, restarts=1)


@pytest.mark.parametrize("data", [b"", b"\x47", bytes(188), ts(1)[:-1], ts(1) + b"\x47", ts(1) + bytes(188)])
def test_what_is_no_transport_stream_is_unreadable(data: bytes) -> None:
    assert counted([ts(1), data, ts(2)]) == SequenceStatistics(received=2, unreadable=1)
    assert counted([data, rtp(data)], in_rtp=True) == SequenceStatistics(unreadable=2)


@pytest.mark.parametrize(
    "head", [rtp(b"", sources=15)[:20], rtp(b"", extension=9)[:14], b"\xb0" + bytes(11) + b"\xff" * 200]
)
def test_lengths_that_lie(head: bytes) -> None:
    assert counted([head], in_rtp=True) == SequenceStatistics(unreadable=1)


@given(st.binary(max_size=400))
def test_any_bytes_are_counted_or_unreadable(data: bytes) -> None:
    for in_rtp in (False, True):
        for made in (data, b"\x47" + data[1:188].ljust(187, b"\0"), b"\x80" + data):
            counted([made], in_rtp=in_rtp)


def test_names() -> None:
    assert Sequence.parse("ts") == Sequence.mpegts()
    assert Sequence.parse("rtp+ts") == Sequence.mpegts(rtp=True) != Sequence.mpegts()
    assert (str(Sequence.mpegts()), str(Sequence.mpegts(rtp=True))) == ("ts", "rtp+ts")
    with pytest.raises(ArgumentError, match=r"rtp\+ts"):
        Sequence.parse("mpeg")


def test_the_number_is_the_first_counter() -> None:
    assert Sequence.mpegts().number(ts(3, NULL) + ts(4, payload=None) + ts(5)) == 5
    assert Sequence.mpegts().number(ts(3, NULL)) is None
    assert Sequence.mpegts(rtp=True).number(rtp(ts(6))) == 6


def test_the_jump_is_that_of_the_first_pid() -> None:
    counter = SequenceCounter(Sequence.mpegts())
    counter.take(ts(14) + ts(3, AUDIO))
    assert counter.take(ts(1) + ts(6, AUDIO)) == 4
    assert counter.jump == (14, 1, 4)
    counter.take(ts(2) + ts(7, AUDIO))
    assert counter.jump is None
