"""The jitter of arrival."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast.feeds import Jitter


def jitter_of(gaps: list[int]) -> float | None:
    jitter, now = Jitter(), 1_700_000_000_000_000_000
    jitter.take(now)
    for gap in gaps:
        now += gap
        jitter.take(now)
    return jitter.nanoseconds


def test_there_is_none_before_the_third_packet() -> None:
    assert Jitter().nanoseconds is None
    assert jitter_of([]) is None
    assert jitter_of([5]) is None
    assert jitter_of([5, 5]) == 0


@given(st.integers(0, 10**10), st.integers(2, 50))
def test_a_constant_rate_has_none(gap: int, packets: int) -> None:
    assert jitter_of([gap] * packets) == 0


def test_one_late_packet_weighs_a_sixteenth() -> None:
    assert jitter_of([1000, 1000, 1160]) == pytest.approx(10)


@given(st.lists(st.integers(0, 10**10), min_size=2, max_size=60))
def test_it_is_never_more_than_the_gaps_differ(gaps: list[int]) -> None:
    found = jitter_of(gaps)
    assert found is not None
    assert 0 <= found <= max(gaps) - min(gaps) + 1e-3


def test_packets_that_come_alternately_early_and_late() -> None:
    assert jitter_of([900, 1100] * 200) == pytest.approx(100, rel=0.1)
