"""`gaps`: packets as they come, and the gaps in the numbers of each flow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiomcast import ArgumentTypeError, Packet
from aiomcast.feeds import Gap, Jitter, gaps
from aiomcast.values import bounds

from .two_lines import GROUPS, NUMBER, PORT, SOURCES, shown, some, two_lines


async def test_a_gap_before_the_packet_that_shows_it() -> None:
    async with two_lines() as lines, gaps(lines.a, NUMBER) as watched:
        lines.send(0, 1, 2, 5, 3, 6, 8)
        assert await some(watched, 8) == [1, 2, ("gap", 3, 4), 5, 3, 6, ("gap", 7, 7), 8]
        (counted,) = watched.statistics().values()
        assert (counted.received, counted.lost, counted.reordered) == (6, 2, 1)


async def test_by_batches() -> None:
    async with two_lines() as lines, gaps(lines.receiver, NUMBER) as watched:
        async with watched.batches() as batches:
            lines.send(0, *range(100), *range(103, 200))
            lines.send(1, *range(500, 600))
            got: list[object] = []
            async with asyncio.timeout(10):
                while len(got) < 298:
                    got += map(shown, await anext(batches))
            assert [one for one in got if not isinstance(one, int) or one < 500] == [
                *range(100), ("gap", 100, 102), *range(103, 200),
            ]  # fmt: skip
            assert [one for one in got if isinstance(one, int) and one >= 500] == list(range(500, 600))
            counted = {flow.group: one for flow, one in watched.statistics().items()}
            assert (counted[GROUPS[0]].received, counted[GROUPS[0]].lost) == (197, 3)
            assert (counted[GROUPS[1]].received, counted[GROUPS[1]].lost) == (100, 0)
        with pytest.raises(StopAsyncIteration):
            await anext(batches)


async def test_batches_go_on_where_packets_have_stopped() -> None:
    async with two_lines() as lines, gaps(lines.a, NUMBER) as watched:
        lines.send(0, 1, 3, 4)
        assert await some(watched, 2) == [1, ("gap", 2, 2)]
        async with asyncio.timeout(10):
            assert [shown(item) for item in await anext(watched.batches())] == [3]
            assert [shown(item) for item in await anext(watched.batches())] == [4]


@pytest.mark.parametrize("by_batches", [False, True])
async def test_the_jitter_of_arrival_by_the_kernel_s_stamps(by_batches: bool) -> None:
    async with two_lines() as lines, gaps(lines.a, NUMBER) as watched:
        expected = Jitter()
        for number in range(60):
            lines.send(0, number)
            await lines.network.run_for(0.001 + number % 7 / 1000)
            async with asyncio.timeout(10):
                items = await anext(watched.batches()) if by_batches else [await anext(watched)]
            for item in items:
                assert isinstance(item, Packet)
                assert item.timestamp_ns is not None
                expected.take(item.timestamp_ns)
        (jitter,) = watched.jitter().values()
        assert jitter == pytest.approx(expected.nanoseconds)
        assert jitter is not None
        assert jitter > 0


async def test_over_the_end_of_the_numbers() -> None:
    async with two_lines() as lines, gaps(lines.a, NUMBER) as watched:
        lines.send(0, 2**32 - 2, 1)
        assert await some(watched, 3) == [2**32 - 2, ("gap", 2**32 - 1, 0), 1]


async def test_a_source_that_begins_anew() -> None:
    async with two_lines() as lines, gaps(lines.a, NUMBER) as watched:
        lines.send(0, 5000, 5001, 1, 2, 3)
        assert await some(watched, 6) == [5000, 5001, 1, ("restart", 5001, 2), 2, 3]


async def test_each_flow_has_numbers_of_its_own() -> None:
    async with two_lines() as lines, gaps(lines.receiver, NUMBER) as watched:
        for number in (1, 2, 4):
            lines.send(0, number)
            lines.send(1, number + 100)
        async with asyncio.timeout(10):
            items = [await anext(watched) for _ in range(8)]
        assert {(item.first, item.flow.source) for item in items if isinstance(item, Gap)} == {
            (3, SOURCES[0]),
            (103, SOURCES[1]),
        }
        assert {flow.group for flow in watched.statistics()} == set(GROUPS)


async def test_a_packet_without_a_number_is_passed_on_and_counted() -> None:
    async with two_lines() as lines, gaps(lines.a, NUMBER) as watched:
        lines.send_raw(0, b"abc")
        lines.send(0, 1)
        lines.send_raw(0, b"")
        lines.send(0, 3)
        assert await some(watched, 5) == [None, 1, None, ("gap", 2, 2), 3]
        (counted,) = watched.statistics().values()
        assert (counted.received, counted.unreadable) == (2, 2)


async def test_a_cancelled_wait_keeps_the_packet_after_a_gap() -> None:
    async with two_lines() as lines, gaps(lines.a, NUMBER) as watched:
        lines.send(0, 1, 3)
        assert await some(watched, 2) == [1, ("gap", 2, 2)]
        assert await some(watched, 1) == [3]


async def test_it_ends_with_its_stream() -> None:
    async with two_lines() as lines:
        async with gaps(lines.a, NUMBER) as watched:
            lines.send(0, 1)
            assert await some(watched, 1) == [1]
        async with asyncio.timeout(10):
            assert [item async for item in watched] == []


async def test_flows_without_end_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FLOWS_PER_STREAM", 2)
    async with two_lines() as lines, gaps(lines.a, NUMBER) as watched:
        for port in range(4000, 4004):
            lines.network.send(SOURCES[0], GROUPS[0], PORT, bytes(4), source_port=port)
            assert isinstance(await asyncio.wait_for(anext(watched), 10), Packet)
        assert [flow.source_port for flow in watched.statistics()] == [4002, 4003]


@pytest.mark.parametrize(
    ("stream", "sequence"), [("eth0", NUMBER), (None, NUMBER), (..., "rtp"), (..., None)]
)
async def test_arguments_of_a_wrong_type(stream: Any, sequence: Any) -> None:
    async with two_lines() as lines:
        with pytest.raises(ArgumentTypeError):
            gaps(lines.a if stream is ... else stream, sequence)
