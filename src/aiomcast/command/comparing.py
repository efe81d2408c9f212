"""The run of `aiomcast gaps`: joins the lines, takes what comes, and says who lost what."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Protocol

import attrs

from aiomcast import ArgumentError, Membership, Packet, PacketBatches, PacketStream, Receiver
from aiomcast.feeds import Gap, LineStatistics, Merged, Restart, Watched, gaps, merge
from aiomcast.feeds import Sequence as SequencePlace

from .counting import Counting
from .output import TO_FINISH, first_few, say, when_nobody_reads
from .report import ChannelReport, address
from .running import every
from .silence import command_for
from .tally import Feed, Found, LineTally, counted

__all__ = ["Comparing", "FeedWriting", "Plan", "WantedLine"]

MOST_LATEST = 200  # gaps that are kept to be shown


@attrs.frozen
class WantedLine:
    """A line of the feed: what is joined, and by which interface."""

    group: str
    port: int
    sources: tuple[str, ...]
    interface: str | int | None


@attrs.frozen
class Plan:
    """What is compared, and until when. `hold` and `window` are those of `merge`."""

    lines: Sequence[WantedLine]
    sequence: SequencePlace
    hold: float
    window: int | None
    count: int | None
    seconds: float | None


class FeedWriting(Protocol):
    """Where reports go, and what is found."""

    @property
    def interval(self) -> float:
        """Every how many seconds a report is wanted."""

    @property
    def is_live(self) -> bool:
        """Whether it has the terminal for itself until it ends."""

    async def found(self, stamp_ns: int, found: Found) -> None:
        """Tell of a gap or a restart, and the time of the packet after it."""

    async def show(self, feed: Feed) -> None:
        """Show how things stand."""

    async def attend(self) -> None:
        """Do what is due between reports, until it is cancelled."""

    async def end(self, feed: Feed) -> None:
        """Show how things stood at the end."""

    def close(self) -> None:
        """Give back what it has for itself, however it ended."""


@attrs.define(eq=False)
class _Line:
    """One that is received: `batches` are what is counted of it, apart from what is compared."""

    name: str
    membership: Membership
    batches: PacketBatches
    counting: Counting


class Comparing:
    """One run. It closes the receiver."""

    def __init__(self, plan: Plan, receiver: Receiver, writing: FeedWriting, quiet: bool) -> None:
        self._plan = plan
        self._receiver = receiver
        self._writing = writing
        self._quiet = quiet
        self._lines: list[_Line] = []
        self._source: Merged | Watched
        self._delivered = self._gaps = self._restarts = 0
        self._latest: deque[tuple[int, Found]] = deque(maxlen=MOST_LATEST)
        self._started = self._began = 0.0
        self._before: dict[str, Mapping[str, int]] = {}
        self._is_ending = False

    async def run(self) -> int:
        """Return the exit status: 1 where something was lost by all, or did not come."""
        with contextlib.closing(self._writing), _quiet_merge():
            async with self._receiver as receiver:
                await self._join(receiver)
                for line in self._lines:
                    self._tell(f"comparing {line.name}")
                self._started = time.monotonic()
                is_over = await self._until_it_ends()
                feed = self._feed()
            with contextlib.suppress(TimeoutError, BrokenPipeError):
                async with asyncio.timeout(TO_FINISH):
                    await self._writing.end(feed)
        wrong = self._missed(is_over)
        for text in first_few(wrong, "lines"):
            say(f"aiomcast: {text}")
        return 1 if wrong or feed.lost else 0

    async def _join(self, receiver: Receiver) -> None:
        """Join each group and port once: lines that differ by source alone are streams of one membership."""
        places: dict[tuple[str, int, str | int | None], list[WantedLine]] = {}
        for one in self._plan.lines:
            places.setdefault((one.group, one.port, one.interface), []).append(one)
        joined: dict[WantedLine, tuple[_Line, PacketStream]] = {}
        for (group, port, interface), lines in places.items():
            if len(lines) > 1 and (
                any(len(one.sources) != 1 for one in lines) or len(set(lines)) < len(lines)
            ):
                raise ArgumentError(
                    f"{group} port {port} is given twice", "lines of one group take a different SOURCE@ each"
                )
            sources = [source for one in lines for source in one.sources]
            membership = await receiver.join(group, port, sources=sources or None, interface=interface)
            for one in lines:
                source = one.sources[0] if len(lines) > 1 else None
                before = ",".join(one.sources) or "any source"
                name = f"{before}@{address(membership.group, membership.port)} on {membership.interface.name}"
                batches = membership.batches(source=source)
                line = _Line(name, membership, batches, Counting(self._plan.sequence))
                joined[one] = line, membership.packets(source=source)
        plan = self._plan
        self._lines = [joined[one][0] for one in plan.lines]
        streams = [joined[one][1] for one in plan.lines]
        if len(streams) == 1:
            self._source = gaps(streams[0], plan.sequence)
        else:
            self._source = merge(*streams, sequence=plan.sequence, hold=plan.hold, window=plan.window)

    async def _until_it_ends(self) -> bool:
        """Return whether the end was asked for from the start, by --count or --seconds."""
        counting = [asyncio.create_task(self._count(line)) for line in self._lines]
        taking = asyncio.create_task(self._take())
        others = [asyncio.create_task(work) for work in (self._show(), self._writing.attend())]
        task = asyncio.current_task()
        assert task is not None
        reading = contextlib.nullcontext() if self._writing.is_live else when_nobody_reads(task.cancel)
        try:
            with reading:
                await asyncio.wait(
                    [taking, *others], timeout=self._plan.seconds, return_when=asyncio.FIRST_COMPLETED
                )
            is_over = True
        except asyncio.CancelledError:
            is_over = False
        self._is_ending = True
        for line in self._lines:  # at once, so that all have seen the same
            await line.batches.stream.aclose()
        await self._source.aclose()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([taking, *counting], timeout=TO_FINISH)
        tasks = [taking, *counting, *others]
        for one in tasks:
            one.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BrokenPipeError):
                is_over = False
            elif isinstance(outcome, Exception):
                raise outcome
        return is_over

    async def _count(self, line: _Line) -> None:
        async for batch in line.batches:
            line.counting.take(batch, time.time_ns())

    async def _take(self) -> None:
        count, pending = self._plan.count, []
        async for batch in self._compared():
            for item in batch:
                if isinstance(item, Gap | Restart):
                    pending.append(item)
                    continue
                self._delivered += 1
                if pending:
                    await self._found(pending, item.timestamp_ns or time.time_ns())
                    pending = []
                if self._delivered == count:
                    return
        await self._found(pending, time.time_ns())

    async def _compared(self) -> AsyncIterator[list[Packet | Gap | Restart]]:
        if isinstance(self._source, Merged):
            async for batch in self._source.batches():
                yield batch
        else:
            async for item in self._source:
                yield [item]

    async def _found(self, found: list[Found], stamp_ns: int) -> None:
        for one in found:
            self._gaps += isinstance(one, Gap)
            self._restarts += isinstance(one, Restart)
            self._latest.append((stamp_ns, one))
            await self._writing.found(stamp_ns, one)

    async def _show(self) -> None:
        if self._writing.is_live:
            await self._writing.show(self._feed())
        async for _ in every(self._writing.interval):
            feed = self._feed()
            self._before = {line.name: line.total for line in feed.lines}
            self._began = feed.passed
            for line in self._lines:
                report = line.counting.report([line.membership], feed.now_ns, feed.passed)
                line.counting.begin_interval(report, [line.membership])
            await self._writing.show(feed)

    def _feed(self) -> Feed:
        now_ns, passed = time.time_ns(), time.monotonic() - self._started
        source = self._source
        merged = source.statistics() if isinstance(source, Merged) else None
        lines: list[LineTally] = []
        for number, line in enumerate(self._lines):
            (channel,) = line.counting.report([line.membership], now_ns, passed).channels
            if merged is None:
                lines += self._by_source(line, channel)
            else:
                lines.append(self._of_line(line, channel, merged.lines[number]))
        lost = sum(line.total["lost"] for line in lines) if merged is None else merged.lost
        return Feed(
            now_ns,
            passed,
            passed - self._began,
            tuple(lines),
            merged is not None,
            self._delivered,
            lost,
            0 if merged is None else merged.late,
            self._gaps,
            self._restarts,
            tuple(self._latest),
        )

    def _of_line(self, line: _Line, channel: ChannelReport, merged: LineStatistics) -> LineTally:
        account = channel.account
        total = counted(account.total.sequence, merged, _dropped(channel))
        state = "apart" if merged.is_apart else "silent" if merged.is_silent else ""
        if merged.is_ended and not self._is_ending:
            state = "ended"
        return LineTally(line.name, total, self._new(line.name, total), account, merged.behind, state)

    def _by_source(self, line: _Line, channel: ChannelReport) -> Iterator[LineTally]:
        """Yield each source of the line: the numbers of each are its own."""
        for one in channel.sources:
            name = f"{one.source}@{channel.name} on {channel.interface}"
            total = counted(one.account.total.sequence, None, _dropped(channel))
            yield LineTally(name, total, self._new(name, total), one.account)
        if not channel.sources:
            total = counted(channel.account.total.sequence, None, _dropped(channel))
            yield LineTally(line.name, total, self._new(line.name, total), channel.account)

    def _new(self, name: str, total: Mapping[str, int]) -> dict[str, int]:
        before = self._before.get(name, {})
        return {key: number - before.get(key, 0) for key, number in total.items()}

    def _missed(self, is_over: bool) -> list[str]:
        """Return what was to come and did not, in words."""
        missed = []
        for line in self._lines:
            channel = line.counting.report([line.membership], 0, 0.0).channels[0]
            if not channel.account.total.packets:
                command = command_for(channel.group, channel.port, channel.filter)
                missed.append(f"nothing came from {line.name}: {command} finds the cause")
        count = self._plan.count
        if is_over and not missed and count is not None and self._delivered < count:
            missed = [f"{self._delivered} of {count} packets came in {self._plan.seconds:g} s"]
        return missed

    def _tell(self, line: str) -> None:
        if not self._quiet:
            say(line)


def _dropped(channel: ChannelReport) -> int:
    return channel.dropped.kernel_drops + channel.dropped.queue_drops


@contextlib.contextmanager
def _quiet_merge() -> Iterator[None]:
    """Leave out what a merge logs of its lines: it is shown."""
    logger = logging.getLogger("aiomcast")

    def is_other(record: logging.LogRecord) -> bool:
        return record.module != "line_events"

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
