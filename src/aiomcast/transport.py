"""Own transport: reads batches from sockets of its own on loops that have `add_reader`.

On a loop without it (the Windows proactor loop) the stock datagram transport feeds the same sinks.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any, cast

from .filters import SourceFilter
from .packets import Packet
from .reading import Reader, ReadSet
from .reading.options import SHARED_STAMPS
from .rfc3678.refusals import refusal, refusals
from .stock import StockReader

if TYPE_CHECKING:
    from .protocol import MulticastProtocol

__all__ = ["MulticastTransport", "ReadLoop", "StockLoop", "can_watch"]

BUDGET = 512
"""Datagrams read per wake-up, about: then the other tasks of the loop have their turn."""


class ReadLoop:
    """Reads the readers added to it whenever the loop says that one of them is readable."""

    reader = Reader
    shared_stamps = SHARED_STAMPS

    def __init__(self, loop: asyncio.AbstractEventLoop, budget: int = BUDGET) -> None:
        self._loop = loop
        self._budget = budget
        with refusals("watching sockets"):
            self._set = ReadSet()
        self._paused = False
        loop.add_reader(self._set.fileno(), self._ready)

    def add(self, reader: Reader) -> None:
        """Read `reader` from the next loop turn on."""
        self._set.add(reader)

    def discard(self, reader: Reader) -> None:
        """Read `reader` no more. Call it before its socket closes."""
        self._set.discard(reader)

    def pause(self) -> None:
        """Read nothing until `resume`; the kernel's buffers fill."""
        if not self._paused:
            self._paused = True
            self._loop.remove_reader(self._set.fileno())

    def resume(self) -> None:
        """End a pause."""
        if self._paused:
            self._paused = False
            self._loop.add_reader(self._set.fileno(), self._ready)

    def close(self) -> None:
        """Stop for good. The sockets stay open."""
        self.pause()
        self._set.close()

    def _ready(self) -> None:
        self._set.read(self._budget)


class StockLoop:
    """Does what `ReadLoop` does on a loop that has no `add_reader`."""

    reader = cast(type[Reader], StockReader)  # the same contract, without a common base
    shared_stamps = False

    def __init__(self) -> None:
        self._added: set[Reader] = set()
        self._paused = False

    def add(self, reader: Reader) -> None:
        """See `ReadLoop`."""
        self._added.add(reader)
        self._set(reader)

    def discard(self, reader: Reader) -> None:
        """See `ReadLoop`."""
        self._added.discard(reader)
        self._set(reader)

    def pause(self) -> None:
        """See `ReadLoop`."""
        self._paused = True
        for reader in self._added:
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
        stock = cast(StockReader, reader)
        stock.is_read = reader in self._added and not self._paused
        if stock.is_read:
            stock.hand_on()


class MulticastTransport(asyncio.ReadTransport):
    """A receiving datagram transport over one socket: reads in batches, can pause.

    `get_extra_info` knows "socket", "sockname" and "interface". Made by
    `create_multicast_endpoint`. It does not send: use a `Sender`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, reader: Reader, protocol: MulticastProtocol) -> None:
        sock = reader.sock
        super().__init__({"socket": sock, "sockname": sock.getsockname(), "interface": sock.interface})
        self._loop = loop
        self._reader = reader
        self._protocol = protocol
        self._reading: ReadLoop | None = None
        self._closing = False
        reader.sink = self._received
        reader.failed = self._failed

    @property
    def reader(self) -> Reader:
        """The reader, for its counters."""
        return self._reader

    def set_filter(self, wanted: SourceFilter) -> None:
        """Let `wanted` decide, in the kernel and for what it has queued already."""
        self._reader.sock.set_filter(wanted)
        self._reader.set_filter(wanted)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what arrives to another protocol, which has `packets_received` too."""
        self._protocol = protocol  # type: ignore[assignment]  # asyncio's signature is wider

    def is_reading(self) -> bool:
        """Whether datagrams are being read."""
        return self._reading is not None

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`; the kernel's buffer fills, then drops and counts."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def resume_reading(self) -> None:
        """Start reading, or go on."""
        if self._reading is None and not self._closing:
            self._reading = ReadLoop(self._loop)
            self._reading.add(self._reader)

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def close(self) -> None:
        """Leave the group and close the socket; `connection_lost(None)` follows."""
        if self._closing:
            return
        self.pause_reading()
        self._closing = True
        self._loop.call_soon(self._lost)

    def abort(self) -> None:
        """The same as `close`: nothing is buffered here."""
        self.close()

    def _lost(self) -> None:
        try:
            self._protocol.connection_lost(None)
        finally:
            self._reader.close()

    def _received(self, packets: list[Packet]) -> None:
        try:
            self._protocol.packets_received(packets)
        except Exception as error:
            self._report(error, "packets_received() raised")

    def _failed(self, error: OSError) -> None:
        try:
            self._protocol.error_received(refusal(error, f"receiving {self._reader.sock.group}"))
        except Exception as raised:
            self._report(raised, "error_received() raised")

    def _report(self, error: Exception, what: str) -> None:
        context: dict[str, Any] = {  # Any: asyncio's own type for a context
            "message": f"{what} in {self._protocol!r}",
            "exception": error,
            "transport": self,
            "protocol": self._protocol,
        }
        self._loop.call_exception_handler(context)

    def __del__(self) -> None:
        if not self._closing:
            self._reader.close()


def can_watch(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` has `add_reader`, and the system a set of sockets that can itself be watched."""
    if sys.platform == "win32":
        return False
    with refusals("looking what the event loop can do"):
        one, other = socket.socketpair()
    with one, other:
        try:
            loop.remove_reader(one)
        except NotImplementedError:
            return False
        return True
