"""The order of arrival, over all the sockets of a membership; and the clock that it is read off."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator

import pytest

import aiomcast
from aiomcast import Receiver, SourceFilter
from aiomcast.receiving.shards import Shards
from tests.support.inside import readers_of, shards_of
from tests.support.packets import payloads, take
from tests.support.platforms import needs_stamps
from tests.support.sending import A, B, C, Sources
from tests.support.waiting import turns, until

include, exclude = SourceFilter.include, SourceFilter.exclude
MANY = [f"127.0.1.{number}" for number in range(1, 34)]  # on four sockets
PORT = 5000


@pytest.fixture
def sender(any_group: str) -> Iterator[Sources]:
    with Sources(any_group, PORT) as sources:
        yield sources


@pytest.mark.parametrize("count", [34, 2000])
@pytest.mark.parametrize("listening", ["before", "after"])
@pytest.mark.parametrize("end", ["taken", "left"])
async def test_a_list_over_several_sockets_comes_in_order(
    count: int, listening: str, end: str, any_group: str, sender: Sources
) -> None:
    async with Receiver(capacity=8192, receive_buffer=4 << 20) as receiver:
        one = await receiver.join(any_group, PORT, sources=MANY, interface="lo")
        streams = [receiver.packets(), one.packets()] if listening == "before" else []
        chosen = random.Random(count)
        for number in range(count):
            sender.number(chosen.choice(MANY[: 1 + number % len(MANY)]))  # some sockets hold far more
        if end == "left" and streams:
            await one.leave()
        streams = streams or [receiver.packets(), one.packets()]
        for stream in streams:
            assert payloads(await take(stream, count)) == sender.sent
        if end == "taken":
            assert receiver.statistics().received == count
            sender.sent.clear()
            sender.number(*MANY)
            assert payloads(await take(aiter(one), len(MANY))) == sender.sent


@needs_stamps
async def test_a_stalled_stream_goes_on_in_order_over_several_sockets(
    any_group: str, sender: Sources
) -> None:
    async with Receiver(capacity=16) as receiver:
        one = await receiver.join(any_group, PORT, sources=MANY, interface="lo")
        stream, got = receiver.packets(), []
        for _ in range(20):
            sender.number(*MANY)
            await turns()
            assert len(stream) < 16 + 512
            got += payloads(await take(stream, 20))
        got += payloads(await take(stream, len(sender.sent) - len(got)))
        assert got == sender.sent
        statistics = one.statistics()
        assert (statistics.received, statistics.queued, statistics.filtered) == (len(got), 0, 0)


async def test_under_way_nothing_overtakes_from_socket_to_socket(any_group: str, sender: Sources) -> None:
    """Sent while they are read, so that what comes during a read has to wait for the next."""
    async with Receiver(receive_buffer=4 << 20) as receiver:
        await receiver.join(any_group, PORT, sources=MANY, interface="lo")
        stream = receiver.packets()
        room = threading.Semaphore(2000)  # ahead of the reading: more might not fit into a socket

        def send() -> None:
            chosen = random.Random(7)
            for _ in range(20_000):
                assert room.acquire(timeout=30)
                sender.number(chosen.choice(MANY))

        sending = asyncio.create_task(asyncio.to_thread(send))
        stamps, got = [], 0
        async with asyncio.timeout(30):
            async for batch in stream.batches():
                stamps += [packet.timestamp_ns or 0 for packet in batch]
                got += len(batch)
                room.release(len(batch))
                if got == 20_000:
                    break
        await sending
        assert stamps == sorted(stamps)


@pytest.mark.parametrize("again", ["deliver", "discard"])
async def test_a_source_that_comes_back_on_another_socket_does_not_go_backwards(
    again: aiomcast.Pending, any_group: str, sender: Sources
) -> None:
    source, others = MANY[0], MANY[1:11]
    async with Receiver() as receiver:
        one = await receiver.join(any_group, PORT, sources=[source, *others[:9]], interface="lo")
        before = sender.number(source, source, source)
        await one.swap(others, pending="deliver")  # its place is another's
        await one.swap([source, *others], pending=again)
        after = sender.number(source, source, others[9], source)
        stream = receiver.packets()
        assert payloads(await take(stream, 7)) == before + after
        await one.swap([source])
        await until(lambda: len(shards_of(one).all_readers) == 1)
        last = sender.number(source)
        assert payloads(await take(stream, 1)) == last


async def test_a_swap_refuses_what_was_read_ahead_too(any_group: str, sender: Sources) -> None:
    """What waits for an earlier packet of another socket is neither leaked nor forgotten."""
    async with Receiver(capacity=4, receive_buffer=4 << 20) as receiver:
        one = await receiver.join(any_group, PORT, sources=MANY, interface="lo")
        stream = receiver.packets()
        chosen = random.Random(3)
        sources = [chosen.choice(MANY) for _ in range(3000)]
        sender.number(*sources)
        got = payloads(await take(stream, 100))
        kept = MANY[:20]
        await one.swap(kept)
        expected = [
            sent
            for number, (sent, source) in enumerate(zip(sender.sent, sources, strict=True))
            if number < 100 or source in kept
        ]
        got += payloads(await take(stream, len(expected) - 100))
        assert got == expected
        await turns(20)
        statistics = receiver.statistics()
        assert statistics.received == 3000 == len(expected) + statistics.filtered


# The clock


@pytest.fixture(params=[0, 2_000_000_000, 3600 * 10**9], ids=["right", "2 s late", "1 h late"])
def late(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """By how much the clock is set back right after each change: its cut is that far ahead."""
    seen: int = request.param
    monkeypatch.setattr(Shards, "time_ns", lambda shards: time.time_ns() + seen)
    return seen


CHANGES = {
    "to EXCLUDE": (include([A]), exclude([C])),
    "to INCLUDE": (exclude([C]), include([A, B])),
    "list": (include([A]), include([A, B])),
    "back and forth": (exclude([C]), include([A]), exclude([C])),
    "thrice": (include([A]), exclude([C]), include([A, B]), exclude([B]), include([A, B])),
}


@needs_stamps
@pytest.mark.parametrize("pending", ["deliver", "discard"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("stalled", [False, True])
async def test_a_clock_that_is_set_back_costs_and_doubles_nothing(
    change: str, pending: aiomcast.Pending, stalled: bool, late: int, any_group: str, sender: Sources
) -> None:
    first, *filters = CHANGES[change]
    async with Receiver(receive_buffer=4 << 20) as receiver:
        one = await receiver.join(any_group, PORT, sources=first, interface="lo")
        stream = None if stalled else receiver.packets()
        expected: list[bytes] = []
        of_b: list[bytes] = []
        for wanted in filters:
            expected += sender.number(A, A)
            await one.swap(wanted, pending=pending)
            if pending == "discard" and not wanted.allows(B):
                expected = [sent for sent in expected if sent not in of_b]
            for _ in range(3):
                expected += sender.number(A)
                if wanted.allows(B):
                    expected += sender.number(B)
                    of_b += sender.sent[-1:]
                if not stalled:
                    await asyncio.sleep(0.002)
        if not stalled:  # while the old sockets end
            loop = asyncio.get_running_loop()
            end = loop.time() + 0.3
            while loop.time() < end:
                expected += sender.number(A)
                await asyncio.sleep(0.005)
        else:
            await asyncio.sleep(0.15)  # they have left the group, and hold what came until then
            expected += sender.number(A, A, A)
            stream = receiver.packets()
        assert stream is not None
        got = payloads(await take(stream, len(expected)))
        if late == 0:
            assert got == expected
        else:  # between the sources the order is read off the clock
            assert sorted(got, key=int) == expected
        await until(lambda: len(shards_of(one).all_readers) == len(readers_of(one)))
        for _ in range(3):
            last = sender.number(A)
            assert payloads(await take(stream, 1)) == last
        assert len(stream) == 0


@needs_stamps
async def test_a_long_block_list_lets_nothing_in_that_came_while_it_was_refused(
    any_group: str, sender: Sources
) -> None:
    blocked = MANY[:20]
    async with Receiver() as receiver:
        with pytest.warns(RuntimeWarning):
            one = await receiver.join(any_group, PORT, sources=exclude(blocked), interface="lo")
        beyond = sorted(set(blocked) - one.kernel_filter().sources)[0]
        sender.number(beyond)  # the kernel lets it in
        await one.swap(exclude([source for source in blocked if source != beyond]), pending="deliver")
        between = sender.number(beyond)
        await one.swap(exclude(blocked), pending="deliver")
        sender.number(beyond)
        after = sender.number(A)
        stream = receiver.packets()
        assert payloads(await take(stream, 2)) == between + after


@needs_stamps
@pytest.mark.parametrize("set_back", [False, True])
async def test_a_long_block_list_leaks_no_longer_than_the_cut_lasts(
    set_back: bool, any_group: str, sender: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what only the gate refuses, `deliver` spares what had come; the cut ends with the socket empty."""
    if set_back:
        monkeypatch.setattr(Shards, "time_ns", lambda shards: time.time_ns() + 10**13)
    async with Receiver() as receiver:
        with pytest.warns(RuntimeWarning):
            one = await receiver.join(any_group, PORT, sources=exclude(MANY[:20]), interface="lo")
        stream = receiver.packets()
        newly = MANY[25]
        await one.swap(exclude([*MANY[:20], newly]), pending="deliver")
        await until(lambda: not readers_of(one)[0].gate.past)  # nothing of before can be under way any more
        first = sender.number(A)
        assert payloads(await take(stream, 1)) == first
        sender.number(newly, newly)
        last = sender.number(A)
        assert payloads(await take(stream, 1)) == last


@pytest.mark.parametrize("sources", [MANY, MANY[:1]])
async def test_a_stream_that_fills_while_old_sockets_end_loses_nothing(
    sources: list[str], any_group: str, sender: Sources
) -> None:
    """Nobody listens until they have left the group; then a stream that is full at once."""
    async with Receiver(capacity=4, receive_buffer=4 << 20) as receiver:
        one = await receiver.join(any_group, PORT, sources=sources, interface="lo")
        chosen = random.Random(5)
        for _ in range(3):
            sender.number(*[chosen.choice(sources) for _ in range(700)])
            await one.swap(exclude([C]) if one.filter.is_include else sources)
            sender.number(*[chosen.choice(sources) for _ in range(700)])
            await asyncio.sleep(0.12)
        stream = receiver.packets()
        assert payloads(await take(stream, len(sender.sent))) == sender.sent
        assert receiver.statistics().queue_drops == 0


@needs_stamps
async def test_a_swap_refuses_what_old_sockets_gave_ahead_before_a_stream_goes_on(
    any_group: str, sender: Sources
) -> None:
    """The swap makes room in a full stream, which reads on in the middle of it."""
    kept = MANY[:2]
    async with Receiver(capacity=64, receive_buffer=4 << 20) as receiver:
        one = await receiver.join(any_group, PORT, sources=MANY, interface="lo")
        chosen = random.Random(11)
        sources = [chosen.choice(MANY) for _ in range(1500)]
        sender.number(*sources)
        await one.swap(exclude([C]))
        await asyncio.sleep(0.02)  # the old sockets are due
        stream = receiver.packets()
        assert len(stream) >= 64
        await one.swap(kept)
        expected = [sent for sent, source in zip(sender.sent, sources, strict=True) if source in kept]
        assert payloads(await take(stream, len(expected))) == expected
        sender.number(kept[0])
        assert payloads(await take(stream, 1)) == sender.sent[-1:]
