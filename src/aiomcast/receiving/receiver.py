"""`Receiver`: memberships, what reads them, and the streams they feed."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Callable
from typing import Self, Unpack

import attrs

from ..errors import ArgumentError, StateError
from ..loops.network import SystemNetwork
from ..reading.contract import Network, Reading
from ..rfc3678.limits import with_open_files
from ..streams.dispatcher import Dispatcher, Key, Outlet
from ..streams.packet_stream import PacketBatches, PacketStream
from ..values.addresses import Address, check_port, group_address
from ..values.closing import Closing
from ..values.events import EventKind
from ..values.filters import Sources
from ..values.interface import ALL_INTERFACES, Interface, InterfacesLike
from ..values.options import OptionKeywords, Options
from ..values.packets import Packet
from ..values.statistics import Statistics
from ..values.tags import TagKeywords, Tags
from .events import Event, EventStream, Telling
from .joining import Joining
from .manager import FilterManager
from .membership import Membership
from .sockets import Binding

__all__ = ["Receiver"]

_BETWEEN_DROPS = 1.0  # seconds between two events of drops at one membership, on one interface


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
        return tuple(self._memberships)

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
        interface: InterfacesLike = None,
        sock: socket.socket | int | None = None,
    ) -> Joining:
        """Join `group` on interfaces and let `sources` in: await it, or enter it with `async with`.

        `sources` is an iterable of addresses to include, a `SourceFilter`, or None for any
        source; `interface` a name, an index, one of its addresses, an `Interface`, or None for
        the interface of the route to the first source, else to the group. From here on packets
        wait in the kernel's buffer until somebody listens.

        `interface` can also be an iterable of such (without None), or `ALL_INTERFACES`: that is one
        membership with one filter. Of a list, all are joined or none, and the error names the one
        that refused. With `ALL_INTERFACES` one that refuses is left out and told of as a FAILED
        event; `refresh()` follows what has come and gone since. Order is kept for each interface.

        `port` 0 has the system choose one, which `membership.port` tells. `sock` is a bound socket,
        or its descriptor, that becomes the membership's first (see `open_socket`); `port` is its own
        then, or 0. It is closed with the membership, or by a join that is refused, and stays the
        caller's where it cannot be taken over. Others that are needed beside it, for a long list or
        a change of mode, are opened on the same port.

        Raises AddressError for a wrong group or source (in the source-specific
        ranges also for any-source and EXCLUDE filters: RFC 4607), FilterError for a source
        listed twice, InterfaceError (also for an empty list, and where no interface can
        multicast), NoRouteError, StateError when it is joined already on one of the interfaces or
        the receiver is closed, ArgumentError for a `sock` with more than one interface, LimitError
        and other RefusedErrors when the system refuses. Nothing is joined then.
        """
        return Joining(self._join(group, port, sources, interface, sock))

    async def _join(
        self,
        group: Address,
        port: int,
        sources: Sources,
        interface: InterfacesLike,
        sock: socket.socket | int | None,
    ) -> Membership:
        self._check()
        text = group_address(group)
        check_port(port, lowest=0)
        wanted, found = with_open_files(lambda: self._network.place(group, sources, interface))
        is_on_all = interface is ALL_INTERFACES
        if sock is not None and (is_on_all or len(found) > 1):
            raise ArgumentError("one socket cannot be joined on several interfaces", "name one of them")
        reading = self._reading
        if reading is None:
            reading = self._dispatcher.reading = self._reading = with_open_files(self._network.open)
        membership = Membership(
            self._keeper,
            self._network,
            reading,
            self._dispatcher,
            self._options,
            Binding(text, port, sock),
            found,
            is_on_all,
        )
        try:
            refusals = membership._establish(wanted)
            self._memberships[membership] = None
            membership._outlet.redirect()
            membership._tell_joined(refusals)
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
        for membership in self._memberships:
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
    """What memberships ask and tell, and what becomes of it. See `membership.Keeper`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver  # alive while a membership, or a stream of one, is
        self.memberships: dict[Membership, None] = {}
        """Those that are joined, in that order."""
        self.known: dict[Key, Membership] = {}
        """The same by how their packets are tagged, and were on interfaces they are no longer on."""
        self.dispatcher: Dispatcher = Dispatcher(self._stalled)
        self.telling: Telling = Telling()
        self.is_heard: Callable[[EventKind], bool] = self.telling.is_heard
        self.of_left: Statistics = Statistics()
        self._drops: dict[tuple[Membership, str], int] = {}  # not told yet

    def tell(
        self,
        membership: Membership,
        kind: EventKind,
        interface: Interface | None = None,
        *,
        error: Exception | None = None,
        count: int = 0,
        stream: PacketStream | None = None,
    ) -> None:
        """Make it an event, where somebody hears it."""
        if not self.telling.is_heard(kind):
            return
        if interface is None and len(membership.interfaces) == 1:
            interface = membership.interface
        where = (membership.group, membership.port, None if interface is None else interface.name)
        self.telling.tell(Event(kind, *where, membership.filter, error, membership, stream, count))

    def dropped(self, membership: Membership, interface: Interface, count: int) -> None:
        """Tell of drops in the loop's next turn, and then not more often than can be read."""
        known = (membership, interface.name)
        waits = known in self._drops
        self._drops[known] = self._drops.get(known, 0) + count
        if not waits and self.dispatcher.reading is not None:
            self.dispatcher.reading.call_soon(lambda: self._tell_drops(membership, interface))

    def _tell_drops(self, membership: Membership, interface: Interface) -> None:
        known = (membership, interface.name)
        count = self._drops.pop(known, 0)
        reading = self.dispatcher.reading
        if count and reading is not None:
            self._drops[known] = 0
            reading.call_later(_BETWEEN_DROPS, lambda: self._tell_drops(membership, interface))
            self.tell(membership, EventKind.DROPPED, interface, count=count)

    def check_free(self, membership: Membership, interface: Interface) -> None:
        """Raise a StateError where another membership has the same group and port on `interface`."""
        group, port = membership.group, membership.port
        other = self.known.get((group, port, interface.index))
        if other is not None and other is not membership and interface.index in other._indexes:
            raise StateError(
                f"{group} port {port} is joined already on {interface.name}", "swap its sources instead"
            )

    def tag(self, membership: Membership, interface: Interface) -> None:
        """Know it by what comes in there."""
        self.known[membership.group, membership.port, interface.index] = membership

    def left(self, membership: Membership) -> None:
        """Keep its counters, once."""
        if membership in self.memberships:
            counted = attrs.evolve(membership.statistics(), queued=0)
            self.forget(membership)
            self.of_left += counted

    def forget(self, membership: Membership) -> None:
        """Know it no more."""
        for key in membership._keys:
            if self.known.get(key) is membership:
                del self.known[key]
        self.memberships.pop(membership, None)  # last: else nobody would come back where this was interrupted

    def _stalled(self, stream: PacketStream, outlet: Outlet | None) -> None:
        for membership in self.memberships:
            if membership._outlet is outlet:
                self.tell(membership, EventKind.STALLED, stream=stream)
                return
        if self.telling.is_heard(EventKind.STALLED):
            self.telling.tell(Event(EventKind.STALLED, None, None, None, None, stream=stream))
