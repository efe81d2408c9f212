"""What would wait for ever, or lose something without a word, says so instead."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import aiomcast
from aiomcast import PacketBatches, PacketStream, StateError
from aiomcast.streams.dispatcher import Dispatcher
from aiomcast.streams.outlet import Outlet
from tests.loopback.conftest import Senders
from tests.support.packets import numbered, payloads, take
from tests.support.sending import A
from tests.support.waiting import turns, until

from .warned import unclosed

SECONDS = 5
owners = pytest.mark.parametrize("owner", ["receiver", "membership"])


async def refused(waiting: Awaitable[object], match: str) -> None:
    """It is a StateError at once, with a hint."""
    async with asyncio.timeout(SECONDS):
        with pytest.raises(StateError, match=match) as caught:
            await waiting
    assert caught.value.hint


# Nothing is joined


async def test_a_listener_that_was_not_entered_cannot_be_iterated(group: str) -> None:
    listener = aiomcast.listen(group, 5000, sources=[A], interface="lo")

    async def iterate() -> None:
        async for packet in listener:
            raise AssertionError(packet)

    await refused(iterate(), "not entered")
    assert list(listener.receiver.memberships) == []
    async with listener as feed:  # it can still be entered
        assert list(listener.receiver.memberships) == [feed]


WAITS: dict[str, Callable[[aiomcast.Receiver], Any]] = {  # Any: all of them can be iterated
    "the default stream": aiter,
    "packets": lambda receiver: receiver.packets(),
    "tagged": lambda receiver: receiver.packets(source=A),
    "batches": lambda receiver: receiver.batches(),
}


@pytest.mark.parametrize("way", WAITS)
async def test_a_receiver_that_has_joined_nothing_is_not_waited_for(
    way: str, group: str, senders: Senders
) -> None:
    async with aiomcast.Receiver() as receiver:
        stream = WAITS[way](receiver)
        await refused(anext(stream), "joined nothing")
        if isinstance(stream, PacketStream):
            await refused(stream.receive(), "joined nothing")
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        await senders.send(A, group, b"1", b"2")
        async with asyncio.timeout(SECONDS):
            await anext(stream)  # the same one goes on
        await one.leave()
        if isinstance(stream, PacketStream):
            assert payloads(await take(stream, 1)) == [b"2"]
        await refused(anext(stream), "joined nothing")


# In another event loop


def in_another_loop(main: Callable[[], Awaitable[None]]) -> Awaitable[None]:
    """Run `main` in a thread and an event loop of its own."""

    async def run() -> None:
        await main()

    def thread() -> None:
        with asyncio.Runner() as runner:
            runner.run(run())

    return asyncio.to_thread(thread)


@owners
async def test_a_stream_is_not_awaited_in_another_event_loop(
    owner: str, group: str, senders: Senders
) -> None:
    async with aiomcast.Receiver() as receiver:
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        stream = (receiver if owner == "receiver" else one).packets()
        batches = stream.batches()

        async def elsewhere() -> None:
            await refused(anext(stream), "another event loop")
            await refused(anext(batches), "another event loop")
            await refused(stream.receive(), "another event loop")

        await in_another_loop(elsewhere)
        await senders.send(A, group, b"here")
        assert payloads(await take(stream, 1)) == [b"here"]


def test_a_stream_that_a_loop_left_behind_is_not_awaited_in_the_next(group: str) -> None:
    """As in a program that calls `asyncio.run` twice."""
    receiver = aiomcast.Receiver()

    async def join() -> PacketStream:
        await receiver.join(group, 5000, sources=[A], interface="lo")
        return receiver.packets()

    async def wait(stream: PacketStream) -> None:
        await refused(anext(stream), "another event loop")
        await refused(receiver.aclose(), "another event loop")

    with asyncio.Runner() as first:
        stream = first.run(join())
        with asyncio.Runner() as second:
            second.run(wait(stream))
        first.run(receiver.aclose())


# Dropped open


@owners
@pytest.mark.parametrize("form", ["packets", "batches"])
async def test_a_stream_that_is_dropped_open_warns_and_what_it_held_is_counted(
    form: str, owner: str, group: str, senders: Senders
) -> None:
    async with aiomcast.Receiver() as receiver:
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        held: list[PacketStream | PacketBatches] = []
        stream = (receiver if owner == "receiver" else one).packets()
        held.append(stream if form == "packets" else stream.batches())
        gone = weakref.ref(stream)
        del stream
        await senders.send(A, group, *numbered(3))
        await until(lambda: receiver.statistics().queued == 3)
        with unclosed() as told:
            held.clear()
        assert len(told) == 1
        assert "was never closed" in told[0]
        assert group in told[0] or owner == "receiver"
        assert gone() is None
        for statistics in (receiver.statistics(), one.statistics()):
            assert (statistics.received, statistics.queue_drops, statistics.queued) == (3, 3, 0)
        await turns()
        await senders.send(A, group, b"waits in the kernel")
        await turns(20)
        assert receiver.statistics().received == 3
        assert payloads(await take(aiter(receiver), 1)) == [b"waits in the kernel"]


async def test_events_that_are_dropped_open_warn_too(group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        events = receiver.events()
        gone = weakref.ref(events)
        with unclosed() as told:
            del events
        assert len(told) == 1
        assert "EventStream" in told[0]
        assert gone() is None
        await receiver.join(group, 5000, sources=[A], interface="lo")


async def test_nobody_is_warned_of_what_was_closed(group: str) -> None:
    """By itself, by its context, with its membership or with its receiver; nor of default streams."""
    gc.collect()
    with unclosed() as told:
        receiver = aiomcast.Receiver()
        one = await receiver.join(group, 5000, sources=[A], interface="lo")
        async with receiver.packets(), one.batches(), receiver.events():
            pass
        streams: list[Any] = [receiver.packets(), one.packets(), one.batches(), receiver.events()]
        streams += [aiter(one), aiter(receiver)]
        await streams[0].aclose()
        await one.leave()
        await receiver.aclose()
        del streams, one, receiver
        gc.collect()
    assert told == []


async def test_a_stream_can_be_dropped_in_another_thread(group: str, senders: Senders) -> None:
    """As by a garbage collector that happens to run there."""
    async with aiomcast.Receiver(capacity=2) as receiver:
        await receiver.join(group, senders.port, sources=[A], interface="lo")
        held = [receiver.packets()]
        stays = receiver.packets()
        await senders.send(A, group, *numbered(2))
        assert payloads(await take(stays, 2)) == numbered(2)
        await senders.send(A, group, b"behind")  # `held` is full
        await turns(20)
        assert len(stays) == 0
        with unclosed() as told:
            thread = threading.Thread(target=held.clear)
            thread.start()
            thread.join()
        assert len(told) == 1
        assert payloads(await take(stays, 1)) == [b"behind"]


@owners
async def test_nothing_of_the_loop_is_touched_in_the_thread_that_drops_a_full_stream(
    owner: str, group: str, senders: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with aiomcast.Receiver(capacity=2) as receiver:
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        held = [(receiver if owner == "receiver" else one).packets()]
        await senders.send(A, group, *numbered(2))
        await until(lambda: len(held[0]) == 2)
        threads: list[threading.Thread] = []
        for kind in (Dispatcher, Outlet):
            real = kind.relaxed

            def relaxed(home: Any, stream: PacketStream, real: Any = real) -> None:  # Any: either kind
                threads.append(threading.current_thread())
                real(home, stream)

            monkeypatch.setattr(kind, "relaxed", relaxed)
        with unclosed():
            thread = threading.Thread(target=held.clear)
            thread.start()
            thread.join()
        await turns()
        assert thread not in threads
        stays = receiver.packets()
        await senders.send(A, group, b"read again")
        assert payloads(await take(stays, 1)) == [b"read again"]


async def test_a_receiver_that_is_dropped_open_is_told_of_and_its_default_streams_are_not(
    group: str,
) -> None:
    gc.collect()
    with unclosed() as told:
        receiver = aiomcast.Receiver()
        one = await receiver.join(group, 5000, sources=[A], interface="lo")
        assert aiter(receiver) is not aiter(one)
        del receiver, one
        gc.collect()
        await turns()
    assert len(told) == 1
    assert told[0].startswith("<Receiver")


# Iterating what has ended

USES: dict[str, Callable[[Any], AsyncIterator[object] | None]] = {  # Any: a receiver or a membership
    "nothing": lambda owner: None,
    "the default stream": aiter,
    "packets": lambda owner: owner.packets(),
    "batches": lambda owner: owner.batches(),
    "events": lambda owner: owner.events() if isinstance(owner, aiomcast.Receiver) else None,
}
ENDS: dict[str, Callable[[aiomcast.Receiver, aiomcast.Membership], Awaitable[None]]] = {
    "leave": lambda receiver, one: one.leave(),
    "aclose": lambda receiver, one: receiver.aclose(),
    "leave and aclose": lambda receiver, one: _both(receiver, one),
}


async def _both(receiver: aiomcast.Receiver, one: aiomcast.Membership) -> None:
    await one.leave()
    await receiver.aclose()
    await one.leave()
    await receiver.aclose()


@owners
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("use", USES)
async def test_what_is_closed_or_left_can_be_iterated_and_ends(
    use: str, end: str, owner: str, group: str, senders: Senders
) -> None:
    receiver = aiomcast.Receiver()
    one = await receiver.join(group, senders.port, sources=[A], interface="lo")
    used = USES[use](receiver if owner == "receiver" else one)
    await senders.send(A, group, *numbered(2))
    if isinstance(used, PacketStream | PacketBatches):
        listening = used if isinstance(used, PacketStream) else used.stream
        await until(lambda: len(listening) == 2)
    await ENDS[end](receiver, one)
    default_of = {"receiver": receiver, "membership": one}[owner] if use == "the default stream" else None
    async with asyncio.timeout(SECONDS):
        for _ in range(2):
            left = [packet.data async for packet in one]
            assert left == (numbered(2) if default_of is one else [])
            default_of = receiver if default_of is receiver else None
        if end != "leave":
            assert [packet.data async for packet in receiver] == (numbered(2) if default_of else [])
            assert [packet async for packet in receiver] == []
            if use == "events" and owner == "receiver":
                assert used is not None
                assert len([event async for event in used]) == 1
        with pytest.raises(StateError):
            one.packets()
        with pytest.raises(StateError):
            one.batches()
    await receiver.aclose()
    for make in (receiver.packets, receiver.batches, receiver.events):
        with pytest.raises(StateError):
            make()


async def test_a_listener_that_has_ended_leaves_a_membership_that_can_be_iterated(
    group: str, senders: Senders
) -> None:
    listener = aiomcast.listen(group, senders.port, sources=[A], interface="lo")
    async with listener as feed:
        await senders.send(A, group, *numbered(3))
        async with asyncio.timeout(SECONDS):
            async for packet in feed:
                assert packet.data == b"0"
                break
        await until(lambda: len(aiter(feed)) == 2)
    async with asyncio.timeout(SECONDS):
        assert [packet.data async for packet in feed] == numbered(2, 1)
        assert [packet async for packet in feed] == []
        assert [packet async for packet in listener.receiver] == []
    with pytest.raises(StateError):
        async with listener:
            raise AssertionError("it was entered twice")
