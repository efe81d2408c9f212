"""Reading through an event loop's own datagram transport, where the loop has no `add_reader`.

That is the Windows proactor loop. It tells neither time of arrival, nor truncation, nor drops.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Iterable

from ..errors import UnsupportedError
from ..reading.contract import Place, Together
from ..reading.gate import Gate
from ..reading.options import dropped, receive_buffer
from ..system.sockets import MulticastSocket
from ..values import bounds
from ..values.addresses import canonical
from ..values.filters import SourceFilter
from ..values.packets import Flow, Packet

__all__ = ["StockReader"]

_AT_ONCE = 64  # datagrams handed over before looking whether somebody still reads
_PER_TURN = 8  # times that: then the other tasks of the loop have their turn
_MAX_DATAGRAM = 65535
_WRAP = 1 << 32  # of the kernel's count of drops


class StockReader(asyncio.DatagramProtocol):
    """Does what `reading.Reader` does, fed by a datagram transport; see there for the contract.

    Such a transport cannot pause: while it is not read, the first 4,096 datagrams are kept, and
    `kernel_drops` counts those that there was no room for, beside the system's own drops where
    it tells them. `read` and `set_filter` fetch what the system still holds themselves.
    """

    sink: Callable[[list[Packet]], None]
    failed: Callable[[OSError], None]
    lost: Callable[[int], None]
    received: int
    octets: int
    filtered: int
    truncated: int
    kernel_drops: int
    unmade: int

    def __init__(
        self,
        sock: MulticastSocket,
        source_filter: SourceFilter,
        *,
        ancillary: Iterable[str] = (),
        gro: bool | None = None,
    ) -> None:
        if tuple(ancillary) or gro:
            raise UnsupportedError(
                "this event loop tells none of the ancillary tags, and coalesces nothing",
                "leave out ancillary and gro, or use a loop that has add_reader",
            )
        self.sock: MulticastSocket = sock
        self.gate: Gate = Gate(source_filter)
        self.sink = _nowhere
        self.failed = _unheard
        self.lost = _unnoticed
        self.error: BaseException | None = None
        self.coalesces: bool = False
        self.received = self.octets = self.filtered = self.truncated = self.kernel_drops = self.unmade = 0
        self.told_drops: int = 0
        self.failures: int = 0
        self.lanes: Together | None = None
        self.place: Place | None = None
        self.dry: bool = True
        self.rests: bool = False
        self.is_retired: bool = False
        self._is_read = False
        self._spared: deque[Packet] = deque()  # before all of `_kept`: judged, and to be delivered
        self._kept: deque[Packet] = deque()  # not judged yet
        self._dropped = 0
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.Handle | None = None
        self._transport: asyncio.BaseTransport | None = None
        self._closed = self._lost = self._begun = False
        self._opening = self._loop.create_task(self._open())
        self._opening.add_done_callback(self._opened)

    # Reading

    def watch(self, is_read: bool) -> None:
        """Hand the sink what comes, from the next loop turn on; or nothing any more, from now on."""
        self._is_read = is_read
        self._go_on()

    @property
    def latest_ns(self) -> int | None:
        """None: such a transport tells no time of arrival."""
        return None

    @property
    def receive_buffer(self) -> int:
        """Bytes of buffer that the kernel has granted; 0 once the socket is closed."""
        return receive_buffer(self.sock)

    def read(self, limit: int) -> tuple[list[Packet], int]:
        """Return what is kept, then what the system holds, less what is refused, and how many it was.

        That is `limit` datagrams at most. An error is left in `error`.
        """
        before = self.received
        self._fetch(limit - len(self._spared) - len(self._kept))
        packets = self._pop(limit)
        self.dry = self.dry and not (self._spared or self._kept)
        return packets, self.received - before

    def set_filter(self, wanted: SourceFilter, until_ns: int | None = None) -> None:
        """Judge by `wanted` from now on; with `until_ns`, what has arrived also by the filter before.

        The socket has the new filter already. What is in it came in by the one or the other, each
        at its time, and what is kept came in before.
        """
        before = self.gate.current
        kept, self._kept = self._kept, deque()
        self._fetch(bounds.KEPT_UNREAD - len(self._spared) - len(kept))
        if until_ns is None:
            self._spared = self._judged([*self._spared, *kept, *self._kept], wanted)
        else:
            self._spared += self._judged(kept, before)
            self._spared += self._judged(self._kept, before | wanted)
        self._kept.clear()
        self.gate.change(wanted)
        self._go_on()

    def deliver_until(self, until_ns: int) -> None:
        """Refuse: without timestamps there is no such cut."""
        raise UnsupportedError("this event loop tells no time of arrival")

    def deliver_since(self, begun_ns: int, since_ns: int, elsewhere: SourceFilter) -> None:
        """Refuse: without timestamps there is no such cut."""
        raise UnsupportedError("this event loop tells no time of arrival")

    def look(self) -> None:
        """Do nothing: no exception of the gate is open here."""

    def count_drops(self) -> None:
        """Add to `kernel_drops` what the system has dropped since, where it tells."""
        total = dropped(self.sock)
        if total is not None:
            self.kernel_drops += (total - self._dropped) % _WRAP
            self._dropped = total
        self._tell_drops()

    def _tell_drops(self) -> None:
        more = self.kernel_drops - self.told_drops
        if more:
            self.told_drops = self.kernel_drops
            self.lost(more)

    def close(self) -> None:
        """Close the transport and with it the socket, in the next turns of the loop."""
        self._closed, self._is_read = True, False
        self._opening.cancel()
        if self._turn is not None:
            self._turn.cancel()
        if self._transport is not None:
            self._transport.close()
        elif self._opening.done() or not self._begun:
            self.sock.close()
        # else the transport that is being made has it, and closes it when that is cancelled

    def _fetch(self, most: int) -> None:
        self.dry = False
        try:
            for _ in range(most):
                self._kept.append(self._packet(*self.sock.recvfrom(_MAX_DATAGRAM)))
        except BlockingIOError:
            self.dry = True
        except BaseException as error:
            self.error, self.dry = error, isinstance(error, OSError)

    def _packet(self, data: bytes, addr: tuple[str | object, int]) -> Packet:
        sock = self.sock
        flow = Flow(canonical(str(addr[0])), addr[1], sock.group, sock.port, sock.interface.index)
        return Packet(data, flow)

    def _pop(self, most: int) -> list[Packet]:
        passed = [self._spared.popleft() for _ in range(min(most, len(self._spared)))]
        unjudged = [self._kept.popleft() for _ in range(min(most - len(passed), len(self._kept)))]
        passed += self._judged(unjudged, self.gate.current)
        self._count(passed)
        return passed

    def _judged(self, packets: Iterable[Packet], judge: SourceFilter) -> deque[Packet]:
        """Return what passes; count what does not."""
        passed: deque[Packet] = deque()
        refused: list[Packet] = []
        for packet in packets:
            allowed = (packet.flow.source in judge.sources) is judge.is_include
            (passed if allowed else refused).append(packet)
        self.filtered += len(refused)
        self._count(refused)
        return passed

    def _count(self, packets: list[Packet]) -> None:
        self.received += len(packets)
        self.octets += sum(len(packet.data) for packet in packets)

    def _go_on(self) -> None:
        """Hand over in the next turn of the loop: whoever is changing a filter has finished then."""
        waits = self._is_read and (self._spared or self._kept)
        if (waits or self.error is not None) and self._turn is None and not self._closed:
            self._turn = self._loop.call_soon(self._hand_on)

    def _hand_on(self) -> None:
        self._turn = None
        if self.error is not None:
            error, self.error = self.error, None
            if not isinstance(error, OSError):
                raise error
            self._tell(error)
        for _ in range(_PER_TURN):
            if not self._is_read or not (self._spared or self._kept):
                break
            packets = self._pop(_AT_ONCE)
            if packets:
                self._give(packets)
        self._tell_drops()
        self._go_on()

    def _give(self, packets: list[Packet]) -> None:
        try:
            self.sink(packets)
        except BaseException:
            self.unmade += len(packets)
            raise

    def _tell(self, error: OSError) -> None:
        if not self._closed:
            self.failed(error)

    # What the event loop calls

    async def _open(self) -> None:
        self._begun = True
        await self._loop.create_datagram_endpoint(lambda: self, sock=self.sock)

    def _opened(self, opening: asyncio.Task[None]) -> None:
        if opening.cancelled():
            self._lose(OSError(errno.ECANCELED, "its reading was cancelled before it began"))
        elif (error := opening.exception()) is not None:
            what = f"the event loop does not read it: {error!r}"
            self._lose(error if isinstance(error, OSError) else OSError(errno.EOPNOTSUPP, what))

    def _lose(self, error: OSError) -> None:
        """There is no transport, or none any more; and if it was closed meanwhile, nobody to tell."""
        if self._closed:
            self.sock.close()
        elif not self._lost:
            self._lost = True
            self._tell(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, to close it."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Report a transport that has closed of itself."""
        self._transport = None
        lost = OSError(errno.ECONNABORTED, f"the event loop has closed it: {exc!r}")
        self._lose(exc if isinstance(exc, OSError) else lost)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Keep one datagram, and hand it on if somebody reads."""
        if len(self._kept) + len(self._spared) < bounds.KEPT_UNREAD:
            self._kept.append(self._packet(data, addr))
        else:
            self.kernel_drops += 1
        if self._is_read and self._turn is None:
            self._hand_on()

    def error_received(self, exc: Exception) -> None:
        """Report what the socket reported."""
        if isinstance(exc, OSError):
            self._tell(exc)


def _nowhere(packets: list[Packet]) -> None:
    raise AssertionError("a reader was read without a sink")


def _unheard(error: OSError) -> None:
    raise error


def _unnoticed(more: int) -> None:
    """Nobody wants to know of drops by default."""
