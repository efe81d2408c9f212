"""The reader of Windows, where no socket can be bound to a group, and none has `recvmsg`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar  # Any: an address, as in `portable.Reader`

from ...rfc3678 import kernel
from ...rfc3678.abi import WINDOWS, winsock
from ...rfc3678.refusals import refusals
from ...system.readiness import ready
from ...system.sockets import MulticastSocket
from ...values import bounds
from ...values.addresses import family, pack
from ...values.filters import SourceFilter
from ...values.packets import Packet
from .. import portable
from .recvmsg import Receiving

__all__ = ["Reader"]

_CONTROL_ROOM = 256
_ASKS = {4: (WINDOWS.IPPROTO_IP, WINDOWS.IP_PKTINFO), 6: (WINDOWS.IPPROTO_IPV6, WINDOWS.IPV6_PKTINFO)}
_WILDCARDS = frozenset({"0.0.0.0", "::"})


class Reader(portable.Reader):
    """`portable.Reader` by WSARecvMsg.

    A socket on the wildcard address hears what is sent to its port on any address: what was sent to another
    than the group, or came in on another interface than the socket's, is counted in `filtered` and goes no
    further, nor does what the system does not tell that of.
    """

    _places: ClassVar[dict[tuple[int, int | None], int]] = {}  # `_is_ours` judges

    filtered: int

    def __init__(
        self,
        sock: MulticastSocket,
        source_filter: SourceFilter,
        *,
        ancillary: Iterable[str] = (),
        gro: bool | None = None,
        size: int = portable.MAX_DATAGRAM,
        flow_limit: int = bounds.FLOWS_PER_SOCKET,
    ) -> None:
        self._group: bytes | None = None
        with refusals("asking for packet information"):
            self._receiving = Receiving(sock, _CONTROL_ROOM)
            if sock.getsockname()[0] in _WILDCARDS:
                self._told_by = _ASKS[family(sock.group)]
                kernel.setsockopt(sock, *self._told_by, 1)
                self._group = pack(sock.group)
        super().__init__(sock, source_filter, ancillary=ancillary, gro=gro, size=size, flow_limit=flow_limit)

    def _receive(self) -> Callable[[int, int], tuple[bytes, list[tuple[int, int, bytes]], int, Any]]:
        return self._receiving.recvmsg

    def look(self) -> None:
        """Let the exceptions of the gate end if there is nothing in the socket."""
        if self._timed and not ready([self.descriptor]):
            self.gate.emptied(time.monotonic_ns())
            self._timed = self.gate.timed

    def _make(
        self,
        packets: list[Packet],
        data: bytes,
        control: list[tuple[int, int, bytes]],
        truncated: bool,
        address: Any,
        begun: int,
    ) -> None:
        if self._is_ours(control):
            super()._make(packets, data, control, truncated, address, begun)
        else:
            self.filtered += 1

    def _is_ours(self, control: list[tuple[int, int, bytes]]) -> bool:
        if self._group is None:
            return True
        for level, kind, content in control:
            if (level, kind) == self._told_by:
                return winsock.arrival(content) == (self._group, self.sock.interface.index)
        return False
