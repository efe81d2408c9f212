"""Streams that are closed, or forgotten: what they do to the others, and keep."""

import asyncio
import gc
import warnings
import weakref
from typing import Any

import pytest

import aiomcast
from aiomcast import Overflow, SourceFilter
from tests.loopback.conftest import Senders
from tests.support.accounts import accounted
from tests.support.packets import numbered, payloads, rest, take
from tests.support.sending import A, B
from tests.support.waiting import turns, until

from .warned import unclosed

pytestmark = pytest.mark.usefixtures("network")


@pytest.mark.parametrize("owner", ["receiver", "membership"])
@pytest.mark.parametrize("tagged", [False, True])
async def test_a_stream_that_closes_in_a_change_of_mode_leaves_nobody_deaf(
    owner: str, tagged: bool, any_group: str, senders: Senders
) -> None:
    """More packets wait than a stream holds: the closed one must not be fed, or nobody drains it."""
    async with aiomcast.Receiver(capacity=64, receive_buffer=8 << 20) as receiver:
        one = await receiver.join(any_group, senders.port, sources=[A], interface="lo")
        await senders.send(A, any_group, *numbered(1500))
        await one.swap(SourceFilter.exclude([B]))
        await asyncio.sleep(0.02)  # the old socket is due by now
        maker: Any = receiver if owner == "receiver" else one  # Any: both have packets and statistics
        tags = {"source": A} if tagged else {}
        first, second = maker.packets(**tags), maker.packets(**tags)
        before = len(first)  # of the old socket, before the second was made
        await first.aclose()
        assert payloads(await take(second, 1500 - before)) == numbered(1500 - before, before)
        await senders.send(A, any_group, b"after")
        assert payloads(await take(second, 1)) == [b"after"]
        late = receiver.packets()
        await senders.send(A, any_group, b"late")
        assert payloads(await take(late, 1)) == payloads(await take(second, 1)) == [b"late"]


@pytest.mark.parametrize("owner", ["receiver", "membership"])
async def test_streams_that_close_while_full_hold_up_nobody(
    owner: str, any_group: str, senders: Senders
) -> None:
    async with aiomcast.Receiver(capacity=8) as receiver:
        one = await receiver.join(any_group, senders.port, sources=[A], interface="lo")
        maker: Any = receiver if owner == "receiver" else one  # Any: as above
        streams = [maker.packets() for _ in range(4)]
        await senders.send(A, any_group, *numbered(30))
        await until(lambda: all(len(stream) >= 8 for stream in streams))
        for stream in streams[:3]:
            await stream.aclose()
        assert payloads(await take(streams[3], 30)) == numbered(30)


@pytest.mark.parametrize("owner", ["receiver", "membership"])
async def test_a_closed_stream_yields_nothing_that_a_later_filter_refuses(
    owner: str, group: str, senders: Senders
) -> None:
    listener = aiomcast.listen(group, senders.port, sources=[A, B], interface="lo")
    async with listener as feed:
        stream = listener.receiver.packets() if owner == "receiver" else feed.packets()
        await senders.send(A, group, b"a1", b"a2")
        await senders.send(B, group, b"b")
        await until(lambda: len(stream) == 3)
        await stream.aclose()
        await feed.swap([B])
        assert await rest(stream) == [b"b"]
        accounted(listener.receiver.statistics(), taken=1)
        assert stream.statistics() == aiomcast.StreamStatistics(3, 1, 0, 2, 0)


@pytest.mark.parametrize("owner", ["receiver", "membership"])
@pytest.mark.parametrize("left", [False, True])
async def test_a_closed_stream_that_nobody_holds_is_gone_and_what_it_held_is_counted(
    owner: str, left: bool, group: str, senders: Senders
) -> None:
    async with aiomcast.Receiver() as receiver:
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        gone = []
        for number in range(20):
            stream = receiver.packets() if owner == "receiver" else one.packets()
            await senders.send(A, group, *numbered(10))
            assert payloads(await take(stream, 1)) == [b"0"]
            # mypy does not see that the argument has a default
            await until(lambda stream=stream: len(stream) == 9)  # type: ignore[misc]  # the number of this turn
            await stream.aclose()
            assert receiver.statistics().queued == 9
            if left and number == 19:
                await one.leave()
            gone.append(weakref.ref(stream))
            del stream
            gc.collect()
            assert gone[-1]() is None
            accounted(receiver.statistics(), taken=number + 1)
        assert receiver.statistics().queue_drops == 20 * 9
        if not left or owner == "membership":  # else it was left before
            assert one.statistics().queue_drops == 20 * 9


@pytest.mark.parametrize("owner", ["receiver", "membership"])
@pytest.mark.parametrize("stalled", [False, True])
async def test_a_stream_that_is_forgotten_holds_up_nobody(
    owner: str, stalled: bool, group: str, senders: Senders
) -> None:
    """Dropped without closing: what it held is counted, and the others go on."""
    async with aiomcast.Receiver(capacity=8) as receiver:
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        stays = receiver.packets()
        forgotten = receiver.packets() if owner == "receiver" else one.packets()
        count = 8 if stalled else 3
        await senders.send(A, group, *numbered(count))
        assert payloads(await take(stays, count)) == numbered(count)
        assert len(forgotten) == count
        await senders.send(A, group, b"behind")
        if stalled:
            await turns(20)
            assert len(stays) == 0
        else:
            await until(lambda: len(stays) == 1)
        with unclosed() as told:
            del forgotten
        assert len(told) == 1
        assert payloads(await take(stays, 1)) == [b"behind"]
        await senders.send(A, group, b"more")
        assert payloads(await take(stays, 1)) == [b"more"]
        assert receiver.statistics().queue_drops == count + (not stalled)


async def test_the_last_stream_that_is_forgotten_ends_the_reading(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        await receiver.join(group, senders.port, sources=[A], interface="lo")
        with unclosed() as told:
            receiver.batches()
        assert len(told) == 1
        await turns()
        await senders.send(A, group, b"waits in the kernel")
        await turns(20)
        assert receiver.statistics().received == 0
        assert payloads(await take(aiter(receiver), 1)) == [b"waits in the kernel"]


@pytest.mark.parametrize("owner", ["receiver", "membership"])
async def test_a_stream_that_its_own_warning_keeps_alive_holds_up_nobody(
    owner: str, group: str, senders: Senders
) -> None:
    """As under pytest: what records a warning, or the exception made of it, has the stream as its source."""
    async with aiomcast.Receiver(capacity=2) as receiver:
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        forgotten, stays = (receiver if owner == "receiver" else one).packets(), one.packets()
        with warnings.catch_warnings(record=True) as recorded:
            warnings.simplefilter("always")
            del forgotten
        assert [warning.category for warning in recorded] == [ResourceWarning]
        await turns()
        for number in numbered(10):
            await senders.send(A, group, number)
            assert payloads(await take(stays, 1, 5)) == [number]


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
async def test_what_a_stream_drops_while_its_membership_ends_is_counted_once(
    overflow: Overflow, group: str, senders: Senders
) -> None:
    async with aiomcast.Receiver(capacity=8, overflow=overflow) as receiver:
        one = await receiver.join(group, senders.port, sources=[A], interface="lo")
        await senders.send(A, group, *numbered(50))
        stream = one.packets()
        await one.leave()  # which reads out what waits
        for statistics in (one.statistics(), receiver.statistics()):
            assert (statistics.received, statistics.queue_drops, statistics.queued) == (50, 42, 8)
        assert len(await rest(stream)) == 8
