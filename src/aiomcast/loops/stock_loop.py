"""Reading on an event loop that has no `add_reader`: its own datagram transport feeds the same sinks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

from ..reading import Reader
from .stock_reader import StockReader

__all__ = ["StockLoop"]


class StockLoop:
    """Does what `ReadLoop` does on a loop that has no `add_reader`."""

    reader: type[Reader] = cast(type[Reader], StockReader)  # the same contract, without a common base
    shared_stamps = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._added: set[Reader] = set()
        self._paused = False

    def call_soon(self, call: Callable[..., object], *arguments: object) -> None:
        """See `ReadLoop`."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    def reserve(self, reader: Reader) -> None:
        """See `ReadLoop`."""

    def add(self, reader: Reader) -> None:
        """See `ReadLoop`."""
        self._added.add(reader)
        self._set(reader)

    def discard(self, reader: Reader) -> None:
        """See `ReadLoop`."""
        self._added.discard(reader)
        self._set(reader)

    def forget(self, reader: Reader) -> None:
        """See `ReadLoop`."""
        self.discard(reader)

    def pause(self) -> None:
        """See `ReadLoop`."""
        self._paused = True
        for reader in tuple(self._added):
            self._set(reader)

    def resume(self) -> None:
        """See `ReadLoop`."""
        self._paused = False
        for reader in tuple(self._added):
            self._set(reader)

    def close(self) -> None:
        """See `ReadLoop`."""
        for reader in tuple(self._added):
            self.discard(reader)

    def _set(self, reader: Reader) -> None:
        cast(StockReader, reader).watch(reader in self._added and not self._paused)
