"""What numbers tell, held against a simple oracle that knows what was sent."""

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


def test_sums_and_differences() -> None:
    earlier, later = SequenceStatistics(3, 1, 0, 1), SequenceStatistics(8, 0, 2, 2)
    assert later - earlier == SequenceStatistics(5, -1, 2, 1)
    assert earlier + (later - earlier) == later
    with pytest.raises(TypeError):
        earlier + 1  # type: ignore[operator]
