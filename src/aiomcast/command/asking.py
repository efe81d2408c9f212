"""Asking a group: sending to it from a port at which the answers come in, and writing those."""

from __future__ import annotations

import asyncio
from types import TracebackType

import aiomcast

from .naming import interface
from .output import STDOUT, Output

__all__ = ["Asking"]

MOST = 1000  # answers that wait to be written until the reading pauses


class Asking(aiomcast.MulticastProtocol):
    """Sends to a group as a `Sender` does, and writes a line for each answer to standard output.

    An async context manager. `wait()` waits for the last answers.
    """

    def __init__(
        self, group: str, port: int, on: str | None, ttl: int, source: str | None, seconds: float
    ) -> None:
        self.group: str = group
        self.port: int = port
        self.ttl: int = ttl
        self.answers: int = 0
        self._on, self._source, self._seconds = on, source, seconds
        self._came: list[aiomcast.Packet] = []
        self._some, self._room = asyncio.Event(), asyncio.Event()
        self._failed: Exception | None = None
        self._room.set()

    async def __aenter__(self) -> Asking:
        """Open the endpoint, which joins no source: nothing that is sent to the group comes in."""
        self._transport, _ = await aiomcast.create_multicast_endpoint(
            lambda: self,
            self.group,
            self.port,
            interface=interface(self._on),
            ttl=self.ttl,
            source=self._source,
            source_port=0,
        )
        address = self._transport.source
        assert address is not None  # it was asked for a port, so it is bound
        self.source: str = str(address[0])
        self.interface: aiomcast.Interface = self._transport.get_extra_info("socket").interface
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()
        self._writing.cancel()
        await asyncio.wait([self._writing])
        if not self._writing.cancelled():
            self._writing.result()  # what kept it from writing

    async def send(self, data: bytes) -> None:
        """Send one datagram, waiting while too many wait already.

        RefusedError as of a `Sender`, and an OSError once answers can no longer be written.
        """
        if self._writing.done():
            self._writing.result()
        await self._room.wait()
        self._transport.sendto(data)
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    async def wait(self) -> None:
        """Wait for the last answers, unless nobody is left to read them."""
        await asyncio.wait([self._writing], timeout=self._seconds)

    async def _write(self) -> None:
        output = Output(STDOUT)
        while True:
            await self._some.wait()
            self._some.clear()
            packets, self._came = self._came, []
            self._transport.resume_reading()
            lines = [f"{one.source} port {one.source_port}: {_shown(one.data)}\n" for one in packets]
            await output.write([line.encode() for line in lines])
            self.answers += len(lines)

    # What the transport calls

    def packets_received(self, packets: list[aiomcast.Packet]) -> None:
        """Have them written."""
        self._came += packets
        self._some.set()
        if len(self._came) >= MOST:
            self._transport.pause_reading()

    def error_received(self, exc: Exception) -> None:
        """Have the next `send` raise it."""
        self._failed = exc

    def pause_writing(self) -> None:
        """Have `send` wait."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Have it go on."""
        self._room.set()


def _shown(data: bytes) -> str:
    """Return it as --payload takes it."""
    return "".join(
        chr(byte) if 32 <= byte < 127 else rf"\x{byte:02x}" for byte in data.replace(b"\\", b"\\\\")
    )
