"""`record`: what a stream yields, written to pcapng files as it comes."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from operator import itemgetter
from pathlib import Path
from typing import Protocol, final

import attrs

from ..errors import ArgumentError, RefusedError
from ..streams.packet_stream import PacketBatches
from ..values import bounds
from ..values.packets import Packet
from ..values.shown import shown
from ..values.statistics import Statistics, StreamStatistics
from .frames import Framer
from .pcapng import enhanced_packet, interface_description, interface_statistics, section_header

__all__ = ["Recorded", "record"]


_data = itemgetter(0)  # of a packet


class _Recordable(Protocol):
    """A receiver, a membership or a stream of packets."""

    def batches(self) -> PacketBatches:
        """What it yields, by lists."""

    def statistics(self) -> Statistics | StreamStatistics:
        """What was dropped so far."""


@final
@attrs.frozen(slots=True)
class Recorded:
    """What a recording came to: `packets` written, `dropped` before they could be, and `files` in order."""

    packets: int
    dropped: int
    files: tuple[Path, ...]


async def record(
    stream: _Recordable,
    file: str | os.PathLike[str],
    *,
    rotate_bytes: int | None = None,
    rotate_seconds: float | None = None,
) -> Recorded:
    """Write what `stream` yields to a pcapng file until it ends; return what that came to.

    `stream` is a receiver, a membership or a packet stream; it is received from as by a task that
    iterates over it. A stream is closed at the end, the others are not. Each packet has Ethernet, IP
    and UDP headers made from its tags, with right checksums; the sender's hardware address is zeros,
    the hop limit 1 where the reader was not asked for it. It has its kernel stamp, or where it has
    none the time it was written, and stands under the name of its interface. Packets lost before
    they could be written are in the drop count of the next (epb_dropcount) and, at the end, in the
    statistics of the first interface (isb_osdrop).

    With `rotate_bytes` or `rotate_seconds` (by the packets' stamps) a next file is begun when the one
    at hand would grow beyond that; `feed.pcapng` is then feed-00001.pcapng and so on. Each opens by
    itself, and its bytes are counted without the blocks that begin and end it. No file is written over.

    A thread of its own writes, so that a slow disk does not hold up the event loop. What comes meanwhile
    waits for it, up to 32 MiB of payloads; then no more is taken from the stream, which goes by its overflow
    policy, and what that or the kernel drops is counted as above. All that waits is given to the system at
    once, in writes of whole blocks: a crash of the process loses at most that. Cancelling writes what waits
    and ends the file as the end of the stream does.

    ArgumentError for a limit not above 0; RefusedError where the system does not open a file, or write
    to it, with its errno.
    """
    for name, limit in (("rotate_bytes", rotate_bytes), ("rotate_seconds", rotate_seconds)):
        if limit is not None and not limit > 0:
            raise ArgumentError(f"{name} {shown(limit)}", "give a number above 0, or None for one file")
    before = _dropped(stream)
    rotation = _Rotation(
        Path(file), rotate_bytes, None if rotate_seconds is None else int(rotate_seconds * 1e9)
    )
    batches = stream.batches()
    writer = _Writer(rotation, batches.stream._end)
    lost = 0
    try:
        async with batches:
            async for batch in batches:
                gone = _dropped(stream) - before
                await writer.take(batch, gone - lost)
                lost = gone
    finally:
        writer.close()
    return Recorded(rotation.packets, lost, tuple(rotation.paths))


def _dropped(stream: _Recordable) -> int:
    counted = stream.statistics()
    return counted.queue_drops + (counted.kernel_drops if isinstance(counted, Statistics) else 0)


class _Writer:
    """Hands what comes to a thread that writes it; what comes meanwhile waits, with a limit."""

    def __init__(self, rotation: _Rotation, failed: Callable[[], None]) -> None:
        self._rotation = rotation
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, "aiomcast recording")
        self._writing: Future[None] | None = None
        self._waiting: list[tuple[list[Packet], int]] = []
        self._octets = 0  # of what waits
        self._ends = asyncio.Event()  # of a write

    async def take(self, batch: list[Packet], dropped: int) -> None:
        """Have it written, `dropped` before it; return when there is room for more."""
        self._waiting.append((batch, dropped))
        self._octets += sum(map(len, map(_data, batch)))
        self._begin()
        while self._octets >= bounds.RECORD_AHEAD:
            self._ends.clear()
            await self._ends.wait()

    def close(self) -> None:
        """Write what waits, and end the file: blocks for as long as that takes."""
        try:
            writing, self._writing = self._writing, None
            if writing is not None:
                writing.result()
            self._rotation.write(self._waiting)
        finally:
            self._thread.shutdown()
            self._rotation.close()

    def _begin(self) -> None:
        """Have the thread write all that waits, unless it is at it."""
        if self._writing is None and self._waiting:
            waiting, self._waiting, self._octets = self._waiting, [], 0
            self._writing = self._thread.submit(self._rotation.write, waiting)
            loop = asyncio.get_running_loop()
            self._writing.add_done_callback(lambda writing: self._tell(loop, writing))

    def _tell(self, loop: asyncio.AbstractEventLoop, writing: Future[None]) -> None:
        """From the thread: have the loop go on."""
        with suppress(RuntimeError):  # it has been closed
            loop.call_soon_threadsafe(self._go_on, writing)

    def _go_on(self, writing: Future[None]) -> None:
        if writing is not self._writing:  # all of it is over
            return
        if writing.exception() is not None:
            self._octets = 0  # `take` waits no longer; `close` raises it
            self._failed()
        else:
            self._writing = None
            self._begin()
        self._ends.set()


class _Rotation:
    """The files of one recording, one of them open."""

    def __init__(self, path: Path, most_bytes: int | None, most_ns: int | None) -> None:
        self.paths: list[Path] = []
        self.packets: int = 0
        self._path = path
        self._most_bytes, self._most_ns = most_bytes, most_ns
        self._framer = Framer()
        self._file = self._next()

    def write(self, batches: list[tuple[list[Packet], int]]) -> None:
        """Write whole blocks, in one call for each file. With each batch goes what was dropped before it."""
        blocks: list[bytes] = []
        for batch, dropped in batches:
            for packet in batch:
                stamp_ns = time.time_ns() if packet.timestamp_ns is None else packet.timestamp_ns
                frame = self._framer.frame(packet)
                if self._file.is_full(stamp_ns, len(frame), self._most_bytes, self._most_ns):
                    self._file.write(blocks)
                    blocks = []
                    self._file.close()
                    self._file = self._next()
                self._file.add(blocks, packet, frame, stamp_ns, dropped)
                dropped = 0
        self._file.write(blocks)
        self.packets += sum(len(batch) for batch, _ in batches)

    def close(self) -> None:
        """End the file that is open."""
        self._file.close()

    def _next(self) -> _File:
        path = self._path
        if self._most_bytes is not None or self._most_ns is not None:
            path = path.with_name(f"{path.stem}-{len(self.paths) + 1:05}{path.suffix}")
        opened = _File(path)
        self.paths.append(path)
        return opened


class _File:
    """One pcapng file that is written to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._raw = FileIO(path, "xb")
        except OSError as error:
            raise self._refused(error, "opened") from error
        self._numbers: dict[int, int] = {}
        self._received: list[int] = []
        self._dropped = self._size = 0
        self._first_ns: int | None = None
        self._last_ns = 0
        self.write([section_header("aiomcast")])

    def is_full(self, stamp_ns: int, size: int, most_bytes: int | None, most_ns: int | None) -> bool:
        """Whether a frame of `size` is for the next file. The first is never."""
        if self._first_ns is None:
            return False
        by_size = most_bytes is not None and self._size + size > most_bytes
        return by_size or (most_ns is not None and stamp_ns - self._first_ns >= most_ns)

    def add(self, blocks: list[bytes], packet: Packet, frame: bytes, stamp_ns: int, dropped: int) -> None:
        """Append the blocks of one packet."""
        index = packet.flow.interface_index
        number = self._numbers.get(index)
        if number is None:
            number = self._numbers[index] = len(self._received)
            self._received.append(0)
            blocks.append(interface_description(_name(index)))
            self._size += len(blocks[-1])
        comment = "cut short: it was longer than could be kept" if packet.truncated else ""
        blocks.append(enhanced_packet(number, stamp_ns, frame, dropped, comment))
        self._size += len(blocks[-1])
        self._received[number] += 1
        self._dropped += dropped
        self._last_ns = stamp_ns
        if self._first_ns is None:
            self._first_ns = stamp_ns

    def write(self, blocks: list[bytes]) -> None:
        """Hand them to the system."""
        whole = self._raw.tell()
        left = memoryview(b"".join(blocks))
        try:
            while left:
                left = left[self._raw.write(left) or 0 :]
        except OSError as error:
            with suppress(OSError):  # no half block stays before what is written next
                self._raw.truncate(whole)
                self._raw.seek(whole)
            raise self._refused(error, "written to") from error

    def close(self) -> None:
        """End it with the statistics of its interfaces. Nothing happens where it has ended."""
        if self._raw.closed:
            return
        dropped = [self._dropped] + [0] * len(self._received)
        stamp_ns = self._last_ns
        try:
            self.write(
                [
                    interface_statistics(number, stamp_ns, received, dropped[number])
                    for number, received in enumerate(self._received)
                ]
            )
        finally:
            self._raw.close()

    def _refused(self, error: OSError, what: str) -> RefusedError:
        hint = (
            "name one that is not there: none is written over" if isinstance(error, FileExistsError) else ""
        )
        return RefusedError(error.errno or 0, f"{self._path} was not {what}: {error.strerror}", hint)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # it is gone, or of a network in memory
        return f"interface {index}"
