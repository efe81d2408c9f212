"""What `aiomcast listen` does with packets and reports: lines of the one or of the other, or a live view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from aiomcast import Packet

from .formats import WrittenAs
from .intervals import Lines as LinesOf
from .output import TO_FINISH, Output
from .report import Report

__all__ = ["IntervalLines", "Lines", "PacketLines", "Writing"]


class Writing(Protocol):
    """Where packets and reports go."""

    @property
    def taken(self) -> int:
        """How many packets have been taken: what is written of packets has been written."""

    @property
    def interval(self) -> float | None:
        """Every how many seconds a report is wanted; None: none is."""

    @property
    def is_live(self) -> bool:
        """Whether it has the terminal for itself until it ends."""

    @property
    def is_piped(self) -> bool:
        """Whether it is for who reads standard output, and over when nobody does."""

    @property
    def done(self) -> str:
        """What is done with packets, as in "5 packets written"."""

    @property
    def to_finish(self) -> float:
        """How many seconds `end` may take."""

    @property
    def wrong(self) -> Sequence[str]:
        """What has not come to be of what was taken, in words, once it has ended."""

    async def begin(self) -> None:
        """Begin, now that the channels are joined."""

    async def take(self, batch: list[Packet], named: Callable[[Packet], str]) -> None:
        """Take packets, and write them if that is what is done; `named` says by which interface each came."""

    async def show(self, report: Report) -> None:
        """Show how things stand."""

    async def attend(self) -> None:
        """Do what is due between reports, until it is cancelled."""

    async def end(self, report: Report) -> None:
        """Show how things stood at the end."""

    def close(self) -> None:
        """Give back what it has for itself, however it ended."""


class Lines:
    """What has no terminal for itself, and shows nothing."""

    is_live: bool = False
    to_finish: float = TO_FINISH

    @property
    def wrong(self) -> Sequence[str]:
        """Nothing."""
        return ()

    async def begin(self) -> None:
        """Nothing."""

    async def show(self, report: Report) -> None:
        """Nothing."""

    async def attend(self) -> None:
        """Nothing, for ever."""
        await asyncio.Event().wait()

    async def end(self, report: Report) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PacketLines(Lines):
    """Writes each packet in a format."""

    interval = None
    is_piped = True
    done = "written"

    def __init__(self, output: Output, written_as: WrittenAs) -> None:
        self._output = output
        self._written_as = written_as

    @property
    def taken(self) -> int:
        """How many have been written whole."""
        return self._output.written

    async def take(self, batch: list[Packet], named: Callable[[Packet], str]) -> None:
        """Write them."""
        flow, name, written_as = None, "", self._written_as
        units = []
        for packet in batch:
            if packet.flow is not flow:
                flow, name = packet.flow, named(packet)
            units.append(written_as(packet, name))
        await self._output.write(units)


class IntervalLines(Lines):
    """Writes lines of each report."""

    is_piped = True
    done = "counted"

    def __init__(self, output: Output, lines: LinesOf, interval: float) -> None:
        self._output = output
        self._lines = lines
        self.interval = interval
        self.taken: int = 0

    async def take(self, batch: list[Packet], named: Callable[[Packet], str]) -> None:
        """Count them alone."""
        self.taken += len(batch)

    async def show(self, report: Report) -> None:
        """Write its lines."""
        await self._output.write(self._lines(report))

    async def end(self, report: Report) -> None:
        """Write what the last interval has, unless it has only just begun and nothing came in it."""
        came = any(channel.account.new.packets for channel in report.channels)
        if came or report.interval > self.interval / 10:
            await self.show(report)
