"""The run of `aiomcast listen`: joins, takes what comes, tells what is going on, and judges at the end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import attrs

from aiomcast import (
    Diagnosis,
    Membership,
    Packet,
    PacketBatches,
    Receiver,
    SourceFilter,
    Sources,
    StateError,
)
from aiomcast.feeds import Sequence as SequencePlace

from .channels import Asked
from .counting import Counting
from .intervals import totals
from .joined import AllJoined, Joined
from .output import FOREVER, MOST_TOLD, first_few, say, when_nobody_reads
from .report import Report, address
from .running import every
from .silence import command_for
from .writing import Writing

__all__ = ["Listening", "Wanted"]

UNTIL_TOLD = 3.0  # seconds without a packet, after which that is said
LOOKED_AT = 1.0  # seconds, the last of these, for what the likely cause is
LOOK = 0.05  # seconds between looks whether anything is joined


@attrs.frozen
class Wanted:
    """What is to be joined, what was asked for by that, and when it ends."""

    asked: Sequence[Asked]
    filters: Mapping[tuple[str, int], Sources]
    interface: str | int | None
    count: int | None
    seconds: float | None
    capture: str | None = None


class Listening:
    """One run. It closes the receiver. `joined` is what joins (None: all that is wanted is, at the start)."""

    def __init__(
        self,
        wanted: Wanted,
        receiver: Receiver,
        sequence: SequencePlace | None,
        writing: Writing,
        quiet: bool,
        joined: Joined | None = None,
    ) -> None:
        self._wanted = wanted
        self._joined = AllJoined(wanted.filters, wanted.interface) if joined is None else joined
        self._receiver = receiver
        self._writing = writing
        self._quiet = quiet
        self._counting = Counting(sequence)
        self._octets = 0
        self._started = 0.0

    async def run(self) -> int:
        """Return the exit status: 1 where something that was asked for did not come in time."""
        with contextlib.closing(self._writing):
            return await self._run()

    async def _run(self) -> int:
        async with self._receiver as receiver:
            await self._joined.begin(receiver)
            async with receiver.batches() as batches:
                await self._writing.begin()
                self._started = time.monotonic()
                for line in first_few(self._described(), "channels"):
                    self._tell(line)
                is_over = await self._until_it_ends(batches)
            if self._writing.is_live:
                self._counting.forget_intervals()  # what is left to see is the mean
            report, wrong = self._report(), self._missed() if is_over else []
        with contextlib.suppress(TimeoutError, BrokenPipeError):
            async with asyncio.timeout(self._writing.to_finish):
                await self._writing.end(report)
        wrong += self._writing.wrong
        if report.has_sequence and not self._writing.is_live:
            for line in first_few(totals(report), "sources"):
                self._tell(line)
        self._tell(self._summary(report))
        for line in first_few(wrong, "channels"):
            say(f"aiomcast: {line}")
        return 1 if wrong else 0

    async def _until_it_ends(self, batches: PacketBatches) -> bool:
        """Return whether the end was asked for from the start, by --count or --seconds."""
        attending = self._writing.attend(), self._joined.attend()
        works = (self._take(batches), self._show(), *attending, self._watch())
        tasks = [asyncio.create_task(work) for work in works]
        seconds = self._wanted.seconds
        try:
            with self._told():
                await asyncio.wait(
                    tasks[:-1],
                    timeout=None if seconds is None else min(FOREVER, seconds),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            is_over = True
        except asyncio.CancelledError:
            is_over = False
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BrokenPipeError):
                is_over = False
            elif isinstance(outcome, Exception):
                raise outcome
        return is_over

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Listen to signals that ask for the totals, and to whether anybody is left to read."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        asking = [getattr(signal, name) for name in ("SIGUSR1", "SIGINFO") if hasattr(signal, name)]
        for number in asking:
            loop.add_signal_handler(number, self._tell_totals)
        reading = when_nobody_reads(task.cancel) if self._writing.is_piped else contextlib.nullcontext()
        try:
            with reading:
                yield
        finally:
            for number in asking:
                loop.remove_signal_handler(number)

    async def _take(self, batches: PacketBatches) -> None:
        count = self._wanted.count
        async for batch in self._patiently(batches):
            before = self._writing.taken
            taken = batch if count is None else batch[: count - before]
            try:
                await self._writing.take(taken, self._name_of)
            finally:  # what a slow reader did not take before the end does not count
                done = taken[: self._writing.taken - before]
                self._counting.take(done, time.time_ns())
                self._octets += sum(len(packet.data) for packet in done)
            if self._writing.taken == count:
                return

    async def _patiently(self, batches: PacketBatches) -> AsyncIterator[list[Packet]]:
        """Yield what comes, and wait where nothing is joined now."""
        while True:
            try:
                async for batch in batches:
                    yield batch
                return
            except StateError:  # it would be in vain to wait, as far as the receiver knows
                if self._joined.now():
                    raise
            await asyncio.sleep(LOOK)

    def _name_of(self, packet: Packet) -> str:
        membership = self._receiver.membership_of(packet)
        return str(packet.interface_index) if membership is None else membership.interface.name

    async def _show(self) -> None:
        if self._writing.is_live:
            await self._writing.show(self._report())
        async for _ in every(self._writing.interval or FOREVER):
            report = self._report()
            self._counting.begin_interval(report, self._memberships())
            await self._writing.show(report)

    async def _watch(self) -> None:
        """Say once on which channels nothing has come, and the likely cause where one is seen."""
        if self._wanted.capture is not None:  # which has its pauses, and no cause to be found
            return
        await asyncio.sleep(UNTIL_TOLD - LOOKED_AT)
        if not self._writing.is_live:
            causes = await self._causes()
            silent = [
                f"nothing from {name} in {UNTIL_TOLD:g} s: "
                + causes.get(command, f"{command} finds the cause")
                for name, command in self._silent()
            ]
            for line in first_few(silent, "channels"):
                self._tell(line)

    async def _causes(self) -> dict[str, str]:
        """Return what is seen to keep packets away, by the command that tells more; of a few channels."""
        silent = [one for one in self._memberships() if not self._counting.has_come(one.group, one.port, ())]
        found = await asyncio.gather(
            asyncio.sleep(LOOKED_AT),
            *(one.diagnose(seconds=LOOKED_AT) for one in silent[:MOST_TOLD]),
            return_exceptions=True,
        )
        causes = {}
        for one, told in zip(silent, found[1:], strict=False):
            if isinstance(told, Diagnosis) and told.verdict.is_cause:
                command = command_for(one.group, one.port, one.filter)
                causes[command] = f"{told.verdict.text} ({command} tells more)"
        return causes

    def _silent(self) -> list[tuple[str, str]]:
        """Return the channels that were asked for and of which nothing has come, and what finds out why."""
        found, now = [], self._joined.now()
        for one in self._wanted.asked:
            joined = now.get((one.group, one.port))
            if joined is None:  # that is another's now
                continue
            sources = SourceFilter.include(one.sources).sources
            if not self._counting.has_come(joined.group, joined.port, sources):
                written_before = ",".join(one.sources) + "@" if one.sources else ""
                found.append(
                    (
                        written_before + address(joined.group, joined.port),
                        command_for(joined.group, joined.port, joined.filter),
                    )
                )
        return found

    def _missed(self) -> list[str]:
        """Return what was asked for and did not come, in words."""
        taken, count = self._writing.taken, self._wanted.count
        capture = self._wanted.capture
        missed = [
            f"nothing came from {name}: "
            + (f"{command} finds the cause" if capture is None else f"{capture} has none of it")
            for name, command in self._silent()
        ]
        if not missed and count is not None and taken < count:
            seconds = self._wanted.seconds
            where = f"are in {capture}" if seconds is None else f"came in {seconds:g} s"
            missed = [f"{taken} of {count} packets {where}"]
        return missed

    def _report(self) -> Report:
        passed = time.monotonic() - self._started
        return self._counting.report(self._memberships(), time.time_ns(), passed)

    def _memberships(self) -> list[Membership]:
        return [*self._joined.now().values()]

    def _described(self) -> list[str]:
        return [
            f"listening to {one.group} port {one.port} on {one.interface}, from {one.let_in}"
            for one in self._report().channels
        ]

    def _summary(self, report: Report) -> str:
        total, taken = self._receiver.statistics(), self._writing.taken
        return (
            f"{taken} packets, {self._octets} bytes {self._writing.done} in {report.passed:.1f} s; "
            f"{total.received} received, {total.filtered} filtered, {total.truncated} truncated, "
            f"{total.received - total.filtered - taken} left over, "
            f"{total.kernel_drops} dropped by the kernel"
        )

    def _tell_totals(self) -> None:
        report = self._report()
        if not self._writing.is_live:
            say("\n".join([*totals(report), self._summary(report)]))

    def _tell(self, line: str) -> None:
        if not self._quiet:
            say(line)
