"""`MulticastProtocol`: an asyncio datagram protocol that can join sources, and how to open one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, Unpack

from ..errors import StateError, UnsupportedError
from ..loops.read_loop import can_watch
from ..reading import Reader
from ..reading.options import set_receive_buffer
from ..system.interfaces import placed
from ..system.sockets import MulticastSocket, open_socket, socket_of
from ..values import filters
from ..values.addresses import Address, canonical
from ..values.filters import SourceFilter, Sources
from ..values.interface import InterfaceLike
from ..values.options import Options, ReadingKeywords
from ..values.packets import Flow, Packet
from .transport import MulticastTransport

__all__ = ["MulticastProtocol", "create_multicast_endpoint"]

P = TypeVar("P", bound="MulticastProtocol")


class MulticastProtocol(asyncio.DatagramProtocol):
    """A `DatagramProtocol` on a socket from `open_socket()`, with the source filter in hand.

    Runs on this package's transport (`create_multicast_endpoint`) and on any asyncio datagram
    transport (`loop.create_datagram_endpoint(..., sock=open_socket(...))`). Only the former
    hands over whole batches, pauses, and holds back what was queued before a filter changed.
    """

    _socket: MulticastSocket | None = None
    _transport: asyncio.BaseTransport | None = None

    # Overridable

    def packets_received(self, packets: list[Packet]) -> None:
        """Receive a batch of packets, in order of arrival; the list is yours.

        By default each goes to `datagram_received(data, (source, source_port))`.
        """
        for packet in packets:
            self.datagram_received(packet.data, (packet.source, packet.source_port))

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Receive one datagram. By default it goes to an overridden `packets_received` as a packet.

        That is how a stock transport, which knows no batches and no timestamps, is served.
        """
        if type(self).packets_received is not MulticastProtocol.packets_received:
            sock = self._member()
            source = canonical(str(addr[0]))
            flow = Flow(source, addr[1], sock.group, sock.port, sock.interface.index)
            self.packets_received([Packet(data, flow)])

    def error_received(self, exc: Exception) -> None:
        """Receive an error that the socket reported. Nothing by default."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport. An override calls this one first."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        self._socket = sock if isinstance(sock, MulticastSocket) else socket_of(sock.fileno())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the transport. An override calls this one too."""
        self._socket = self._transport = None

    # The source filter; each raises FilterError or AddressError for a wrong argument,
    # RefusedError when the system refuses, and then leaves the filter as it was.

    def join_source(self, source: Address) -> None:
        """Let one more source in (MCAST_JOIN_SOURCE_GROUP; RFC 3678, 5.1.2)."""
        self._change(filters.joined, source)

    def leave_source(self, source: Address) -> None:
        """Let a joined source in no longer (MCAST_LEAVE_SOURCE_GROUP; RFC 3678, 5.1.2)."""
        self._change(filters.left, source)

    def block_source(self, source: Address) -> None:
        """Refuse one more source of an EXCLUDE filter (MCAST_BLOCK_SOURCE; RFC 3678, 5.1.1)."""
        self._change(filters.blocked, source)

    def unblock_source(self, source: Address) -> None:
        """Refuse a blocked source no longer (MCAST_UNBLOCK_SOURCE; RFC 3678, 5.1.1)."""
        self._change(filters.unblocked, source)

    def set_filter(self, sources: Sources) -> None:
        """Put another filter in the place of the present one, in one call (RFC 3678, 5.2.1).

        `sources` is an iterable of addresses, a `SourceFilter`, or None for any source.
        """
        self._hold(sources)

    def get_filter(self) -> SourceFilter:
        """Return the filter as the kernel reports it (RFC 3678, 5.2.2)."""
        return self._member().kernel_filter()

    # Private

    def _member(self) -> MulticastSocket:
        if self._socket is None:
            raise StateError(
                "the protocol has no transport", "use it between connection_made and connection_lost"
            )
        return self._socket

    def _change(self, change: Callable[[SourceFilter, str, Address], SourceFilter], source: Address) -> None:
        sock = self._member()
        self._hold(change(sock.filter, sock.group, source))

    def _hold(self, sources: Sources) -> None:
        sock = self._member()
        if isinstance(self._transport, MulticastTransport):
            self._transport.set_filter(sources)
        else:
            sock.set_filter(sources)


async def create_multicast_endpoint(
    protocol_factory: Callable[[], P],
    group: Address,
    port: int,
    *,
    interface: InterfaceLike = None,
    sources: Sources = (),
    **reading: Unpack[ReadingKeywords],
) -> tuple[MulticastTransport, P]:
    """Open a socket for `group` and `port` and read it into a new protocol.

    `sources` is the filter to start with: by default none, so nothing arrives until the
    protocol joins a source. `interface` is as for `Receiver.join`; `reading` is `receive_buffer`,
    `ancillary` and `gro`, as for `Receiver`. Returns (transport, protocol) after `connection_made`,
    reading.

    Raises AddressError, ArgumentError, FilterError or InterfaceError for wrong arguments
    (ArgumentTypeError and its like for wrong types),
    RefusedError when the system refuses, and UnsupportedError on a loop without `add_reader`,
    where `loop.create_datagram_endpoint(..., sock=open_socket(...))` does.
    """
    options = Options(**reading)
    loop = asyncio.get_running_loop()
    wanted, found = placed(group, sources, interface)
    sock = open_socket(group, port, found)
    try:
        if not can_watch(loop):
            raise UnsupportedError(
                "this event loop has no add_reader",
                "use loop.create_datagram_endpoint(factory, sock=aiomcast.open_socket(...))",
            )
        if options.receive_buffer is not None:
            set_receive_buffer(sock, options.receive_buffer)
        reader = Reader(sock, wanted, ancillary=options.ancillary, gro=options.gro)
        sock.set_filter(wanted)
        protocol = protocol_factory()
        transport = MulticastTransport(loop, reader, protocol)
        protocol.connection_made(transport)
    except BaseException:
        sock.close()
        raise
    transport.resume_reading()
    return transport, protocol
