"""Work in turns: in order, some of it each turn, and others in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from aiomcast.reading.contract import Reading
from aiomcast.receiving.turns import Turns, Work


class Loop:
    """A loop of which each look at the clock takes a while."""

    def __init__(self, takes: float) -> None:
        self._takes = takes
        self._now = 0.0
        self._calls: list[Callable[[], object]] = []

    def monotonic(self) -> float:
        self._now += self._takes
        return self._now

    def call_soon(self, call: Callable[[], object]) -> None:
        self._calls.append(call)

    def turn(self) -> bool:
        """Make the calls that wait; say whether there were any."""
        calls, self._calls = self._calls, []
        for call in calls:
            call()
        return bool(calls)


def turns(takes: float) -> tuple[Turns, Loop]:
    made, loop = Turns(), Loop(takes)
    made.reading = cast(Reading, loop)
    return made, loop


def test_what_is_short_is_done_at_once_and_in_order() -> None:
    made, loop = turns(0.0)
    done: list[str] = []

    def first() -> Work:
        made.do(second)  # after it
        done.append("first")
        yield
        done.append("first again")

    def second() -> Work:
        done.append("second")
        yield

    made.do(first)
    assert done == ["first", "first again", "second"]
    assert not loop.turn()


def test_what_is_long_gives_others_their_turn() -> None:
    made, loop = turns(0.003)
    done: list[object] = []

    def work(name: str) -> Callable[[], Work]:
        def steps() -> Work:
            for number in range(10):
                done.append((name, number))
                yield

        return steps

    made.do(work("a"))
    assert done == [("a", number) for number in range(4)], "10 ms of steps of 3 ms"
    made.do(work("b"))
    assert len(done) == 4
    count = 1
    while loop.turn():
        count += 1
    assert count >= 5
    assert done == [(name, number) for name in "ab" for number in range(10)]
    assert not loop.turn()


def test_an_exception_costs_its_own_work_alone() -> None:
    made, loop = turns(0.0)
    done: list[str] = []

    def wrong() -> Work:
        made.do(right)
        yield
        raise ZeroDivisionError

    def right() -> Work:
        done.append("right")
        yield

    with pytest.raises(ZeroDivisionError):
        made.do(wrong)
    while loop.turn():
        pass
    assert done == ["right"]


def test_the_end_ends_it_within_a_step() -> None:
    made, loop = turns(0.02)
    done: list[int] = []

    def work() -> Work:
        for number in range(10):
            done.append(number)
            if number == 1:
                made.end()
            yield

    made.do(work)
    while loop.turn():
        pass
    made.do(work)
    assert done == [0, 1]
