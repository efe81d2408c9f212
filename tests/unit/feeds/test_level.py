"""What takes one packet of a line at a time: compiled or not the same, and the same as the long way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast import Packet
from aiomcast.feeds import Gap, LineEventKind, Sequence, level, numbering
from aiomcast.feeds.items import Item
from aiomcast.feeds.merging import Merging

from .lines import FLOW

KINDS = list(dict.fromkeys((level.Level, numbering.Level)))
MASK = 0xFFFF
PLACE = numbering.Place(0, 16, False)
BOTH = (Sequence.at(0, "u16"), Sequence.read_by(PLACE.number, 16))
SEQUENCES = pytest.mark.parametrize("sequence", BOTH, ids=["compiled", "in Python"])


def packet(number: int, stamp: int | None = None) -> Packet:
    return Packet((number & MASK).to_bytes(2, "big"), FLOW, stamp)


class Taken:
    """A level of two lines from 65,534 on, the second one behind by one, and what it sampled."""

    def __init__(self, kind: type[level.Level], room: int = 100, back: int = 10) -> None:
        self.sampled: list[tuple[int, int]] = []
        self.level = kind(2, PLACE, MASK, lambda index, ahead, packet, now: self.note(index, ahead))
        self.level.begin(0xFFFE, [0, 1], back, room, 7)

    def note(self, index: int, ahead: int) -> None:
        self.sampled.append((index, ahead))

    def take(self, **numbers: int) -> list[int] | None:
        """Take these numbers of lines a and b; return what is put out, None where nothing is taken."""
        out: list[Item] = []
        queued = {"ab".index(name): [packet(number)] for name, number in numbers.items()}
        if not self.level.take(queued, 1.5, out):
            assert out == []
            return None
        return [PLACE.number(one.data) or 0 for one in out if isinstance(one, Packet)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_is_taken_and_put_out_once(kind: type[level.Level]) -> None:
    taken = Taken(kind)
    assert taken.take(a=0xFFFE) == [0xFFFE]
    assert taken.take(b=0xFFFD) == []
    assert taken.take(a=0xFFFF, b=0xFFFE) == [0xFFFF]
    assert taken.take(a=0x10000) == [0]  # they wrap
    assert taken.take(b=0xFFFF) == []
    assert taken.take(b=0x10000, a=0x10001) == [1]
    assert taken.take(b=0x10001) == []
    assert taken.take(b=0x10002) == [2]
    assert taken.sampled == [(0, 2), (1, 2)]
    assert taken.level.end() == (5, 17, [(4, 4, 1.5, 15), (6, 1, 1.5, 17)])


@pytest.mark.parametrize("kind", KINDS)
def test_anything_else_is_left(kind: type[level.Level]) -> None:
    taken = Taken(kind)
    assert taken.take(a=0xFFFF) is None  # not the next
    assert taken.take(a=0xFFFD) is None
    assert taken.take(a=0xFFFE, b=0xFFFE) is None  # the one is, the other is not: neither
    assert not taken.level.take({0: [packet(0xFFFE), packet(0xFFFF)]}, 0.0, [])
    assert not taken.level.take({0: [Packet(b"\0", FLOW)]}, 0.0, [])
    assert taken.take(a=0xFFFE) == [0xFFFE]
    assert taken.level.end() == (1, 8, [(1, 1, 1.5, 8), (0, 0, 0.0, 0)])
    assert taken.take(a=0xFFFF) is None  # it has ended


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_than_there_is_room_for_and_nothing_far_behind(kind: type[level.Level]) -> None:
    taken = Taken(kind, room=2, back=0)
    assert taken.take(b=0xFFFD) is None
    assert taken.take(a=0xFFFE) == [0xFFFE]
    assert taken.take(a=0xFFFF) == [0xFFFF]
    assert taken.take(a=0x10000) is None


@pytest.mark.skipif(numbering.implementation != "native", reason="there is no compiled one")
@pytest.mark.parametrize("wrong", [{2: [packet(0)]}, {-1: [packet(0)]}, {0: None}, None])
def test_the_compiled_one_takes_nothing_else(wrong: Any) -> None:
    with pytest.raises((IndexError, TypeError)):
        Taken(numbering.Level).level.take(wrong, 0.0, [])


def merging(sequence: Sequence) -> Merging:
    return Merging(3, sequence, 0.5, 60)


# For each wake-up: which line brings how many, by how much its first number is off, and what time has passed.
WAKES = st.lists(
    st.tuples(
        st.dictionaries(
            st.integers(0, 2),
            st.tuples(st.sampled_from([1, 1, 1, 1, 1, 2]), st.sampled_from([0] * 12 + [1, 2, -1, -3, 500])),
            min_size=1,
        ),
        st.sampled_from([0.0, 0.01, 0.2, 1.1]),
    ),
    max_size=80,
)


@given(
    WAKES,
    st.sampled_from([0, 65_500]),
    st.sampled_from(BOTH),
)
def test_what_is_taken_by_the_short_way_is_what_the_long_one_makes_of_it(
    wakes: list[tuple[dict[int, tuple[int, int]], float]], origin: int, sequence: Sequence
) -> None:
    short, long = merging(sequence), merging(sequence)
    following, now = [origin] * 3, 0.0
    for lines, pause in wakes:
        now += pause
        queued: dict[int, list[Packet]] = {}
        for index, (count, off) in lines.items():
            first = following[index] = following[index] + off
            queued[index] = [packet(first + at, 10**9 + index) for at in range(count)]
            following[index] = first + count
        made: list[list[Item]] = [[], []]
        if any(len(batch) != 1 for batch in queued.values()) or not short.take_next(queued, now, made[0]):
            take(short, queued, now, made[0])
        take(long, queued, now, made[1])
        assert made[0] == made[1]
        assert short.deadline == long.deadline
        assert [*short.notices] == [*long.notices]
    assert short.statistics() == long.statistics()


def take(machine: Merging, queued: dict[int, list[Packet]], now: float, out: list[Item]) -> None:
    machine.hear(queued, now)
    for index, batch in queued.items():
        machine.take(index, batch, now, out)
    machine.expire(now, out)


@SEQUENCES
def test_the_short_way_is_taken(sequence: Sequence) -> None:
    """But for the first of all, for the looks at what is silent, and for what is settled once a window."""
    machine, out, count = merging(sequence), list[Item](), 0
    for number in range(1000):
        queued = {index: [packet(number)] for index in range(3)}
        if machine.take_next(queued, 0.1, out):
            count += 1
        else:
            take(machine, queued, 0.1, out)
    assert len(out) == 1000
    assert count > 900


@SEQUENCES
def test_what_was_given_up_or_was_before_the_first_is_late_whatever_way_it_comes(sequence: Sequence) -> None:
    machine, out = merging(sequence), list[Item]()
    for line, number in ((0, 10), (0, 11), (1, 8), (1, 9), (1, 10), (1, 11), (0, 13)):
        bring(machine, line, number, 0.0, out)
    machine.expire(0.5, out)
    for line, number in ((0, 14), (1, 12), (1, 13)):
        bring(machine, line, number, 0.5, out)
    (gap,) = [one for one in out if isinstance(one, Gap)]
    assert (gap.first, gap.last) == (12, 12)
    counted = machine.statistics()
    assert (counted.lines[1].late, counted.lines[1].copies) == (3, 3)
    assert (counted.late, counted.lost, counted.delivered) == (1, 1, 4)


@SEQUENCES
def test_lines_that_are_silent_or_apart_are_looked_at_whatever_way_they_come(sequence: Sequence) -> None:
    machine, out = merging(sequence), list[Item]()
    for number in range(4):
        for line in (0, 1, 2):
            bring(machine, line, number, 0.0, out)
    bring(machine, 2, 5000, 0.0, out)
    bring(machine, 2, 4, 0.0, out)
    assert machine.statistics().lines[2].astray == 1
    for number in range(4, 24):
        bring(machine, 0, number, number / 10, out)
        bring(machine, 2, number + 1, number / 10, out)
    assert [(one.kind, one.line) for one in machine.notices] == [(LineEventKind.SILENT, 1)]
    bring(machine, 1, 4, 2.3, out)
    assert [(one.kind, one.line) for one in machine.notices[1:]] == [(LineEventKind.BACK, 1)]


@SEQUENCES
def test_what_waits_comes_out_with_what_was_missing(sequence: Sequence) -> None:
    machine, out = merging(sequence), list[Item]()
    for line, number in ((0, 1), (1, 1), (0, 3), (1, 2)):
        bring(machine, line, number, 0.0, out)
    assert [PLACE.number(one.data) for one in out if isinstance(one, Packet)] == [1, 2, 3]


def bring(machine: Merging, line: int, number: int, now: float, out: list[Item]) -> None:
    queued = {line: [packet(number)]}
    if not machine.take_next(queued, now, out):
        take(machine, queued, now, out)
