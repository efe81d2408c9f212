"""Which readers of sockets in memory are read, and in which order: what `portable.ReadSet` does."""

from __future__ import annotations

from collections import deque

from ..reading.contract import Reader, Together
from ..values.packets import Packet
from .reader import MemoryReader

__all__ = ["MemoryReadSet"]

_PER_VISIT = 64  # datagrams read from one socket before the next has its turn


class MemoryReadSet:
    """The readers that are to be read.

    A reader has a place from `reserve` to `forget`, and is read from `add` to `discard`.
    """

    def __init__(self) -> None:
        self._places: dict[MemoryReader, None] = {}
        self._read: dict[MemoryReader, None] = {}
        self._waiting: deque[MemoryReader] = deque()  # ready and not yet visited, so that none starves
        self._holding: dict[Together, None] = {}  # those that have packets to be read once more for
        self._turn = 0
        self.is_stopped: bool = False
        """Whether nothing is to be read for now, also in the middle of a `read`."""
        self.failing: list[tuple[MemoryReader, OSError]] = []
        """What sockets reported in the last `read`."""

    @property
    def readers(self) -> tuple[MemoryReader, ...]:
        """Those that have a place."""
        return tuple(self._places)

    @property
    def is_pending(self) -> bool:
        """Whether there is something to read."""
        return any(reader.sock.is_readable for reader in tuple(self._read)) or any(
            len(lanes) and self._is_read(lanes) for lanes in tuple(self._holding)
        )

    @property
    def is_left_unread(self) -> bool:
        """Whether a socket that is not read for now, and does not rest, holds something."""
        return any(
            reader.sock.is_readable and reader not in self._read and not reader.rests
            for reader in self.readers
        )

    def reserve(self, reader: MemoryReader) -> None:
        """Keep a place for `reader`."""
        self._places[reader] = None

    def add(self, reader: MemoryReader) -> None:
        """Read `reader` from now on; nothing happens if it is in already, or has no place."""
        lanes = reader.lanes
        if lanes is not None and len(lanes):
            self._holding[lanes] = None
        if reader in self._places and reader not in self._read:
            self._read[reader] = None
            reader.rests = False

    def discard(self, reader: MemoryReader) -> None:
        """Read `reader` no more for now."""
        self._read.pop(reader, None)

    def forget(self, reader: MemoryReader) -> None:
        """Give up its place."""
        self.discard(reader)
        if reader in self._places:
            del self._places[reader]
            reader.sock.wake = None

    def clear(self) -> None:
        """Forget all readers."""
        for reader in self.readers:
            self.forget(reader)
        self._waiting.clear()
        self._holding.clear()

    def read(self, budget: int) -> None:
        """Read readable sockets in turn, about `budget` datagrams, and hand each sink its batches.

        What a socket reported goes to `failed` of its reader, after the packets before it, and
        drops to `lost`. A reader that failed rests: until the next read after a first failure,
        until it is added anew after more.
        """
        for failed, _ in self.failing:
            failed.rests = failed.rests and failed.failures > 1
        self.failing = []
        batch: list[Packet] = []
        last: MemoryReader | None = None
        while budget > 0 and (reader := self._next()) is not None:
            if last is not None and reader.sink is not last.sink:
                self._hand_on(batch, last)
                batch, last = [], None
                if self.is_stopped or reader not in self._read:
                    continue
            last = reader
            lanes = reader.lanes
            packets, used = (reader if lanes is None else lanes).read(min(_PER_VISIT, budget))
            batch += packets
            budget -= max(used, 1)
            concerned: tuple[Reader, ...] = (reader,)
            if lanes is not None:
                concerned = lanes.readers
                self._keep(lanes)
            if any(one.error is not None or one.kernel_drops != one.told_drops for one in concerned):
                self._hand_on(batch, reader)
                batch = []
            for one in concerned:
                assert isinstance(one, MemoryReader)
                self._report(one)
        if last is not None:
            self._hand_on(batch, last)

    def _keep(self, lanes: Together) -> None:
        if len(lanes):
            self._holding[lanes] = None
        else:
            self._holding.pop(lanes, None)

    def _next(self) -> MemoryReader | None:
        while not self.is_stopped and (self._waiting or self._fill()):
            reader = self._waiting.popleft()
            if reader not in self._read or reader.rests:
                continue
            lanes = reader.lanes
            if lanes is not None:
                if lanes.turn == self._turn:
                    continue
                lanes.turn = self._turn
            return reader
        return None

    def _fill(self) -> bool:
        self._turn += 1
        self._waiting += [one for one in tuple(self._read) if one.sock.is_readable and not one.rests]
        self._holding = {lanes: None for lanes in self._holding if len(lanes)}  # else handed over elsewhere
        for lanes in self._holding:
            self._waiting += [one for one in tuple(self._read) if one.lanes is lanes][:1]
        return bool(self._waiting)

    def _is_read(self, lanes: Together) -> bool:
        return any(reader.lanes is lanes for reader in tuple(self._read))

    def _hand_on(self, batch: list[Packet], reader: MemoryReader) -> None:
        if not batch:
            return
        try:
            reader.sink(batch)
        except BaseException:
            reader.unmade += len(batch)
            raise

    def _report(self, reader: MemoryReader) -> None:
        reader.tell_drops()
        error, reader.error = reader.error, None
        if error is None:
            if not reader.rests:
                reader.failures = 0
            return
        if not isinstance(error, OSError):
            raise error
        reader.rests = True
        reader.failures += 1
        self.failing.append((reader, error))
        if reader.failures == 1:
            reader.failed(error)
