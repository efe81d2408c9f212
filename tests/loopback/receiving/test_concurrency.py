"""Swaps, joins, leaves and iterations at the same time: each wholly before or wholly after another."""

from __future__ import annotations

import asyncio
import itertools
import threading
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any

import attrs
import pytest
import pytest_asyncio

import aiomcast
from aiomcast import EventKind, Membership, Receiver, SourceFilter, StateError
from tests.loopback.conftest import Senders
from tests.support.accounts import open_descriptors
from tests.support.packets import take
from tests.support.platforms import IS_WINDOWS
from tests.support.sending import A, B, C, D, sending
from tests.support.waiting import turns

include, exclude = SourceFilter.include, SourceFilter.exclude
MANY = [f"127.0.1.{number}" for number in range(1, 26)]
PORT = 5000


async def test_swaps_of_one_membership_take_effect_in_call_order(any_group: str) -> None:
    wanted = [include([A]), include([B, C]), exclude([A]), include(MANY), SourceFilter.none(), include([D])]
    listener = aiomcast.listen(any_group, PORT, sources=[A, B], interface="lo")
    async with listener as feed, listener.receiver.events() as events:
        for order in (wanted, wanted[::-1], wanted[::2] + wanted[1::2]):
            tasks = [asyncio.create_task(feed.swap(one)) for one in order]
            await asyncio.gather(*tasks)
            assert [events.receive_nowait().filter for _ in range(len(events))][-len(order) :] == order
            assert feed.filter == feed.kernel_filter() == order[-1]


async def test_swaps_of_many_memberships_at_once_do_not_meet(group: str) -> None:
    async with Receiver() as receiver:
        ones = [await receiver.join(group, PORT + n, sources=[A], interface="lo") for n in range(5)]
        swaps = [one.swap([f"127.0.2.{n}"]) for n, one in enumerate(ones, 1)]
        together = receiver.filters.apply(dict.fromkeys(ones[::-1], include([B])))
        await asyncio.gather(*swaps[:3], together, *swaps[3:])
        expected = [include([B])] * 3 + [include(["127.0.2.4"]), include(["127.0.2.5"])]
        assert [one.kernel_filter() for one in ones] == expected == list(receiver.filters.values())


# Cancelled at every await


@types.coroutine
# Any: what it yields to the loop, and is sent, is the loop's own affair
def cancelled_at(coroutine: Coroutine[Any, Any, object], number: int) -> Generator[Any, Any, bool]:
    """Drive `coroutine`; throw CancelledError in where it waits for the `number`-th time.

    Return whether it has waited so often. Whatever it does to end is driven too.
    """
    waits = 0
    while True:
        try:
            waited = coroutine.throw(asyncio.CancelledError()) if waits == number else coroutine.send(None)
        except (StopIteration, asyncio.CancelledError):
            return waits >= number
        waits += 1
        if waits != number:
            yield waited


@attrs.define
class Scene:
    receiver: Receiver
    ones: list[Membership]
    group: str

    def filters(self) -> list[SourceFilter]:
        """What is in force, for the kernel and the library the same."""
        memberships = self.receiver.memberships
        held = [one.kernel_filter() for one in memberships]
        assert held == [one.filter for one in memberships] == list(self.receiver.filters.values())
        return held


BEFORE = [include([A, B]), exclude([C]), include(MANY)]


@pytest_asyncio.fixture
async def scene(any_group: str) -> AsyncIterator[Scene]:
    async with Receiver() as receiver:
        ones = [
            await receiver.join(any_group, PORT + n, sources=sources, interface="lo")
            for n, sources in enumerate(BEFORE)
        ]
        yield Scene(receiver, ones, any_group)


async def apply(scene: Scene) -> None:
    await scene.receiver.filters.apply({scene.ones[0]: exclude([B]), scene.ones[1]: MANY, scene.ones[2]: [D]})


async def leave_by_context(scene: Scene) -> None:
    async with scene.ones[0]:
        pass


# what: (the call, what is in force once it is done)
CALLS: dict[str, tuple[Callable[[Scene], Coroutine[Any, Any, object]], list[SourceFilter]]] = {
    "swap": (lambda it: it.ones[0].swap([B, C]), [include([B, C]), *BEFORE[1:]]),
    "mode": (lambda it: it.ones[0].swap(exclude([A]), pending="deliver"), [exclude([A]), *BEFORE[1:]]),
    "apply": (apply, [exclude([B]), include(MANY), include([D])]),
    "join_source": (lambda it: it.ones[0].join_source(C), [include([A, B, C]), *BEFORE[1:]]),
    "unblock_source": (
        lambda it: it.ones[1].unblock_source(C),
        [BEFORE[0], SourceFilter.any(), BEFORE[2]],
    ),
    "refresh": (lambda it: it.ones[2].refresh(), BEFORE),
    "join": (
        lambda it: it.receiver.join(it.group, 5009, sources=MANY, interface="lo"),
        [*BEFORE, include(MANY)],
    ),
    "leave": (lambda it: it.ones[0].leave(), BEFORE[1:]),
    "leaving a context": (leave_by_context, BEFORE[1:]),
    "aclose": (lambda it: it.receiver.aclose(), []),
}


@pytest.mark.parametrize("call", CALLS)
async def test_cancelled_anywhere_it_is_done_or_not_begun(call: str, any_group: str) -> None:
    make, after = CALLS[call]
    reached = True
    for number in itertools.count(1):
        async with Receiver() as receiver:
            scene = Scene(receiver, [], any_group)
            for n, sources in enumerate(BEFORE):
                scene.ones.append(await receiver.join(any_group, PORT + n, sources=sources, interface="lo"))
            assert scene.filters() == BEFORE
            reached = await cancelled_at(make(scene), number)
            assert scene.filters() in (BEFORE, after)
            if not reached:
                assert scene.filters() == after
                break
            if scene.filters() != after:  # what was undone can be done
                await make(scene)
                assert scene.filters() == after


@pytest.mark.parametrize("call", CALLS)
async def test_cancelled_in_any_turn_of_the_loop(call: str, scene: Scene) -> None:
    make, after = CALLS[call]
    for turn in range(10):
        descriptors = open_descriptors()
        task = asyncio.ensure_future(make(scene))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert scene.filters() in (BEFORE, after)
        assert (scene.filters(), open_descriptors()) == (BEFORE, descriptors) or turn
        if not task.cancelled():
            assert scene.filters() == after
            return
    raise AssertionError("it never got done")


async def test_a_cancelled_iteration_loses_nothing(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo") as feed:
        stream = feed.packets()
        assert await cancelled_at(anext(stream), 1)
        taken = []
        for number in range(20):
            waiting = asyncio.ensure_future(anext(stream))
            await turns(2)
            sent = asyncio.ensure_future(senders.send(A, group, b"%d" % number))
            await turns(number % 5)  # it may have been woken by then, and may even have it
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                taken.append(await waiting)
            await sent
        taken += await take(stream, 20 - len(taken))
        assert [int(packet.data) for packet in taken] == list(range(20))


# Leaving and closing


async def test_a_swap_during_a_leave(scene: Scene) -> None:
    one, others = scene.ones[0], BEFORE[1:]
    changes = {scene.ones[2]: [D], one: [C]}
    leave, swap, apply_all, delta, again, refresh = await asyncio.gather(
        one.leave(), one.swap([C]), scene.receiver.filters.apply(changes), one.join_source(D), one.leave(),
        one.refresh(), return_exceptions=True,
    )  # fmt: skip
    assert leave is again is None
    for refused in (swap, apply_all, delta, refresh):
        assert isinstance(refused, StateError)
        assert refused.hint
    with pytest.raises(StateError):
        one.kernel_filter()
    assert scene.filters() == others


async def test_a_swap_before_a_leave_is_done(scene: Scene) -> None:
    one = scene.ones[0]
    async with scene.receiver.events() as events:
        await asyncio.gather(one.swap(exclude([C])), one.leave())
        told = [(await events.receive()).kind for _ in range(len(events))]
    assert told == [EventKind.SWAPPED, EventKind.LEFT]
    assert scene.filters() == BEFORE[1:]


async def test_everything_during_a_close(scene: Scene) -> None:
    receiver, one = scene.receiver, scene.ones[0]
    descriptors = open_descriptors()
    mode, close, swap, apply_all, join, leave, again = await asyncio.gather(
        one.swap(exclude([C])), receiver.aclose(), one.swap([C]), apply(scene),
        receiver.join(scene.group, 5009, interface="lo"), one.leave(), receiver.aclose(),
        return_exceptions=True,
    )  # fmt: skip
    assert mode is close is again is leave is None
    for refused in (swap, apply_all, join):
        assert isinstance(refused, StateError)
        assert refused.hint
    assert scene.filters() == []
    assert IS_WINDOWS or open_descriptors() < descriptors


async def test_a_group_that_was_left_can_be_joined_at_once(scene: Scene) -> None:
    _, joined = await asyncio.gather(
        scene.ones[0].leave(), scene.receiver.join(scene.group, PORT, sources=[D], interface="lo")
    )
    assert scene.filters() == [*BEFORE[1:], include([D])] == [*BEFORE[1:], joined.filter]
    with pytest.raises(StateError):
        await scene.ones[0].swap([A])
    assert joined.kernel_filter() == include([D])


# Swaps while packets come


@pytest.mark.parametrize("pending", ["discard", "deliver"])
@pytest.mark.parametrize("modes", [False, True], ids=["lists", "modes"])
async def test_swaps_race_with_an_iteration(modes: bool, pending: aiomcast.Pending, any_group: str) -> None:
    """A is always allowed, B now and then; a thread sends both, 30 packets ahead at most."""
    count, ahead, stop = 1500, threading.Semaphore(30), threading.Event()

    def send() -> None:
        with sending(A, any_group, PORT) as always, sending(B, any_group, PORT) as sometimes:
            for number in range(count):
                if stop.is_set() or not ahead.acquire(timeout=10):
                    return
                sometimes.send(b"%d" % number)
                always.send(b"%d" % number)

    async with aiomcast.listen(any_group, PORT, sources=[A], interface="lo") as feed:
        refused = True  # whether B is refused, and no packet of it may be seen
        swaps, more = 0, asyncio.Event()
        filters = [include([A, C]), include([A, B])]
        if modes:
            filters[1:1] = [exclude([C]), exclude([B])]

        async def swap() -> None:
            nonlocal refused, swaps
            for wanted in itertools.cycle(filters):
                refused = refused and not wanted.allows(B)
                await feed.swap(wanted, pending=pending)
                refused = pending == "discard" and not wanted.allows(B)
                swaps += 1
                await more.wait()
                more.clear()

        sender = threading.Thread(target=send)
        swapper = asyncio.create_task(swap())
        sender.start()
        try:
            numbers: dict[str, list[int]] = {A: [], B: []}
            async with asyncio.timeout(30):
                async for packet in feed:
                    numbers[packet.source].append(int(packet.data))
                    if packet.source == A:
                        ahead.release()
                        if len(numbers[A]) == count:
                            break
                        if len(numbers[A]) % 15 == 0:
                            more.set()
                    else:
                        assert not refused
        finally:
            stop.set()
            swapper.cancel()
            with suppress(asyncio.CancelledError):
                await swapper
            await asyncio.to_thread(sender.join)
        assert numbers[A] == list(range(count))
        assert numbers[B] == sorted(set(numbers[B]))
        assert swaps > 20
