"""The sockets of one membership: opened, changed, read out, closed, and counted."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import attrs

from ..errors import RefusedError
from ..reading import Reader
from ..reading.lanes import Lanes
from ..reading.options import receive_buffer, set_receive_buffer
from ..rfc3678.limits import SOURCE_SYSCTL, source_limit
from ..rfc3678.refusals import refusal, refusals
from ..streams.streams import Listening, PacketStream
from ..system.sockets import open_socket
from ..values.addresses import family
from ..values.events import Event, EventKind
from ..values.filters import SourceFilter
from ..values.interface import Interface
from ..values.packets import Flow, Packet
from ..values.statistics import Statistics
from .handover import Handover
from .manager import Key

if TYPE_CHECKING:
    from .receiver import Receiver

__all__ = ["MemberSockets"]

_AT_ONCE = 64  # datagrams read at a time when a socket is read out
_MOST_READS = 65536  # a bound far beyond what any buffer holds


class MemberSockets:
    """What holds the filter of a (group, port, interface) and delivers its packets.

    `readers` are the sockets in force; `draining` those that have left the group and are read
    out among them; `listening` are the streams of this membership alone.
    """

    __slots__ = (
        "__weakref__",
        "_filter",
        "_gone",
        "_handover",
        "_indexes",
        "_limit",
        "_past",
        "_queue_drops",
        "_receiver",
        "_swapped_out",
        "_warned",
        "closed_streams",
        "draining",
        "group",
        "interface",
        "lanes",
        "listening",
        "port",
        "readers",
    )

    def __init__(self, receiver: Receiver, group: str, port: int, interface: Interface) -> None:
        self._receiver = receiver
        self.group: str = group
        self.port: int = port
        self.interface: Interface = interface
        self.readers: tuple[Reader, ...] = ()
        self.draining: tuple[Reader, ...] = ()
        self.lanes: Lanes | None = None  # of readers and draining, where there are several
        self.listening: Listening = Listening()
        # With something queued still, and somebody who may take it
        self.closed_streams: Listening = Listening()
        self._filter = SourceFilter.none()
        self._handover: Handover | None = None
        self._gone: tuple[Reader, ...] = ()  # of `draining`, not seen to yet
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
    def streams(self) -> tuple[PacketStream, ...]:
        """The open streams of this membership alone that somebody holds."""
        return self.listening.open()

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
            queued=sum(len(stream) for stream in (*self.streams, *self.closed_streams.open())) + self._held,
        )

    @property
    def _held(self) -> int:
        """How many packets were read and wait for earlier ones of other sockets."""
        return sum(map(len, {reader.lanes for reader in self.all_readers if reader.lanes is not None}))

    # Sockets

    def source_limit(self, wanted: SourceFilter) -> int | None:
        """Return the system's limit of sources per socket; asked anew only when it matters."""
        if self._limit is not None and len(wanted.sources) > self._limit:
            self.ask_limit()
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

    def ask_limit(self) -> bool:
        """Ask the system for its limit of sources per socket; say whether it is another than known."""
        known, self._limit = self._limit, source_limit(self.group)
        return self._limit != known

    @property
    def is_over_limit(self) -> bool:
        """Whether a socket holds more than it could be made to hold now."""
        held = max((len(reader.sock.filter.sources) for reader in self.readers), default=0)
        return self._limit is not None and held > self._limit

    def open_reader(self, wanted: SourceFilter, into: list[Reader]) -> None:
        """Append to `into` a reader of a new socket, which is a member of nothing yet and has a place."""
        receiver = self._receiver
        sock = open_socket(self.group, self.port, self.interface)
        try:
            if receiver.receive_buffer is not None:
                set_receive_buffer(sock, receiver.receive_buffer)
            reader = receiver.reading.reader(sock, wanted, ancillary=receiver.ancillary, gro=receiver.gro)
            into.append(reader)
            reader.failed = self._failed
            with refusals(f"watching a socket of {self.group} port {self.port}"):
                receiver.reading.reserve(reader)
        except BaseException:
            if into and into[-1].sock is sock:
                self.drop_reader(into.pop())
            sock.close()
            raise

    # Every change below is made of steps that can be taken once more: a signal handler may raise
    # between any two, and then it is gone through again.

    def take_filter(self, wanted: SourceFilter, opened: Sequence[Reader], until_ns: int | None) -> None:
        """Let the sockets' new filters judge, and drop what was queued unless `until_ns` spares it.

        `opened` are new sockets beside those there are; sockets that hold nothing any more go.
        """
        before = self.readers
        readers = before if not opened else (*before, *(one for one in opened if one not in before))
        if len(readers) == 1 and not self.draining:
            readers[0].set_filter(wanted, until_ns)
        else:
            for reader in readers:
                reader.set_filter(self._judge(reader, wanted, until_ns), until_ns)
            holding = tuple(reader for reader in readers if not reader.sock.filter.is_none)
            readers = holding or readers[:1]
        self._take(wanted, until_ns)
        if until_ns is not None and readers[0].sock.filter != wanted and not wanted.is_include:
            self._replacing().look_later(readers)  # the gate refuses what the kernel lets in
        if readers != before:
            self._gone = tuple(reader for reader in before if reader not in readers)
            self.draining = tuple(dict.fromkeys((*self.draining, *self._gone)))
            self.readers = readers
        elif not self._gone and not opened:
            return
        if self._gone:
            spared = tuple(reader for reader in self._gone if not reader.gate.passing.is_none)
            if spared:
                self._replacing().drain(spared)
            self.end_draining([reader for reader in self._gone if reader not in spared])
            self._gone = ()
        self._arrange()
        self.redirect()

    def _judge(self, reader: Reader, wanted: SourceFilter, until_ns: int | None) -> SourceFilter:
        """Return the filter that is to judge at one of the sockets.

        One EXCLUDE socket stands for the whole filter, of which it may hold only a part. Of an
        INCLUDE list each has a part of its own; what a swap has spared of a source that is let in
        again, but by another socket now, is still to come from here.
        """
        if not wanted.is_include:
            return wanted
        part = reader.sock.filter
        if until_ns is not None:
            return part
        passing = reader.gate.passing
        if passing.is_include and part.sources.issuperset(passing.sources & wanted.sources):
            return part
        return part | (passing & wanted)

    def hand_over(
        self, wanted: SourceFilter, opened: Sequence[Reader], begun_ns: int, cut_ns: int, deliver: bool
    ) -> None:
        """Deliver what arrived up to `cut_ns` from the present sockets, the rest from `opened`.

        `begun_ns` is a time before these joined.
        """
        replacing = self._replacing()
        if self.readers != tuple(opened):
            old, lanes = self.together, self.lanes
            for reader in old:
                reader.deliver_until(cut_ns)
            for reader in opened:
                reader.set_filter(reader.sock.filter if wanted.is_include else wanted)
            replacing.begin(old, lanes)
            self.draining, self.lanes, self.readers = (), None, tuple(opened)
        self._take(wanted, cut_ns if deliver else None)
        elsewhere = SourceFilter.none()
        for reader in replacing.readers:
            elsewhere |= reader.gate.passing
        for reader in self.readers:
            reader.deliver_since(begun_ns, cut_ns, elsewhere)
        self._arrange()
        self.redirect()

    def _replacing(self) -> Handover:
        if self._handover is None:
            self._handover = Handover(self)
        self._receiver.unsettled.add(self)
        return self._handover

    def _take(self, wanted: SourceFilter, until_ns: int | None) -> None:
        self._filter = wanted
        if until_ns is not None:
            return
        if self._handover is not None or self.draining:
            for reader in self.all_readers:
                if reader not in self.readers:
                    reader.set_filter(reader.gate.passing & wanted)
                if reader.gate.since_ns is not None:
                    reader.gate.elsewhere &= wanted
        self._refuse_queued(wanted)

    def _arrange(self) -> None:
        """Have the present sockets read together, where there are several."""
        together = self.together
        before = self.lanes
        if len(together) > 1 or (before is not None and len(before)):
            self.lanes = Lanes(together, before)
        else:
            self.lanes = None
        for reader in together:
            reader.lanes = self.lanes

    def redirect(self) -> None:
        """Have the receiver read what is to be read now."""
        self._receiver.direct(self)

    @property
    def together(self) -> tuple[Reader, ...]:
        """The readers that deliver what arrives now, and those that are read out among them."""
        return (*self.readers, *self.draining) if self.draining else self.readers

    @property
    def all_readers(self) -> tuple[Reader, ...]:
        """Its readers, and those that a change has not finished with."""
        return self.together if self._handover is None else (*self._handover.readers, *self.together)

    @property
    def readable(self) -> tuple[Reader, ...]:
        """The readers whose turn it is to be read."""
        return self.together if self._handover is None else self._handover.readable

    @property
    def is_taken(self) -> bool:
        """Whether a stream takes its packets now."""
        return self._receiver.takes(self)

    @property
    def can_hand_over(self) -> bool:
        """Whether two of its sockets see the same time of arrival for the same packet."""
        return self._receiver.reading.shared_stamps

    def settle(self) -> None:
        """Go on with a change that had to wait for somebody to take packets."""
        if self._handover is not None:
            self._handover.settle()

    def forget_if_settled(self) -> None:
        """Tell the receiver when a change is over."""
        if self._handover is not None and self._handover.is_over:
            self._receiver.unsettled.discard(self)

    def move(self, found: Interface) -> None:
        """Join anew on another interface, and leave the one before."""
        before, self.interface = self.interface, found
        opened: list[Reader] = []
        try:
            for reader in self.readers:
                self.open_reader(reader.sock.filter, opened)
                opened[-1].set_filter(reader.gate.current)
                opened[-1].sock.set_filter(reader.sock.filter)
        except BaseException:
            self.interface = before
            for reader in opened:
                self.drop_reader(reader)
            raise
        self._indexes += (found.index,)
        old = self._all_apart()
        self._stop()
        self.readers = tuple(opened)
        for readers, lanes in old:
            self.retire(readers, lanes)
        self._arrange()

    def _all_apart(self) -> list[tuple[tuple[Reader, ...], Lanes | None]]:
        """Return all sockets, in the order in which they are to be read out."""
        old = [] if self._handover is None else self._handover.all_apart()
        return [*old, (self.together, self.lanes)]

    def _stop(self) -> None:
        """Have no sockets any more, and no handover."""
        self.readers, self.draining, self.lanes, self._gone = (), (), None, ()
        if self._handover is not None:
            self._handover.stop()
        self._receiver.unsettled.discard(self)

    def abandon(self) -> None:
        """Close all sockets of a membership that did not come to be."""
        for reader in self.all_readers:
            self.drop_reader(reader)
        self._stop()

    def _refuse_queued(self, wanted: SourceFilter) -> None:
        # What was read ahead first: a stream that has room again goes on reading at once.
        if self._handover is not None or self.lanes is not None:
            for lanes in {reader.lanes for reader in self.all_readers if reader.lanes is not None}:
                self._swapped_out += lanes.refuse(lambda packet: self._refuses(packet.flow, wanted))
        receiver = self._receiver
        closed = self.closed_streams.open() + receiver.closed_streams.open()
        for stream in self.listening.open() + receiver.listening.open() + closed:
            if len(stream):
                self._swapped_out += stream.refuse(lambda flow: self._refuses(flow, wanted))

    def _refuses(self, flow: Flow, wanted: SourceFilter) -> bool:
        mine = (flow.group, flow.port) == (self.group, self.port) and flow.interface_index in self._indexes
        return mine and (flow.source in wanted.sources) is not wanted.is_include

    def _some(self, readers: tuple[Reader, ...], lanes: Lanes | None) -> tuple[list[Packet], bool]:
        """Return a read's worth of what is in the sockets, and whether that was all."""
        if lanes is not None:
            packets, _ = lanes.read(_AT_ONCE)
            return packets, lanes.is_dry
        packets = []
        for reader in readers:
            packets += reader.read(_AT_ONCE)
        return packets, all(reader.dry for reader in readers)

    def read_some(self, readers: tuple[Reader, ...], lanes: Lanes | None) -> bool:
        """Hand over a read's worth of what is in the sockets; say if they are empty now."""
        packets, is_all = self._some(readers, lanes)
        if packets:
            readers[0].sink(packets)
        self._report(readers)
        return is_all

    def flush(self, readers: tuple[Reader, ...], lanes: Lanes | None) -> None:
        """Hand over what was read and waits for nothing any more."""
        if lanes is not None and (held := lanes.take_all()):
            readers[0].sink(held)

    def _report(self, readers: tuple[Reader, ...]) -> None:
        for reader in readers:
            error, reader.error = reader.error, None
            if isinstance(error, OSError):
                self._failed(error)
            elif error is not None:
                raise error

    def retire(self, readers: tuple[Reader, ...], lanes: Lanes | None) -> None:
        """Leave with these sockets, hand over or count what they hold, and close them."""
        readers = tuple(reader for reader in readers if not reader.is_retired)
        alive = tuple(reader for reader in readers if reader.sock.fileno() >= 0)
        self.leave_group(alive)
        for _ in range(_MOST_READS if alive else 0):
            if self.is_taken:
                if self.read_some(alive, lanes):
                    break
            else:
                packets, is_all = self._some(alive, lanes)
                self._queue_drops += len(packets)
                if is_all:
                    break
        for reader in readers:
            self._close_reader(reader)

    def leave_group(self, readers: Sequence[Reader]) -> None:
        """Have these sockets be members no more."""
        for reader in readers:
            if reader.sock.fileno() >= 0:
                with contextlib.suppress(RefusedError):  # the interface may be gone; closing leaves too
                    reader.sock.set_filter(SourceFilter.none())

    def end_draining(self, gone: Collection[Reader]) -> None:
        """Close sockets that have left the group and hold nothing that is still to come."""
        if not gone:
            return
        self.retire(tuple(gone), None)
        self.draining = tuple(reader for reader in self.draining if reader not in gone)
        self._arrange()
        self.redirect()

    def drop_reader(self, reader: Reader) -> None:
        """Close a new socket that is not to be used after all."""
        self._receiver.stop_reading(reader)
        reader.close()

    def _close_reader(self, reader: Reader) -> None:
        """Keep the counters of a reader and close its socket, read out or not."""
        counted = attrs.evolve(_counted(reader), receive_buffer=0)
        self.drop_reader(reader)
        if not reader.is_retired:
            reader.is_retired = True
            self._past += counted

    def _failed(self, error: OSError) -> None:
        typed = refusal(error, f"receiving {self.group} port {self.port} on {self.interface.name}")
        for stream in (*self.streams, *self._receiver.streams):
            stream.fail(typed)
        self.announce(EventKind.FAILED, typed)

    # Counting and telling

    def drop(self, packets: list[Packet]) -> None:
        """Count packets that were read when nobody listened any more."""
        self._queue_drops += len(packets)

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


def _counted(reader: Reader) -> Statistics:
    reader.count_drops()
    return Statistics(
        received=reader.received,
        octets=reader.octets,
        kernel_drops=reader.kernel_drops,
        filtered=reader.filtered,
        queue_drops=reader.unmade,
        truncated=reader.truncated,
        receive_buffer=receive_buffer(reader.sock),
    )
