"""Numbered traffic at a steady rate, and what of it a receiver was given, and when."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from types import TracebackType
from typing import Any, Self

from aiomcast import Receiver
from tests.support.sending import sending

from .network import Network

__all__ = ["RATE", "Flow", "Sending", "Taking"]

RATE = 100  # packets a second, of each flow
_NUMBER = struct.Struct("!Q")


@dataclass(eq=False, slots=True)
class Flow:
    """What a host sends to a group on one of its interfaces, numbered from 0, and what came of it."""

    interface: str
    source: str
    group: str
    port: int = 5000
    host: str = "s1"
    sent: int = 0
    """How many so far."""
    came: list[tuple[int, float]] = field(default_factory=list)
    """The number of each packet that was received, and when, by time.monotonic()."""

    def like(self, **changes: Any) -> Flow:  # Any: those of the fields
        """Another flow, which differs in these."""
        return replace(self, sent=0, came=[], **changes)

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.group else 4

    def beyond(self, number: int) -> float | None:
        """When the first packet with a greater number was received, None if none was."""
        first = bisect_right(self.came, number, key=itemgetter(0))
        return self.came[first][1] if first < len(self.came) else None

    @property
    def is_ended(self) -> bool:
        """Whether the last packet that was sent has been received."""
        return bool(self.came) and self.came[-1][0] == self.sent - 1

    @property
    def outage(self) -> float:
        """The longest time in which nothing came, in seconds."""
        times = [when for _, when in self.came]
        return max(after - before for before, after in itertools.pairwise(times))

    @property
    def is_whole(self) -> bool:
        """Whether all came once and in order, from the first that came to the last that was sent."""
        numbers = [number for number, _ in self.came]
        return bool(numbers) and numbers == list(range(numbers[0], self.sent))


class Sending:
    """Sends the flows, from a thread, `rate` packets a second each. A context manager."""

    def __init__(self, network: Network, flows: Sequence[Flow], rate: float = RATE) -> None:
        self._network = network
        self._flows = flows
        self._pause = 1 / (rate * len(flows))
        self._sockets: dict[tuple[str, str, str], socket.socket] = {}
        self._thread = threading.Thread(target=self._send)
        self._ends = threading.Event()

    def __enter__(self) -> Self:
        for flow in self._flows:
            self._open(flow, flow.interface)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        for sock in self._sockets.values():
            sock.close()

    def stop(self) -> None:
        """Send no more."""
        self._ends.set()
        self._thread.join()

    def reroute(self, flow: Flow, interface: str) -> None:
        """Send it on another interface of its host from now on."""
        self._open(flow, interface)
        flow.interface = interface

    def _open(self, flow: Flow, interface: str) -> None:
        key = flow.host, interface, flow.source
        if key not in self._sockets:
            with self._network.inside(flow.host):
                index = socket.if_nametoindex(interface)
                self._sockets[key] = sending(flow.source, flow.group, flow.port, index)

    def _send(self) -> None:
        due = time.monotonic()
        for flow in itertools.cycle(self._flows):
            due += self._pause
            if self._ends.wait(max(0.0, due - time.monotonic())):
                return
            sock = self._sockets[flow.host, flow.interface, flow.source]
            sock.sendto(_NUMBER.pack(flow.sent), (flow.group, flow.port))
            flow.sent += 1


class Taking:
    """Takes the flows from a receiver, all that comes, from now on. An async context manager."""

    def __init__(self, receiver: Receiver, flows: Sequence[Flow]) -> None:
        self._flows = {(flow.source, flow.group, flow.port): flow for flow in flows}
        self._batches = receiver.batches()
        self._came = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._take())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._batches.aclose()
        await self._task

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Take until it holds; TimeoutError if it does not come to that. It is looked at when some came."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def _take(self) -> None:
        async for batch in self._batches:
            now = time.monotonic()
            for packet in batch:
                flow = self._flows[packet.source, packet.group, packet.flow.port]
                flow.came.append((*_NUMBER.unpack(packet.data), now))
            self._came.set()
