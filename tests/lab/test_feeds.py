"""Merging the lines of two hosts: what the senders numbered, and what came over each cable, is the truth."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from aiomcast import Packet, Receiver
from aiomcast.feeds import Gap, LineStatistics, Merged, Sequence, merge

from .place import Place
from .two_lines import NUMBER, Lines, two_lines

SEQUENCE = Sequence.at(0, "u32")
COUNT = 3000
BURST = 20
HOLD = 0.3  # by how much a loaded machine may be late between two calls
TENTH = "udp dport 5000 numgen random mod 10 0 drop"
TWICE = "udp dport 5000 meta mark != 7 numgen random mod 10 < 2 meta mark set 7 dup to {}"

each_family = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])


class Taken:
    """All that a merge has put out so far. A context manager: `merged` is iterated meanwhile."""

    def __init__(self, merged: Merged) -> None:
        self.merged = merged
        self.numbers: list[int] = []
        self.missing: list[int] = []
        self.restarts: list[tuple[int, int]] = []
        self.order: list[object] = []
        self._came = asyncio.Event()

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Take until it holds; TimeoutError if it does not come to that. It is looked at when some came."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def take(self) -> None:
        async for item in self.merged:
            if isinstance(item, Packet):
                self.numbers.append(*NUMBER.unpack(item.data))
                self.order.append(self.numbers[-1])
            elif isinstance(item, Gap):
                assert item.last - item.first + 1 == item.count
                self.missing += range(item.first, item.last + 1)
                self.order += range(item.first, item.last + 1)
            else:
                self.restarts.append((item.last, item.first))
            self._came.set()

    async def until_true(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds, which nothing that is put out tells of."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    async def counts(self, index: int, brought: list[int]) -> None:
        """Wait until all that a line brought is counted: the last copy may be on its way yet."""
        await self.until_true(lambda: self.line(index).received == len(brought))

    def line(self, index: int) -> LineStatistics:
        return self.merged.statistics().lines[index]


@asynccontextmanager
async def taking(lines: Lines, hold: float = HOLD, first: int = 0) -> AsyncIterator[Taken]:
    """Merge both lines, from a first packet on that both have brought."""
    async with Receiver() as receiver:
        feeds = await lines.join(receiver)
        async with merge(*feeds, sequence=SEQUENCE, hold=hold) as merged:
            taken = Taken(merged)
            task = asyncio.create_task(taken.take())
            lines.a.send(first)
            lines.b.send(first)
            await taken.until(lambda: bool(taken.numbers))
            yield taken
        async with asyncio.timeout(10):
            await task


def mixed(numbers: range, seed: int) -> list[int]:
    """These numbers, in another order."""
    order = list(numbers)
    random.Random(seed).shuffle(order)
    return order


def account(line: list[int], other: list[int], last: int) -> dict[str, int]:
    """What the statistics of a line have to say that brought these numbers, of 0 to `last`."""
    mine, theirs = set(line), set(other)
    return {
        "received": len(line),
        "duplicates": len(line) - len(mine),
        "lost_here": len(theirs - mine),
        "lost_everywhere": last + 1 - len(mine | theirs),
        "late": 0, "unreadable": 0, "astray": 0,
    }  # fmt: skip


async def check_union(lines: Lines, taken: Taken, last: int) -> None:
    """Send `last` on both lines without fault; all is the union then, and every number in a count."""
    for line in (lines.a, lines.b):
        line.impair()
        line.send(last)
    await taken.until(lambda: taken.numbers[-1] == last)
    brought = [line.look() for line in (lines.a, lines.b)]
    union = sorted(set(brought[0]) | set(brought[1]))
    assert taken.numbers == union
    assert taken.missing == sorted(set(range(last + 1)) - set(union))
    assert taken.order == list(range(last + 1))
    assert taken.restarts == []
    for index in (0, 1):
        await taken.counts(index, brought[index])
        counted = taken.line(index)
        expected = account(brought[index], brought[1 - index], last)
        assert {name: getattr(counted, name) for name in expected} == expected
        assert counted.won + counted.copies == len(set(brought[index]))
    whole = taken.merged.statistics()
    assert (whole.delivered, whole.lost, whole.late, whole.waiting) == (len(union), len(taken.missing), 0, 0)
    assert sum(line.won for line in whole.lines) == len(union)


@each_family
async def test_a_tenth_is_lost_at_random_on_each_line(lab: None, family: int) -> None:
    with two_lines(family) as lines:
        async with taking(lines) as taken:
            for line in (lines.a, lines.b):
                line.impair(TENTH)
            for first in range(1, COUNT, BURST):
                for number in range(first, first + BURST):
                    lines.a.send(number)
                    lines.b.send(number)
                await asyncio.sleep(0)
            await check_union(lines, taken, first + BURST)
            assert taken.missing, "both lost some"
            assert all(len(line.arrived) < COUNT * 0.95 for line in (lines.a, lines.b))


@each_family
async def test_loss_duplicates_and_reordering_on_each_line(lab: None, family: int) -> None:
    with two_lines(family) as lines:
        async with taking(lines) as taken:
            for line in (lines.a, lines.b):
                line.impair(TENTH, TWICE.format(line.far))
            for first in range(1, COUNT, BURST):
                numbers = range(first, first + BURST)
                lines.a.send(*mixed(numbers, first))
                lines.b.send(*mixed(numbers, -first))
                await asyncio.sleep(0)
            await check_union(lines, taken, first + BURST)
            assert all(taken.line(index).duplicates > COUNT // 10 for index in (0, 1))


async def test_a_line_that_is_50_ms_behind(lab: None) -> None:
    """What the first line loses comes from the second one 50 ms later: nothing is given up."""
    last = 2000
    with two_lines(4, behind=0.05) as lines:
        async with taking(lines, hold=5) as taken:
            lines.a.impair(TENTH)
            for number in range(1, last):
                lines.a.send(number)
                lines.b.send(number)
                if not number % BURST:
                    await asyncio.sleep(0.005)
            lines.a.impair()
            lines.a.send(last)
            lines.b.send(last)
            await taken.until(lambda: taken.numbers[-1] == last)
            assert taken.order == taken.numbers == list(range(last + 1))
            await taken.counts(0, lines.a.look())
            await taken.counts(1, taken.numbers)
            a, b = taken.line(0), taken.line(1)
            assert a.won + a.copies == len(lines.a.arrived)
            assert (a.lost_here, b.lost_here) == (last + 1 - len(lines.a.arrived), 0)
            assert a.lost_here > last // 20
            assert (a.won + b.won, a.lost_everywhere, b.lost_everywhere) == (last + 1, 0, 0)
            assert b.won > a.lost_here // 2
            assert a.behind is not None
            assert b.behind is not None
            assert b.behind - a.behind > 0.03


@each_family
async def test_a_line_that_flaps(lab: None, family: int, caplog: pytest.LogCaptureFixture) -> None:
    """The membership mends itself; the merge says that the line was silent and is back, and loses nothing."""
    caplog.set_level(logging.INFO, "aiomcast")
    with two_lines(family) as lines:
        async with taking(lines) as taken:
            last = 0

            async def both_send_until(condition: Callable[[], bool]) -> None:
                nonlocal last
                async with asyncio.timeout(20):
                    while not condition():
                        last += 1
                        lines.a.send(last)
                        lines.b.send(last)
                        await asyncio.sleep(0.002)

            def brought() -> int:
                return taken.line(0).won + taken.line(0).copies

            async def flap(place: Place, interface: str) -> None:
                caplog.clear()
                place.ip(f"link set {interface} down")
                await both_send_until(lambda: taken.line(0).is_silent)
                place.ip(f"link set {interface} up")
                before = brought()
                await both_send_until(lambda: brought() > before + 100)
                assert not taken.line(0).is_silent
                told = [one.getMessage() for one in caplog.records if "line 1 of 2" in one.getMessage()]
                assert [one.partition(", after ")[0].rsplit(", ", 1)[1] for one in told] == [
                    "brings nothing while other lines do",
                    "is back",
                ]

            await flap(lines.near, lines.a.near)
            await flap(lines.a.host, lines.a.far)  # which is the carrier of the other
            await taken.until(lambda: taken.numbers[-1] == last)
            assert taken.order == taken.numbers == list(range(last + 1))
            await taken.counts(1, taken.numbers)
            a, b = taken.line(0), taken.line(1)
            assert (b.lost_here, b.lost_everywhere, b.is_silent) == (0, 0, False)
            assert a.lost_here == last + 1 - brought()
            assert a.lost_here > 0
            assert a.won + b.won == last + 1


async def test_one_sender_that_begins_anew_and_is_an_hour_ahead(lab: None) -> None:
    """It silences nobody; with both there the merge goes on there, and says so."""
    base = 1_000_000
    hour = base + 3600 * 10_000
    with two_lines(4) as lines:
        async with taking(lines, first=base) as taken:

            async def send(a: range, b: range) -> None:
                for one, other in zip(a, b, strict=True):
                    lines.a.send(one)
                    lines.b.send(other)
                    if not one % BURST:
                        await asyncio.sleep(0)

            async def came(number: int) -> None:
                await taken.until(lambda: taken.numbers[-1] == number)

            await send(range(base + 1, base + 500), range(base + 1, base + 500))
            await send(range(base + 500, base + 1000), range(hour, hour + 500))
            await came(base + 999)
            await taken.until_true(lambda: taken.line(1).is_apart)
            await send(range(base + 1000, base + 1500), range(base + 1000, base + 1500))  # it is back
            await came(base + 1499)
            await taken.until_true(lambda: not taken.line(1).is_apart)
            await send(range(300), range(base + 1500, base + 1800))  # the other one begins anew
            await came(base + 1799)
            await taken.until_true(lambda: taken.line(0).is_apart)
            whole = list(range(base, base + 1800))
            assert taken.order == taken.numbers == whole
            assert taken.restarts == []
            await send(range(300, 600), range(300, 600))  # and so does the second
            await came(599)
            await taken.until_true(lambda: not any(taken.line(index).is_apart for index in (0, 1)))
            assert taken.restarts == [(base + 1799, 0)]
            assert taken.order == taken.numbers == [*whole, *range(600)]
            assert taken.merged.statistics().restarts == 1
