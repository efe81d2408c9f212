"""`Receiver`: memberships, the loop that reads them, and the streams they feed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import attrs

from ..errors import ArgumentError, StateError
from ..loops.read_loop import ReadLoop, can_watch
from ..loops.stock_loop import StockLoop
from ..reading import Reader
from ..reading.options import ANCILLARY
from ..rfc3678.limits import with_open_files
from ..streams.event_stream import EventStream
from ..streams.streams import Listening, Overflow, PacketBatches, PacketStream
from ..system.interfaces import placed
from ..values.addresses import Address, check_port, group_address
from ..values.events import Event, EventKind
from ..values.filters import Sources
from ..values.interface import Interface, InterfaceLike
from ..values.packets import Channel, Packet
from ..values.statistics import Statistics
from .manager import FilterManager, Key
from .member_sockets import MemberSockets
from .membership import Membership

__all__ = ["Receiver"]


class Receiver:
    """Receives multicast: join memberships, iterate over the packets of all of them.

    `capacity` is how many packets each stream holds; `overflow` what a full one does (PAUSE
    stops the reading until it has drained to half, and the kernel's buffers fill); packets
    wait in the kernel's buffer until somebody listens. `receive_buffer` is bytes asked of the
    kernel per socket, by force where that is allowed (the statistics say what was granted);
    `ancillary` names extra tags, "hop_limit" and "traffic_class"; `gro` is whether the kernel
    may hand over datagrams of one flow coalesced (None: wherever it can).

    An async context manager, and an async iterable of all packets in order of arrival per
    membership (one default stream, made at first use, which goes on where it stopped).
    Raises ArgumentError for an argument that cannot be meant. Belongs to the event loop it is
    first used in.
    """

    def __init__(
        self,
        *,
        capacity: int = 4096,
        overflow: Overflow = Overflow.PAUSE,
        receive_buffer: int | None = None,
        ancillary: Iterable[str] = (),
        gro: bool | None = None,
    ) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            raise ArgumentError(f"capacity {capacity!r}", "give a number of packets, 1 or more")
        if not isinstance(overflow, Overflow):
            raise ArgumentError(f"overflow {overflow!r}", "choose a member of aiomcast.Overflow")
        self.capacity = capacity
        self.overflow = overflow
        self.receive_buffer = receive_buffer
        self.ancillary: frozenset[str] = frozenset(ancillary)
        if self.ancillary - ANCILLARY:
            raise ArgumentError(
                f"ancillary {sorted(self.ancillary - ANCILLARY)}", f"there are {sorted(ANCILLARY)}"
            )
        self.gro = gro
        self.listening: Listening = Listening()
        self.unsettled: set[MemberSockets] = set()
        """Memberships in a change of mode, to be told when reading goes on."""
        self._memberships: dict[Key, Membership] = {}
        self._filters = FilterManager(self._memberships)
        self._reading: ReadLoop | StockLoop | None = None
        self._default: PacketStream | None = None
        # With something queued still, and somebody who may take it
        self.closed_streams: Listening = Listening()
        self._events: tuple[EventStream, ...] = ()
        self._shared_sink: Callable[[list[Packet]], None] | None = None
        self._past = Statistics()
        self._closed = False

    @property
    def filters(self) -> FilterManager:
        """The filter manager: a mapping membership to filter, `swap` and `apply`."""
        return self._filters

    @property
    def memberships(self) -> tuple[Membership, ...]:
        """The memberships, in the order they were joined."""
        return tuple(self._memberships.values())

    async def join(
        self,
        group: Address,
        port: int,
        *,
        sources: Sources = None,
        interface: InterfaceLike = None,
    ) -> Membership:
        """Join `group` on an interface and let `sources` in.

        `sources` is an iterable of addresses to include, a `SourceFilter`, or None for any
        source; `interface` a name, an index, one of its addresses, an `Interface`, or None for
        the interface of the route to the first source, else to the group. From here on packets
        wait in the kernel's buffer until somebody listens.

        Raises AddressError for a group or source that cannot be meant (in the source-specific
        ranges also for any-source and EXCLUDE filters: RFC 4607), FilterError for a source
        listed twice, InterfaceError, NoRouteError, StateError when it is joined already or the
        receiver is closed, LimitError and other RefusedErrors when the system refuses. Nothing
        is joined then.
        """
        self._check()
        text = group_address(group)
        check_port(port)
        wanted, found = with_open_files(lambda: placed(group, sources, interface))
        key = (text, port, found.index)
        if key in self._memberships:
            raise StateError(
                f"{text} port {port} is joined already on {found.name}", "swap its sources instead"
            )
        membership = Membership(self, text, port, found)
        try:
            with_open_files(lambda: membership.establish(wanted))
            self._memberships[key] = membership
            self.direct(membership)
            membership.announce(EventKind.JOINED)
        except BaseException:
            self._memberships.pop(key, None)
            membership.abandon()
            raise
        return membership

    def packets(
        self,
        *,
        source: Address | None = None,
        group: Address | None = None,
        channel: Channel | None = None,
    ) -> PacketStream:
        """Return a new stream with a copy of all packets, or those with the given tags."""
        self._check()
        stream = self.new_stream(self, source=source, group=group, channel=channel)
        self.listening.add(stream)
        self._direct_all()
        return stream

    def batches(
        self,
        *,
        source: Address | None = None,
        group: Address | None = None,
        channel: Channel | None = None,
    ) -> PacketBatches:
        """Return a new stream like `packets()` that yields lists of packets: the fastest way."""
        return self.packets(source=source, group=group, channel=channel).batches()

    def __aiter__(self) -> PacketStream:
        if self._default is None:
            self._default = self.packets()
        return self._default

    def events(self) -> EventStream:
        """Return a new stream of what happens to the memberships from now on."""
        self._check()
        stream = EventStream(self._events_closed)
        self._events = (*self._events, stream)
        return stream

    def statistics(self) -> Statistics:
        """Return the counters of all memberships, those that were left included."""
        queued = sum(len(stream) for stream in (*self.streams, *self.closed_streams.open()))
        total = self._past + Statistics(queued=queued)
        for membership in self._memberships.values():
            total += membership.statistics()
        return total

    async def aclose(self) -> None:
        """Leave everything. Iterations end after what is queued. Closing twice is fine."""
        if self._closed:
            return
        for membership in self.memberships:
            await membership.leave()
        self._closed = True
        for stream in self.streams:
            stream.end()
        for events in self._events:
            events.end()
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    async def __aenter__(self) -> Self:
        self._check()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # For memberships and streams

    @property
    def streams(self) -> tuple[PacketStream, ...]:
        """The open streams of all memberships that somebody holds."""
        return self.listening.open()

    @property
    def reading(self) -> ReadLoop | StockLoop:
        """What reads the sockets; made at first use, in the running event loop."""
        if self._reading is None:
            loop = asyncio.get_running_loop()
            self._reading = ReadLoop(loop) if can_watch(loop) else StockLoop(loop)
        return self._reading

    def new_stream(
        self,
        owner: Membership | Receiver,
        *,
        source: Address | None = None,
        group: Address | None = None,
        channel: Channel | None = None,
    ) -> PacketStream:
        """Return a stream with this receiver's capacity and overflow policy."""
        return PacketStream(owner, self.capacity, self.overflow, source=source, group=group, channel=channel)

    def direct(self, membership: MemberSockets) -> None:
        """Send what is read for `membership` to the streams that want it, and read or not."""
        if self._reading is None:
            return
        sink = self._shared_sink
        if membership.listening:
            sink = self._fan_out((*membership.streams, *self.streams))
        readable = membership.readable if sink is not None and not membership.listening.is_full else ()
        for reader in membership.all_readers:
            reader.sink = sink or membership.drop
            if reader in readable:
                self._reading.add(reader)
            else:
                self._reading.discard(reader)
        membership.settle()

    def takes(self, membership: MemberSockets) -> bool:
        """Whether a stream listens to `membership` and none of them asks for a pause."""
        listening = self.listening or membership.listening
        return bool(listening) and not self.listening.is_full and not membership.listening.is_full

    def stop_reading(self, reader: Reader) -> None:
        """Forget a reader whose socket is about to close."""
        if self._reading is not None:
            self._reading.forget(reader)

    def forget(self, membership: Membership) -> None:
        """Take `membership` out of the mapping."""
        self._memberships.pop(membership.key, None)

    def ended(self, membership: Membership) -> None:
        """Keep the counters of a membership that has been left, and what can still be taken."""
        for stream in membership.closed_streams.open():
            self.closed_streams.add(stream)
        self._past += attrs.evolve(membership.statistics(), queued=0)

    def dropped_later(self, count: int) -> None:
        """Count packets of a membership that has been left, which nobody will take any more."""
        self._past += Statistics(queue_drops=count)

    def moved(self, membership: Membership, before: Interface) -> None:
        """Note that `membership` has moved to another interface index."""
        del self._memberships[(membership.group, membership.port, before.index)]
        self._memberships[membership.key] = membership
        self.direct(membership)

    @property
    def is_watched(self) -> bool:
        """Whether there is an event stream."""
        return bool(self._events)

    def tell(self, event: Event) -> None:
        """Hand `event` to the event streams."""
        for stream in self._events:
            stream.put(event)

    def stream_full(self, stream: PacketStream) -> None:
        """Stop all reading."""
        self.listening.fill(stream)
        if self._reading is not None:
            self._reading.pause()

    def stream_relaxed(self, stream: PacketStream) -> None:
        """Go on reading unless another stream is full."""
        self.listening.relax(stream)
        self._resume()

    def stream_closed(self, stream: PacketStream) -> None:
        """Hand it nothing more."""
        self.listening.remove(stream)
        self.closed_streams.add(stream)
        self._direct_all()  # before anything is read again: it is no sink any more
        self._resume()

    def stream_gone(self) -> None:
        """Do without it from the next loop turn on."""
        self.do_without(None)

    def do_without(self, membership: Membership | None) -> None:
        """Have what reads find out which streams are gone, of a membership or of the receiver."""
        if self._reading is not None:
            self._reading.call_soon(self._gone, membership)

    def _gone(self, membership: Membership | None) -> None:
        if membership is not None:
            membership.listening.remove(None)
            self.direct(membership)
        else:
            self.listening.remove(None)
            self._direct_all()
            self._resume()

    def _resume(self) -> None:
        if self._reading is not None and not self.listening.is_full:
            self._reading.resume()
            for membership in tuple(self.unsettled):
                membership.settle()

    def stream_dropped(self, stream: PacketStream, packets: list[Packet]) -> None:
        """Count what the stream's overflow policy dropped, at the memberships it came through."""
        for packet in packets:
            membership = self._memberships.get(_key(packet))
            if membership is not None:
                membership.count_queue_drops(1)
            else:  # left or moved since
                self.dropped_later(1)

    def _direct_all(self) -> None:
        streams = self.streams
        self._shared_sink = self._fan_out(streams) if streams else None
        for membership in self._memberships.values():
            self.direct(membership)

    def _fan_out(self, streams: tuple[PacketStream, ...]) -> Callable[[list[Packet]], None]:
        """Return what hands each of `streams` a list of its own."""
        lost = self._unheard if len(streams) == 1 else _others_have_it
        first, *others = [stream.sink(lost) for stream in streams]
        every_tagged = all(stream.is_tagged for stream in streams)
        if not others and not every_tagged:
            return first
        tagged = Listening()
        for stream in streams if every_tagged else ():
            tagged.add(stream)

        def feed(batch: list[Packet]) -> None:
            if every_tagged:
                self._count_unwanted(batch, tagged.open())
            for sink in others:
                sink(list(batch))
            first(batch)

        return feed

    def _unheard(self, batch: list[Packet]) -> None:
        self.dropped_later(len(batch))

    def _count_unwanted(self, batch: list[Packet], streams: tuple[PacketStream, ...]) -> None:
        for packet in batch:
            if any(stream.matches(packet.flow) for stream in streams):
                continue
            membership = self._memberships.get(_key(packet))
            if membership is not None:
                membership.count_filtered(1)
            else:  # of an interface index that the membership has no longer
                self._past += Statistics(filtered=1)

    def _events_closed(self, stream: EventStream) -> None:
        self._events = tuple(one for one in self._events if one is not stream)

    def _check(self) -> None:
        if self._closed:
            raise StateError("the receiver is closed", "make a new one")


def _others_have_it(batch: list[Packet]) -> None:
    """Count nothing: the streams that are left have copies of their own."""


def _key(packet: Packet) -> Key:
    flow = packet.flow
    return flow.group, flow.port, flow.interface_index
