"""The sockets of one membership: opened, changed, read out, closed, and counted."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from .addresses import family
from .errors import RefusedError
from .events import Event, EventKind
from .filters import SourceFilter
from .handover import Handover
from .interfaces import Interface
from .manager import Key
from .packets import Flow
from .reading import Reader
from .reading.options import receive_buffer, set_receive_buffer
from .rfc3678.limits import SOURCE_SYSCTL, source_limit
from .rfc3678.refusals import refusal
from .rfc3678.sockets import open_socket
from .statistics import Statistics
from .streams import PacketStream

if TYPE_CHECKING:
    from .receiver import Receiver

__all__ = ["MemberSockets"]

_AT_ONCE = 64  # datagrams read at a time when a socket is read out
_MOST_READS = 65536  # a bound far beyond what any buffer holds


class MemberSockets:
    """What holds the filter of a (group, port, interface) and delivers its packets.

    `readers` are the sockets in force; `streams` listen to this membership alone.
    """

    __slots__ = (
        "__weakref__",
        "_filter",
        "_full",
        "_handover",
        "_indexes",
        "_limit",
        "_past",
        "_queue_drops",
        "_receiver",
        "_swapped_out",
        "_warned",
        "ended_streams",
        "group",
        "interface",
        "port",
        "readers",
        "streams",
    )

    def __init__(self, receiver: Receiver, group: str, port: int, interface: Interface) -> None:
        self._receiver = receiver
        self.group = group
        self.port = port
        self.interface = interface
        self.readers: tuple[Reader, ...] = ()
        self.streams: tuple[PacketStream, ...] = ()
        self.ended_streams: tuple[PacketStream, ...] = ()  # with something queued still
        self._filter = SourceFilter.none()
        self._full: set[PacketStream] | None = None
        self._handover: Handover | None = None
        self._indexes: tuple[int, ...] = (interface.index,)  # also older ones, of packets still queued
        self._warned = False
        self._limit = source_limit(group)
        self._past = Statistics()
        self._queue_drops = self._swapped_out = 0

    @property
    def key(self) -> Key:
        """What no two memberships of a receiver share: (group, port, interface index)."""
        return self.group, self.port, self.interface.index

    @property
    def filter(self) -> SourceFilter:
        """The filter in force."""
        return self._filter

    def statistics(self) -> Statistics:
        """Return the counters of this membership; they stay readable after `leave`."""
        total = self._past
        for reader in self.all_readers:
            total += _counted(reader)
        return total + Statistics(
            queue_drops=self._queue_drops,
            filtered=self._swapped_out,
            queued=sum(len(stream) for stream in (*self.streams, *self.ended_streams)),
        )

    # Sockets

    def source_limit(self, wanted: SourceFilter) -> int | None:
        """Return the system's limit of sources per socket; asked anew only when it matters."""
        if self._limit is not None and len(wanted.sources) > self._limit:
            self._limit = source_limit(self.group)
            over = self._limit is not None and len(wanted.sources) > self._limit
            if over and not wanted.is_include and not self._warned:
                self._warned = True
                warnings.warn(
                    f"{len(wanted.sources)} sources are blocked for {self.group}, but the kernel takes "
                    f"{self._limit}: the others are refused in user space; raise "
                    f"{SOURCE_SYSCTL[family(self.group)]} to have the kernel refuse them",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return self._limit

    def open_reader(self, wanted: SourceFilter) -> Reader:
        """Return a reader of a new socket that is a member of nothing yet."""
        receiver = self._receiver
        sock = open_socket(self.group, self.port, self.interface)
        try:
            if receiver.receive_buffer is not None:
                set_receive_buffer(sock, receiver.receive_buffer)
            reader = receiver.reading.reader(sock, wanted, ancillary=receiver.ancillary, gro=receiver.gro)
        except BaseException:
            sock.close()
            raise
        reader.failed = self._failed
        return reader

    def take_filter(self, wanted: SourceFilter, opened: Sequence[Reader], until_ns: int | None) -> None:
        """Let the sockets' new filters judge, and drop what was queued unless `until_ns` spares it.

        `opened` are new sockets beside those there are; sockets that hold nothing any more go.
        """
        before = self.readers
        readers = (*before, *opened)
        for reader in readers:
            # One EXCLUDE socket stands for the whole filter, of which it may hold only a part.
            reader.set_filter(reader.sock.filter if wanted.is_include else wanted, until_ns)
        if len(readers) > 1:
            holding = tuple(reader for reader in readers if not reader.sock.filter.is_none)
            readers = holding or readers[:1]
        self.readers = readers
        self._take(wanted, until_ns)
        if readers == before:
            return
        gone = tuple(reader for reader in before if reader not in self.readers)
        if gone and until_ns is not None:
            self._begin_handover(gone)
        else:
            for reader in gone:
                self.retire(reader)
        self.redirect()

    def hand_over(self, wanted: SourceFilter, opened: Sequence[Reader], cut_ns: int, deliver: bool) -> None:
        """Deliver what arrived up to `cut_ns` from the present sockets, the rest from `opened`."""
        old, self.readers = self.readers, tuple(opened)
        for reader in old:
            reader.deliver_between(None, cut_ns)
        for reader in self.readers:
            reader.set_filter(reader.sock.filter if wanted.is_include else wanted)
            reader.deliver_between(cut_ns, None)
        self._begin_handover(old)
        self._take(wanted, cut_ns if deliver else None)
        self.redirect()

    def _begin_handover(self, old: tuple[Reader, ...]) -> None:
        if self._handover is None:
            self._handover = Handover(self)
        self._receiver.unsettled.add(self)
        self._handover.begin(old)

    def _take(self, wanted: SourceFilter, until_ns: int | None) -> None:
        self._filter = wanted
        if until_ns is not None:
            return
        for reader in self._handover.readers if self._handover is not None else ():
            reader.set_filter(reader.gate.current & wanted)
        self._refuse_queued(wanted)

    def redirect(self) -> None:
        """Have the receiver read what is to be read now."""
        self._receiver.direct(self)

    @property
    def all_readers(self) -> tuple[Reader, ...]:
        """Its readers, and those that a change of mode has not finished with."""
        return self.readers if self._handover is None else (*self._handover.readers, *self.readers)

    @property
    def readable(self) -> tuple[Reader, ...]:
        """The readers whose turn it is to be read."""
        return self.readers if self._handover is None else self._handover.readable

    @property
    def is_taken(self) -> bool:
        """Whether a stream takes its packets now."""
        return self._receiver.takes(self)

    @property
    def can_hand_over(self) -> bool:
        """Whether two of its sockets see the same time of arrival for the same packet."""
        return self._receiver.reading.shared_stamps

    def settle(self) -> None:
        """Go on with a change of mode that had to wait for somebody to take packets."""
        if self._handover is not None:
            self._handover.settle()

    def forget_if_settled(self) -> None:
        """Tell the receiver when a change of mode is over."""
        if self._handover is not None and not self._handover.readers:
            self._receiver.unsettled.discard(self)

    def move(self, found: Interface) -> None:
        """Join anew on another interface, and leave the one before."""
        before, self.interface = self.interface, found
        opened: list[Reader] = []
        try:
            for reader in self.readers:
                opened.append(self.open_reader(reader.sock.filter))
                opened[-1].sock.set_filter(reader.sock.filter)
        except BaseException:
            self.interface = before
            for reader in opened:
                reader.close()
            raise
        self._indexes += (found.index,)
        old, self.readers = self.all_readers, tuple(opened)
        if self._handover is not None:
            self._handover.end()
        for reader in old:
            self.retire(reader)

    def _refuse_queued(self, wanted: SourceFilter) -> None:
        for stream in (*self.streams, *self._receiver.streams):
            if len(stream):
                self._swapped_out += stream.refuse(lambda flow: self._refuses(flow, wanted))

    def _refuses(self, flow: Flow, wanted: SourceFilter) -> bool:
        mine = (flow.group, flow.port) == (self.group, self.port) and flow.interface_index in self._indexes
        return mine and (flow.source in wanted.sources) is not wanted.is_include

    def read_some(self, reader: Reader) -> bool:
        """Hand over a read's worth of what is in the socket; say if it is empty now."""
        before = reader.received
        packets = reader.read(_AT_ONCE)
        if packets:
            reader.sink(packets)
        return reader.received == before

    def retire(self, reader: Reader) -> None:
        """Leave with this socket, hand over or count what it holds, and close it."""
        self._receiver.stop_reading(reader)
        with contextlib.suppress(RefusedError):  # the interface may be gone; closing leaves too
            reader.sock.set_filter(SourceFilter.none())
        for _ in range(_MOST_READS):
            if self.is_taken:
                if self.read_some(reader):
                    break
            else:
                before = reader.received
                self._queue_drops += len(reader.read(_AT_ONCE))
                if reader.received == before:
                    break
        self.close_reader(reader)

    def close_reader(self, reader: Reader) -> None:
        """Keep the counters of a reader and close its socket, read out or not."""
        self._receiver.stop_reading(reader)
        self._past += attrs.evolve(_counted(reader), receive_buffer=0)
        reader.close()

    def _failed(self, error: OSError) -> None:
        typed = refusal(error, f"receiving {self.group} port {self.port} on {self.interface.name}")
        for stream in (*self.streams, *self._receiver.streams):
            stream.fail(typed)
        self.announce(EventKind.FAILED, typed)

    # Counting and telling

    def count_queue_drops(self, count: int) -> None:
        """Count packets that a stream has dropped."""
        self._queue_drops += count

    def count_filtered(self, count: int) -> None:
        """Count packets that no stream asked for."""
        self._swapped_out += count

    def announce(self, kind: EventKind, error: Exception | None = None) -> None:
        """Tell the receiver's event streams."""
        if self._receiver.is_watched:
            self._receiver.tell(Event(kind, self.group, self.port, self.interface.name, self._filter, error))

    @property
    def is_full(self) -> bool:
        """Whether one of its own streams asks for a pause."""
        return bool(self._full)


def _counted(reader: Reader) -> Statistics:
    reader.count_drops()
    return Statistics(
        received=reader.received,
        octets=reader.octets,
        kernel_drops=reader.kernel_drops,
        filtered=reader.filtered,
        truncated=reader.truncated,
        receive_buffer=receive_buffer(reader.sock),
    )
