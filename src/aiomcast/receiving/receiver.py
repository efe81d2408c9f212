"""`Receiver`: memberships, what reads them, and the streams they feed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Self, Unpack

import attrs

from ..errors import StateError
from ..loops.network import SystemNetwork
from ..reading.contract import Network, Reading
from ..rfc3678.limits import with_open_files
from ..streams.dispatcher import Dispatcher, Key, Outlet
from ..streams.packet_stream import PacketBatches, PacketStream
from ..values.addresses import Address, check_port, group_address
from ..values.closing import Closing
from ..values.events import EventKind
from ..values.filters import Sources
from ..values.interface import InterfaceLike
from ..values.options import OptionKeywords, Options
from ..values.packets import Packet
from ..values.statistics import Statistics
from ..values.tags import TagKeywords, Tags
from .events import Event, EventStream, Telling
from .joining import Joining
from .manager import FilterManager
from .membership import Membership

__all__ = ["Receiver"]

_BETWEEN_DROPS = 1.0  # seconds between two events of drops at one membership


class Receiver(Closing):
    """Receives multicast: join memberships, iterate over the packets of all of them.

    The keywords are those of `Options`. `network` is where groups are joined: None is the system,
    `aiomcast.testing` has one in memory. Packets wait in the kernel's buffer until somebody listens.

    An async context manager, and an async iterable of all packets in order of arrival per
    membership (one default stream, made at first use, which goes on where it stopped; to wait for a
    packet while nothing is joined is a StateError). Belongs to the event loop it first joins in:
    elsewhere it is a StateError. Whoever drops it open gets a ResourceWarning, and it closes.
    """

    def __init__(self, *, network: Network | None = None, **options: Unpack[OptionKeywords]) -> None:
        self._options = Options(**options)
        self._network: Network = SystemNetwork() if network is None else network
        self._keeper = _Keeper(self)
        self._memberships = self._keeper.memberships
        self._dispatcher = self._keeper.dispatcher
        self._filters = FilterManager(self._memberships)
        self._reading: Reading | None = None
        self._default: PacketStream | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{len(self._memberships)} memberships"
        return f"<Receiver: {state}>"

    @property
    def options(self) -> Options:
        """How its sockets are read, and what its streams hold."""
        return self._options

    @property
    def filters(self) -> FilterManager:
        """The filter manager: a mapping membership to filter, `swap` and `apply`."""
        return self._filters

    @property
    def memberships(self) -> tuple[Membership, ...]:
        """The memberships, in the order they were joined."""
        return tuple(self._memberships.values())

    def membership_of(self, packet: Packet) -> Membership | None:
        """Return the membership that `packet` came through, None when that has been left."""
        flow = packet.flow
        return self._keeper.known.get((flow.group, flow.port, flow.interface_index))

    def join(
        self,
        group: Address,
        port: int,
        *,
        sources: Sources = None,
        interface: InterfaceLike = None,
    ) -> Joining:
        """Join `group` on an interface and let `sources` in: await it, or enter it with `async with`.

        `sources` is an iterable of addresses to include, a `SourceFilter`, or None for any
        source; `interface` a name, an index, one of its addresses, an `Interface`, or None for
        the interface of the route to the first source, else to the group. From here on packets
        wait in the kernel's buffer until somebody listens.

        Raises AddressError for a wrong group or source (in the source-specific
        ranges also for any-source and EXCLUDE filters: RFC 4607), FilterError for a source
        listed twice, InterfaceError, NoRouteError, StateError when it is joined already or the
        receiver is closed, LimitError and other RefusedErrors when the system refuses. Nothing
        is joined then.
        """
        return Joining(self._join(group, port, sources, interface))

    async def _join(
        self, group: Address, port: int, sources: Sources, interface: InterfaceLike
    ) -> Membership:
        self._check()
        text = group_address(group)
        check_port(port)
        wanted, found = with_open_files(lambda: self._network.place(group, sources, interface))
        key = (text, port, found.index)
        if key in self._memberships:
            raise StateError(
                f"{text} port {port} is joined already on {found.name}", "swap its sources instead"
            )
        reading = self._reading
        if reading is None:
            reading = self._dispatcher.reading = self._reading = with_open_files(self._network.open)
        membership = Membership(
            self._keeper, self._network, reading, self._dispatcher, self._options, text, port, found
        )
        try:
            with_open_files(lambda: membership._establish(wanted))
            self._memberships[key] = self._keeper.known[key] = membership
            membership._outlet.redirect()
            membership._tell(EventKind.JOINED)
        except BaseException:
            self._keeper.forget(membership)
            membership._abandon()
            raise
        return membership

    def packets(self, **tags: Unpack[TagKeywords]) -> PacketStream:
        """Return a new stream with a copy of all packets, or those with the given tags.

        The tags are those of `Tags`: `source`, `group`, `channel`. StateError when closed.
        """
        self._check()
        return self._dispatcher.stream(self, self._options, Tags(**tags))

    def batches(self, **tags: Unpack[TagKeywords]) -> PacketBatches:
        """Return a new stream like `packets()` that yields lists of packets: the fastest way."""
        return self.packets(**tags).batches()

    def __aiter__(self) -> PacketStream:
        if self._default is None:
            if not self._is_closed:
                self._check()
            self._default = self._dispatcher.stream(self, self._options, Tags(), default=True)
            if self._is_closed:
                self._default._end()
        return self._default

    def events(self) -> EventStream:
        """Return a new stream of what happens to the memberships from now on."""
        self._check()
        return self._keeper.telling.stream(self._dispatcher.check_loop)

    def statistics(self) -> Statistics:
        """Return the counters of all memberships, those that were left included."""
        shared = self._dispatcher
        total = self._keeper.of_left + Statistics(
            queue_drops=shared.dropped_count, filtered=shared.unwanted_count, queued=shared.queued
        )
        for membership in self._memberships.values():
            total += membership.statistics()
        return total

    async def aclose(self) -> None:
        """Leave everything. Iterations end after what is queued. Closing twice is fine."""
        if self._is_closed:
            return
        for membership in self.memberships:
            await membership.leave()
        if self._reading is not None:
            self._reading.check()
        self._is_closed = True
        self._dispatcher.end()
        self._keeper.telling.end()
        if self._reading is not None:
            self._reading.close()
            self._reading = self._dispatcher.reading = None

    async def __aenter__(self) -> Self:
        self._check()
        return self

    def __del__(self) -> None:
        reading: Reading | None = getattr(self, "_reading", None)
        if reading is not None:
            reading.abandon()
            warnings.warn(
                f"{self!r} was never closed: use `async with`, or aclose()", ResourceWarning, 2, source=self
            )

    def _check(self) -> None:
        if self._is_closed:
            raise StateError("the receiver is closed", "make a new one")
        if self._reading is not None:
            self._reading.check()


class _Keeper:
    """What memberships tell, and what becomes of it. See `membership.Keeper`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver  # alive while a membership, or a stream of one, is
        self.memberships: dict[Key, Membership] = {}
        self.known: dict[Key, Membership] = {}
        """The same, and under the interface indexes they had before."""
        self.dispatcher: Dispatcher = Dispatcher(self._stalled)
        self.telling: Telling = Telling()
        self.is_heard: Callable[[EventKind], bool] = self.telling.is_heard
        self.of_left: Statistics = Statistics()
        self._drops: dict[Membership, int] = {}  # not told yet

    def tell(
        self,
        membership: Membership,
        kind: EventKind,
        *,
        error: Exception | None = None,
        count: int = 0,
        stream: PacketStream | None = None,
    ) -> None:
        """Make it an event, where somebody hears it."""
        if not self.telling.is_heard(kind):
            return
        where = (membership.group, membership.port, membership.interface.name)
        self.telling.tell(Event(kind, *where, membership.filter, error, membership, stream, count))

    def dropped(self, membership: Membership, count: int) -> None:
        """Tell of drops in the loop's next turn, and then not more often than can be read."""
        waits = membership in self._drops
        self._drops[membership] = self._drops.get(membership, 0) + count
        if not waits and self.dispatcher.reading is not None:
            self.dispatcher.reading.call_soon(lambda: self._tell_drops(membership))

    def _tell_drops(self, membership: Membership) -> None:
        count = self._drops.pop(membership, 0)
        reading = self.dispatcher.reading
        if count and reading is not None:
            self._drops[membership] = 0
            reading.call_later(_BETWEEN_DROPS, lambda: self._tell_drops(membership))
            self.tell(membership, EventKind.DROPPED, count=count)

    def moved(self, membership: Membership, before: Key) -> None:
        """Know it under its new key too."""
        self.memberships.pop(before, None)
        self.memberships[membership._key] = self.known[membership._key] = membership

    def left(self, membership: Membership) -> None:
        """Keep its counters, once."""
        if self.memberships.get(membership._key) is membership:
            counted = attrs.evolve(membership.statistics(), queued=0)
            self.forget(membership)
            self.of_left += counted

    def forget(self, membership: Membership) -> None:
        """Know it no more."""
        for known in (self.memberships, self.known):
            for key in membership._keys:
                if known.get(key) is membership:
                    del known[key]

    def _stalled(self, stream: PacketStream, outlet: Outlet | None) -> None:
        for membership in self.memberships.values():
            if membership._outlet is outlet:
                self.tell(membership, EventKind.STALLED, stream=stream)
                return
        if self.telling.is_heard(EventKind.STALLED):
            self.telling.tell(Event(EventKind.STALLED, None, None, None, None, stream=stream))
