"""The reader of a socket in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..reading.contract import Place, Together
from ..reading.gate import Gate
from ..values import bounds
from ..values.filters import SourceFilter
from ..values.packets import Flow, Packet
from .sockets import Arrival, MemorySocket

__all__ = ["MemoryReader"]

# A packet is at its socket when it is stamped, so what was found empty stays so: the gate, which
# allows for packets under way, is told that any time has passed.
_ANY_TIME = sys.maxsize


class MemoryReader:
    """Keeps `reading.contract.Reader`. `ancillary` names the extra tags that packets get.

    Nothing is coalesced here, and truncated only what was so before. As with SO_RXQ_OVFL, `kernel_drops`
    is what the datagram read last has told, until `count_drops`.
    """

    def __init__(
        self, sock: MemorySocket, source_filter: SourceFilter, ancillary: frozenset[str] = frozenset()
    ) -> None:
        self.sock: MemorySocket = sock
        self.gate: Gate = Gate(source_filter)
        self.sink: Callable[[list[Packet]], None] = _nowhere
        self.failed: Callable[[OSError], None] = _unheard
        self.lost: Callable[[int], None] = _untold
        self.error: BaseException | None = None
        self.lanes: Together | None = None
        self.place: Place | None = None
        self.failures: int = 0
        self.rests: bool = False
        self.is_retired: bool = False
        self.dry: bool = True
        self.received: int = 0
        self.octets: int = 0
        self.filtered: int = 0
        self.truncated: int = 0
        self.kernel_drops: int = 0
        self.told_drops: int = 0
        self.unmade: int = 0
        self.latest_ns: int | None = None
        self._tells_hop_limit = "hop_limit" in ancillary
        self._tells_traffic_class = "traffic_class" in ancillary
        self._flows: dict[tuple[str, int], Flow] = {}

    def read(self, limit: int) -> tuple[list[Packet], int]:
        """Return the packets of `limit` reads at most, and how many datagrams were used for them.

        Never raises: what the socket reported, and whatever was raised on the way, is left in
        `error`, and what was made before is returned.
        """
        packets: list[Packet] = []
        used = 0
        received, filtered = self.received, self.filtered
        self.dry = False
        try:
            while used < limit:
                arrivals = self.sock.receive(limit - used)
                used += len(arrivals)
                self.received += len(arrivals)
                self._take(arrivals, packets)
        except BlockingIOError:
            self.dry = True
        except BaseException as error:
            self.error, self.dry = error, isinstance(error, OSError)
        self.unmade += self.received - received - (self.filtered - filtered) - len(packets)
        if self.dry:
            self.gate.emptied(_ANY_TIME)
        return packets, used

    def _take(self, arrivals: list[Arrival], packets: list[Packet]) -> None:
        gate, flows, new, append = self.gate, self._flows, tuple.__new__, packets.append
        is_timed, sources, is_include = gate.timed, gate.current.sources, gate.current.is_include
        is_plain = not self._tells_hop_limit and not self._tells_traffic_class
        hop_limit = traffic_class = None
        self.kernel_drops = max(self.kernel_drops, arrivals[-1].drops)
        for datagram, stamp_ns, _ in arrivals:
            data, source = datagram.data, datagram.source
            self.octets += len(data)
            if is_timed:
                passes = gate.allows(source, stamp_ns)
            else:
                passes = (source in sources) is is_include
            if not passes:
                self.filtered += 1
                continue
            told_ns = datagram.timestamp_ns
            self.latest_ns = stamp_ns if told_ns is None else told_ns
            if not is_plain:
                hop_limit = datagram.hop_limit if self._tells_hop_limit else None
                traffic_class = datagram.traffic_class if self._tells_traffic_class else None
            flow = flows.get((source, datagram.source_port)) or self._flow(source, datagram.source_port)
            is_cut = datagram.truncated
            self.truncated += is_cut
            # At half the cost of a call of the class.
            append(new(Packet, (data, flow, self.latest_ns, is_cut, hop_limit, traffic_class, None)))

    def _flow(self, source: str, source_port: int) -> Flow:
        flow = self._flows.get((source, source_port))
        if flow is None:
            if len(self._flows) >= bounds.FLOWS_PER_SOCKET:
                self._flows.clear()
            sock = self.sock
            flow = Flow(source, source_port, sock.group, sock.port, sock.interface.index)
            self._flows[source, source_port] = flow
        return flow

    def set_filter(self, wanted: SourceFilter, until_ns: int | None = None) -> None:
        """Judge by `wanted` from now on; what was stamped up to `until_ns` may pass as before too."""
        self.gate.change(wanted, until_ns)

    def deliver_until(self, until_ns: int) -> None:
        """Deliver only what is stamped up to `until_ns`: another socket takes over."""
        self.gate.end(until_ns)

    def deliver_since(self, begun_ns: int, since_ns: int, elsewhere: SourceFilter) -> None:
        """Leave what is stamped up to `since_ns` to the sockets before, which let in `elsewhere`."""
        self.gate.begin(begun_ns, since_ns, elsewhere)

    def look(self) -> None:
        """End the gate's exceptions where the socket is empty."""
        if not self.sock.is_readable:
            self.gate.emptied(_ANY_TIME)

    def count_drops(self) -> int:
        """Bring `kernel_drops` up to date; return the bytes of buffer, 0 once the socket is closed."""
        self.kernel_drops = self.sock.drops
        self.tell_drops()
        return self.sock.receive_buffer

    def tell_drops(self) -> None:
        """Call `lost` if it does not know of all drops."""
        more = self.kernel_drops - self.told_drops
        if more:
            self.told_drops = self.kernel_drops
            self.lost(more)

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


def _nowhere(packets: list[Packet]) -> None:
    raise AssertionError("a reader was read without a sink")


def _unheard(error: OSError) -> None:
    raise error


def _untold(count: int) -> None:
    """Whoever wants to hear of it sets `lost`."""
