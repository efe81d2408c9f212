"""What numbers tell, held against a simple oracle that knows what was sent."""

import struct
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiomcast.feeds import Sequence, SequenceCounter, SequenceStatistics

WIDTHS = [8, 12, 16, 24, 32, 64]


def counted(numbers: Iterable[int], bits: int = 16) -> SequenceStatistics:
    counter = SequenceCounter(Sequence.read_by(lambda data: int(data), bits))
    for number in numbers:
        counter.take(b"%d" % (number % 2**bits))
    return counter.statistics()


@st.composite
def arrivals(draw: st.DrawFn) -> list[int]:
    """Numbers as they arrive of 0, 1, 2 ...: some lost, some twice, some up to 20 places later."""
    length = draw(st.integers(1, 150))
    copies = draw(st.lists(st.sampled_from([1, 1, 1, 1, 0, 2]), min_size=length, max_size=length))
    sent = [number for number, several in enumerate(copies) for _ in range(several)]
    delays = draw(st.lists(st.sampled_from([0, 0, 0, 0, 5, 20]), min_size=len(sent), max_size=len(sent)))
    order = sorted(range(len(sent)), key=lambda place: (place + delays[place], place))
    return [sent[place] for place in order]


@given(arrivals(), st.sampled_from(WIDTHS), st.integers(0, 2**64))
@settings(deadline=None)
def test_loss_duplicates_and_reordering_are_those_that_were_made(
    numbers: list[int], bits: int, start: int
) -> None:
    found = counted((start + number for number in numbers), bits)
    times = Counter(numbers)
    after_first = [number for number in times if number >= numbers[0]] if numbers else []
    assert found.received == len(numbers)
    assert found.duplicates == len(numbers) - len(times)
    assert found.lost == (max(after_first) - numbers[0] + 1 - len(after_first) if numbers else 0)
    highest, reordered = -1, 0
    for place, number in enumerate(numbers):
        reordered += number < highest and number not in numbers[:place]
        highest = max(highest, number)
    assert found.reordered == reordered
    assert found.late == found.astray == found.restarts == found.unreadable == 0


@given(st.sampled_from(WIDTHS), st.lists(st.integers(0, 2**64), max_size=200))
@settings(deadline=None)
def test_whatever_comes_every_packet_is_counted(bits: int, numbers: list[int]) -> None:
    found = counted(numbers, bits)
    assert found.received == len(numbers)
    assert min(found.duplicates, found.reordered, found.late, found.astray, found.restarts) >= 0


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([65534, 65535, 0, 1], {}),
        ([65533, 2], {"lost": 4}),
        ([5, 6, 8, 7], {"reordered": 1}),
        ([10, 9], {"reordered": 1}),  # older than the first: never missed
        ([10, 9, 9], {"reordered": 1, "duplicates": 1}),
        ([1, 1, 1], {"duplicates": 2}),
        ([0, 2999], {"lost": 2998}),
        ([0, 3000, 1], {"astray": 1}),
        ([0, 30000, 30001, 30003], {"restarts": 1, "lost": 1}),
        ([500, 501, 1, 2, 3], {"restarts": 1}),
        ([500, 501, 502, 1, 2, 0], {"restarts": 1, "reordered": 1}),  # nothing of before counts any more
        ([500, 501, 1, 502], {"late": 1}),
        ([500, 501, 401, 502], {"late": 1}),
        ([500, 501, 402, 502], {"reordered": 1}),
        ([500, 1, 600, 2, 601], {"late": 2, "lost": 99}),  # what is in between takes the restart back
    ],
)
def test_the_rules_of_rfc_3550(numbers: list[int], expected: dict[str, int]) -> None:
    assert counted(numbers) == SequenceStatistics(received=len(numbers), **expected)


def test_a_wide_number_may_lose_more_and_restart_alike() -> None:
    assert counted([7, 1_000_000], 32).lost == 999_992
    assert counted([1_000_000, 1, 2], 32).restarts == 1
    assert counted([0, 2**63, 2**63 + 1], 64).restarts == 1


def test_a_packet_without_a_number_is_unreadable() -> None:
    counter = SequenceCounter(Sequence.at(0))
    for data in (b"\0\0\0\1", b"\0", b"\0\0\0\2"):
        counter.take(data)
    assert counter.statistics() == SequenceStatistics(received=2, unreadable=1)


def rtp(number: int, source: int) -> bytes:
    return struct.pack("!BBHII", 0x80, 33, number, 0, source)


def test_a_new_source_of_rtp_is_a_restart_and_no_gap() -> None:
    counter = SequenceCounter(Sequence.rtp())
    for number in (1, 2, 4):
        counter.take(rtp(number, 1))
    assert counter.jump == (2, 4, 1)
    counter.take(rtp(30_000, 2))
    assert counter.jump == (4, 30_000, 0)
    assert counter.statistics() == SequenceStatistics(received=4, lost=1, restarts=1)


def test_sources_of_rtp_in_one_flow_have_numbers_of_their_own() -> None:
    counter = SequenceCounter(Sequence.rtp())
    for number in range(10):
        for source, first in ((1, 100), (2, 50_000), (3, 7)):
            if (source, number) != (2, 5):
                counter.take(rtp(first + number, source))
    assert counter.statistics() == SequenceStatistics(received=29, lost=1, restarts=2)


def test_sources_without_end_are_not_all_remembered() -> None:
    counter = SequenceCounter(Sequence.rtp())
    for source in range(1000):
        counter.take(rtp(0, source))
    assert len(counter._others) == 64
    assert counter.statistics().restarts == 999


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 60), st.integers(0, 2**16))
def test_a_row_counts_as_its_packets_do(before: list[int], count: int, start: int) -> None:
    one, other = SequenceCounter(Sequence.at(0, "u16")), SequenceCounter(Sequence.at(0, "u16"))
    for number in before:
        for counter in (one, other):
            counter.take(((start + number) % 2**16).to_bytes(2, "big"))
    first = ((other.highest or 0) + 1) % 2**16
    row = [((first + number) % 2**16).to_bytes(2, "big") for number in range(count)]
    assert other.take_row(first, count, row[0]) is bool(before)
    for data in row if before else ():
        one.take(data)
    assert one.statistics() == other.statistics()
    for number in range(-30, 3):  # what they know of before is the same
        data = ((first + number) % 2**16).to_bytes(2, "big")
        assert one.take(data) == other.take(data)
    assert one.statistics() == other.statistics()


def test_what_is_no_row_after_the_highest_is_not_counted() -> None:
    counter = SequenceCounter(Sequence.rtp())
    assert not counter.take_row(1, 2, rtp(1, 1))  # there is none to come after
    counter.take(rtp(1, 1))
    assert not counter.take_row(3, 2, rtp(3, 1))
    assert not counter.take_row(2, 2, rtp(2, 2))  # another source
    assert not counter.take_row(2, 3000, rtp(2, 1))
    assert counter.take_row(2, 2, rtp(2, 1))
    assert counter.statistics() == SequenceStatistics(received=3)


def test_sums_and_differences() -> None:
    earlier, later = SequenceStatistics(3, 1, 0, 1), SequenceStatistics(8, 0, 2, 2)
    assert later - earlier == SequenceStatistics(5, -1, 2, 1)
    assert earlier + (later - earlier) == later
    with pytest.raises(TypeError):
        earlier + 1  # type: ignore[operator]
