"""What `Merged.events()` tells of lines: what, of which, and since when."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

import aiomcast
from aiomcast.feeds import LineEvent, LineEventKind, LineEventStream, Merged, merge
from tests.support.waiting import turns

from .two_lines import GROUPS, NUMBER, PORT, SOURCES, TwoLines, some, two_lines

HOLD = 0.01


def made(lines: TwoLines) -> Merged:
    return merge(lines.a, lines.b, sequence=NUMBER, hold=HOLD, clock=lines.clock)


def told(events: LineEventStream) -> list[tuple[LineEventKind, int, float, float | None]]:
    """What has been told and not taken yet."""
    found = [events.receive_nowait() for _ in range(len(events))]
    return [(one.kind, one.line, one.since, one.seconds) for one in found]


async def test_a_line_that_falls_silent_and_one_that_is_back() -> None:
    async with two_lines() as lines, made(lines) as merged, merged.events() as events:
        lines.clock.now = 100.0
        for line in (0, 1):
            lines.send(line, 0)
        assert await some(merged, 1) == [0]
        for number in range(1, 40):
            lines.clock.now = 100.0 + number / 16
            lines.send(0, number)
            assert await some(merged, 1) == [number]
        (silent,) = told(events)
        assert silent == (LineEventKind.SILENT, 1, 100.0, None)
        lines.clock.now = 110.0
        lines.send(1, 40)
        assert await some(merged, 1) == [40]
        assert told(events) == [(LineEventKind.BACK, 1, 110.0, 10.0)]


async def test_a_line_with_numbers_of_its_own_and_its_return() -> None:
    async with two_lines() as lines, made(lines) as merged, merged.events() as events:
        for number in range(40):
            lines.clock.now = 50 + number / 16
            lines.send(0, number)
            lines.send(1, number if number < 8 else number + 10**6)
            assert await some(merged, 1) == [number]
        assert told(events) == [(LineEventKind.APART, 1, 50.5, None)]
        lines.clock.now = 60.5
        lines.send(1, 40)
        assert await some(merged, 1) == [40]
        assert told(events) == [(LineEventKind.TOGETHER, 1, 60.5, 10.0)]


async def test_a_line_that_fails_and_ends_while_the_other_goes_on() -> None:
    async with two_lines() as lines:
        a, b = lines.a.packets(), lines.b.packets()
        async with merge(a, b, sequence=NUMBER, hold=HOLD, clock=lines.clock) as merged:
            events = merged.events()
            lines.clock.now = 7.0
            a._fail(OSError("the cable is cut"))
            lines.send(1, 1)
            assert await some(merged, 1) == [1]
            await a.aclose()
            lines.clock.now = 8.0
            lines.send(1, 2)
            assert await some(merged, 1) == [2]
            await turns()
            lines.send(1, 3)
            assert await some(merged, 1) == [3]
            failed, ended = [events.receive_nowait() for _ in range(2)]
            assert (failed.kind, failed.line, failed.since) == (LineEventKind.FAILED, 0, 7.0)
            assert str(failed.error) == "the cable is cut"
            assert failed.stream is a
            assert (ended.kind, ended.line, ended.since, ended.error) == (LineEventKind.ENDED, 0, 8.0, None)


@pytest.mark.parametrize("by", ["aclose", "its lines"])
async def test_events_end_with_the_merge(by: str) -> None:
    async with two_lines() as lines, made(lines) as merged:
        taking = asyncio.create_task(_all(merged.events()))
        await turns()
        assert not taking.done()
        if by == "aclose":
            await merged.aclose()
        else:
            await lines.a.leave()
            await lines.b.leave()
            assert await anext(merged, None) is None
        async with asyncio.timeout(10):
            found = await taking
        kinds = [LineEventKind.ENDED] * 2 if by == "its lines" else []
        assert [one.kind for one in found] == kinds
        async with asyncio.timeout(10):
            assert await _all(merged.events()) == []  # also those asked for later


async def _all(events: LineEventStream) -> list[LineEvent]:
    return [one async for one in events]


async def test_an_event_is_awaited_as_a_packet_is() -> None:
    async with two_lines() as lines, made(lines) as merged, merged.events() as events:
        waiting = asyncio.create_task(events.receive())
        await turns()
        await lines.b.leave()
        lines.send(0, 1, 2)
        assert await some(merged, 2) == [1, 2]
        lines.send(0, 3)
        assert await some(merged, 1) == [3]
        async with asyncio.timeout(10):
            event = await waiting
        assert str(event).startswith("line 2 of 2, <PacketStream of ")
        assert str(event).endswith(", has ended")


async def test_events_that_nobody_takes_have_a_limit() -> None:
    async with two_lines() as lines, made(lines) as merged, merged.events() as events:
        event = LineEvent(LineEventKind.BACK, 0, 2, merged._streams[0], 0.0)
        for _ in range(3000):
            merged._telling.tell(event)
        assert len(events) == events.capacity == 1024


async def test_who_listens_keeps_the_merge_and_who_is_gone_is_told_nothing() -> None:
    async with two_lines() as lines, aiomcast.Receiver(network=lines.network) as other:
        there = await other.join(GROUPS[1], PORT, sources=[SOURCES[1]])
        a, b = lines.a.packets(), there.packets()
        events = merge(a, b, sequence=NUMBER, hold=HOLD).events()
        gc.collect()
        assert events._merged is not None
        gone = weakref.ref(events)
        await events.aclose()
        del events
        gc.collect()
        assert gone() is None
        await a.aclose()
        await b.aclose()
