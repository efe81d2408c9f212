"""Handing packets to a protocol: as batches, or one by one as asyncio does, as long as it wants them.

A protocol may do anything while it is handed a packet: pause, close, change the filter, be replaced,
raise. Whatever it does holds for the next packet, not for the next batch. So where packets go one by
one, each is taken off the queue just before its turn, and everything that changes who gets what acts
on the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, final

from ..errors import ArgumentTypeError
from ..reading import PacketPush
from ..values.packets import Flow, Packet
from ..values.shown import shown
from .peers import SocketAddress, peer
from .protocol import MulticastProtocol

__all__ = ["Delivery", "Reporter"]


class Reporter(Protocol):
    """What is told of an exception that a protocol has raised."""

    def __call__(self, error: Exception, what: str, /) -> None:
        """`what` says which call has raised it."""


@final
class Delivery(PacketPush):
    """The queue in front of a protocol, which is empty but for what a pause or an exception has left.

    `report` is told of every exception that the protocol raises, `emptied` that what had waited at an
    `open` was handed on: nothing more is to be read before, or the queue would grow with every pause.
    `dropped` counts what nobody took before the end, `refused` what a filter took out.
    """

    dropped: int
    refused: int

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        report: Reporter,
        emptied: Callable[[], None],
    ) -> None:
        super().__init__()
        self._loop = loop
        self._told = report
        self._emptied = emptied
        self.set_protocol(protocol)

    @property
    def protocol(self) -> asyncio.BaseProtocol:
        """Who is handed the packets."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the next packet to `protocol`. ArgumentTypeError for what cannot receive any."""
        batches, datagrams = _receivers(protocol)
        self._protocol, self._receive_batch, self._receive = protocol, batches, datagrams

    def open(self) -> None:
        """Hand on what comes, and in the loop's next turn what waits."""
        self._is_open = True
        if self._queue:
            self._loop.call_soon(self._hand_kept)

    def pause(self) -> None:
        """Hand on nothing until `open`: what is here already waits."""
        self._is_open = False

    def end(self) -> None:
        """Hand on nothing any more, and count what waits and what still comes."""
        self._is_open, self._is_ended = False, True
        self.dropped += len(self._queue)
        self._queue.clear()

    def refuse(self, refused: Callable[[Flow], bool]) -> None:
        """Take out and count what waits and is refused."""
        if self._queue:
            kept = [packet for packet in self._queue if not refused(packet.flow)]
            self.refused += len(self._queue) - len(kept)
            self._queue.clear()
            self._queue.extend(kept)

    def _hand_kept(self) -> None:
        self._hand()
        if self._is_open and not self._queue:
            self._emptied()

    def _address_of(self, flow: Flow) -> SocketAddress:
        return peer(flow)

    def _report(self, error: Exception, what: str, /) -> None:
        self._told(error, what)

    def _end_program(self, error: BaseException) -> None:
        """Have the loop raise what ends it, and then go on: what was read was accepted, and is counted so."""
        self._loop.call_soon(self._raise, error)

    def _raise(self, error: BaseException) -> None:
        if self._queue:
            self._loop.call_soon(self._hand_kept)
        raise error


Receive: TypeAlias = Callable[[bytes, Any], None]  # Any: asyncio's own type for an address
ReceiveBatch: TypeAlias = Callable[[list[Packet]], None]


def _receivers(protocol: asyncio.BaseProtocol) -> tuple[ReceiveBatch | None, Receive]:
    """Return what a protocol's batches go to, if it wants any, and else its datagrams."""
    batches: ReceiveBatch | None = getattr(protocol, "packets_received", None)
    if getattr(batches, "__func__", None) is MulticastProtocol.packets_received:
        batches = None
    datagrams: Receive | None = getattr(protocol, "datagram_received", None)
    if batches is None and datagrams is None:
        raise ArgumentTypeError(
            f"{shown(protocol)} is no datagram protocol",
            "give an asyncio.DatagramProtocol; aiomcast.MulticastProtocol has the source calls too",
        )
    return batches, datagrams or _never


def _never(data: bytes, addr: object) -> None:
    raise AssertionError("a protocol that takes batches is handed no datagrams")
