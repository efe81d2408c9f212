"""The clock of a network in memory: stands still, stamps, and calls at the right time."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast import ArgumentError
from aiomcast.memory.clock import Clock, nanoseconds

SECOND = 1_000_000_000


def test_it_stands_still() -> None:
    clock = Clock(5)
    assert (clock.time_ns(), clock.time_ns(), clock.monotonic()) == (5, 5, 0)


@given(st.lists(st.sampled_from(["stamp", "tell", "advance"])))
def test_a_stamp_is_later_than_every_stamp_and_every_time_told_before(steps: list[str]) -> None:
    clock, told = Clock(100), [99]
    for step in steps:
        if step == "advance":
            clock.advance_to(clock.reached_ns + 1)
        elif step == "tell":
            told.append(clock.time_ns())
        else:
            stamp = clock.stamp()
            assert stamp > max(told)
            told.append(stamp)
    assert all(earlier <= later for earlier, later in pairwise(told))


def test_the_steps_of_stamps_do_not_add_up() -> None:
    clock = Clock(0)
    for _ in range(3):
        clock.stamp()
    clock.advance_to(SECOND)
    assert (clock.time_ns(), clock.monotonic()) == (SECOND, 1.0)


def test_calls_come_in_order_each_at_its_time() -> None:
    clock, seen = Clock(0), list[tuple[str, int]]()
    for name, due_ns in (("late", 30), ("first", 10), ("second", 10), ("beyond", 31)):
        clock.call_at(due_ns, lambda name=name: seen.append((name, clock.time_ns())))  # type: ignore[misc]  # the number of this turn
    clock.advance_to(30)
    assert seen == [("first", 10), ("second", 10), ("late", 30)]
    assert clock.next_ns == 31


def test_a_call_that_is_cancelled_does_not_come() -> None:
    clock, seen = Clock(0), list[int]()
    alarm = clock.call_at(1, lambda: seen.append(1))
    clock.call_at(2, lambda: seen.append(2))
    alarm.cancel()
    assert clock.next_ns == 2
    clock.advance_to(9)
    assert seen == [2]
    assert clock.next_ns is None


def test_a_call_may_ask_for_another_in_the_same_advance() -> None:
    clock, seen = Clock(0), list[int]()
    clock.call_at(1, lambda: clock.call_at(2, lambda: seen.append(clock.time_ns())))
    clock.advance_to(2)
    assert seen == [2]


def test_what_a_call_raises_comes_out_and_the_rest_is_still_to_come() -> None:
    clock, seen = Clock(0), list[int]()
    clock.call_at(1, lambda: [][0])
    clock.call_at(2, lambda: seen.append(2))
    with pytest.raises(IndexError):
        clock.advance_to(9)
    assert (clock.time_ns(), seen) == (1, [])
    clock.advance_to(9)
    assert seen == [2]


def test_seconds_in_nanoseconds() -> None:
    assert nanoseconds(0.005) == 5_000_000
    for wrong in (-1, math.inf, math.nan, True, "1"):
        with pytest.raises(ArgumentError):
            nanoseconds(wrong)  # type: ignore[arg-type]  # on purpose
