"""Many readers behind one descriptor that a loop can watch."""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from collections import deque
from collections.abc import Callable

from ...values.packets import Packet
from ..contract import Together
from .reader import Reader
from .watch import Watch

__all__ = ["ReadSet"]

_PER_VISIT = 64  # datagrams read from one socket before the next has its turn


class ReadSet:
    """The readers that are to be read; `fileno()` is readable while one of their sockets is.

    A reader has a place from `reserve` to `forget`, and is read from `add` to `discard`. Only
    `reserve` (and an `add` without it) can be refused by the system, with an OSError.
    """

    def __init__(self) -> None:
        self._watch = Watch()
        self._stale: list[Watch] = []  # its descriptor may be watched still
        self._places: dict[int, Reader] = {}
        self._read: set[Reader] = set()
        self._waiting: deque[Reader] = deque()  # ready and not yet visited, so that none starves
        self._holding: dict[Together, None] = {}  # those that have packets to be read once more for
        self._turn = 0
        self._closed = self._is_stopped = False
        self.failing: list[tuple[Reader, OSError]] = []
        """What sockets reported in the last `read`."""

    def fileno(self) -> int:
        """Return the one descriptor to watch: another one after a `forget` that had to make a new set.

        -1 on Windows, where none stands for others, and once it is closed.
        """
        try:
            return self._watch.fileno()
        except ValueError:  # it has closed, perhaps just now, in another thread
            return -1

    def waited_for(self) -> list[int]:
        """Return the descriptors to wait for where there is none for all of them; from whichever thread."""
        return [reader.descriptor for reader in self._read.copy()]

    @property
    def is_pending(self) -> bool:
        """Whether a read is due although no socket is readable."""
        return any(len(lanes) and self._is_read(lanes) for lanes in self._holding)

    def reserve(self, reader: Reader) -> None:
        """Keep a place for `reader`; nothing happens if it has one."""
        number = reader.descriptor
        if number < 0 or reader.sock.fileno() != number:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        known = self._places.get(number)
        if known is reader:
            return
        if known is not None:  # it has closed without a word, and its number is another's now
            self.forget(known)
        self._watch.reserve(number)
        self._places[number] = reader

    def add(self, reader: Reader) -> None:
        """Read `reader` from now on; nothing happens if it is in already."""
        lanes = reader.lanes
        if lanes is not None and len(lanes):
            self._holding[lanes] = None
        if reader in self._read:
            return
        self.reserve(reader)
        self._watch.enable(reader.descriptor)
        self._read.add(reader)
        reader.rests = False

    def discard(self, reader: Reader) -> None:
        """Read `reader` no more for now."""
        if reader in self._read:
            self._read.discard(reader)
            with contextlib.suppress(OSError):  # somebody has closed it
                self._watch.disable(reader.descriptor)

    def forget(self, reader: Reader) -> None:
        """Give up its place. Call it before its socket closes."""
        self._read.discard(reader)
        number = reader.descriptor
        if self._places.get(number) is not reader:
            return
        del self._places[number]
        try:
            self._watch.forget(number)
        except OSError:
            # Somebody has closed it. Should there be a copy of the descriptor, it would be told
            # of for ever, and nothing but a new set can help.
            self._renew()

    def renewed(self) -> None:
        """Close the descriptors before the present one: it is watched in their place."""
        for stale in self._stale:
            stale.close()
        self._stale.clear()

    def close(self) -> None:
        """Forget all readers and close the descriptor; the sockets stay open."""
        self._closed = True
        self._places.clear()
        self._read.clear()
        self._waiting.clear()
        self._holding.clear()
        self._watch.close()
        self.renewed()

    def stop(self) -> None:
        """Read nothing more, for good; from whichever thread."""
        self._is_stopped = True

    def reading(self, budget: int, after: Callable[[], None], is_held: bool) -> Callable[[], None]:
        """Return what an event loop calls when the descriptor is readable: it reads about `budget` datagrams.

        `after` is called when something was reported, or may be pending, or `read` has raised. With `is_held`
        the set is kept alive by what is returned. Who waits for what was read may go on before it returns.
        """
        held, reference = self if is_held else None, weakref.ref(self)

        def read() -> None:
            reads = held or reference()
            if reads is None or reads._is_stopped:
                return
            try:
                reads.read(budget)
            except BaseException:
                after()
                raise
            if reads.failing or reads._holding:
                after()

        return read

    def read(self, budget: int) -> None:
        """Read ready sockets in turn, about `budget` datagrams, and hand each sink its batches.

        What a socket reported goes to `failed` of its reader, after the packets before it, and
        what the kernel has dropped since to `lost`. Both may raise, and so does this then. A failed
        reader rests: until the next read after a first failure, until it is added anew after more.
        """
        for failed, _ in self.failing:
            failed.rests = failed.rests and failed.failures > 1
        self.failing = []
        batch: list[Packet] = []
        last: Reader | None = None
        while budget > 0 and (reader := self._next()) is not None:
            if last is not None and reader.sink is not last.sink:
                self._hand_on(batch, last)
                batch, last = [], None
                if reader not in self._read:
                    continue
            last = reader
            lanes = reader.lanes
            if lanes is None:
                packets, spent = reader.read(min(_PER_VISIT, budget))
                concerned = [reader]
            else:
                packets, spent = lanes.read(min(_PER_VISIT, budget))
                concerned = _readers(lanes)
                if len(lanes):
                    self._holding[lanes] = None
                else:
                    self._holding.pop(lanes, None)
            batch += packets
            budget -= max(spent, 1)
            for one in concerned:
                if one.error is not None:
                    self._hand_on(batch, reader)
                    batch = []
                    self._report(one)
                elif one.failures and not one.rests:
                    one.failures = 0
                if one.kernel_drops != one.told_drops:
                    self._hand_on(batch, reader)
                    batch = []
                    one.tell_drops()
        if last is not None:
            self._hand_on(batch, last)

    def _next(self) -> Reader | None:
        while not self._closed and not self._is_stopped:
            if not self._waiting and not self._fill():
                return None
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
        for number in self._watch.ready():
            reader = self._places.get(number)
            if reader is not None and reader in self._read and not reader.rests:
                self._waiting.append(reader)
        self._holding = {lanes: None for lanes in self._holding if len(lanes)}  # else handed over elsewhere
        for lanes in self._holding:
            self._waiting += [one for one in _readers(lanes) if one in self._read and one.lanes is lanes][:1]
        return bool(self._waiting)

    def _is_read(self, lanes: Together) -> bool:
        return any(reader in self._read for reader in lanes.readers)

    def _hand_on(self, batch: list[Packet], reader: Reader) -> None:
        if not batch:
            return
        try:
            reader.sink(batch)
        except BaseException:
            reader.unmade += len(batch)
            raise

    def _report(self, reader: Reader) -> None:
        error, reader.error = reader.error, None
        if not isinstance(error, OSError):
            assert error is not None
            raise error
        reader.rests = True
        reader.failures += 1
        self.failing.append((reader, error))
        if reader.failures == 1:
            reader.failed(error)

    def _renew(self) -> None:
        self._stale.append(self._watch)
        self._watch = Watch()
        for number, reader in list(self._places.items()):
            try:
                self._watch.reserve(number)
                if reader in self._read:
                    self._watch.enable(number)
            except OSError:
                del self._places[number]
                self._read.discard(reader)


def _readers(lanes: Together) -> list[Reader]:
    """Return its readers: all are of this kind where one of them has a place in a set."""
    return [reader for reader in lanes.readers if isinstance(reader, Reader)]
