"""Everyone who receives: one small class each, and the table of them."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from typing import Any, Protocol

import attrs

import aiomcast

from . import sockets

__all__ = ["COMPETITORS", "Competitor", "Receiving", "missing"]


class Receiving(Protocol):
    """One way to receive a channel. `seen` is right after `consume` has returned or was cancelled."""

    seen: int

    async def open(self, group: str, buffer: int) -> None:
        """Join `group` on `sockets.PORT`; read nothing yet."""

    async def consume(self, until: int) -> None:
        """Read until `until` datagrams were seen."""

    def dropped(self) -> int:
        """Return how many datagrams the kernel has dropped."""

    async def close(self) -> None:
        """Give everything back."""


class _OnSocket:
    """What those have in common that take a joined socket."""

    def __init__(self) -> None:
        self.seen = 0

    async def open(self, group: str, buffer: int) -> None:
        self.sock = sockets.joined(group, buffer=buffer)

    def dropped(self) -> int:
        return sockets.dropped(self.sock)

    async def close(self) -> None:
        self.sock.close()


class Counting(_OnSocket, asyncio.DatagramProtocol):
    """A `DatagramProtocol` that only counts."""

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # Any: asyncio's signature
        self.seen += 1
        if self.seen == self.until:
            self.done.set_result(None)

    async def consume(self, until: int) -> None:
        loop = asyncio.get_running_loop()
        self.until = until
        self.done = loop.create_future()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=self.sock)
        await self.done

    async def close(self) -> None:
        self.transport.close()
        await asyncio.sleep(0)


class Queued(_OnSocket, asyncio.DatagramProtocol):
    """A `DatagramProtocol` that fills an `asyncio.Queue`, and a task that awaits it."""

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # Any: asyncio's signature
        self.queue.put_nowait((data, addr))

    async def consume(self, until: int) -> None:
        # Any: an address as asyncio hands it on
        self.queue: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=self.sock)
        n = 0
        try:
            while n < until:
                _data, _address = await self.queue.get()
                n += 1
        finally:
            self.seen = n

    async def close(self) -> None:
        self.transport.close()
        await asyncio.sleep(0)


class AsyncioDgram(_OnSocket):
    """asyncio-dgram: a stream over a `DatagramProtocol` and a queue."""

    async def consume(self, until: int) -> None:
        import asyncio_dgram

        self.stream = await asyncio_dgram.from_socket(self.sock)
        n = 0
        try:
            while n < until:
                _data, _address = await self.stream.recv()
                n += 1
        finally:
            self.seen = n

    async def close(self) -> None:
        self.stream.close()
        await asyncio.sleep(0)


class Anyio(_OnSocket):
    """anyio's UDPSocket, iterated."""

    async def consume(self, until: int) -> None:
        from anyio.abc import UDPSocket

        self.udp = await UDPSocket.from_socket(self.sock)
        n = 0
        try:
            async for _data, _address in self.udp:
                n += 1
                if n == until:
                    break
        finally:
            self.seen = n

    async def close(self) -> None:
        await self.udp.aclose()


class MulticastExpert:
    """multicast_expert's asynchronous receive socket."""

    def __init__(self) -> None:
        self.seen = 0

    async def open(self, group: str, buffer: int) -> None:
        import multicast_expert

        self.receiver = multicast_expert.AsyncMcastRxSocket(
            socket.AF_INET,
            mcast_ips=[group],
            port=sockets.PORT,
            iface="127.0.0.1",
            source_ips=[sockets.SOURCE],
        )
        self.receiver.__enter__()
        sockets.set_buffer(self.receiver.sockets[0], buffer)

    async def consume(self, until: int) -> None:
        n = 0
        try:
            while n < until:
                _answer = await self.receiver.recvfrom()
                n += 1
        finally:
            self.seen = n

    def dropped(self) -> int:
        return sockets.dropped(self.receiver.sockets[0])

    async def close(self) -> None:
        self.receiver.__exit__(None, None, None)
        await asyncio.sleep(0)


class Packets:
    """This library, packet by packet."""

    def __init__(self) -> None:
        self.seen = 0

    async def open(self, group: str, buffer: int) -> None:
        self.receiver = aiomcast.Receiver(receive_buffer=buffer)
        await self.receiver.join(group, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK)

    async def consume(self, until: int) -> None:
        n = 0
        try:
            async for _packet in self.receiver:
                n += 1
                if n == until:
                    break
        finally:
            self.seen = n

    def dropped(self) -> int:
        return self.receiver.statistics().kernel_drops

    async def close(self) -> None:
        await self.receiver.aclose()


class Batches(Packets):
    """This library, list by list."""

    async def consume(self, until: int) -> None:
        n = 0
        try:
            self.batches = self.receiver.batches()  # open until the receiver closes
            async for batch in self.batches:
                n += len(batch)
                if n >= until:
                    break
        finally:
            self.seen = n


@attrs.frozen
class Competitor:
    """`make` receives; `reading` is the reader it needs of this library, `package` what must be installed."""

    label: str
    make: type[Receiving]
    reading: str | None = None
    package: str | None = None


COMPETITORS: dict[str, Competitor] = {
    "protocol": Competitor("DatagramProtocol, counting", Counting),
    "queue": Competitor("DatagramProtocol + asyncio.Queue", Queued),
    "asyncio-dgram": Competitor("asyncio-dgram", AsyncioDgram, package="asyncio_dgram"),
    "anyio": Competitor("anyio UDPSocket", Anyio, package="anyio"),
    "multicast_expert": Competitor("multicast_expert", MulticastExpert, package="multicast_expert"),
    "portable": Competitor("aiomcast portable, async for", Packets, reading="portable"),
    "portable-batches": Competitor("aiomcast portable, batches", Batches, reading="portable"),
    "native": Competitor("aiomcast native, async for", Packets, reading="native"),
    "native-batches": Competitor("aiomcast native, batches", Batches, reading="native"),
}


def missing(competitor: Competitor) -> str | None:
    """Return what keeps `competitor` from running here, None if nothing does."""
    if competitor.package and importlib.util.find_spec(competitor.package) is None:
        return "not installed"
    if competitor.reading == "native" and importlib.util.find_spec("aiomcast.reading._native") is None:
        return "not built"
    return None
