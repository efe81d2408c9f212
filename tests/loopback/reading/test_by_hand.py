"""What `__anext__` of a queue returns, driven by hand as from Python 3.12 on `await` drives it."""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import Any

import pytest

from aiomcast import StateError
from tests.support.readers import reading

__all__ = ["reading"]


class Waits:
    """What a future looks like to who awaits it: nothing is there, until it is gone on with."""

    def __iter__(self) -> Waits:
        return self

    __await__ = __iter__
    is_over = False

    def __next__(self) -> None:
        if self.is_over:
            raise StopIteration


def filled(reading: ModuleType, *items: object) -> Any:  # Any: of whichever reader
    class Queue(reading.PacketQueue):  # type: ignore[misc, name-defined]  # of whichever reader
        def _begin_waiting(self) -> Waits:
            self._waiter = Waits()
            return self._waiter

        def _wake(self) -> None:
            self._waiter.is_over = True

    queue = Queue(100)
    if items:
        queue._feed(list(items))
    return queue


def stopped(step: Any) -> StopIteration:
    """Take one step of an iterator that has to end with it."""
    try:
        next(step)
    except StopIteration as stop:
        return stop
    raise AssertionError("it waits")


ITEMS = [(1, 2), (), "text", None, ValueError("an item"), StopIteration("another"), [3]]


def test_each_is_returned_as_it_is(reading: ModuleType) -> None:
    queue = filled(reading, *ITEMS)
    for item in ITEMS:
        stop = stopped(queue.__anext__().__await__())
        assert stop.value is item
        assert stop.args == (item,) or (item is None and not stop.args)  # as a coroutine's


def test_what_somebody_keeps_stays_as_it_was(reading: ModuleType) -> None:
    queue = filled(reading, *ITEMS)
    kept = []
    for _ in ITEMS:
        kept.append(stopped(queue.__anext__().__await__()))
        kept[-1].__traceback__ = None
    assert [stop.value for stop in kept] == ITEMS
    assert len({id(stop) for stop in kept}) == len(ITEMS)


def test_what_it_was_made_of_stays_too(reading: ModuleType) -> None:
    queue = filled(reading, 1, 2, 3)
    kept = []
    for _ in range(3):
        stop = stopped(queue.__anext__().__await__())
        stop.__traceback__ = None
        kept.append(stop.args)
        del stop
    assert kept == [(1,), (2,), (3,)]


def test_nothing_of_one_sticks_to_the_next(reading: ModuleType) -> None:
    queue = filled(reading, *range(6))

    def spoil() -> None:
        try:
            next(queue.__anext__().__await__())
        except StopIteration as stop:
            stop.extra = "mine"  # type: ignore[attr-defined]  # an attribute of its own
            stop.args = ("others",)
            stop.__cause__ = KeyError()

    spoil()
    stop = stopped(queue.__anext__().__await__())
    assert (stop.value, stop.args, stop.__cause__, vars(stop)) == (1, (1,), None, {})
    depths = []
    for _ in range(3):
        stop = stopped(queue.__anext__().__await__())
        depth, trace = 0, stop.__traceback__
        while trace is not None:
            depth, trace = depth + 1, trace.tb_next
        depths.append(depth)
        del stop, trace
    assert len(set(depths)) == 1


def test_what_was_returned_last_is_let_go_of_before_a_wait(reading: ModuleType) -> None:
    class Item:
        pass

    queue = filled(reading, Item(), Item())
    seen = []
    for _ in range(2):
        try:
            next(queue.__anext__().__await__())
        except StopIteration as stop:
            seen.append(weakref.ref(stop.value))
    step = queue.__anext__().__await__()
    assert next(step) is None
    assert [one() for one in seen] == [None, None]
    queue._feed([Item()])
    assert isinstance(stopped(step).value, Item)


def test_who_waits_is_given_what_comes(reading: ModuleType) -> None:
    queue = filled(reading)
    one, all_of_them = queue.__anext__().__await__(), None
    assert next(one) is None
    with pytest.raises(StateError):
        next(queue.__anext__().__await__())
    queue._feed([1, 2, 3])
    assert stopped(one).value == 1
    all_of_them = queue._next_list().__await__()
    assert stopped(all_of_them).value == [2, 3]
