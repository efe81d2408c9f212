"""`MulticastTransport`: reads batches from a socket of its own into a protocol."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

from ..loops.read_loop import ReadLoop
from ..reading import Reader
from ..rfc3678.refusals import refusal, refusals
from ..values.filters import Sources, filter_for
from ..values.packets import Packet

__all__ = ["MulticastTransport", "PacketHandler"]


class PacketHandler(Protocol):
    """What the transport calls of its protocol; `MulticastProtocol` has it."""

    def packets_received(self, packets: list[Packet], /) -> None:
        """Receive a batch of packets."""

    def error_received(self, exc: Exception, /) -> None:
        """Receive an error that the socket reported."""

    def connection_lost(self, exc: Exception | None, /) -> None:
        """Learn of the end."""


class MulticastTransport(asyncio.ReadTransport):
    """A receiving datagram transport over one socket: reads in batches, can pause.

    `get_extra_info` knows "socket", "sockname" and "interface". Made by
    `create_multicast_endpoint`. It does not send: use a `Sender`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, reader: Reader, protocol: PacketHandler) -> None:
        sock = reader.sock
        super().__init__({"socket": sock, "sockname": sock.getsockname(), "interface": sock.interface})
        self._loop = loop
        self._reader = reader
        self._protocol = protocol
        self._is_reading = False
        self._closing = True  # until there is something to close
        reader.sink = self._received
        reader.failed = self._failed
        self._reading = ReadLoop(loop, is_held=True)  # as the loop holds its own transports
        try:
            with refusals(f"watching a socket of {sock.group}"):
                self._place = self._reading.reserve(reader)
        except BaseException:
            self._reading.close()
            raise
        self._closing = False

    @property
    def reader(self) -> Reader:
        """The reader, for its counters."""
        return self._reader

    def set_filter(self, sources: Sources) -> None:
        """Let `sources` decide, in the kernel and for what it has queued already.

        `sources` and the errors are those of `MulticastSocket.set_filter`.
        """
        wanted = filter_for(self._reader.sock.group, sources)
        self._reader.sock.set_filter(wanted)
        self._reader.set_filter(wanted)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return cast(asyncio.BaseProtocol, self._protocol)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what arrives to another protocol, which has `packets_received` too."""
        self._protocol = cast(PacketHandler, protocol)  # asyncio's signature is wider

    def is_reading(self) -> bool:
        """Whether datagrams are being read."""
        return self._is_reading

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`; the kernel's buffer fills, then drops and counts."""
        if self._is_reading:
            self._is_reading = False
            self._place.discard()

    def resume_reading(self) -> None:
        """Start reading, or go on."""
        if not self._is_reading and not self._closing:
            self._is_reading = True
            self._place.add()

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
            self._end()

    def _end(self) -> None:
        self._place.forget()
        self._reading.close()
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
            self._end()
