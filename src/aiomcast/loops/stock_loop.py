"""Reading on an event loop that has no `add_reader`: its own datagram transport feeds the same sinks."""

from __future__ import annotations

import asyncio

from ..system.sockets import MulticastSocket
from ..values.filters import SourceFilter
from ..values.options import Options
from .in_loop import InLoop
from .stock_reader import StockReader

__all__ = ["StockLoop"]


class StockLoop(InLoop[StockReader]):
    """Does what `ReadLoop` does on a loop that has no `add_reader`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._added: set[StockReader] = set()
        self._paused = False

    @property
    def shared_stamps(self) -> bool:
        """See `ReadLoop`. There are no stamps here."""
        return False

    def pause(self) -> None:
        """See `ReadLoop`."""
        self._paused = True
        self._watch(*self._added)

    def resume(self) -> None:
        """See `ReadLoop`."""
        self._paused = False
        self._watch(*self._added)

    def close(self) -> None:
        """See `ReadLoop`."""
        self._end_watches()
        added = tuple(self._added)
        self._added.clear()
        self._watch(*added)

    def abandon(self) -> None:
        """See `ReadLoop`. The transports close in the next turns of the loop."""
        readers = tuple(self._placed)
        self._placed.clear()
        self._added.clear()

        def close() -> None:
            self._end_watches()
            for reader in readers:
                reader.close()

        try:
            self._loop.call_soon_threadsafe(close)
        except RuntimeError:  # the loop has closed, and no transport works any more
            self._end_watches()
            for reader in readers:
                reader.sock.close()

    def _reader_of(self, sock: MulticastSocket, wanted: SourceFilter, options: Options) -> StockReader:
        return StockReader(sock, wanted, ancillary=options.ancillary, gro=options.gro)

    def _reserve(self, reader: StockReader) -> None:
        """Do nothing: a transport is opened with the reader."""

    def _add(self, reader: StockReader) -> None:
        if reader in self._placed:
            self._added.add(reader)
            self._watch(reader)

    def _discard(self, reader: StockReader) -> None:
        self._added.discard(reader)
        self._watch(reader)

    def _forget(self, reader: StockReader) -> None:
        self._placed.discard(reader)
        self._discard(reader)

    def _watch(self, *readers: StockReader) -> None:
        for reader in readers:
            reader.watch(reader in self._added and not self._paused)
