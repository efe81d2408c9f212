"""What `aiomcast record` does with packets: has them recorded in files, or writes a capture to a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aiomcast import ArgumentError, Packet, Receiver
from aiomcast.feeds import Recorded, record
from aiomcast.feeds.frames import Framer
from aiomcast.feeds.pcapng import (
    enhanced_packet,
    interface_description,
    interface_statistics,
    section_header,
)

from .handing import Handed
from .output import STDOUT, Output
from .report import Report
from .writing import Lines, Writing

__all__ = ["FileRecording", "PipeRecording"]


class _Recording(Lines):
    """What it writes are packets; what shows the reports, if anything does, is another's."""

    def __init__(self, shown: Writing | None) -> None:
        self._shown = shown
        self.interval: float | None = None if shown is None else shown.interval

    async def show(self, report: Report) -> None:
        """Have it shown."""
        if self._shown is not None:
            await self._shown.show(report)

    async def end(self, report: Report) -> None:
        """Have the last one shown."""
        if self._shown is not None:
            await self._shown.end(report)


class FileRecording(_Recording):
    """Has packets recorded in files, and lets `shown` show each report, if anything does.

    ArgumentError for a file that is there, unless `overwrite`: then it goes once the channels are joined,
    with `rotate_bytes` or `rotate_seconds` all files that such a recording has written.
    """

    def __init__(
        self,
        receiver: Receiver,
        to: Path,
        rotate_bytes: int | None,
        rotate_seconds: float | None,
        overwrite: bool,
        shown: Writing | None,
    ) -> None:
        self._to = to
        self._rotate_bytes, self._rotate_seconds = rotate_bytes, rotate_seconds
        super().__init__(shown)
        self._handed = Handed(receiver)
        self._recorded: Recorded | None = None
        self.is_piped: bool = shown is not None
        self.taken: int = 0
        if not overwrite:
            for there in self._there():
                raise ArgumentError(f"{there} is there", "name another file, or give --overwrite")

    @property
    def done(self) -> str:
        """What is done with packets."""
        files = (self._to,) if self._recorded is None else self._recorded.files
        return f"written to {files[0]}" + (f" to {files[-1].name}" if len(files) > 1 else "")

    async def begin(self) -> None:
        """Open the file."""
        for there in [*self._there()]:
            there.unlink()
        self._recording = asyncio.create_task(
            record(
                self._handed,  # type: ignore[arg-type]  # it is iterated over and closed, as batches are
                self._to,
                rotate_bytes=self._rotate_bytes,
                rotate_seconds=self._rotate_seconds,
            )
        )
        await self._until(self._handed.is_asked)

    async def take(self, batch: list[Packet], named: Callable[[Packet], str]) -> None:
        """Have them written."""
        self._handed.give(batch)
        self.taken += len(batch)
        await self._until(self._handed.is_asked)

    async def attend(self) -> None:
        """Find out when nothing can be written any more."""
        await asyncio.wait({self._recording})
        self._recording.result()

    async def end(self, report: Report) -> None:
        """End the file."""
        self._handed.end()
        self._recorded = await self._recording
        await super().end(report)

    async def _until(self, is_so: asyncio.Event) -> None:
        """Wait for that, or for the error that keeps it from being so."""
        waiting = asyncio.create_task(is_so.wait())
        try:
            await asyncio.wait({waiting, self._recording}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._recording.done():
            self._recording.result()

    def _there(self) -> Iterator[Path]:
        """Yield the files that are in the way."""
        if self._rotate_bytes is None and self._rotate_seconds is None:
            yield from (self._to,) if self._to.is_file() else ()
            return
        with contextlib.suppress(OSError):  # record says what is wrong with the folder
            pattern = rf"{re.escape(self._to.stem)}-\d{{5,}}{re.escape(self._to.suffix)}"
            yield from (one for one in sorted(self._to.parent.iterdir()) if re.fullmatch(pattern, one.name))


class PipeRecording(_Recording):
    """Writes a pcapng capture to standard output, and lets `shown` show each report, if anything does."""

    is_piped = True
    done = "written"

    def __init__(self, receiver: Receiver, shown: Writing | None) -> None:
        super().__init__(shown)
        self._receiver = receiver
        self._output = Output(STDOUT)
        self._around = Output(STDOUT)  # what is no packet, and not counted
        self._framer = Framer()
        self._numbers: dict[str, int] = {}
        self._received: list[int] = []
        self._dropped_before = self._dropped = 0

    @property
    def taken(self) -> int:
        """How many have been written whole."""
        return self._output.written

    async def begin(self) -> None:
        """Write what a capture begins with."""
        self._dropped_before = self._dropped_now()
        await self._around.write([section_header("aiomcast")])

    async def take(self, batch: list[Packet], named: Callable[[Packet], str]) -> None:
        """Write them."""
        dropped = self._dropped_now() - self._dropped_before
        new, self._dropped = dropped - self._dropped, dropped
        units = []
        for packet in batch:
            units.append(self._blocks(packet, named(packet), new))
            new = 0
        await self._output.write(units)

    async def end(self, report: Report) -> None:
        """Write what a capture ends with."""
        dropped = [self._dropped] + [0] * len(self._received)
        await self._around.write(
            [
                interface_statistics(number, report.now_ns, received, dropped[number])
                for number, received in enumerate(self._received)
            ]
        )
        await super().end(report)

    def _blocks(self, packet: Packet, name: str, dropped: int) -> bytes:
        """Return what stands for a packet: with its interface, where that is new."""
        number, before = self._numbers.get(name), b""
        if number is None:
            number = self._numbers[name] = len(self._received)
            self._received.append(0)
            before = interface_description(name)
        self._received[number] += 1
        stamp_ns = time.time_ns() if packet.timestamp_ns is None else packet.timestamp_ns
        comment = "cut short: it was longer than could be kept" if packet.truncated else ""
        return before + enhanced_packet(number, stamp_ns, self._framer.frame(packet), dropped, comment)

    def _dropped_now(self) -> int:
        counted = self._receiver.statistics()
        return counted.kernel_drops + counted.queue_drops
