"""What would be waited for in vain, done in silence, or left behind says so."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

import aiomcast
from aiomcast import (
    ArgumentTypeError,
    EventKind,
    Membership,
    Receiver,
    RefusedError,
    SourceFilter,
    StateError,
)
from tests.loopback.conftest import Senders
from tests.support.accounts import open_descriptors
from tests.support.inside import readers_of
from tests.support.packets import payloads, take
from tests.support.platforms import needs_drops
from tests.support.sending import A, B
from tests.support.waiting import turns

# Threads and loops

CHANGES: dict[str, Callable[[Receiver, Membership], Awaitable[object]]] = {
    "swap": lambda receiver, one: one.swap([B]),
    "apply": lambda receiver, one: receiver.filters.apply({one: [B]}),
    "filters.swap": lambda receiver, one: receiver.filters.swap(one, [B]),
    "join_source": lambda receiver, one: one.join_source(B),
    "refresh": lambda receiver, one: one.refresh(),
    "leave": lambda receiver, one: one.leave(),
    "join": lambda receiver, one: receiver.join(one.group, one.port + 1, sources=[A], interface="lo"),
    "close": lambda receiver, one: receiver.aclose(),
    "receive": lambda receiver, one: aiter(one).receive(),
    "receive from all": lambda receiver, one: aiter(receiver).receive(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_another_event_loop_is_refused(
    change: Callable[[Receiver, Membership], Awaitable[object]], group: str
) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(group, 5000, sources=[A], interface="lo")
        told: list[BaseException | None] = []

        async def elsewhere() -> None:
            try:
                await change(receiver, one)
            except StateError as error:
                told.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        await asyncio.to_thread(thread.join, 10)
        assert isinstance(told[0], StateError)
        assert told[0].hint
        assert one.filter == one.kernel_filter() == SourceFilter.include([A])
        assert receiver.memberships == (one,)


async def test_a_thread_without_a_loop_is_refused(group: str) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(group, 5000, sources=[A], interface="lo")

        def elsewhere() -> None:
            change: Coroutine[Any, Any, None] = one.swap([B])  # Any: a coroutine's
            with pytest.raises(StateError):
                change.send(None)

        await asyncio.to_thread(elsewhere)
        assert one.kernel_filter() == SourceFilter.include([A])


# Left behind


@pytest.mark.parametrize("listening", [False, True])
async def test_forgotten_receivers_leave_nothing_open(listening: bool, group: str) -> None:
    before = open_descriptors()

    async def forget(number: int) -> None:
        receiver = Receiver()
        await receiver.join(group, 5000 + number, sources=[A], interface="lo")
        if listening:
            aiter(receiver)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(50):
            await forget(number)
        gc.collect()
        await turns(3)
    assert open_descriptors() == before
    unclosed = [str(one.message) for one in caught if one.category is ResourceWarning]
    assert len([one for one in unclosed if "Receiver" in one]) == 50


async def test_a_stream_keeps_its_receiver(group: str, senders: Senders) -> None:
    async def stream_alone() -> aiomcast.PacketStream:
        return (await Receiver().join(group, senders.port, sources=[A], interface="lo")).packets()

    stream = await stream_alone()
    gc.collect()
    await senders.send(A, group, b"here")
    assert payloads(await take(stream, 1)) == [b"here"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del stream
        await turns(1)  # in which the reading goes on without it
        gc.collect()
        await turns(3)


# Joining


async def test_a_join_can_be_awaited_entered_and_made_a_task(group: str) -> None:
    async with Receiver() as receiver:
        awaited = await receiver.join(group, 5000, sources=[A], interface="lo")
        async with receiver.join(group, 5001, sources=[A], interface="lo") as entered:
            assert receiver.memberships == (awaited, entered)
        task = asyncio.create_task(receiver.join(group, 5002, sources=[A], interface="lo"))
        joined = await task
        assert receiver.memberships == (awaited, joined)
        with pytest.raises(StateError):
            async with receiver.join(group, 5000, sources=[A], interface="lo"):
                pytest.fail("it is joined already")
        assert awaited in receiver.memberships


async def test_entering_a_membership_leaves_at_the_end(group: str) -> None:
    async with Receiver() as receiver:
        async with await receiver.join(group, 5000, sources=[A], interface="lo") as one:
            assert list(receiver.memberships) == [one]
        assert list(receiver.memberships) == []


# Mistakes


async def test_what_is_no_membership_is_a_typed_error(group: str) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(group, 5000, sources=[A], interface="lo")
        for wrong in (group, None, 5, object()):
            with pytest.raises(ArgumentTypeError):
                await receiver.filters.apply({wrong: []})  # type: ignore[dict-item]  # wrong on purpose
            with pytest.raises(ArgumentTypeError):
                await receiver.filters.swap(wrong, [])  # type: ignore[arg-type]  # wrong on purpose
            assert wrong not in receiver.filters
        for nothing in (None, [one], group):
            with pytest.raises(ArgumentTypeError):
                await receiver.filters.apply(nothing)  # type: ignore[arg-type]  # wrong on purpose
        assert one in receiver.filters
        assert one.kernel_filter() == SourceFilter.include([A])


async def test_packets_of_another_group_are_refused_at_a_membership(group: str, any_group: str) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(group, 5000, sources=[A], interface="lo")
        for tags in ({"group": any_group}, {"channel": aiomcast.Channel(A, any_group)}):
            with pytest.raises(aiomcast.AddressError):
                one.packets(**tags)
        async with one.packets(group=group, source=A), one.batches(channel=aiomcast.Channel(A, group)):
            pass


# Told


async def test_an_error_of_one_membership_is_its_own(group: str, senders: Senders) -> None:
    async with Receiver() as receiver, receiver.events() as events:
        broken = await receiver.join(group, senders.port, sources=[A], interface="lo")
        whole = await receiver.join(group, senders.port + 1, sources=[A], interface="lo")
        own, others, merged = broken.packets(), whole.packets(), receiver.packets()
        readers_of(broken)[0].failed(OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN)))
        with pytest.raises(RefusedError) as caught:
            await own.receive()
        assert caught.value.errno == errno.ENETDOWN
        told = await _next_of(events, EventKind.FAILED)
        assert told.membership is broken
        assert told.error is caught.value
        await senders.send(A, group, b"still")
        assert payloads(await take(own, 1)) == payloads(await take(merged, 1)) == [b"still"]
        async with aiomcast.Sender(group, senders.port + 1, source=A, interface="lo") as sender:
            await sender.send(b"other")
        assert payloads(await take(others, 1)) == payloads(await take(merged, 1)) == [b"other"]
        for stream in (own, others, merged):
            await stream.aclose()


@needs_drops
async def test_kernel_drops_are_told(group: str, senders: Senders, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "aiomcast")
    async with Receiver(receive_buffer=4096) as receiver, receiver.events() as events:
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        await senders.send(A, group, *[bytes(1000)] * 200)
        stream = aiter(one)
        drops = one.statistics().kernel_drops
        told = await _next_of(events, EventKind.DROPPED)
        assert told.membership is one
        assert told.count == drops
        assert str(drops) in caplog.text
        await take(stream, 200 - drops)


async def test_whose_packet_it_is(group: str, senders: Senders) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        await senders.send(A, group, b"1")
        [packet] = await take(aiter(receiver), 1)
        assert receiver.membership_of(packet) is one
        await one.leave()
        assert receiver.membership_of(packet) is None
        again = await receiver.join(group, senders.port, sources=[A], interface="lo")
        assert receiver.membership_of(packet) is again


async def test_statistics_between_two_moments(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, senders.port, sources=[A], interface="lo") as feed:
        assert feed.statistics().latest_ns is None
        await senders.send(A, group, b"1")
        await take(aiter(feed), 1)
        before = feed.statistics()
        await senders.send(A, group, b"22", b"333")
        packets = await take(aiter(feed), 2)
        between = feed.statistics() - before
        assert (between.received, between.octets) == (2, 5)
        assert between.latest_ns == packets[-1].timestamp_ns


async def test_reprs_say_group_filter_and_state(group: str) -> None:
    listener = aiomcast.listen(group, 5000, sources=[A], interface="lo")
    assert group in repr(listener)
    async with listener as feed:
        assert all(part in repr(feed) for part in (group, "5000", "lo", A))
        async with feed.packets(source=A) as stream:
            assert all(part in repr(stream) for part in (group, A, "0 of 4096"))
        assert "closed" in repr(stream)
        assert "1 membership" in repr(listener.receiver)
        assert "1 membership" in repr(listener.receiver.filters)
    assert "left" in repr(feed)
    assert "closed" in repr(listener.receiver)


async def _next_of(events: aiomcast.EventStream, kind: EventKind) -> aiomcast.Event:
    async with asyncio.timeout(10):
        while (event := await events.receive()).kind is not kind:
            pass
    return event
