"""What relays have stored of one group and port, brought to the sockets that have joined it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple, TypeAlias, final

from ..memory.clock import Clock
from ..memory.sockets import MemorySocket
from ..values import bounds
from ..values.packets import Packet
from .broker import Stored
from .cancelling import check_cancelled
from .messages import packet_of
from .once import Once

__all__ = ["Channel", "Place"]

Place: TypeAlias = tuple[str, int]
"""A group and a port."""


@final
class _Brought(NamedTuple):
    """Keeps `memory.wire.Datagram`."""

    data: bytes
    source: str
    source_port: int
    group: str
    port: int
    hop_limit: int | None
    traffic_class: int | None
    timestamp_ns: int
    truncated: bool


@final
class Channel:
    """Reads until `end`, no further than its sockets have room, and hands each packet to them once.

    `ended` is called when it has ended by itself.
    """

    def __init__(
        self,
        place: Place,
        read: AsyncGenerator[list[Stored], None],
        clock: Clock,
        ended: Callable[[Channel], None],
    ) -> None:
        self.place: Place = place
        self.sockets: dict[MemorySocket, None] = {}
        """Those that have joined it. See `add`."""
        self.awaited: int = 0
        """How many joins wait for it to begin."""
        self.begun: asyncio.Event = asyncio.Event()
        """Whether it is settled from where on is read, or it has ended."""
        self.once: Once = Once()
        self.is_over: bool = False
        self.error: Exception | None = None
        self._read = read
        self._clock = clock
        self._ended = ended
        self._joined = asyncio.Event()
        self._room = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def add(self, sock: MemorySocket) -> None:
        """Bring to this socket too. Before the first has come nothing is brought."""
        self.sockets[sock] = None
        self._joined.set()

    def end(self) -> asyncio.Task[None]:
        """Read no more, and return what is done when that is so."""
        self._task.cancel()
        return self._task

    async def _run(self) -> None:
        try:
            async with aclosing(self._read) as lists:
                async for stored in lists:
                    check_cancelled()
                    self.begun.set()
                    await self._joined.wait()
                    await self._bring(stored)
        except Exception as error:  # whatever is wrong: those who wait are told
            self.error = error
        finally:
            self.is_over = True
            self.begun.set()
            self._ended(self)

    async def _bring(self, stored: list[Stored]) -> None:
        for count, one in enumerate(stored, 1):
            packet = packet_of(one.message.tags, one.message.data)
            if packet is not None and (packet.group, packet.port) != self.place:
                continue  # of a template that does not tell them apart
            is_new, missing = self.once.take(one, is_packet=packet is not None)
            if packet is None:
                continue
            if missing is not None:
                for sock in self.sockets:
                    sock.lose(packet.source, missing.count)
            if is_new:
                await self._hand_on(_brought(packet, one.time_ns))
            if not count % bounds.READ_PER_TURN:
                await asyncio.sleep(0)

    async def _hand_on(self, datagram: _Brought) -> None:
        while (full := self._full(datagram)) is not None:
            self._room.clear()
            full.drained = self._room.set
            await self._room.wait()
        stamp_ns = self._clock.stamp_at(datagram.timestamp_ns)
        for sock in self.sockets:
            sock.arrive(datagram, stamp_ns)

    def _full(self, datagram: _Brought) -> MemorySocket | None:
        return next((sock for sock in self.sockets if not sock.has_room(datagram)), None)


def _brought(packet: Packet, stored_ns: int) -> _Brought:
    stamp_ns = packet.timestamp_ns
    return _Brought(
        packet.data,
        packet.source,
        packet.source_port,
        packet.group,
        packet.port,
        packet.hop_limit,
        packet.traffic_class,
        stored_ns if stamp_ns is None else stamp_ns,
        packet.truncated,
    )
