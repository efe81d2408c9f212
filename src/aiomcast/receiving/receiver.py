"""`Receiver`: memberships, what reads them, and the streams they feed."""

from __future__ import annotations

import errno
import socket
import warnings
from collections.abc import Iterable
from functools import partial
from typing import Self, TypeGuard, Unpack

from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    InterfaceGoneError,
    NoRouteError,
    NoSuchInterfaceError,
    RefusedError,
    StateError,
)
from ..loops.network import SystemNetwork
from ..reading.contract import Network, Reading
from ..rfc3678.limits import with_open_files
from ..streams.packet_stream import PacketBatches, PacketStream
from ..streams.pausing import pass_pause
from ..values.addresses import Address, check_port, group_address, split_zone
from ..values.capabilities import Capabilities
from ..values.closing import Closing
from ..values.events import EventKind
from ..values.filters import SourceFilter, Sources
from ..values.interface import ALL_INTERFACES, InterfacesLike
from ..values.options import OptionKeywords, Options
from ..values.packets import Packet
from ..values.shown import shown
from ..values.statistics import Statistics, Tally
from ..values.tags import TagKeywords, Tags
from .events import EventStream
from .joining import Joining
from .keeper import MembershipKeeper
from .manager import FilterManager
from .membership import Membership
from .silence import check_silence
from .sockets import Binding

__all__ = ["Receiver"]


class Receiver(Closing):
    """Receives multicast: join memberships, iterate over the packets of all of them.

    - `network`: where groups are joined. None is the system; `aiomcast.testing` has one in memory, a
      `feeds.Replay` is a capture, a `relay.JetStream` or `relay.RedisStreams` what relays have stored.
    - `heal`: whether memberships mend themselves when a carrier was lost and is back, when an interface was
      deleted and made again, or when the route by which an interface was chosen has moved. The events
      LOST, HEALED, MOVED and RENAMED tell of it. It costs nothing while nothing happens.
    - `silence`: seconds, for what no event shows, such as a switch that has forgotten. A membership that
      has flowed and is silent for so long, and for 8 times its mean gap, is SILENT. It is reported again,
      and once more after 1, 2, 4, ... 30 seconds. A source that merely pauses causes such reports, too.
      None is never.
    - The other keywords are those of `Options`.

    An async context manager, and an async iterable of the packets of all memberships. Packets wait in the
    kernel's buffer until somebody listens. Iterating takes from one default stream, made at first use,
    which goes on where it stopped; each membership's packets are in order of arrival.

    It belongs to the event loop it first joins in. Using it elsewhere is a StateError, and so is to wait
    for a packet while nothing is joined. A receiver that is dropped open closes, with a ResourceWarning.
    """

    def __init__(
        self,
        *,
        network: Network | None = None,
        heal: bool = True,
        silence: float | None = None,
        **options: Unpack[OptionKeywords],
    ) -> None:
        self._options = Options(**options)
        self._network: Network = SystemNetwork() if network is None else network
        self._heals = _is_heal(heal)
        self._keeper = MembershipKeeper(self, self._network, check_silence(silence, heal))
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
        """Return the membership that `packet` came through, None when that has been left.

        None as well, where it has left many interfaces since, for a packet that came in on one of the first.
        """
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
        wait: bool = False,
    ) -> Joining:
        """Join `group` on interfaces and let `sources` in: await it, or enter it with `async with`.

        From here on packets wait in the kernel's buffer until somebody listens.

        - `sources`: an iterable of addresses to include, a `SourceFilter`, or None for any source.
        - `interface`: a name, an index, one of its addresses, an `Interface`, or None for the interface that
          the routes to the sources lead by, else that to the group. Or an iterable of such (without None),
          or `ALL_INTERFACES`: that is one membership with one filter. Of a list, all are joined or none,
          and the error names the one that refused. With `ALL_INTERFACES` one that refuses is left out,
          with a FAILED event, and what comes and goes is followed (without healing by `refresh()`).
          Packets are in order on each.
        - `port`: with 0 the system chooses one, which `membership.port` tells.
        - `sock`: a bound socket, or its descriptor, that becomes the membership's first (see `open_socket`);
          `port` is its own then, or 0. It is closed with the membership, or by a join that is refused, and
          stays the caller's where it cannot be taken over. Further ones, for a long list or a change of
          mode, are opened on the same port.
        - `wait`: whether to wait where there is no such interface yet, or no route, or where the interface
          refuses for now, as IPv6 does below an MTU of 1280.

        On FreeBSD and macOS it waits until 250 ms after the last socket of this process has left the group
        there: before that a join is reported to nobody.

        A join that the system does not refuse, and that cannot work as things stand, is a RuntimeWarning
        and a DOUBTFUL event: the interface has no carrier, is a port of a bridge, and the like.

        Raises, and then nothing is joined:

        - AddressError for a wrong group or source. In the source-specific ranges any-source and EXCLUDE
          filters are wrong, too (RFC 4607).
        - FilterError for a source listed twice.
        - InterfaceError for an interface that is not there, for an empty list, where no interface can
          multicast, where the sources lie by several, and for the zone of another.
        - NoRouteError where no route leads to the sources or the group.
        - StateError when it is joined already on one of the interfaces, or the receiver is closed.
        - ArgumentError for a `sock` with more than one interface or with `wait`.
        - LimitError and other RefusedErrors when the system refuses.
        """
        if wait and sock is not None:
            raise ArgumentError("a socket that was handed over cannot wait", "leave sock or wait out")
        joining = self._join_when_there if wait else self._join
        if _are_listed(sources):
            sources = tuple(sources)  # to look at them more than once
        return Joining(joining(group, port, sources, interface, sock))

    async def _join_when_there(
        self,
        group: Address,
        port: int,
        sources: Sources,
        interface: InterfacesLike,
        sock: socket.socket | int | None,
    ) -> Membership:
        self._check()
        self._begin()  # before anything is looked at
        while True:
            try:
                return await self._join(group, port, sources, interface, sock)
            except (NoSuchInterfaceError, NoRouteError, InterfaceGoneError):
                pass
            except RefusedError as error:  # as Linux refuses IPv6 where the MTU leaves no room for it
                if error.errno != errno.EINVAL:
                    raise
            await self._keeper.mending.change()

    def _begin(self) -> Reading:
        """Have what reads, and what is told of interfaces: before these are looked at."""
        reading = self._reading
        if reading is None:
            reading = self._dispatcher.reading = self._reading = with_open_files(self._network.open)
            reading.follow_end(self._keeper.ended)
        if self._heals:
            self._keeper.mending.begin(reading)
        return reading

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
        reading = self._begin()
        indexes = [one.index for one in found]
        await pass_pause(lambda: self._network.join_wait(text, indexes), self._check)
        await reading.prepare(text, port)
        self._check()
        membership = Membership(
            self._keeper,
            self._network,
            reading,
            self._dispatcher,
            self._options,
            Binding(text, port, sock),
            found,
            is_on_all=is_on_all,
            is_by_route=interface is None and sock is None and not _has_zone(group, sources),
        )
        try:
            refusals = membership._establish(wanted)
            self._memberships[membership] = None
            self._keeper.mending.joined(membership)
            self._keeper.tightness.joined(membership, reading)
            membership._outlet.redirect()
            membership._tell_joined(refusals)
            self._keeper.mending.refused(membership, refusals)
            self._warn_of(membership)
        except BaseException:
            self._keeper.forget(membership)
            membership._abandon()
            raise
        return membership

    def _warn_of(self, membership: Membership) -> None:
        """Say why nothing can come, where that can be known. Of all interfaces some may well be idle."""
        if membership.filter.is_none or membership._presence.is_on_all:
            return
        for interface in membership.interfaces:
            look = partial(self._network.doubts, interface, membership.group, membership.filter)
            for doubt in with_open_files(look):
                said = f"{doubt.text}: {doubt.hint}"
                membership._tell(EventKind.DOUBTFUL, interface, cause=said)
                what = f"{membership.group} port {membership.port}"
                warnings.warn(f"nothing can come to {what}: {said}", RuntimeWarning, stacklevel=3)

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
        return self._keeper.telling.stream(self._dispatcher.new_future)

    @property
    def capabilities(self) -> Capabilities:
        """What the running system has of what a receiver makes use of, and so which guarantees are weaker.

        It is asked anew each time, some 0.1 ms. RefusedError when it gives no socket to ask.
        """
        return self._network.capabilities

    def statistics(self) -> Statistics:
        """Return the counters of all memberships, those that were left included."""
        return self._tally().statistics()

    def _tally(self) -> Tally:
        tally = Tally()
        self._count_rest(tally)
        for membership in self._memberships:
            membership._presence.count(tally)
        return tally

    def _count_rest(self, into: Tally) -> None:
        """Add the counters that are of none of the memberships."""
        shared = self._dispatcher
        into.add(self._keeper.of_left)
        into.queue_drops += shared.dropped_count
        into.filtered += shared.unwanted_count
        into.queued += shared.queued

    async def refresh(self) -> None:
        """Tell the network of all memberships once more: `Membership.refresh` for each, by one look.

        The first error that one of them raises, when all is done.
        """
        self._check()
        await self._keeper.refresh(self.memberships)

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
        self._keeper.mending.end()
        self._keeper.telling.end()
        reading, self._reading = self._reading, None
        self._dispatcher.reading = None
        if reading is not None:
            reading.close()
            await reading.closed()

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


def _are_listed(sources: Sources) -> TypeGuard[Iterable[Address]]:
    return isinstance(sources, Iterable) and not isinstance(sources, (SourceFilter, str, bytes))


def _has_zone(group: Address, sources: Sources) -> bool:
    listed = sources if _are_listed(sources) else ()
    return any(split_zone(one)[1] is not None for one in (group, *listed))


def _is_heal(given: bool) -> bool:
    if not isinstance(given, bool):
        raise ArgumentTypeError(f"heal {shown(given)}", "give True or False")
    return given
