"""`merge`: several lines of one feed into one, each number once and in order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Literal, Self, TypeAlias, final

from ..errors import ArgumentError, ArgumentTypeError, StateError
from ..reading import take_queued
from ..streams.packet_stream import PacketStream
from ..streams.together import AnyOf
from ..values import bounds
from ..values.closing import Closing
from ..values.packets import Packet
from ..values.sealed import sealed
from ..values.shown import shown
from ..values.tags import Tags
from .items import Item
from .line import MergeStatistics
from .line_events import LineEvent, LineEventStream, Telling
from .merging import Merging
from .notices import LineEventKind
from .sequence import Sequence
from .source import Packets, check_source, stream_of
from .transport_stream import TransportStream

__all__ = ["Merged", "MergedBatches", "Unreadable", "merge"]

Unreadable: TypeAlias = Literal["drop", "pass"]
"""What becomes of a packet that has no number: "drop" it or "pass" it on at once. It is counted."""


def merge(
    *lines: Packets | PacketStream,
    sequence: Sequence,
    hold: float,
    window: int | None = None,
    unreadable: Unreadable = "drop",
    clock: Callable[[], float] = time.monotonic,
) -> Merged:
    """Merge lines that carry the same numbered packets: each number once, the first copy of it, in order.

    A line is a `Membership`, of which a stream is made, or a `PacketStream`, for its packets of one source
    only, for example. Lines may be of different groups, sources, interfaces and receivers. One alone is put
    in order. `sequence` says where the number stands.

    A packet that is ahead waits until a line brings what is missing, or for `hold` seconds since the first
    one that showed it; then a `Gap` stands in its place. Where it would be `window` numbers ahead the wait
    ends as well, so no more than that are kept; it has to cover by how much lines are behind each other.
    None is 4096, or less where there are too few numbers.

    A line whose numbers are further off than that is left out, and told of, as long as another brings what
    is due. Where all have gone there, or one has while the others are silent, a `Restart` is told of, and it
    goes on with that. Only the numbers are compared, not what else the packets hold.

    That a line falls silent, comes back, is apart or ends is told while somebody iterates, by `events()` and
    in the log ("aiomcast"); how it stands is in `statistics()`.
    `clock` returns seconds, and does not go back.

    ArgumentError for no line, one that is given twice, a hold below 0 or without end, a window that is not
    below a quarter of the numbers. Streams are made and owned from the call on; `aclose` closes them.
    """
    if not lines:
        raise ArgumentError("a merge of nothing", "give memberships or streams of packets")
    if not isinstance(sequence, Sequence):
        raise ArgumentTypeError(f"sequence {shown(sequence)}", 'give a Sequence, as Sequence.parse("rtp")')
    if isinstance(sequence._numbers, TransportStream):
        raise ArgumentError(
            f"{sequence} numbers no packets", "merge by rtp: continuity counters are too short"
        )
    if unreadable not in ("drop", "pass"):
        raise ArgumentError(f"unreadable {shown(unreadable)}", 'give "drop" or "pass"')
    machine = Merging(
        len(lines),
        sequence,
        _checked_hold(hold),
        _checked_window(window, sequence),
        passes_unreadable=unreadable == "pass",
    )
    for line in lines:
        check_source(line)
    _check_distinct(lines)
    return Merged([stream_of(line) for line in lines], sequence, machine, clock)


def _checked_hold(hold: float) -> float:
    if isinstance(hold, bool) or not isinstance(hold, (int, float)):
        raise ArgumentTypeError(f"hold {shown(hold)}", "give a number of seconds")
    if not math.isfinite(hold) or hold < 0:
        raise ArgumentError(f"hold {shown(hold)}", "give seconds, 0 or more: by how much lines may be apart")
    return hold


def _checked_window(window: int | None, sequence: Sequence) -> int:
    limit = (1 << sequence.bits) // 4 - 1
    if limit < 1:
        raise ArgumentError(f"{sequence} has {1 << sequence.bits} numbers", "an order needs 3 bits")
    if window is None:
        return min(bounds.MERGE_WINDOW, limit)
    if isinstance(window, bool) or not isinstance(window, int):
        raise ArgumentTypeError(f"window {shown(window)}", "give a number of packets")
    if not 1 <= window <= limit:
        raise ArgumentError(f"window {shown(window)}", f"give 1 to {limit}: below a quarter of the numbers")
    return window


def _check_distinct(lines: tuple[Packets | PacketStream, ...]) -> None:
    """A line merged with itself would be in order whatever is lost, and hide that."""
    seen: list[tuple[object, Tags]] = []
    for line in lines:
        owner, tags = (line._owner, line.tags) if isinstance(line, PacketStream) else (line, Tags())
        if any(owner is other and tags == its_tags for other, its_tags in seen):
            raise ArgumentError(f"{line!r} is merged with itself", "give each line once")
        seen.append((owner, tags))


@final
@sealed
class Merged(Closing):
    """Packets of several lines in order of their numbers, with a `Gap` or a `Restart` where there is one.

    `async for item in merged` goes on where it stopped; `batches()` yields lists instead. Made by `merge`.
    One task at a time: StateError for a second one. It ends when all lines have ended. What the stream of
    a line raises is an event where there are other lines, and raised where it is alone. An async context
    manager, which closes the streams of its lines at the end.
    """

    __slots__ = (
        "_any", "_clock", "_current", "_is_held", "_left", "_machine", "_open", "_sequence",
        "_streams", "_telling", "_waited",
    )  # fmt: skip

    def __init__(
        self, streams: list[PacketStream], sequence: Sequence, machine: Merging, clock: Callable[[], float]
    ) -> None:
        self._streams = streams
        self._open = dict(enumerate(streams))
        self._any = AnyOf()
        self._waited = tuple(streams)  # those of `_open`
        self._sequence = sequence
        self._machine = machine
        self._clock = clock
        self._current: Iterator[Item] = iter(())
        self._left: dict[int, list[Packet]] = {}  # taken out of streams, and not yet told to the machine
        self._is_held = False  # some of that is ahead of a line of which more may be in its socket
        self._telling = Telling()

    def __repr__(self) -> str:
        return f"<Merged of {len(self._streams)} lines by {self._sequence}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        for item in self._current:
            return item
        if self._any.is_waiting:
            raise StateError(f"another task is waiting on {self!r}", "let one task iterate")
        while not (out := self._take_next()):
            if out is None:
                if out := await self._take_due():
                    break
                if self._is_held:
                    continue
            due = self._machine.deadline
            waiter = self._any.begin(self._waited, None if due is None else due - self._clock())
            try:
                await waiter
            finally:
                self._any.end()
        if len(out) > 1:
            self._current = iter(out)
            return next(self._current)
        return out[0]

    def batches(self) -> MergedBatches:
        """Iterate over the same by lists: all that is due at each step. The fastest way."""
        return MergedBatches(self)

    def events(self) -> LineEventStream:
        """Return a new stream of what happens to the lines from now on, as long as somebody iterates.

        It ends with the merge, and at once where that has ended.
        """
        return self._telling.stream(self._streams[0]._new_waiter, self)

    def statistics(self) -> MergeStatistics:
        """Return the counters of the merge and of each line."""
        return self._machine.statistics()

    async def aclose(self) -> None:
        """Close the streams of all lines, and the events. What came before is still yielded.

        Doing so twice is fine.
        """
        for stream in self._streams:
            await stream.aclose()
        self._telling.end()

    def _take_next(self) -> list[Item] | None:
        """Take what is queued as long as it is one packet of a line at a time, and return what is due.

        It is what comes of a wake-up where nothing is missing, and goes without all the rest. None where
        something else has to be seen to.
        """
        left, machine = self._left, self._machine
        out: list[Item] = []
        while not left and not out:
            longest = take_queued(self._open, left)
            if not longest:
                return None if machine.deadline is not None or self._has_any_ended() else out
            if longest == 1 and machine.take_next(left, self._clock(), out):
                left.clear()
        return out or None

    async def _take_due(self) -> list[Item]:
        """Take all that is queued, and return what is due. StopAsyncIteration when nothing will be."""
        now = self._clock()
        dry: set[int] = set()
        if self._is_held or ((due := self._machine.deadline) is not None and due <= now):
            # Who was slow to ask has left packets in sockets: they are in time.
            waiter = self._any.begin(self._waited, 0)
            try:
                await waiter
            finally:
                self._any.end()
            dry = {index for index, stream in self._open.items() if not stream._advance()}
        out = self._take_all(now, dry)
        if not out and not self._is_held:
            if not self._open:
                self._telling.end()
                raise StopAsyncIteration
            if len(self._open) == 1:
                next(iter(self._open.values()))._raise_error()
        return out

    def _take_all(self, until: float, dry: set[int]) -> list[Item]:
        """Take what is queued on all lines, and return what is due, or was given up `until` then.

        What would be far ahead of another line is left, unless that one is `dry`: its socket has been looked
        at. A stream of which something is left fills, and its socket is not read on.
        """
        out: list[Item] = []
        machine, left = self._machine, self._left
        while True:
            for index, stream in self._open.items():
                if index not in left and stream._advance():
                    left[index] = stream._take_batch()
            if len(left) > 1:
                machine.hear(left, until)
            # First the line that is behind: it may have what the others lack.
            for index in left if len(left) < 2 else sorted(left, key=machine.reached):
                if count := machine.fitting(index, left, dry):
                    break
            else:
                break
            batch = left[index]
            if count == len(batch):
                del left[index]
            else:
                left[index], batch = batch[count:], batch[:count]
            machine.take(index, batch, self._clock(), out)
        self._is_held = bool(left)
        if self._has_any_ended():
            self._look_for_ends()
        machine.expire(until, out)  # only now: what was missing may have been queued
        if not self._open:
            machine.flush(out)
        if machine.notices:
            self._tell_notices()
        return out

    def _has_any_ended(self) -> bool:
        """Whether it is to be looked for ends, as of none or of those of which nothing is queued."""
        for stream in self._waited:
            if stream._ended or stream._error is not None:
                return True
        return not self._waited

    def _look_for_ends(self) -> None:
        """Go on without the streams that have ended, and after the error of one of several."""
        for index, stream in list(self._open.items()):
            if stream._ended and stream._error is None and index not in self._left:
                del self._open[index]
                self._waited = tuple(self._open.values())
                self._machine.end(index, self._clock())
        if len(self._open) > 1:
            for index, stream in self._open.items():
                try:
                    stream._raise_error()
                except Exception as error:
                    self._tell(LineEventKind.FAILED, index, self._clock(), error=error)

    def _tell_notices(self) -> None:
        """Tell what the machine has to tell."""
        notices, self._machine.notices = self._machine.notices, []
        for kind, index, since, seconds in notices:
            self._tell(kind, index, since, seconds)

    def _tell(
        self,
        kind: LineEventKind,
        index: int,
        since: float,
        seconds: float | None = None,
        error: Exception | None = None,
    ) -> None:
        streams = self._streams
        self._telling.tell(LineEvent(kind, index, len(streams), streams[index], since, seconds, error))


@final
@sealed
class MergedBatches(Closing):
    """The items of a `Merged`, list by list. What is yielded belongs to the caller.

    An async context manager, which closes the merge at the end.
    """

    __slots__ = ("_merged",)

    def __init__(self, merged: Merged) -> None:
        self._merged = merged

    def __repr__(self) -> str:
        return f"<MergedBatches of {self._merged!r}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Item]:
        rest = self._merged._current
        return [*rest] or [await anext(self._merged), *self._merged._current]

    async def aclose(self) -> None:
        """Close the merge behind it."""
        await self._merged.aclose()
