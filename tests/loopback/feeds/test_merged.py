"""`merge` on memberships and streams: packets, batches, ends, errors, and what it tells."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest

import aiomcast
from aiomcast import ArgumentError, ArgumentTypeError, StateError
from aiomcast.feeds import Gap, Sequence, merge
from tests.support.waiting import turns

from .two_lines import GROUPS, NUMBER, PORT, SOURCES, shown, some, two_lines

HOLD = 0.01  # by the tests' own clock: it is over when they say so


async def test_two_memberships() -> None:
    async with two_lines() as lines, merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD) as merged:
        lines.send(0, 1, 2, 5)
        lines.send(1, 1, 2, 3, 4, 5, 6)
        assert await some(merged, 6) == [1, 2, 3, 4, 5, 6]
        a, b = merged.statistics().lines
        assert (a.won + b.won, a.copies + b.copies) == (6, 3)
        assert a.received == 3
        assert a.lost_here == 2


async def test_by_batches() -> None:
    async with two_lines() as lines:
        async with merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD).batches() as batches:
            lines.send(0, *range(100))
            lines.send(1, *range(100))
            got: list[object] = []
            async with asyncio.timeout(10):
                while len(got) < 100:
                    got += map(shown, await anext(batches))
            assert got == list(range(100))
        with pytest.raises(StopAsyncIteration):
            await anext(batches)


async def test_batches_go_on_where_packets_have_stopped() -> None:
    async with two_lines() as lines, merge(lines.a, sequence=NUMBER, hold=HOLD) as merged:
        lines.send(0, 1, 2, 3)
        assert await some(merged, 1) == [1]
        assert [shown(item) for item in await anext(merged.batches())] == [2, 3]


async def test_a_gap_when_the_hold_is_over_and_nothing_comes() -> None:
    async with two_lines() as lines:
        merged = merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD, clock=lines.clock)
        async with merged:
            lines.send(0, 1, 4)
            assert await some(merged, 1) == [1]
            waiting = asyncio.create_task(some(merged, 2))
            await turns()
            lines.clock.now += HOLD
            assert await waiting == [("gap", 2, 3), 4]


async def test_what_is_missing_and_queued_already_is_in_time() -> None:
    """Who is slow to take packets loses none that are there."""
    async with two_lines() as lines:
        merged = merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD, clock=lines.clock)
        async with merged:
            lines.send(0, 1, 4)
            assert await some(merged, 1) == [1]
            lines.send(1, 1, 2, 3)
            await lines.network.settle()
            lines.clock.now += 10 * HOLD
            assert await some(merged, 3) == [2, 3, 4]


async def test_a_backlog_larger_than_the_window_is_taken_by_turns() -> None:
    async with two_lines() as lines:
        merged = merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD, window=8)
        async with merged:
            lines.send(0, *(number for number in range(400) if number % 10 != 3))
            lines.send(1, *(number for number in range(400) if number % 10 != 7))
            assert await some(merged, 400) == list(range(400))


@pytest.mark.parametrize("window", [64, 256, 1000])
async def test_a_backlog_of_lines_that_lose_differently_stays_together(window: int) -> None:
    """One brings a tenth of what the other does: by packets alone it would soon be far ahead."""
    count = 20_000
    async with two_lines() as lines:
        merged = merge(lines.a, lines.b, sequence=NUMBER, hold=1, window=window, clock=lines.clock)
        async with merged:
            lines.send(0, *(number for number in range(count) if not number % 10))
            lines.send(1, *(number for number in range(count) if number % 10 or not number % 100))
            assert await some(merged, count) == list(range(count))
            assert [line.astray for line in merged.statistics().lines] == [0, 0]


async def test_a_line_that_is_dead_holds_up_nobody() -> None:
    async with two_lines() as lines:
        merged = merge(lines.a, lines.b, sequence=NUMBER, hold=1, window=8, clock=lines.clock)
        async with merged:
            for line in (0, 1):
                lines.send(line, 0)
            assert await some(merged, 1) == [0]
            lines.send(0, *range(1, 5000))
            assert await some(merged, 4999) == list(range(1, 5000))


async def test_who_has_not_looked_for_long_takes_no_line_for_silent(caplog: pytest.LogCaptureFixture) -> None:
    """One line begins anew while nobody looks: what the other brings is there, and decides."""
    async with two_lines() as lines:
        merged = merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD, clock=lines.clock)
        async with merged:
            for line in (0, 1):
                lines.send(line, *range(10**6, 10**6 + 20))
            assert await some(merged, 20) == list(range(10**6, 10**6 + 20))
            lines.clock.now += 10
            lines.send(0, *range(40))
            lines.send(1, *range(10**6 + 20, 10**6 + 60))
            await lines.network.settle()
            assert await some(merged, 40) == list(range(10**6 + 20, 10**6 + 60))
            assert not any(line.is_silent for line in merged.statistics().lines)
            assert "brings nothing" not in caplog.text


async def test_streams_of_one_membership_by_their_sources() -> None:
    async with two_lines() as lines:
        feed = await lines.receiver.join("232.1.1.3", PORT, sources=SOURCES)
        merged = merge(*(feed.packets(source=one) for one in SOURCES), sequence=NUMBER, hold=HOLD)
        async with merged:
            for source in SOURCES:
                for number in range(3):
                    lines.network.send(source, "232.1.1.3", PORT, number.to_bytes(4, "big"))
            assert await some(merged, 3) == [0, 1, 2]
            assert [line.received for line in merged.statistics().lines] == [3, 3]


async def test_lines_of_two_receivers() -> None:
    async with two_lines() as lines, aiomcast.Receiver(network=lines.network) as other:
        there = await other.join(GROUPS[1], PORT, sources=[SOURCES[1]])
        async with merge(lines.a, there, sequence=NUMBER, hold=HOLD) as merged:
            lines.send(0, 1, 3)
            lines.send(1, 1, 2, 3)
            assert await some(merged, 3) == [1, 2, 3]


async def test_a_line_that_ends_is_told_of_and_the_other_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with two_lines() as lines, merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD) as merged:
        lines.send(0, 1, 2)
        assert await some(merged, 2) == [1, 2]
        waiting = asyncio.create_task(some(merged, 1))
        await turns()
        await lines.a.leave()
        lines.send(1, 1, 2, 3)
        assert await waiting == [3]
        (record,) = caplog.records
        assert record.getMessage().endswith("has ended")
        assert "line 1 of 2" in record.getMessage()
        assert [line.is_ended for line in merged.statistics().lines] == [True, False]
        await lines.b.leave()
        with pytest.raises(StopAsyncIteration):
            await anext(merged)


async def test_what_waits_comes_out_when_all_have_ended() -> None:
    async with two_lines() as lines:
        async with merge(lines.a, lines.b, sequence=NUMBER, hold=60) as merged:
            lines.send(0, 1, 3)
            assert await some(merged, 1) == [1]
        assert await some(merged, 2) == [("gap", 2, 2), 3]
        with pytest.raises(StopAsyncIteration):
            await anext(merged)


async def test_the_error_of_one_line_is_told_and_the_other_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with two_lines() as lines:
        a, b = lines.a.packets(), lines.b.packets()
        async with merge(a, b, sequence=NUMBER, hold=HOLD) as merged:
            a._fail(OSError("the cable is cut"))
            lines.send(1, 1)
            assert await some(merged, 1) == [1]
            assert "the cable is cut" in caplog.text
            lines.send(0, 2)
            assert await some(merged, 1) == [2]
            await b.aclose()
            a._fail(OSError("again"))
            with pytest.raises(OSError, match="again"):
                await anext(merged)


async def test_lines_that_are_apart_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async with two_lines() as lines, merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD) as merged:
        for number in range(40):
            lines.send(0, number)
            lines.send(1, number + 10**6)
        assert await some(merged, 40) == list(range(40))
        (record,) = [record for record in caplog.records if record.name.startswith("aiomcast")]
        assert record.levelno == logging.WARNING
        assert "line 2 of 2" in record.getMessage()
        assert merged.statistics().lines[1].is_apart


@pytest.mark.parametrize("unreadable", ["drop", "pass"])
async def test_a_packet_too_short_for_a_number(unreadable: Any) -> None:
    async with (
        two_lines() as lines,
        merge(lines.a, sequence=NUMBER, hold=HOLD, unreadable=unreadable) as merged,
    ):
        lines.send_raw(0, b"abc")
        lines.send(0, 1)
        expected = [None, 1] if unreadable == "pass" else [1]
        assert await some(merged, len(expected)) == expected
        assert merged.statistics().lines[0].unreadable == 1


async def test_a_second_task_is_refused() -> None:
    async with two_lines() as lines, merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD) as merged:
        waiting = asyncio.create_task(some(merged, 1))
        await turns()
        with pytest.raises(StateError):
            await anext(merged)
        lines.send(0, 1)
        assert await waiting == [1]


async def test_a_stream_that_another_task_waits_on_is_refused() -> None:
    async with two_lines() as lines, lines.a.packets() as stream:
        waiting = asyncio.create_task(stream.receive())
        await turns()
        merged = merge(stream, lines.b, sequence=NUMBER, hold=HOLD)
        async with merged:
            with pytest.raises(StateError):
                await anext(merged)
            lines.send(0, 1)
            assert shown(await waiting) == 1


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    async with two_lines() as lines, merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD) as merged:
        got: list[object] = []
        for number in range(5):
            waiting = asyncio.create_task(some(merged, 1))
            await turns()
            lines.send(number % 2, number)
            waiting.cancel()
            for result in await asyncio.gather(waiting, return_exceptions=True):
                got += [] if isinstance(result, BaseException) else result
        lines.send(0, 5)
        got += await some(merged, 6 - len(got))
        assert got == list(range(6))


async def test_closing_ends_a_wait() -> None:
    async with two_lines() as lines, merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD) as merged:
        waiting = asyncio.create_task(anext(merged, None))
        await turns()
        await merged.aclose()
        async with asyncio.timeout(10):
            assert await waiting is None


async def test_a_full_line_stops_the_reading_and_loses_nothing() -> None:
    async with two_lines() as lines, aiomcast.Receiver(network=lines.network, capacity=4) as receiver:
        feeds = [
            await receiver.join(group, PORT, sources=[source])
            for group, source in zip(GROUPS, SOURCES, strict=True)
        ]
        async with merge(*feeds, sequence=NUMBER, hold=1) as merged:
            for number in range(200):
                lines.send(number % 2, number)
                if not number % 10:
                    await turns()
            assert await some(merged, 200) == list(range(200))


# Wrong input


@pytest.mark.parametrize("hold", [-1, -0.001, math.nan, math.inf])
async def test_a_hold_that_cannot_be(hold: float) -> None:
    async with two_lines() as lines:
        with pytest.raises(ArgumentError, match="hold"):
            merge(lines.a, lines.b, sequence=NUMBER, hold=hold)


@pytest.mark.parametrize("hold", [True, "1", None])
async def test_a_hold_that_is_no_number(hold: Any) -> None:
    async with two_lines() as lines:
        with pytest.raises(ArgumentTypeError, match="hold"):
            merge(lines.a, lines.b, sequence=NUMBER, hold=hold)


@pytest.mark.parametrize(("sequence", "window"), [(NUMBER, 0), (NUMBER, -1), (Sequence.at(0, "u8"), 64)])
async def test_a_window_that_cannot_be(sequence: Sequence, window: int) -> None:
    async with two_lines() as lines:
        with pytest.raises(ArgumentError, match="window"):
            merge(lines.a, lines.b, sequence=sequence, hold=HOLD, window=window)


@pytest.mark.parametrize(
    "changed",
    [{"window": 1.5}, {"window": True}, {"sequence": "rtp"}, {"sequence": None}],
)
async def test_arguments_of_a_wrong_type(changed: dict[str, Any]) -> None:
    async with two_lines() as lines:
        with pytest.raises(ArgumentTypeError):
            merge(lines.a, lines.b, **{"sequence": NUMBER, "hold": HOLD, **changed})


async def test_too_few_numbers_for_an_order() -> None:
    async with two_lines() as lines:
        with pytest.raises(ArgumentError, match="3 bits"):
            merge(lines.a, sequence=Sequence.at(0, "u2"), hold=HOLD)


@pytest.mark.parametrize("rtp", [False, True])
async def test_continuity_counters_are_too_short_for_an_order(rtp: bool) -> None:
    async with two_lines() as lines:
        with pytest.raises(ArgumentError, match="merge by rtp"):
            merge(lines.a, sequence=Sequence.mpegts(rtp=rtp), hold=HOLD)


async def test_what_becomes_of_the_unreadable_is_one_of_two() -> None:
    async with two_lines() as lines:
        wrong: Any = "keep"
        with pytest.raises(ArgumentError, match="unreadable"):
            merge(lines.a, sequence=NUMBER, hold=HOLD, unreadable=wrong)


async def test_a_merge_of_nothing() -> None:
    with pytest.raises(ArgumentError, match="nothing"):
        merge(sequence=NUMBER, hold=HOLD)


async def test_a_merge_with_what_is_no_line() -> None:
    async with two_lines() as lines:
        wrong: Any = "eth0"
        with pytest.raises(ArgumentTypeError, match="eth0"):
            merge(lines.a, wrong, sequence=NUMBER, hold=HOLD)


async def test_a_merge_of_a_stream_with_itself() -> None:
    async with two_lines() as lines, lines.a.packets() as stream, lines.a.packets() as copy:
        one, other = SOURCES
        async with lines.a.packets(source=one) as tagged, lines.a.packets(source=one) as again:
            for twice in ((lines.a, lines.a), (stream, stream), (stream, lines.a), (stream, copy)):
                with pytest.raises(ArgumentError, match="itself"):
                    merge(*twice, sequence=NUMBER, hold=HOLD)
            with pytest.raises(ArgumentError, match="itself"):
                merge(tagged, lines.b, again, sequence=NUMBER, hold=HOLD)
            async with lines.a.packets(source=other) as different:
                assert repr(merge(tagged, different, sequence=NUMBER, hold=HOLD))


async def test_the_flow_of_a_gap_is_that_of_the_packet_after_it() -> None:
    async with two_lines() as lines, merge(lines.b, sequence=NUMBER, hold=0) as merged:
        lines.send(1, 1, 3)
        async with asyncio.timeout(10):
            _, gap, packet = [await anext(merged) for _ in range(3)]
        assert isinstance(gap, Gap)
        assert isinstance(packet, aiomcast.Packet)
        assert (gap.count, gap.flow) == (1, packet.flow)
