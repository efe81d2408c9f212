"""Many readers behind one descriptor that a loop can watch."""

from __future__ import annotations

import selectors
from collections import deque
from typing import cast

from ...packets import Packet
from .reader import Reader

__all__ = ["ReadSet"]

_PER_VISIT = 64  # datagrams read from one socket before the next has its turn


class ReadSet:
    """The readers that are to be read; `fileno()` is readable while one of their sockets is."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._waiting: deque[Reader] = deque()  # ready and not yet visited, so that none starves
        self._readers: dict[int, Reader] = {}
        self._closed = False

    def fileno(self) -> int:
        """Return the one descriptor to watch."""
        return cast("selectors.EpollSelector", self._selector).fileno()

    def add(self, reader: Reader) -> None:
        """Read `reader` from now on; nothing happens if it is in already."""
        descriptor = reader.sock.fileno()
        known = self._readers.get(descriptor)
        if known is reader:
            return
        if known is not None:  # it has closed without a word, and its number is another's now
            self._selector.unregister(descriptor)
        self._selector.register(descriptor, selectors.EVENT_READ, reader)
        self._readers[descriptor] = reader

    def discard(self, reader: Reader) -> None:
        """Read `reader` no more. Call it before its socket closes."""
        descriptor = reader.sock.fileno()
        if self._readers.get(descriptor) is reader:
            del self._readers[descriptor]
            self._selector.unregister(descriptor)

    def close(self) -> None:
        """Forget all readers and close the descriptor; the sockets stay open."""
        self._closed = True
        self._readers.clear()
        self._waiting.clear()
        self._selector.close()

    def read(self, budget: int) -> None:
        """Read ready sockets in turn, about `budget` datagrams, and hand each sink its batches."""
        batch: list[Packet] = []
        sink = None
        while budget > 0 and (reader := self._next()) is not None:
            before = reader.received
            packets = reader.read(min(_PER_VISIT, budget))
            budget -= max(reader.received - before, 1)
            if reader.sink is not sink:
                if batch and sink is not None:
                    sink(batch)
                batch, sink = packets, reader.sink
            else:
                batch += packets
            if reader.error is not None:
                error, reader.error = reader.error, None
                reader.failed(error)
        if batch and sink is not None:
            sink(batch)

    def _next(self) -> Reader | None:
        while not self._closed:
            if not self._waiting:
                self._waiting.extend(key.data for key, _ in self._selector.select(0))
                if not self._waiting:
                    return None
            reader = self._waiting.popleft()
            if self._readers.get(reader.sock.fileno()) is reader:
                return reader
        return None
