"""Reading through an event loop's own datagram transport, where the loop has no `add_reader`.

That is the Windows proactor loop. It tells neither time of arrival, nor truncation, nor drops.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from .addresses import canonical
from .errors import UnsupportedError
from .filters import SourceFilter
from .packets import Flow, Packet
from .reading.gate import Gate
from .rfc3678.sockets import MulticastSocket

__all__ = ["StockReader"]

_KEPT = 4096  # datagrams kept per socket while nobody reads, as a kernel's buffer would


class StockReader(asyncio.DatagramProtocol):
    """Does what `reading.Reader` does, fed by a datagram transport; see there for the contract.

    Such a transport cannot pause: while it is not read, the last datagrams are kept, and
    `kernel_drops` counts those that there was no room for.
    """

    def __init__(
        self,
        sock: MulticastSocket,
        source_filter: SourceFilter,
        *,
        ancillary: Iterable[str] = (),
        gro: bool | None = None,
    ) -> None:
        if tuple(ancillary) or gro:
            raise UnsupportedError("this event loop tells neither hop limit nor traffic class, nor coalesces")
        self.sock = sock
        self.gate = Gate(source_filter)
        self.sink: Callable[[list[Packet]], None] | None = None
        self.failed: Callable[[OSError], None] | None = None
        self.error: OSError | None = None
        self.coalesces = False
        self.received = self.octets = self.filtered = self.truncated = self.kernel_drops = 0
        self.is_read = False
        self._kept: deque[Packet] = deque()  # not judged yet
        self._spared: deque[Packet] = deque()  # judged by a filter that was in force when they came
        self._transport: asyncio.BaseTransport | None = None
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=self.sock)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, to close it."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Keep one datagram, and hand it on if somebody reads."""
        sock = self.sock
        if len(self._kept) + len(self._spared) >= _KEPT:
            self.kernel_drops += 1
            return
        flow = Flow(canonical(str(addr[0])), addr[1], sock.group, sock.port, sock.interface.index)
        self._kept.append(Packet(data, flow))
        if self.is_read:
            self.hand_on()

    def error_received(self, exc: Exception) -> None:
        """Report what the socket reported."""
        if isinstance(exc, OSError) and self.failed is not None:
            self.failed(exc)

    def hand_on(self) -> None:
        """Give the sink what is kept."""
        packets = self.read(_KEPT)
        if packets and self.sink is not None:
            self.sink(packets)

    def set_filter(self, wanted: SourceFilter, until_ns: int | None = None) -> None:
        """Judge by `wanted` from now on; with `until_ns`, what is kept was judged as before."""
        if until_ns is None:
            self._spared = self._judged(self._spared, wanted)
        else:
            self._spared += self._judged(self._kept, self.gate.current)
            self._kept.clear()
        self.gate.change(wanted)

    def deliver_between(self, since_ns: int | None, until_ns: int | None) -> None:
        """Refuse: without timestamps there is no such cut."""
        raise UnsupportedError("this event loop tells no time of arrival")

    def read(self, limit: int) -> list[Packet]:
        """Return what is kept, less what the filter refuses."""
        packets = [*self._spared, *self._judged(self._kept, self.gate.current)]
        self._spared.clear()
        self._kept.clear()
        self.received += len(packets)
        self.octets += sum(len(packet.data) for packet in packets)
        return packets

    def _judged(self, packets: deque[Packet], judge: SourceFilter) -> deque[Packet]:
        passed = deque(packet for packet in packets if judge.allows(packet.source))
        self.filtered += len(packets) - len(passed)
        self.received += len(packets) - len(passed)
        return passed

    def count_drops(self) -> None:
        """The system does not tell."""

    def close(self) -> None:
        """Close the transport and with it the socket."""
        self._opening.cancel()
        if self._transport is not None:
            self._transport.close()
        else:
            self.sock.close()
