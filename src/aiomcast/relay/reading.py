"""Reading in an event loop what relays have stored: one connection for each receiver."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final, final

from ..errors import UnsupportedError
from ..loops.in_loop import weakly
from ..memory.brought import BroughtReading
from ..memory.reader import MemoryReader
from ..memory.station import Station
from ..reading.contract import Reader
from ..values.filters import SourceFilter
from ..values.interface import Interface
from ..values.options import Options
from .broker import Broker, StartAt
from .channels import Channel, Place
from .once import Once
from .subjects import Subject

__all__ = ["RelayReading"]

_log = logging.getLogger("aiomcast.relay")

_PATIENCE: Final = 1.0  # seconds
_closing: set[asyncio.Task[None]] = set()  # a loop holds its tasks weakly


@final
class RelayReading(BroughtReading):
    """Brings what a server holds to sockets in memory, by a channel for each group and port.

    A channel begins with the first socket and ends with the last, in the next turn of the loop: a socket
    that is replaced costs no new one. `counts` and `counted` are told of the count of each.
    """

    def __init__(
        self,
        station: Station,
        broker: Broker,
        start: StartAt,
        subject: Subject,
        counts: Callable[[Once], None],
        counted: Callable[[Once], None],
    ) -> None:
        super().__init__(station)
        self._broker = broker
        self._start = start
        self._subject = subject
        self._counts = counts
        self._counted = counted
        self._channels: dict[Place, Channel] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._has_failed = False  # a channel, once

    async def prepare(self, group: str, port: int) -> None:
        """Wait until the server has a consumer for it. RelayError where it will not."""
        if not port:
            raise UnsupportedError("relays store nothing under a port that the system chooses", "name one")
        channel = self._channel((group, port))
        channel.awaited += 1
        try:
            await channel.begun.wait()
        finally:
            channel.awaited -= 1
            self.call_soon(lambda: self._end_unused(channel))  # a socket is open then, or never
        if channel.error is not None:
            raise channel.error

    def open(
        self,
        group: str,
        port: int,
        interface: Interface,
        wanted: SourceFilter,
        options: Options,
        into: list[Reader],
        sock: socket.socket | int | None = None,
    ) -> None:
        """Append to `into` a reader of a new socket. See `MemoryReading.open`."""
        super().open(group, port, interface, wanted, options, into, sock)
        opened = into[-1]
        assert isinstance(opened, MemoryReader)
        self._channel((group, port)).add(opened.sock)

    def forget(self, reader: MemoryReader) -> None:
        """Give up its place."""
        super().forget(reader)
        channel = self._channels.get((reader.sock.group, reader.sock.port))
        if channel is not None and channel.sockets.pop(reader.sock, self) is None:
            self.call_soon(lambda: self._end_unused(channel))

    def close(self) -> None:
        """Stop for good, from whichever thread. The sockets stay open."""
        super().close()
        self.call_soon(self._end)

    async def closed(self) -> None:
        """Wait until the connection has ended."""
        await asyncio.shield(self._end())

    def _channel(self, place: Place) -> Channel:
        channel = self._channels.get(place)
        if channel is None:
            read = self._broker.read(self._subject.matching(*place), self._start)
            channel = Channel(place, read, self._wire.clock, weakly(self._channel_ended))
            self._channels[place] = channel
            self._counts(channel.once)
        return channel

    def _end_unused(self, channel: Channel) -> None:
        if not channel.sockets and not channel.awaited and self._channels.get(channel.place) is channel:
            self._end_channel(channel)

    def _end_channel(self, channel: Channel) -> None:
        del self._channels[channel.place]
        self._counted(channel.once)
        task = channel.end()
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _end(self) -> asyncio.Task[None]:
        if self._ending is None:
            self._ending = self._loop.create_task(self._end_all())
            _closing.add(self._ending)
            self._ending.add_done_callback(_closing.discard)
        return self._ending

    async def _end_all(self) -> None:
        for channel in tuple(self._channels.values()):
            self._end_channel(channel)
        while self._leaving:
            await asyncio.wait(tuple(self._leaving), timeout=_PATIENCE)
            for task in self._leaving:  # whose cancellation a library has kept for itself
                task.cancel()
        await self._broker.aclose()

    # What has ended, for `BroughtReading`

    def _channel_ended(self, channel: Channel) -> None:
        if channel.error is not None and channel.sockets and self._channels.get(channel.place) is channel:
            self._has_failed = True
            _log.error("nothing more comes to %s port %d: %s", *channel.place, channel.error)
            self.look_for_end()

    @property
    def _has_ended(self) -> bool:
        return self._has_failed

    @property
    def _end_error(self) -> Exception | None:
        return next((one.error for one in self._channels.values() if one.error is not None), None)

    def _is_cut_off(self, reader: MemoryReader) -> bool:
        channel = self._channels.get((reader.sock.group, reader.sock.port))
        return channel is not None and channel.is_over
