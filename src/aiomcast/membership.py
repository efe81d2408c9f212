"""`Membership`: one (group, port, interface) of a receiver, with its filter."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from . import filters
from .addresses import Address, family
from .errors import RefusedError, StateError
from .events import Event, EventKind
from .filters import SourceFilter, Sources
from .interfaces import Interface, find_interface
from .manager import Change, Pending
from .packets import Channel, Flow, Packet
from .reading import Reader
from .reading.options import receive_buffer, set_receive_buffer
from .rfc3678.limits import SOURCE_SYSCTL, source_limit
from .rfc3678.refusals import refusal
from .rfc3678.sockets import open_socket
from .statistics import Statistics
from .streams import PacketBatches, PacketStream

if TYPE_CHECKING:
    from .receiver import Receiver

__all__ = ["Membership"]

_LAST_READS = 4096  # reads of up to 64 datagrams when a membership ends, far beyond any buffer


class Membership:
    """A group and port on an interface, and which sources are let in. Made by `Receiver.join`.

    Iterating yields its packets (one default stream, made at first use, which goes on where
    it stopped); `packets()` and `batches()` make independent streams. An async context
    manager that leaves at the end.
    """

    __slots__ = (
        "__weakref__",
        "_default",
        "_ended",
        "_filter",
        "_full",
        "_limit",
        "_past",
        "_queue_drops",
        "_receiver",
        "_swapped_out",
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
        self._filter = SourceFilter.none()
        self._full: set[PacketStream] | None = None
        self._default: PacketStream | None = None
        self._ended = False
        self._limit = source_limit(group)
        self._past = Statistics()
        self._queue_drops = self._swapped_out = 0

    def __repr__(self) -> str:
        state = "left" if self._ended else repr(self._filter)
        return f"<Membership {self.group} port {self.port} on {self.interface.name}: {state}>"

    @property
    def filter(self) -> SourceFilter:
        """The filter in force."""
        return self._filter

    # Changing the filter

    async def swap(self, sources: Sources, pending: Pending = "discard") -> None:
        """Let `sources` in from now on: `FilterManager.swap` for this membership."""
        await self._receiver.filters.swap(self, sources, pending)

    async def join_source(self, source: Address) -> None:
        """Let one more source in. FilterError in EXCLUDE mode or if it is joined already."""
        await self._change(filters.joined, source)

    async def leave_source(self, source: Address) -> None:
        """Let a joined source in no longer. FilterError if it is not joined."""
        await self._change(filters.left, source)

    async def block_source(self, source: Address) -> None:
        """Refuse one more source. FilterError in INCLUDE mode or if it is blocked already."""
        await self._change(filters.blocked, source)

    async def unblock_source(self, source: Address) -> None:
        """Refuse a blocked source no longer. FilterError if it is not blocked."""
        await self._change(filters.unblocked, source)

    async def _change(
        self, change: Callable[[SourceFilter, str, Address], SourceFilter], source: Address
    ) -> None:
        self._check()
        await self.swap(change(self._filter, self.group, source))

    def kernel_filter(self) -> SourceFilter:
        """Return what the kernel reports for this membership, its sockets united.

        It equals `filter`, but for an EXCLUDE list longer than the kernel's limit, of which
        the kernel holds a part and the reader refuses the rest. StateError after `leave`.
        """
        self._check()
        united = SourceFilter.none()
        for reader in self.readers:
            united |= reader.sock.kernel_filter()
        return united

    async def refresh(self) -> None:
        """Tell the network of this membership once more: leave and join again, same filter.

        Heals what the kernel or the routers have forgotten, after a carrier loss or when the
        interface was made anew under its name (its new index is looked up). A packet may be
        lost in between. InterfaceError when there is no such interface now, RefusedError when
        the system refuses; the membership then stays as it is.
        """
        self._check()
        found = find_interface(self.interface.name)
        if found.index == self.interface.index:
            for reader in self.readers:
                reader.sock.rejoin()
        else:
            self._move(found)
        self.announce(EventKind.REFRESHED)

    def _move(self, found: Interface) -> None:
        before, self.interface = self.interface, found
        opened: list[Reader] = []
        try:
            for reader in self.readers:
                opened.append(self.open_reader(reader.sock.filter))
                opened[-1].sock.set_filter(reader.sock.filter)
        except BaseException:
            self.interface = before
            for reader in opened:
                reader.sock.close()
            raise
        old, self.readers = self.readers, tuple(opened)
        for reader in old:
            self._retire(reader)
        self._receiver.moved(self, before)

    # Listening

    def packets(
        self, *, source: Address | None = None, channel: Channel | None = None
    ) -> PacketStream:
        """Return a new stream of this membership's packets, of one `source` or `channel` if given."""
        self._check()
        stream = self._receiver.new_stream(self, source=source, channel=channel)
        self.streams = (*self.streams, stream)
        self._receiver.direct(self)
        return stream

    def batches(
        self, *, source: Address | None = None, channel: Channel | None = None
    ) -> PacketBatches:
        """Return a new stream like `packets()` that yields lists of packets."""
        return self.packets(source=source, channel=channel).batches()

    def __aiter__(self) -> PacketStream:
        if self._default is None:
            self._default = self.packets()
        return self._default

    def statistics(self) -> Statistics:
        """Return the counters of this membership; they stay readable after `leave`."""
        total = self._past
        for reader in self.readers:
            total += _counted(reader)
        return total + Statistics(
            queue_drops=self._queue_drops,
            filtered=self._swapped_out,
            queued=sum(len(stream) for stream in self.streams),
        )

    # Ending

    async def leave(self) -> None:
        """Leave the group and close. What is queued can still be taken. StateError if left already."""
        self._check()
        self._receiver.forget(self)
        self.end()

    async def __aenter__(self) -> Membership:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._ended:
            await self.leave()

    # For the receiver and the manager

    def establish(self, wanted: SourceFilter) -> None:
        """Make the first filter hold, or raise with nothing joined."""
        change = Change(self, wanted)
        try:
            change.make()
        except BaseException:
            change.undo()
            raise
        change.commit(None)

    def source_limit(self, wanted: SourceFilter) -> int | None:
        """Return the system's limit of sources per socket; asked anew only when it matters."""
        if self._limit is not None and len(wanted.sources) > self._limit:
            self._limit = source_limit(self.group)
            if not wanted.is_include and self._limit is not None and len(wanted.sources) > self._limit:
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
            reader = Reader(sock, wanted, ancillary=receiver.ancillary, gro=receiver.gro)
        except BaseException:
            sock.close()
            raise
        reader.failed = self._failed
        return reader

    def take_filter(
        self, wanted: SourceFilter, opened: list[Reader], until_ns: int | None
    ) -> None:
        """Let the sockets' new filters judge, and drop what was queued unless `until_ns` spares it."""
        self._filter = wanted
        kept: list[Reader] = []
        for reader in (*self.readers, *opened):
            part = reader.sock.filter
            # One EXCLUDE socket stands for the whole filter, of which it may hold only a part.
            reader.set_filter(part if wanted.is_include else wanted, until_ns)
            if kept and part == SourceFilter.none():
                self._retire(reader)
            else:
                kept.append(reader)
        self.readers = tuple(kept)
        if until_ns is None:
            self._refuse_queued(wanted)
        self._receiver.direct(self)

    def covers(self, flow: Flow) -> bool:
        """Whether a packet of `flow` came through this membership."""
        return (
            flow.group == self.group
            and flow.port == self.port
            and flow.interface_index == self.interface.index
        )

    def count_queue_drops(self, count: int) -> None:
        """Count packets that a stream has dropped."""
        self._queue_drops += count

    def announce(self, kind: EventKind, error: Exception | None = None) -> None:
        """Tell the receiver's event streams."""
        self._receiver.tell(
            Event(kind, self.group, self.port, self.interface.name, self._filter, error)
        )

    @property
    def is_full(self) -> bool:
        """Whether one of its own streams asks for a pause."""
        return bool(self._full)

    def end(self) -> None:
        """Leave, hand over what can be, close the sockets, end the streams."""
        self._ended = True
        for reader in self.readers:
            self._retire(reader)
        self.readers = ()
        for stream in self.streams:
            stream.end()
        self._receiver.ended(self)
        self.announce(EventKind.LEFT)

    def stream_full(self, stream: PacketStream) -> None:
        """Stop reading for this membership."""
        self._full = (self._full or set()) | {stream}
        self._receiver.direct(self)

    def stream_relaxed(self, stream: PacketStream) -> None:
        """Go on reading unless another stream is full."""
        if self._full is not None:
            self._full.discard(stream)
        self._receiver.direct(self)

    def stream_closed(self, stream: PacketStream) -> None:
        """Hand it nothing more."""
        self.streams = tuple(one for one in self.streams if one is not stream)
        self.stream_relaxed(stream)

    def stream_dropped(self, stream: PacketStream, packets: list[Packet]) -> None:
        """Count what the stream's overflow policy dropped."""
        self._queue_drops += len(packets)

    def _refuse_queued(self, wanted: SourceFilter) -> None:
        def refused(flow: Flow) -> bool:
            return self.covers(flow) and (flow.source in wanted.sources) is not wanted.is_include

        for stream in (*self.streams, *self._receiver.streams):
            self._swapped_out += stream.refuse(refused)

    def _retire(self, reader: Reader) -> None:
        """Leave with this socket, hand over or count what it holds, and close it."""
        self._receiver.stop_reading(reader)
        with contextlib.suppress(RefusedError):  # the interface may be gone; closing leaves too
            reader.sock.set_filter(SourceFilter.none())
        for _ in range(_LAST_READS):
            before = reader.received
            packets = reader.read(64)
            if reader.received == before:
                break
            if packets and self._receiver.takes(self):
                reader.sink(packets)
            else:
                self._queue_drops += len(packets)
        self._past += _counted(reader)
        reader.sock.close()

    def _failed(self, error: OSError) -> None:
        typed = refusal(error, f"receiving {self.group} port {self.port} on {self.interface.name}")
        for stream in (*self.streams, *self._receiver.streams):
            stream.fail(typed)
        self.announce(EventKind.FAILED, typed)

    def _check(self) -> None:
        if self._ended:
            raise StateError(f"{self!r} was left", "join again")


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
