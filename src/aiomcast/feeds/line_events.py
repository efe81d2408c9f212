"""`LineEvent`: what happens to a line of a merge, as a value, to those who listen and to the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, final

import attrs

from ..streams.event_stream import Audience, EventQueue
from ..streams.packet_stream import PacketStream
from ..values.sealed import sealed
from .notices import LineEventKind

__all__ = ["LineEvent", "LineEventStream", "Telling"]

_LOG = logging.getLogger("aiomcast")
_WARNINGS = (LineEventKind.SILENT, LineEventKind.APART, LineEventKind.FAILED, LineEventKind.ENDED)
_SAID: Final = {
    LineEventKind.SILENT: "brings nothing while other lines do",
    LineEventKind.BACK: "is back",
    LineEventKind.APART: (
        "has numbers far from those of the other lines, and is left out: it is another feed, "
        "its source alone began anew, or it is further behind than the window"
    ),
    LineEventKind.TOGETHER: "has the numbers of the other lines",
    LineEventKind.FAILED: "has failed",
    LineEventKind.ENDED: "has ended",
}


@final
@sealed
@attrs.frozen(slots=True)
class LineEvent:
    """One thing that happened to a line of a merge of so many `lines`.

    `line` is its place among the arguments of `merge`, from 0 on, as in `statistics().lines`; `stream` is the
    stream that it is read from. It is so `since` then, in seconds by the merge's clock: of one that is
    SILENT when it brought something last, of one that is APART when the first of its far numbers came.

    `seconds` is how long a line was silent that is BACK, or apart that is TOGETHER. `error` is set when
    `kind` is FAILED.
    """

    kind: LineEventKind
    line: int
    lines: int
    stream: PacketStream
    since: float
    seconds: float | None = None
    error: Exception | None = None

    def __str__(self) -> str:
        after = "" if self.seconds is None else f", after {self.seconds:.3f} s"
        cause = "" if self.error is None else f": {self.error}"
        line = f"line {self.line + 1} of {self.lines}, {self.stream!r},"
        return f"{line} {_SAID[self.kind]}{after}{cause}"


class LineEventStream(EventQueue[LineEvent]):
    """What happens to the lines of a merge, from the moment it was made; beyond 1,024 the oldest go.

    An async iterator and context manager, as a `PacketStream` is. It ends with the merge.
    """

    def __init__(self, new_future: Callable[[], asyncio.Future[None]], merged: object) -> None:
        super().__init__(new_future)
        self._merged = merged  # alive while somebody listens, as nothing else would end this


@final
class Telling:
    """The event streams of a merge, held weakly, and the log line for each event."""

    def __init__(self) -> None:
        self._audience: Audience[LineEvent] = Audience()
        self._has_ended = False

    def stream(self, new_future: Callable[[], asyncio.Future[None]], merged: object) -> LineEventStream:
        """Return a new stream, which has ended if the merge has."""
        opened = LineEventStream(new_future, merged)
        self._audience.add(opened)
        if self._has_ended:
            opened._end()
        return opened

    def tell(self, event: LineEvent) -> None:
        """Hand it to the streams, and to the log: as text, as a record is to hold nothing alive."""
        level = logging.WARNING if event.kind in _WARNINGS else logging.INFO
        if _LOG.isEnabledFor(level):
            _LOG.log(level, "%s", str(event))
        self._audience.tell(event)

    def end(self) -> None:
        """End the streams."""
        self._has_ended = True
        self._audience.end()
