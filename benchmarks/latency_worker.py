"""A trial of one receiver at one rate: how late its code sees each datagram. Halves for workers."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypedDict

import attrs

import aiomcast

from . import baseline, sockets

__all__ = ["RECEIVERS", "Lateness", "close", "hear", "hear_in_c", "open_for", "send"]

GROUP = sockets.channels(1)[0]
_WARM = 20  # one in so many, the first of a trial, is not counted
_QUANTILES = (0.5, 0.99, 0.999)

Note = Callable[[bytes], None]


class Lateness(TypedDict):
    """Nanoseconds, as quantiles 50, 99 and 99.9 %, and how many datagrams were seen.

    `late` is since just before the `sendto`, `path` since the wait's end that told of it.
    """

    late: list[float]
    path: list[float]
    seen: int


class Hearing(Protocol):
    """Somebody who receives GROUP and calls `note` with the payload of each datagram once he has it."""

    async def open(self, note: Note) -> None:
        """Join, and begin to receive in this event loop."""

    async def close(self) -> None:
        """Give everything back."""


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, note: Note) -> None:
        self.note = note

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # Any: asyncio's signature
        self.note(data)


class Stock:
    """A `DatagramProtocol` on the loop's own transport."""

    async def open(self, note: Note) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: _Protocol(note), sock=sockets.joined(GROUP)
        )

    async def close(self) -> None:
        self.transport.close()
        await asyncio.sleep(0)


class Watching:
    """A callback of `add_reader` that takes one datagram: the least that a program on this loop can do."""

    async def open(self, note: Note) -> None:
        self.sock = sock = sockets.joined(GROUP)
        asyncio.get_running_loop().add_reader(sock.fileno(), lambda: note(sock.recv(2048)))

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.sock.fileno())
        self.sock.close()


class _Iterating:
    """What those have in common who receive in a task."""

    def start(self, iterate: Callable[[], Any]) -> None:  # Any: a coroutine
        self.task = asyncio.ensure_future(iterate())

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


class AsyncioDgram(_Iterating):
    """asyncio-dgram: a stream over a `DatagramProtocol` and a queue."""

    async def open(self, note: Note) -> None:
        import asyncio_dgram

        self.stream = stream = await asyncio_dgram.from_socket(sockets.joined(GROUP))

        async def iterate() -> None:
            while True:
                data, _address = await stream.recv()
                note(data)

        self.start(iterate)

    async def close(self) -> None:
        await self.stop()
        self.stream.close()
        await asyncio.sleep(0)


class Endpoint:
    """This library's endpoint, with the same protocol."""

    async def open(self, note: Note) -> None:
        self.transport, _ = await aiomcast.create_multicast_endpoint(
            lambda: _Protocol(note), GROUP, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK
        )

    async def close(self) -> None:
        self.transport.close()
        await asyncio.sleep(0.01)


class Packets(_Iterating):
    """This library, packet by packet."""

    async def open(self, note: Note) -> None:
        self.receiver = receiver = aiomcast.Receiver()
        feed = await receiver.join(GROUP, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK)
        self.begin(feed, note)
        await asyncio.sleep(0)

    def begin(self, feed: aiomcast.Membership, note: Note) -> None:
        async def iterate() -> None:
            async for packet in feed:
                note(packet.data)

        self.start(iterate)

    async def close(self) -> None:
        await self.stop()
        await self.receiver.aclose()


class Batches(Packets):
    """This library, list by list."""

    def begin(self, feed: aiomcast.Membership, note: Note) -> None:
        async def iterate() -> None:
            async for batch in feed.batches():
                for packet in batch:
                    note(packet.data)

        self.start(iterate)


@attrs.frozen
class Entrant:
    """`make` receives; `package` is what must be installed."""

    label: str
    make: Callable[[], Hearing]
    package: str | None = None


RECEIVERS: dict[str, Entrant] = {
    "reader": Entrant("add_reader + recv", Watching),
    "protocol": Entrant("DatagramProtocol", Stock),
    "asyncio-dgram": Entrant("asyncio-dgram", AsyncioDgram, package="asyncio_dgram"),
    "endpoint": Entrant("aiomcast endpoint", Endpoint),
    "packets": Entrant("aiomcast, async for", Packets),
    "batches": Entrant("aiomcast, batches", Batches),
}

_hearing: Hearing | None = None
_noted: list[tuple[int, int, bytes]] = []


async def open_for(name: str) -> None:
    """Receive as `name` from here on, in every `hear` until `close`."""
    global _hearing
    ended = ctypes.c_int64.in_dll(ctypes.CDLL(None), "wait_ended_ns")
    clock, write = time.monotonic_ns, _noted.append

    def note(data: bytes) -> None:
        write((clock(), ended.value, data))

    hearing = RECEIVERS[name].make()
    await hearing.open(note)
    _hearing = hearing


async def close() -> None:
    """End what `open_for` began."""
    global _hearing
    hearing, _hearing = _hearing, None
    if hearing is not None:
        await hearing.close()


async def hear(seconds: float) -> Lateness:
    """Note what comes within `seconds`."""
    _noted.clear()
    await asyncio.sleep(seconds)
    late = [now - int.from_bytes(data[:8], "little") for now, _, data in _noted]
    return _told(late, [now - ended for now, ended, _ in _noted])


def hear_in_c(seconds: float, size: int, most: int) -> Lateness:
    """Do the same with epoll and recvmmsg; `most` datagrams are noted at the most."""
    late, path = (ctypes.c_int64 * most)(), (ctypes.c_int64 * most)()
    with sockets.joined(GROUP, tagged=True) as sock:
        seen = baseline.library().receive_stamped(sock.fileno(), seconds, size, late, path, most)
    return _told(late[:seen], path[:seen])


def send(to_port: int, rate: float, burst: int, seconds: float, size: int) -> int:
    """Send stamped datagrams at `rate` a second, `burst` at a time; return how many were sent."""
    with sockets.sender() as sock:
        to = baseline.destinations([GROUP], to_port)
        return int(baseline.library().pace_stamped(sock.fileno(), to, rate, burst, seconds, size))


def _told(late: Sequence[int], path: Sequence[int]) -> Lateness:
    warm = len(late) // _WARM
    return Lateness(late=_quantiles(late[warm:]), path=_quantiles(path[warm:]), seen=len(late))


def _quantiles(values: Sequence[int]) -> list[float]:
    ordered = sorted(values)
    if not ordered:
        return [0.0 for _ in _QUANTILES]
    return [float(ordered[min(len(ordered) - 1, int(len(ordered) * part))]) for part in _QUANTILES]
