"""What is handed on as it is read, without a queue but for what a pause or an exception has left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ...values.packets import Flow, Packet

__all__ = ["PacketPush"]


class PacketPush:
    """Hands packets to `_receive_batch` as lists, or where that is None one by one to `_receive`.

    `_receive` gets the payload and `_address_of(flow)`. Whatever it does while it is handed a packet holds
    for the next one: each is taken off `_queue` just before its turn, as long as it `_is_open`. An exception
    costs one packet, and goes to `_report` with what has raised it; what ends the program to `_end_program`.
    """

    def __init__(self) -> None:
        self._queue: deque[Packet] = deque()
        self._is_open = self._is_ended = False
        # Any: asyncio's own type for an address
        self._receive: Callable[[bytes, Any], object] | None = None
        self._receive_batch: Callable[[list[Packet]], object] | None = None
        self._flow: Flow | None = None  # of the packet before, and what went with it
        self._address: object = None
        self.dropped: int = 0
        self.refused: int = 0

    def __len__(self) -> int:
        return len(self._queue)

    def packets(self, batch: list[Packet]) -> None:
        """Hand on a batch, which is given away with that; keep it while there is a pause, or count it."""
        if self._receive_batch is not None and self._is_open and not self._queue:
            self._hand_batch(self._receive_batch, batch)
        elif self._is_ended:
            self.dropped += len(batch)
        else:
            self._queue.extend(batch)
            self._hand()

    def _hand(self) -> None:
        """Hand on what waits."""
        queue = self._queue
        try:
            while queue and self._is_open:
                if self._receive_batch is not None:
                    batch = list(queue)
                    queue.clear()
                    self._hand_batch(self._receive_batch, batch)
                    continue
                packet = queue.popleft()
                if packet.flow is not self._flow:
                    self._flow, self._address = packet.flow, self._address_of(packet.flow)
                try:
                    assert self._receive is not None
                    self._receive(packet.data, self._address)
                except Exception as error:
                    self._report(error, "datagram_received() raised")
        except BaseException as error:
            self._end_program(error)

    def _hand_batch(self, receive: Callable[[list[Packet]], object], batch: list[Packet]) -> None:
        try:
            receive(batch)
        except Exception as error:
            self._report(error, "packets_received() raised")
        except BaseException as error:
            self._end_program(error)

    def _address_of(self, flow: Flow) -> object:
        raise AssertionError("what hands on payloads knows their sender's address")

    def _report(self, error: Exception, what: str, /) -> None:
        raise error

    def _end_program(self, error: BaseException) -> None:
        raise error
