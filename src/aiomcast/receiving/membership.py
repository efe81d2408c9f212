"""`Membership`: one (group, port) of a receiver on one interface or several, with one filter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self, Unpack

from ..diagnosis.diagnose import check_seconds
from ..diagnosis.verdicts import Diagnosis, Verdict
from ..errors import AddressError, MulticastError, RefusedError, StateError
from ..reading.contract import Network, Reading
from ..streams.dispatcher import Dispatcher
from ..streams.outlet import Key, Outlet
from ..streams.packet_stream import PacketBatches, PacketStream
from ..streams.pausing import pass_pause
from ..values import filters
from ..values.addresses import Address
from ..values.events import EventKind
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface
from ..values.lookup import check_source_zones, filter_on
from ..values.options import Options
from ..values.statistics import SourceStatistics, Statistics
from ..values.tags import TagKeywords, Tags
from .changes import Pending, Wanted, make_all
from .diagnosing import diagnose
from .presence import Presence
from .shards import Shards
from .sockets import Binding

__all__ = ["Keeper", "Membership", "without_lost"]


_SWAPPED = EventKind.SWAPPED  # looked up for every swap


class Keeper(Protocol):
    """What a membership tells whoever has it."""

    @property
    def heals(self) -> bool:
        """Whether what is lost is mended."""

    def waits(self) -> None:
        """A filter is to be held as soon as what is lost is mended."""

    @property
    def is_heard(self) -> Callable[[EventKind], bool]:
        """Say whether anybody is told of an event of this kind."""

    def tell(
        self,
        membership: Membership,
        kind: EventKind,
        interface: Interface | None = None,
        *,
        error: Exception | None = None,
        count: int = 0,
        cause: str | None = None,
        seconds: float | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        """Something happened to it, on one interface or (None) on all it is on."""

    def dropped(self, membership: Membership, interface: Interface, count: int) -> None:
        """The kernel has dropped `count` datagrams more that came in on `interface`."""

    def check_free(self, membership: Membership, interface: Interface) -> None:
        """Raise a StateError where another membership has the same group and port on `interface`."""

    def tag(self, membership: Membership, interface: Interface) -> None:
        """It is on this interface from now on."""

    def untag(self, membership: Membership, keys: Iterable[Key]) -> None:
        """It is known by these no more."""

    def left(self, membership: Membership) -> None:
        """It has no sockets any more. Called again where that was interrupted."""

    def swapped(self, membership: Membership) -> None:
        """It follows the route, and lets others in."""

    async def refresh(self, memberships: Sequence[Membership]) -> None:
        """Join these anew, and find out which interfaces there are."""


class Membership:
    """A group and port on one interface or several, and which sources are let in. Made by `Receiver.join`.

    On several it has one filter, in force on all of them, and one set of counters; packets are told
    apart by `interface_index`, and are in order of arrival on each. Where a socket of one interface
    reports an error, streams go on as long as another one receives.

    Iterating yields its packets (one default stream, made at first use, which goes on where
    it stopped); `packets()` and `batches()` make independent streams. An async context
    manager that leaves at the end. StateError in another thread, or another event loop, than it
    was joined in.
    """

    __slots__ = (
        "__weakref__",
        "_default",
        "_dispatcher",
        "_has_left",
        "_is_ended",
        "_keeper",
        "_options",
        "_outlet",
        "_presence",
        "_reading",
    )

    def __init__(
        self,
        keeper: Keeper,
        network: Network,
        reading: Reading,
        dispatcher: Dispatcher,
        options: Options,
        binding: Binding,
        interfaces: Iterable[Interface],
        *,
        is_on_all: bool,
        is_by_route: bool,
    ) -> None:
        self._keeper = keeper
        self._reading = reading
        self._dispatcher = dispatcher
        self._options = options
        self._outlet: Outlet = dispatcher.open(options.by_source)
        self._presence = Presence(
            network,
            reading,
            options,
            binding,
            self._outlet,
            _Owner(self),
            interfaces,
            is_on_all=is_on_all,
            is_by_route=is_by_route,
        )
        self._default: PacketStream | None = None
        self._is_ended = self._has_left = False

    def __repr__(self) -> str:
        state = "left" if self._is_ended else repr(self.filter)
        on = ", ".join(one.name for one in self.interfaces)
        return f"<Membership {self.group} port {self.port} on {on}: {state}>"

    @property
    def group(self) -> str:
        """The group, as canonical text."""
        return self._presence.binding.group

    @property
    def port(self) -> int:
        """The UDP port: the one that the system chose, where it was to."""
        return self._presence.binding.port

    @property
    def interface(self) -> Interface:
        """The interface it is joined on, the first where there are several."""
        return self._presence.shards[0].interface

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces it is joined on, one at least: in the order given, those of ALL_INTERFACES by index.

        After `leave` those it was joined on.
        """
        return self._presence.interfaces()

    @property
    def filter(self) -> SourceFilter:
        """The filter in force, on every interface."""
        return self._presence.filter

    def statistics(self) -> Statistics:
        """Return the counters of this membership, over all interfaces it is or was on.

        They stay readable after `leave`.
        """
        return self._presence.statistics()

    def statistics_by_source(self) -> Mapping[str | None, SourceStatistics]:
        """Return what has come from each source, by its address: for a receiver with `by_source=True`.

        Beyond 4,096 sources the others are counted together, as None. StateError where it was not
        asked for. They stay readable after `leave`.
        """
        if self._outlet.by_source is None:
            raise StateError("nothing is counted by source", "make the receiver with by_source=True")
        return self._outlet.by_source.statistics()

    # Changing the filter

    async def swap(self, sources: Sources, pending: Pending = "discard") -> None:
        """Let `sources` in from now on: `FilterManager.swap` for this membership."""
        self._check()
        wanted = self._filter_for(sources)
        waiting: Sequence[Shards] = ()
        try:
            if not self._presence.change_straight(wanted, pending):
                await self._change_after_pause(wanted, pending)
        except RefusedError:
            waiting = without_lost({self: wanted}, pending)[self]
        self._tell_swapped(waiting)

    async def _change_after_pause(self, wanted: SourceFilter, pending: Pending) -> None:
        await pass_pause(lambda: self._presence.join_wait(wanted), self._check)
        self._presence.change(wanted, pending)

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
        await pass_pause(lambda: self._presence.join_wait(SourceFilter.any()), self._check)
        wanted = change(self.filter, self.group, source)
        check_source_zones([source], self.interfaces)
        await self.swap(wanted)

    def kernel_filter(self) -> SourceFilter:
        """Return what the kernel reports for this membership: its sockets united, on every interface.

        It equals `filter`, but for an EXCLUDE list longer than the kernel's limit, of which
        the kernel holds a part and the reader refuses the rest. StateError after `leave`.

        This is what the sockets believe (getsockopt(2)); what the device does is `on_device`.
        """
        self._check()
        return self._presence.kernel_filter()

    def on_device(self) -> Mapping[str, bool | None]:
        """Return, by the name of each interface, whether it is itself a member of the group.

        It is what decides if packets come in and the network is told: a socket goes on believing to be a
        member where the interface has lost the group, as when it was made anew. It does not tell by which
        sources, nor what a switch or router knows. None where the system does not tell. A filter that lets
        nothing in is no membership. StateError after `leave`, RefusedError when the system refuses.
        """
        self._check()
        return self._presence.on_device()

    async def refresh(self) -> None:
        """Tell the network of this membership once more: leave and join again, same filter.

        Heals what the kernel or the routers have forgotten, after a carrier loss or when the
        interface was made anew under its name (its new index is looked up). A packet may be
        lost in between. InterfaceError when there is no such interface now, RefusedError when
        the system refuses; the membership then stays as it is.

        On several interfaces each is REFRESHED by itself, and it finds out which there are. With
        `ALL_INTERFACES` those that have come are JOINED, and those that have gone are LEFT. Of a list
        one that is gone is FAILED and is not joined any more; it is JOINED again by the first refresh
        that finds its name. An interface that refuses is FAILED. What had come in on one that is gone
        is still delivered, and counted. It raises only where no interface is left or none complies.
        """
        self._check()
        await self._keeper.refresh([self])

    async def diagnose(self, *, seconds: float = 3.0, probe: bool = False) -> Diagnosis:
        """Return why nothing comes to this membership, or that it does: `aiomcast.diagnose` for it.

        It looks for `seconds` at its own counters and sockets, and takes nothing from its streams. With
        `probe` one empty datagram comes to it where it lets this host itself in. On several interfaces it
        is about one on which packets come, else one on which a cause is seen, else the first.

        StateError after `leave` and where no source is let in, ArgumentError for wrong `seconds`,
        UnsupportedError for a network in memory.
        """
        self._check()
        window = partial(asyncio.sleep, check_seconds(seconds))
        return await diagnose(self._presence.network, self._presence, window, probe=probe)

    # Listening

    def packets(self, **tags: Unpack[TagKeywords]) -> PacketStream:
        """Return a new stream of this membership's packets, or of those with the given tags.

        The tags are those of `Tags`: `source`, `group`, `channel`. AddressError for a group that is
        not this one, StateError after `leave`.
        """
        self._check()
        wanted = Tags(**tags)
        for group in (wanted.group, wanted.channel and wanted.channel.group):
            if group is not None and group != self.group:
                raise AddressError(f"packets to {group} do not come here", f"this is {self.group}")
        return self._dispatcher.stream(self, self._options, wanted, self._outlet)

    def batches(self, **tags: Unpack[TagKeywords]) -> PacketBatches:
        """Return a new stream like `packets()` that yields lists of packets: the fastest way."""
        return self.packets(**tags).batches()

    def __aiter__(self) -> PacketStream:
        if self._default is None:
            if not self._is_ended:
                self._check()
            self._default = self._dispatcher.stream(self, self._options, Tags(), self._outlet, default=True)
            if self._is_ended:
                self._default._end()
        return self._default

    # Ending

    async def leave(self) -> None:
        """Leave the group and close. What is queued can still be received. Leaving twice is fine."""
        if self._has_left:
            return
        self._reading.check()
        try:
            self._leave()
        except BaseException:  # a signal handler raised: no half of it is to stay
            self._leave()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave()

    # For the receiver and the filter manager

    @property
    def _keys(self) -> Iterable[Key]:
        """How its packets are tagged, and were on interfaces it is no longer on."""
        return self._outlet.keys

    @property
    def _indexes(self) -> tuple[int, ...]:
        """The interfaces it is on now."""
        return tuple(interface.index for interface in self.interfaces)

    def _establish(self, wanted: SourceFilter) -> list[tuple[Interface, MulticastError]]:
        """Make the first filter hold, or raise with nothing joined; return what was left out for refusing."""
        return self._presence.establish(wanted)

    def _tell_joined(self, refusals: list[tuple[Interface, MulticastError]]) -> None:
        self._tell(EventKind.JOINED)
        self._tell_refusals(refusals)

    def _tell_refusals(self, refusals: list[tuple[Interface, MulticastError]]) -> None:
        for interface, error in refusals:
            self._tell(EventKind.FAILED, interface, error)

    def _tell_swapped(self, waiting: Sequence[Shards]) -> None:
        if self._presence.is_by_route:
            self._keeper.swapped(self)
        if self._keeper.is_heard(_SWAPPED):
            if len(waiting) < len(self._presence.shards):
                self._keeper.tell(self, _SWAPPED)
            for shards in waiting:
                self._keeper.tell(self, _SWAPPED, shards.interface, cause="lost")

    def _filter_for(self, sources: Sources) -> SourceFilter:
        """Return the filter that `sources` means here. See `filter_on`."""
        return filter_on(self._presence.binding.group, sources, self._presence.interfaces)

    def _changes(self, wanted: SourceFilter) -> list[Wanted]:
        """Return what is to be changed, on each interface."""
        return self._presence.changes(wanted)

    def _abandon(self) -> None:
        """Close everything of a membership that did not come to be."""
        self._is_ended = self._has_left = True
        self._presence.abandon()
        self._dispatcher.close(self._outlet)

    def _leave(self) -> None:
        """Leave, hand over what can be, close the sockets, end the streams. Can be gone through again."""
        self._is_ended = True
        self._presence.end()
        self._dispatcher.close(self._outlet)
        self._keeper.left(self)
        if not self._has_left:
            self._has_left = True
            self._tell(EventKind.LEFT)

    def _tell(
        self,
        kind: EventKind,
        interface: Interface | None = None,
        error: Exception | None = None,
        *,
        cause: str | None = None,
        seconds: float | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        if self._keeper.is_heard(kind):
            told = self._keeper.tell
            told(self, kind, interface, error=error, cause=cause, seconds=seconds, verdict=verdict)

    def _check(self) -> None:
        if self._is_ended:
            raise StateError(f"{self!r} was left", "join again")
        self._reading.check()


def without_lost(
    wanted: Mapping[Membership, SourceFilter], pending: Pending
) -> Mapping[Membership, Sequence[Shards]]:
    """Change the filters of all these memberships, now that one was refused; return what waits for that.

    What is lost on an interface, and is to be mended, is not asked: nothing comes there, and it is joined
    again with the filter in force then. Where nothing is lost the refusal that is being handled is raised.
    """
    lost = {one: one._presence.unjoined() for one in wanted if one._keeper.heals}
    if not any(lost.values()):
        raise
    changes = [change for one, to in wanted.items() for change in one._presence.changes(to, lost[one])]
    make_all(changes, pending)
    for membership, waiting in lost.items():
        for shards in waiting:
            shards.go_ahead(wanted[membership], shards.time_ns() if pending == "deliver" else None)
        if waiting:
            membership._keeper.waits()
    return lost


class _Owner:
    """What its interfaces ask and tell. See `presence.Owner`."""

    __slots__ = ("_membership",)

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def check_free(self, interface: Interface) -> None:
        """Ask the receiver."""
        self._membership._keeper.check_free(self._membership, interface)

    def tag(self, interface: Interface) -> None:
        """Tell the receiver and the dispatcher."""
        membership = self._membership
        membership._dispatcher.tagged_also(self._key(interface), membership._outlet)
        membership._keeper.tag(membership, interface)

    def untag(self, interface: Interface) -> None:
        """Tell them, too."""
        membership = self._membership
        forgotten = membership._dispatcher.untagged(self._key(interface), membership._outlet)
        membership._keeper.untag(membership, forgotten)

    def tell(
        self,
        kind: EventKind,
        interface: Interface,
        error: MulticastError | None = None,
        *,
        cause: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Make it an event."""
        self._membership._tell(kind, interface, error, cause=cause, seconds=seconds)

    def lost(self, interface: Interface, count: int) -> None:
        """Have it made an event."""
        self._membership._keeper.dropped(self._membership, interface, count)

    def _key(self, interface: Interface) -> Key:
        return self._membership.group, self._membership.port, interface.index
