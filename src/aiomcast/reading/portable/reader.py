"""The reader in pure Python: recvmsg, one datagram per call. Works wherever recvmsg does."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, TypeAlias

from ...rfc3678.abi import native
from ...system.sockets import MulticastSocket
from ...values import bounds
from ...values.addresses import canonical
from ...values.filters import SourceFilter
from ...values.packets import Flow, Packet
from .. import options
from ..contract import Place, Together
from ..gate import Gate

__all__ = ["MAX_DATAGRAM", "Reader"]

ABI = native()
MAX_DATAGRAM: Final = 65535
_CONTROL_ROOM = 256
_WRAP = 1 << 32

_new_packet = tuple.__new__
_Control: TypeAlias = tuple[int, int, bytes]
_int = struct.Struct("@i").unpack


class Reader:
    """Reads one socket into packets, drops what the filter in force refuses, and counts.

    `sock` is non-blocking. `size` is the longest datagram kept whole. `sink` is called with
    each batch when a `ReadSet` reads, `failed` with an OSError that the socket reported, `lost`
    with how many datagrams the kernel has dropped since it was called last: after what was read
    in the same visit, and by `count_drops()`. `told_drops` is how many of them it knows of.
    Counters: `received`, `octets`, `filtered`, `truncated`, `kernel_drops` (the last by
    `count_drops()` too), and `unmade`, datagrams that were read and could not be made a packet
    (no memory, an exception out of a signal handler), or that `sink` has not accepted.

    `dry` says whether the last read found nothing more in the socket, `failures` how many reads
    in a row have failed, `rests` that it is not to be read now for that. `lanes` is set while the
    socket is one of several of a membership, `place` once somebody reads it, `is_retired` once its
    counters were added up. `latest_ns` is the kernel's time of the last packet made of what was
    read, None before the first that has one.
    """

    _places: ClassVar[dict[tuple[int, int | None], int]] = {
        (ABI.IPPROTO_IP, ABI.IP_PKTINFO): 0,
        (ABI.IPPROTO_IPV6, ABI.IPV6_PKTINFO): 16,
    }  # where a packet came in: the index of the interface in struct in_pktinfo and in6_pktinfo

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
        size: int = MAX_DATAGRAM,
        flow_limit: int = bounds.FLOWS_PER_SOCKET,
    ) -> None:
        self.sock: MulticastSocket = sock
        self.gate: Gate = Gate(source_filter)
        self.sink = _nowhere
        self.failed = _unheard
        self.lost = _unnoticed
        self.error: BaseException | None = None
        self.lanes: Together | None = None
        self.place: Place | None = None
        self.dry: bool = True
        self.latest_ns: int | None = None
        self.failures: int = 0
        self.told_drops: int = 0
        self.rests: bool = False
        self.is_retired: bool = False
        self.received = self.octets = self.filtered = self.truncated = self.kernel_drops = self.unmade = 0
        granted = options.ask(sock, ancillary, gro)
        self.coalesces: bool = granted.coalesces
        self.descriptor: int = sock.fileno()
        self._stamped = not granted.stamps
        self._dropped = options.drops_and_buffer(sock)[0] or 0
        self._flows: dict[Any, Flow] = {}  # Any: an address as the socket module makes it
        self._passing: dict[Any, Flow] = {}  # those of `_flows` that the filter in force allows
        self._flow_limit = flow_limit
        if not 0 < size <= MAX_DATAGRAM:
            raise ValueError("size is from 1 to 65535")
        self._size = size
        self._timed = False

    def set_filter(self, wanted: SourceFilter, until_ns: int | None = None) -> None:
        """Judge by `wanted` from now on; what was stamped up to `until_ns` may pass as before too."""
        self.gate.change(wanted, until_ns, 0 if until_ns is None else time.monotonic_ns())
        self.judge_anew()

    def judge_anew(self) -> None:
        """Judge by the gate as it is now: it was changed."""
        self._timed = self.gate.timed
        self._passing.clear()

    def deliver_until(self, until_ns: int) -> None:
        """Deliver only what is stamped up to `until_ns`: another socket takes over."""
        self.gate.end(until_ns)
        self.judge_anew()

    def deliver_since(self, begun_ns: int, since_ns: int, elsewhere: SourceFilter) -> None:
        """Leave what is stamped up to `since_ns` to the sockets before, which let in `elsewhere`.

        `begun_ns` is a time before this socket joined.
        """
        self.gate.begin(begun_ns, since_ns, elsewhere)
        self.judge_anew()

    def read(self, limit: int) -> tuple[list[Packet], int]:
        """Return the packets of `limit` reads at most, and how many datagrams that used up.

        ([], 0) where there was nothing; ([], n) where all n were refused. A coalesced read is
        several datagrams. Never raises: what the socket reported, and whatever was raised on the
        way, is left in `error`, and what was made before is returned.
        """
        packets: list[Packet] = []
        self.dry = False
        number = octets = begun = 0
        received, filtered = self.received, self.filtered
        try:
            if self.sock.fileno() != self.descriptor:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            receive, size, append = self._receive(), self._size, packets.append
            passing = {} if self._timed else self._passing
            while number < limit:
                if not self._stamped:
                    begun = self._before_a_read()
                data, control, flags, address = receive(size, _CONTROL_ROOM)
                number += 1
                octets += len(data)
                flow = passing.get(address)
                if (
                    flow is not None
                    and not flags
                    and len(control) == 1
                    and control[0][1] == _TIME
                    and self._stamped
                ):
                    whole, fraction = _stamp(control[0][2])
                    stamp = whole * 1_000_000_000 + fraction
                    append(_new_packet(Packet, (data, flow, stamp, False, None, None, None)))
                else:
                    self._make(packets, data, control, flags & _TRUNCATED != 0, address, begun)
        except BlockingIOError:
            self.dry = True
        except BaseException as error:
            self.error, self.dry = error, isinstance(error, OSError)
            if isinstance(error, OSError) and error.errno in (errno.EBADF, errno.ENOTSOCK):
                self.sock.abandon()
        self.received += number
        self.octets += octets
        self.unmade += self.received - received - (self.filtered - filtered) - len(packets)
        if self._timed:
            if self.dry:
                self.gate.emptied(time.monotonic_ns())
            self._timed = self.gate.timed
        if packets and (latest := packets[-1].timestamp_ns) is not None:
            self.latest_ns = latest
        return packets, self.received - received

    def _receive(self) -> Callable[[int, int], tuple[bytes, list[_Control], int, Any]]:
        """Return what reads a datagram, as `recvmsg` does. Any: see `_flows`."""
        return self.sock.recvmsg

    def _before_a_read(self) -> int:
        """Return the time, once there is something to read; BlockingIOError while there is not.

        When the first socket of a machine asks for stamps, the kernel begins to stamp some
        milliseconds later, and gives what came before the time at which it is read.
        """
        if not _is_readable(self.descriptor):
            raise BlockingIOError
        return time.time_ns()

    def look(self) -> None:
        """Let the exceptions of the gate end if there is nothing in the socket."""
        if self._timed and not _is_readable(self.descriptor):
            self.gate.emptied(time.monotonic_ns())
            self._timed = self.gate.timed

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def count_drops(self) -> int:
        """Bring `kernel_drops` up to date, also when no datagram came after the drops.

        Return the bytes of receive buffer that the kernel has granted; 0 once the socket is closed.
        """
        total, buffer = options.drops_and_buffer(self.sock)
        if total is not None:
            self._drops_are(total)
        self.tell_drops()
        return buffer

    def tell_drops(self) -> None:
        """Call `lost` if it does not know of all drops."""
        more = self.kernel_drops - self.told_drops
        if more:
            self.told_drops = self.kernel_drops
            self.lost(more)

    def _drops_are(self, total: int) -> None:
        more = (total - self._dropped) % _WRAP
        if more < _WRAP // 2:  # an older figure that comes late is no step back
            self._dropped = total
            self.kernel_drops += more

    def _make(
        self,
        packets: list[Packet],
        data: bytes,
        control: list[_Control],
        truncated: bool,
        address: Any,
        begun: int,
    ) -> None:
        """Make the packets of one read, or count them as filtered: whatever it holds."""
        stamp, hops, traffic, segment, hardware, place = self._control(control)
        parts = [data]
        if segment is not None and segment < len(data):
            parts = [data[start : start + segment] for start in range(0, len(data), segment)]
            self.received += len(parts) - 1
        if not self._stamped and stamp is not None:
            if stamp > begun:
                stamp = None
            else:
                self._stamped = True
        flow = self._flow(address)
        strange = place is not None and place != self.sock.interface.index
        if strange or not self.gate.allows(flow.source, stamp):
            self.filtered += len(parts)
            return
        if not self._timed:
            self._passing[address] = flow
        self.truncated += truncated
        tags = (flow, stamp, truncated, hops, traffic, hardware)
        packets += [_new_packet(Packet, (part, *tags)) for part in parts]

    def _flow(self, address: Any) -> Flow:
        flow = self._flows.get(address)
        if flow is None:
            if len(self._flows) >= self._flow_limit:
                self._flows.clear()
                self._passing.clear()
            sock = self.sock
            flow = Flow(canonical(address[0]), address[1], sock.group, sock.port, sock.interface.index)
            self._flows[address] = flow
        return flow

    def _control(
        self, control: list[_Control]
    ) -> tuple[int | None, int | None, int | None, int | None, int | None, int | None]:
        stamp = hops = traffic = segment = hardware = place = None
        for level, kind, data in control:
            if level == ABI.SOL_SOCKET:
                if kind in _TIMES and len(data) in _STAMPS:
                    whole, fraction = _STAMPS[len(data)](data)
                    stamp = whole * 1_000_000_000 + fraction
                elif kind == ABI.SO_RXQ_OVFL and len(data) == 4:
                    self._drops_are(int.from_bytes(data, sys.byteorder))
                elif kind in _HARDWARE and len(data) == 48:
                    whole, fraction = _timespec(data[32:])  # the third of three is the interface's
                    hardware = whole * 1_000_000_000 + fraction or None
            elif (level, kind) in _HOPS and data:
                hops = _small(data)
            elif (level, kind) in _TRAFFIC and data:
                traffic = _small(data)
            elif level == ABI.SOL_UDP and kind == ABI.UDP_GRO and len(data) >= 4:
                segment = max(_int(data[:4])[0], 1)
            elif (at := self._places.get((level, kind))) is not None and len(data) >= at + 4:
                place = _int(data[at : at + 4])[0]
        return stamp, hops, traffic, segment, hardware, place


_timespec = struct.Struct("@qq").unpack
_timeval = struct.Struct("@ll").unpack


def _seconds_and_nanoseconds(timeval: bytes) -> tuple[int, int]:
    whole, micros = _timeval(timeval)
    return whole, micros * 1000


_stamp: Callable[[bytes], tuple[int, int]] = _timespec if options.NANOSECONDS else _seconds_and_nanoseconds
_TRUNCATED = socket.MSG_TRUNC
_STAMPS: dict[int, Callable[[bytes], tuple[int, int]]] = {16: _stamp}
if options.NANOSECONDS:
    _STAMPS[8] = struct.Struct("@ii").unpack  # of a 32-bit Linux before 5.1
_TIME = options.TIME_KIND
_TIMES = {_TIME, ABI.SCM_TIMESTAMPNS} - {None}
_HARDWARE = options.HARDWARE_KINDS
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


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _nowhere(packets: list[Packet]) -> None:
    raise AssertionError("a reader was read without a sink")


def _unheard(error: OSError) -> None:
    raise error


def _unnoticed(more: int) -> None:
    """Nobody wants to know of drops by default."""
