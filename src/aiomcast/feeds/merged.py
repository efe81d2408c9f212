"""`merge`: several lines of one feed into one, each number once and in order."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal, Self, TypeAlias, final

from ..errors import ArgumentError, ArgumentTypeError, StateError
from ..streams.packet_stream import PacketStream
from ..streams.together import wait_for_any
from ..values import bounds
from ..values.closing import Closing
from ..values.packets import Packet
from ..values.sealed import sealed
from ..values.shown import shown
from ..values.tags import Tags
from .merging import Item, MergeStatistics, Merging, NoticeKind
from .sequence import Sequence
from .source import Packets, check_source, stream_of
from .transport_stream import TransportStream

__all__ = ["Merged", "MergedBatches", "Unreadable", "merge"]

Unreadable: TypeAlias = Literal["drop", "pass"]
"""What becomes of a packet that has no number: "drop" it or "pass" it on at once. It is counted."""

_LOG = logging.getLogger("aiomcast")
_SAID: Final = {
    NoticeKind.SILENT: (logging.WARNING, "%s brings nothing while other lines do"),
    NoticeKind.BACK: (logging.INFO, "%s is back"),
    NoticeKind.APART: (
        logging.WARNING,
        "%s has numbers far from those of the other lines, and is left out: it is another feed, "
        "its source alone began anew, or it is further behind than the window",
    ),
    NoticeKind.TOGETHER: (logging.INFO, "%s has the numbers of the other lines"),
    NoticeKind.ENDED: (logging.WARNING, "%s has ended"),
}


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

    Whether a line is silent, back, apart or ended stands in `statistics()` and in the log ("aiomcast").
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
    a line raises is logged where there are other lines, and raised where it is alone. An async context
    manager, which closes the streams of its lines at the end.
    """

    __slots__ = (
        "_clock", "_current", "_is_awaited", "_is_held", "_left", "_machine", "_open", "_sequence",
        "_streams",
    )  # fmt: skip

    def __init__(
        self, streams: list[PacketStream], sequence: Sequence, machine: Merging, clock: Callable[[], float]
    ) -> None:
        self._streams = streams
        self._open = dict(enumerate(streams))
        self._sequence = sequence
        self._machine = machine
        self._clock = clock
        self._current: Iterator[Item] = iter(())
        self._left: dict[int, list[Packet]] = {}  # taken out of streams, and not yet told to the machine
        self._is_held = False  # some of that is ahead of a line of which more may be in its socket
        self._is_awaited = False

    def __repr__(self) -> str:
        return f"<Merged of {len(self._streams)} lines by {self._sequence}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        for item in self._current:
            return item
        self._current = iter(await self._next_batch())
        return next(self._current)

    def batches(self) -> MergedBatches:
        """Iterate over the same by lists: all that is due at each step. The fastest way."""
        return MergedBatches(self)

    def statistics(self) -> MergeStatistics:
        """Return the counters of the merge and of each line."""
        return self._machine.statistics()

    async def aclose(self) -> None:
        """Close the streams of all lines. What came before is still yielded. Doing so twice is fine."""
        for stream in self._streams:
            await stream.aclose()

    async def _next_batch(self) -> list[Item]:
        """Return what is due next. StopAsyncIteration when nothing will be."""
        if rest := list(self._current):
            return rest
        if self._is_awaited:
            raise StateError(f"another task is waiting on {self!r}", "let one task iterate")
        self._is_awaited = True
        try:
            while True:
                now = self._clock()
                dry: set[int] = set()
                if self._is_held or ((deadline := self._machine.deadline) is not None and deadline <= now):
                    # Who was slow to ask has left packets in sockets: they are in time.
                    await wait_for_any([*self._open.values()], 0)
                    dry = {index for index, stream in self._open.items() if not stream._advance()}
                if out := self._take_all(now, dry):
                    return out
                if self._is_held:
                    continue
                if not self._open:
                    raise StopAsyncIteration
                if len(self._open) == 1:
                    next(iter(self._open.values()))._raise_error()
                deadline = self._machine.deadline
                seconds = None if deadline is None else deadline - self._clock()
                await wait_for_any([*self._open.values()], seconds)
        finally:
            self._is_awaited = False

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
        for stream in self._open.values():
            if stream._ended or stream._error is not None:
                self._look_for_ends()
                break
        machine.expire(until, out)  # only now: what was missing may have been queued
        if not self._open:
            machine.flush(out)
        if machine.notices:
            self._tell()
        return out

    def _look_for_ends(self) -> None:
        """Go on without the streams that have ended, and after the error of one of several."""
        for index, stream in list(self._open.items()):
            if stream._ended and stream._error is None and index not in self._left:
                del self._open[index]
                self._machine.end(index)
        if len(self._open) > 1:
            for stream in self._open.values():
                try:
                    stream._raise_error()
                except Exception as error:
                    _LOG.warning("%r of %r: %s", stream, self, error)

    def _tell(self) -> None:
        """Log what the machine has to tell."""
        notices, self._machine.notices = self._machine.notices, []
        for kind, index in notices:
            level, text = _SAID[kind]
            _LOG.log(level, text, f"line {index + 1} of {len(self._streams)}, {self._streams[index]!r},")


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
        return await self._merged._next_batch()

    async def aclose(self) -> None:
        """Close the merge behind it."""
        await self._merged.aclose()
