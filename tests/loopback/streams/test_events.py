"""`Receiver.events()`: what happened to the memberships, in order."""

import asyncio

import pytest

import aiomcast
from aiomcast import Event, EventKind, SourceFilter, StateError
from tests.support.sending import A, B
from tests.support.waiting import turns

include = SourceFilter.include


async def test_a_membership_from_join_to_leave(group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        events = receiver.events()
        membership = await receiver.join(group, 5000, sources=[A], interface="lo")
        await membership.swap([B])
        with pytest.raises(aiomcast.AddressError):
            await membership.swap(None)
        await membership.refresh()
        late = receiver.events()
        await membership.leave()
    expected = [
        Event(kind, group, 5000, "lo", include([source]), membership=membership)
        for kind, source in (
            (EventKind.JOINED, A),
            (EventKind.SWAPPED, B),
            (EventKind.REFRESHED, B),
            (EventKind.LEFT, B),
        )
    ]
    async with asyncio.timeout(10):
        assert [event async for event in events] == expected
        assert [event async for event in late] == expected[-1:]


async def test_an_apply_tells_of_each(group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        ones = [await receiver.join(group, 5000 + number, sources=[A], interface="lo") for number in range(3)]
        events = receiver.events()
        await receiver.filters.apply({one: {B} for one in ones[:2]})
        got = [await anext(events) for _ in range(2)]
        assert {event.kind for event in got} == {EventKind.SWAPPED}
        assert [event.port for event in got] == [5000, 5001]
        assert len(events) == 0


async def test_a_task_that_waits_is_woken_and_two_are_one_too_many(group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        events = receiver.events()

        async def first() -> Event:
            return await anext(events)

        waiting = asyncio.create_task(first())
        await turns()
        with pytest.raises(StateError):
            await anext(events)
        await receiver.join(group, 5000, sources=[A], interface="lo")
        async with asyncio.timeout(10):
            assert (await waiting).kind is EventKind.JOINED


async def test_the_oldest_go_when_nobody_takes_them(group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        membership = await receiver.join(group, 5000, sources=[A], interface="lo")
        events, taken = receiver.events(), receiver.events()
        await taken.aclose()
        for number in range(1100):
            await membership.swap([A if number % 2 else B])
        assert len(events) == events.capacity == 1024
        assert len(taken) == 0
        assert [event async for event in taken] == []


async def test_closing_while_one_waits_ends_it() -> None:
    receiver = aiomcast.Receiver()
    events = receiver.events()

    async def collect() -> list[Event]:
        return [event async for event in events]

    waiting = asyncio.create_task(collect())
    await turns()
    await receiver.aclose()
    async with asyncio.timeout(10):
        assert await waiting == []
