"""What `aiomcast relay` does with packets: has them stored on a server, and tells what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import attrs

from aiomcast import MulticastError, Packet
from aiomcast.relay import Relay, RelayStatistics

from .brokers import Broker
from .formats import Format
from .handing import Handed
from .output import TO_FINISH, Output, say
from .report import Report
from .writing import Lines, Writing

__all__ = ["Relaying", "told"]

_AT_A_TIME = 256  # packets that are handed over
_DRAIN = 5.0  # seconds, for what is pending at the end
_MOST_SAID = 1024  # different lines


class Relaying(Lines):
    """Hands packets to `relay`, which takes them from `handed` and stores them on `broker`.

    `shown`, if anything, shows the reports; a line of the relay in `form` then follows on `output`.
    """

    to_finish: float = _DRAIN + 2 * TO_FINISH

    def __init__(
        self,
        relay: Relay,
        handed: Handed,
        broker: Broker,
        shown: Writing | None,
        output: Output,
        form: Format,
    ) -> None:
        self._relay = relay
        self._handed = handed
        self._broker = broker
        self._shown = shown
        self._output = output
        self._form = form
        self._failed: MulticastError | None = None
        self.interval: float | None = None if shown is None else shown.interval
        self.is_piped: bool = shown is not None
        self.taken: int = 0

    @property
    def done(self) -> str:
        """What is done with packets."""
        counted = ", ".join(f"{number} {name}" for name, number in self._counted().items())
        return f"relayed to {self._broker.name} ({counted})"

    @property
    def wrong(self) -> list[str]:
        """What failed for good, and what was not stored."""
        counted = self._statistics()
        wrong = [] if self._failed is None else [str(self._failed)]
        if counted.pending:
            said = f": {self._broker.refusal}" if counted.refused else ""
            wrong.append(f"{counted.pending} packets are not known to be stored{said}")
        if counted.too_long:
            wrong.append(f"{counted.too_long} packets had more than --largest bytes, and were not sent")
        return wrong

    async def begin(self) -> None:
        """Look at the server, and be ready to store."""
        self._relaying = asyncio.create_task(self._relay.run())
        asking = asyncio.create_task(self._handed.is_asked.wait())
        try:
            await asyncio.wait({asking, self._relaying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
        if self._relaying.done():
            self._relaying.result()

    async def take(self, batch: list[Packet], named: Callable[[Packet], str]) -> None:
        """Have them stored, as far as there is room for them to wait."""
        for first in range(0, len(batch), _AT_A_TIME):
            part = batch[first : first + _AT_A_TIME]
            self._handed.give(part)
            self.taken += len(part)
            await self._handed.is_asked.wait()

    async def attend(self) -> None:
        """Find out when nothing can be stored any more."""
        await asyncio.wait({self._relaying})
        self._note()

    async def show(self, report: Report) -> None:
        """Have it shown, and write the line of the relay."""
        if self._shown is not None:
            await self._shown.show(report)
            await self._output.write([self._line(report.now_ns)])

    async def end(self, report: Report) -> None:
        """Take no more, and wait for what was taken to be stored: not long, nor when asked twice."""
        self._handed.end()
        try:
            await asyncio.wait({self._relaying}, timeout=_DRAIN)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        if not self._relaying.done():
            self._relaying.cancel()
            await asyncio.wait({self._relaying}, timeout=TO_FINISH)
        self._note()
        if self._shown is not None:
            await self._shown.end(report)
            await self._output.write([self._line(time.time_ns())])

    def _note(self) -> None:
        """Keep the error that it ended with, if it did."""
        if self._relaying.done() and not self._relaying.cancelled():
            try:
                self._relaying.result()
            except MulticastError as error:
                self._failed = error

    def _statistics(self) -> RelayStatistics:
        """What became of what was taken: what the relay has not looked at yet is pending, too."""
        counted = self._relay.statistics()
        waiting = self.taken - counted.received
        return attrs.evolve(counted, received=self.taken, pending=counted.pending + waiting)

    def _counted(self) -> dict[str, int]:
        return {
            name.replace("_", " "): number
            for name, number in attrs.asdict(self._statistics()).items()
            if name != "received"  # that is told already
        }

    def _line(self, now_ns: int) -> bytes:
        """Return how things stand since the start."""
        to, name = self._broker.name, self._relay.name
        if self._form is Format.JSON:
            tags = {"time_ns": now_ns, "relay": name, "to": to, **attrs.asdict(self._statistics())}
            return f"{json.dumps(tags)}\n".encode()
        when = f"{datetime.fromtimestamp(now_ns / 1e9):%H:%M:%S}"
        counted = ", ".join(f"{number} {which}" for which, number in self._counted().items())
        return f"{when} {name} to {to}: {self.taken} received, {counted}\n".encode()


@contextlib.contextmanager
def told(quiet: bool) -> Iterator[None]:
    """Have what relays log said on standard error; `quiet`: but for what is wrong."""
    logger, handler = logging.getLogger("aiomcast.relay"), _Told(quiet)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Told(logging.Handler):
    """Says a warning once, until something is better again."""

    def __init__(self, quiet: bool) -> None:
        super().__init__()
        self._quiet = quiet
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR:  # what was not stored: the summary has it
            return
        if record.levelno < logging.WARNING:
            self._said.clear()
            if not self._quiet:
                say(text)
        elif text not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(text)
            say(f"aiomcast: {text}")
