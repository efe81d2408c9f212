"""The reader in pure Python: recvmsg, one datagram per call. Works wherever recvmsg does."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from ...addresses import canonical
from ...filters import SourceFilter
from ...packets import Flow, Packet
from ...rfc3678.abi import native
from ...rfc3678.sockets import MulticastSocket
from .. import options
from ..gate import Gate

__all__ = ["MAX_DATAGRAM", "Reader"]

ABI = native()
MAX_DATAGRAM: Final = 65535
_FLOW_LIMIT = 1024  # senders remembered per socket; beyond it the memory starts anew
_CONTROL_ROOM = 256
_WRAP = 1 << 32

_new_packet = tuple.__new__
_timespec = struct.Struct("@qq").unpack
_timeval = struct.Struct("@ll").unpack
_int = struct.Struct("@i").unpack


class _Known:
    """A sender's flow, and what the filter of `epoch` says of it."""

    __slots__ = ("allowed", "epoch", "flow")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.allowed = False
        self.epoch = -1


class Reader:
    """Reads one socket into packets, drops what the filter in force refuses, and counts.

    `sock` is non-blocking. `size` is the longest datagram kept whole. `sink` is called with
    each batch when a `ReadSet` reads, `failed` with an OSError that the socket reported.
    Counters: `received`, `octets`, `filtered`, `truncated`, `kernel_drops` (the last by
    `count_drops()` too).
    """

    def __init__(
        self,
        sock: MulticastSocket,
        source_filter: SourceFilter,
        *,
        ancillary: Iterable[str] = (),
        gro: bool | None = None,
        size: int = MAX_DATAGRAM,
        flow_limit: int = _FLOW_LIMIT,
    ) -> None:
        self.sock = sock
        self.gate = Gate(source_filter)
        self.sink: Callable[[list[Packet]], None] = _nowhere
        self.failed: Callable[[OSError], None] = _unheard
        self.error: OSError | None = None
        self.received = self.octets = self.filtered = self.truncated = self.kernel_drops = 0
        self.coalesces = options.ask(sock, ancillary, gro)
        self._dropped = 0
        self._epoch = 0
        self._known: dict[Any, _Known] = {}  # Any: an address as the socket module makes it
        self._flow_limit = flow_limit
        self._buffer = memoryview(bytearray(size))

    def set_filter(self, wanted: SourceFilter, until_ns: int | None = None) -> None:
        """Judge by `wanted` from now on; with `until_ns`, what was stamped up to then as before."""
        self.gate.change(wanted, until_ns)
        self._epoch += 1

    def deliver_between(self, since_ns: int | None, until_ns: int | None) -> None:
        """Deliver only what is stamped after `since_ns` and up to `until_ns`, where given."""
        self.gate.since_ns = since_ns if since_ns is not None else self.gate.since_ns
        self.gate.until_ns = until_ns if until_ns is not None else self.gate.until_ns

    def read(self, limit: int) -> list[Packet]:
        """Return what is there, [] when nothing is, reading `limit` times at most.

        A coalesced read is several packets. Never raises for what the socket does: an error it reports is left in `error`.
        """
        packets: list[Packet] = []
        receive, buffers, buffer = self.sock.recvmsg_into, [self._buffer], self._buffer
        known, append, seconds = self._known, packets.append, 1_000_000_000
        epoch, time_type = self._epoch, _TIME
        try:
            for _ in range(limit):
                length, control, flags, address = receive(buffers, _CONTROL_ROOM)
                self.received += 1
                self.octets += length
                sender = known.get(address)
                if sender is None or sender.epoch != epoch:
                    sender = self._look(address)
                if len(control) == 1 and control[0][1] == time_type and len(control[0][2]) == 16:
                    whole, nanos = _timespec(control[0][2])
                    stamp: int | None = whole * seconds + nanos
                    hops = traffic = segment = None
                else:
                    stamp, hops, traffic, segment = self._control(control)
                if self.gate.timed:
                    allowed = self.gate.allows(sender.flow.source, stamp)
                else:
                    allowed = sender.allowed
                if segment is not None and segment < length:
                    self._split(packets, sender.flow, allowed, (length, segment), stamp, hops, traffic)
                elif not allowed:
                    self.filtered += 1
                else:
                    cut = flags & socket.MSG_TRUNC != 0
                    if cut:
                        self.truncated += 1
                    append(
                        _new_packet(Packet, (bytes(buffer[:length]), sender.flow, stamp, cut, hops, traffic))
                    )
        except BlockingIOError:
            pass
        except OSError as error:
            self.error = error
        return packets

    def count_drops(self) -> None:
        """Bring `kernel_drops` up to date, also when no datagram came after the drops."""
        total = options.dropped(self.sock)
        if total is not None:
            self._drops_are(total)

    def _drops_are(self, total: int) -> None:
        more = (total - self._dropped) % _WRAP
        if more < _WRAP // 2:  # an older figure that comes late is no step back
            self._dropped = total
            self.kernel_drops += more

    def _look(self, address: Any) -> _Known:
        sender = self._known.get(address)
        if sender is None:
            if len(self._known) >= self._flow_limit:
                self._known.clear()
            sock = self.sock
            flow = Flow(canonical(address[0]), address[1], sock.group, sock.port, sock.interface.index)
            sender = self._known[address] = _Known(flow)
        current = self.gate.current
        sender.allowed = (sender.flow.source in current.sources) is current.is_include
        sender.epoch = self._epoch
        return sender

    def _control(
        self, control: list[tuple[int, int, bytes]]
    ) -> tuple[int | None, int | None, int | None, int | None]:
        stamp = hops = traffic = segment = None
        for level, kind, data in control:
            if level == ABI.SOL_SOCKET:
                if kind == _TIME and len(data) == 16:
                    whole, fraction = (_timespec if _NANOS else _timeval)(data)
                    stamp = whole * 1_000_000_000 + fraction * (1 if _NANOS else 1000)
                elif kind == ABI.SO_RXQ_OVFL and len(data) == 4:
                    self._drops_are(int.from_bytes(data, sys.byteorder))
            elif (level, kind) in _HOPS and data:
                hops = _small(data)
            elif (level, kind) in _TRAFFIC and data:
                traffic = _small(data)
            elif level == ABI.SOL_UDP and kind == ABI.UDP_GRO and len(data) >= 4:
                segment = max(_int(data[:4])[0], 1)
        return stamp, hops, traffic, segment

    def _split(
        self,
        packets: list[Packet],
        flow: Flow,
        allowed: bool,
        lengths: tuple[int, int],
        stamp: int | None,
        hops: int | None,
        traffic: int | None,
    ) -> None:
        length, segment = lengths
        starts = range(0, length, segment)
        self.received += len(starts) - 1
        if not allowed:
            self.filtered += len(starts)
            return
        for start in starts:
            data = bytes(self._buffer[start : min(start + segment, length)])
            packets.append(_new_packet(Packet, (data, flow, stamp, False, hops, traffic)))


_NANOS = ABI.SO_TIMESTAMPNS is not None
_TIME = (
    (ABI.SO_TIMESTAMPNS if ABI.name == "linux-64" else ABI.SO_TIMESTAMPNS_NEW)
    if _NANOS
    else ABI.SCM_TIMESTAMP
)
_HOPS = {
    (ABI.IPPROTO_IP, ABI.IP_TTL),
    (ABI.IPPROTO_IP, ABI.IP_RECVTTL),  # BSD sends it under the number that asked
    (ABI.IPPROTO_IPV6, ABI.IPV6_HOPLIMIT),
}
_TRAFFIC = {
    (ABI.IPPROTO_IP, ABI.IP_TOS),
    (ABI.IPPROTO_IP, ABI.IP_RECVTOS),
    (ABI.IPPROTO_IPV6, ABI.IPV6_TCLASS),
}


def _small(data: bytes) -> int:
    """An octet or an int, as the field comes from different kernels."""
    return int(_int(data[:4])[0]) & 0xFF if len(data) >= 4 else data[0]


def _nowhere(packets: list[Packet]) -> None:
    raise AssertionError("a reader was read without a sink")


def _unheard(error: OSError) -> None:
    raise error
