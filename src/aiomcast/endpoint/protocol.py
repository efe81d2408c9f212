"""`MulticastProtocol`: an asyncio datagram protocol that can join sources."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

from ..errors import StateError
from ..rfc3678.abi import native
from ..system.sockets import MulticastSocket, socket_of
from ..values import filters
from ..values.addresses import Address, canonical
from ..values.events import EventKind
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface
from ..values.lookup import check_source_zones
from ..values.packets import Flow, Packet
from .peers import SocketAddress, peer

__all__ = ["HoldsFilter", "MulticastProtocol"]

ABI = native()


@runtime_checkable
class HoldsFilter(Protocol):
    """A transport that holds a filter itself, over sockets that it may replace, and what is queued there."""

    @property
    def filter(self) -> SourceFilter:
        """The filter in force."""

    def set_filter(self, sources: Sources, /) -> None:
        """Let `sources` decide."""


class MulticastProtocol(asyncio.DatagramProtocol):
    """A `DatagramProtocol` on a socket from `open_socket()`, with the source filter in hand.

    Runs on this package's transport (`create_multicast_endpoint`) and on any asyncio datagram
    transport (`loop.create_datagram_endpoint(..., sock=open_socket(...))`). Only the former
    hands over whole batches, pauses, and holds back what was queued before a filter changed.
    Where the system lets blocked sources in (FreeBSD 13, macOS), their datagrams come to no
    `datagram_received` all the same.

    One protocol may serve several transports: its filter is that of the one it was connected to
    last and that is open still.
    """

    _connected: tuple[tuple[asyncio.BaseTransport, MulticastSocket], ...] = ()

    # Overridable

    def packets_received(self, packets: list[Packet]) -> None:
        """Receive a batch of packets, in order of arrival; the list is yours.

        By default each goes to `datagram_received`. A transport of this package looks whether it is
        overridden; where it is not, it calls `datagram_received` itself, once for each packet.
        """
        if type(self).datagram_received is not MulticastProtocol.datagram_received:
            for packet in packets:
                self.datagram_received(packet.data, peer(packet.flow))

    def datagram_received(self, data: bytes, addr: SocketAddress) -> None:
        """Receive one datagram. By default it goes to an overridden `packets_received` as a packet.

        That is how a stock transport, which knows no batches and no timestamps, is served. `addr` is
        asyncio's: (address, port), with IPv6 (address, port, flowinfo, scope id); it can be handed to
        `sendto`.
        """
        if type(self).packets_received is not MulticastProtocol.packets_received:
            sock = self._member()
            source = canonical(str(addr[0]))
            flow = Flow(source, addr[1], sock.group, sock.port, sock.interface.index)
            self.packets_received([Packet(data, flow)])

    def error_received(self, exc: Exception) -> None:
        """Receive an error that the socket reported. Nothing by default."""

    def interface_changed(self, interface: Interface, kind: EventKind, cause: str | None) -> None:
        """Hear what has become of an interface, where the transport mends itself. Nothing by default.

        `kind` is LOST, HEALED, MOVED, RENAMED, or with `ALL_INTERFACES` JOINED or LEFT; `cause` why, as an
        `Event` has it. `transport.get_extra_info("interfaces")` are those that it is on. It is TIGHT, once,
        whether it mends itself or not, where the receive buffer that is asked for by default holds less
        than 50 ms of what comes there.
        """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport. An override calls this one first."""
        sock = transport.get_extra_info("socket")
        member = sock if isinstance(sock, MulticastSocket) else socket_of(sock.fileno())
        self._connected = (*self._connected, (transport, member))
        if not ABI.facts.excludes_block and not isinstance(transport, HoldsFilter):
            self._judge()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the transport that was lost. An override may call this one too."""
        self._connected = tuple(
            one for one in self._connected if not one[0].is_closing() and one[1].fileno() >= 0
        )

    # The source filter; each raises FilterError or AddressError for a wrong argument, StateError
    # without a transport that is open, RefusedError when the system refuses, and then leaves the
    # filter as it was.

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
        transport, sock = self._open()
        if isinstance(transport, HoldsFilter):
            transport.set_filter(sources)
        else:
            sock.set_filter(sources)

    def get_filter(self) -> SourceFilter:
        """Return the filter as the kernel reports it (RFC 3678, 5.2.2)."""
        return self._member().kernel_filter()

    # Private

    def _judge(self) -> None:
        """Have only what the filter allows go on from here: the loop's transport calls what is found here."""
        vars(self).setdefault("datagram_received", partial(self._judged, self.datagram_received))

    def _judged(
        self, receive: Callable[[bytes, SocketAddress], None], data: bytes, addr: SocketAddress
    ) -> None:
        source = str(addr[0])
        if any(sock.filter.allows(source) for _, sock in self._connected):
            receive(data, addr)

    def _open(self) -> tuple[asyncio.BaseTransport, MulticastSocket]:
        for transport, noted in reversed(self._connected):
            sock = transport.get_extra_info("socket") if isinstance(transport, HoldsFilter) else noted
            if not transport.is_closing() and sock.fileno() >= 0:
                return transport, sock
        raise StateError(
            "the protocol has no open transport", "use it between connection_made and connection_lost"
        )

    def _member(self) -> MulticastSocket:
        return self._open()[1]

    def _change(self, change: Callable[[SourceFilter, str, Address], SourceFilter], source: Address) -> None:
        transport, sock = self._open()
        held = transport.filter if isinstance(transport, HoldsFilter) else sock.filter
        wanted = change(held, sock.group, source)
        among = transport.get_extra_info("interfaces") or [one.interface for _, one in self._connected]
        check_source_zones([source], among)
        self.set_filter(wanted)
