"""`Membership`: one (group, port, interface) of a receiver, with its filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self, Unpack

from ..errors import AddressError, RefusedError, StateError
from ..reading.contract import Network, Reader, Reading
from ..rfc3678.limits import with_open_files
from ..streams.dispatcher import Dispatcher, Key, Outlet
from ..streams.packet_stream import PacketBatches, PacketStream
from ..values import filters
from ..values.addresses import Address
from ..values.events import EventKind
from ..values.filters import SourceFilter, Sources, filter_for
from ..values.interface import Interface
from ..values.options import Options
from ..values.statistics import SourceStatistics, Statistics
from ..values.tags import TagKeywords, Tags
from .changes import Change, Pending, make_all
from .shards import Shards

__all__ = ["Keeper", "Membership"]


class Keeper(Protocol):
    """What a membership tells whoever has it."""

    @property
    def is_heard(self) -> Callable[[EventKind], bool]:
        """Say whether anybody is told of an event of this kind."""

    def tell(
        self,
        membership: Membership,
        kind: EventKind,
        *,
        error: Exception | None = None,
        count: int = 0,
    ) -> None:
        """Something happened to it."""

    def dropped(self, membership: Membership, count: int) -> None:
        """The kernel has dropped `count` datagrams more."""

    def moved(self, membership: Membership, before: Key) -> None:
        """It is on another interface index now."""

    def left(self, membership: Membership) -> None:
        """It has no sockets any more. Called again where that was interrupted."""


class Membership:
    """A group and port on an interface, and which sources are let in. Made by `Receiver.join`.

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
        "_key",
        "_leaving",
        "_network",
        "_options",
        "_outlet",
        "_reading",
        "_shards",
    )

    def __init__(
        self,
        keeper: Keeper,
        network: Network,
        reading: Reading,
        dispatcher: Dispatcher,
        options: Options,
        group: str,
        port: int,
        interface: Interface,
    ) -> None:
        self._keeper = keeper
        self._network = network
        self._reading = reading
        self._dispatcher = dispatcher
        self._options = options
        self._key: Key = (group, port, interface.index)
        self._outlet: Outlet = dispatcher.open((group, port, interface.index), options.by_source)
        self._shards = Shards(network, reading, options, group, port, interface, self._outlet, _Told(self))
        self._default: PacketStream | None = None
        self._is_ended = self._has_left = False
        self._leaving: list[tuple[Reader, ...]] | None = None

    def __repr__(self) -> str:
        state = "left" if self._is_ended else repr(self.filter)
        return f"<Membership {self.group} port {self.port} on {self.interface.name}: {state}>"

    @property
    def group(self) -> str:
        """The group, as canonical text."""
        return self._shards.group

    @property
    def port(self) -> int:
        """The UDP port."""
        return self._shards.port

    @property
    def interface(self) -> Interface:
        """The interface it is joined on."""
        return self._shards.interface

    @property
    def filter(self) -> SourceFilter:
        """The filter in force."""
        return self._shards.filter

    def statistics(self) -> Statistics:
        """Return the counters of this membership; they stay readable after `leave`."""
        return self._shards.statistics()

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
        wanted = filter_for(self.group, sources)
        make_all([Change(self._shards, wanted)], pending)
        self._tell(EventKind.SWAPPED)

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
        await self.swap(change(self.filter, self.group, source))

    def kernel_filter(self) -> SourceFilter:
        """Return what the kernel reports for this membership, its sockets united.

        It equals `filter`, but for an EXCLUDE list longer than the kernel's limit, of which
        the kernel holds a part and the reader refuses the rest. StateError after `leave`.
        """
        self._check()
        return self._shards.kernel_filter()

    async def refresh(self) -> None:
        """Tell the network of this membership once more: leave and join again, same filter.

        Heals what the kernel or the routers have forgotten, after a carrier loss or when the
        interface was made anew under its name (its new index is looked up). A packet may be
        lost in between. InterfaceError when there is no such interface now, RefusedError when
        the system refuses; the membership then stays as it is.
        """
        self._check()
        shards = self._shards
        found = with_open_files(lambda: self._network.find(self.interface.name))
        if found.index == self.interface.index:
            shards.ask_limit()
            if shards.is_over_limit:  # what was left could not be joined again
                with_open_files(lambda: make_all([Change(shards, self.filter)]))
            shards.rejoin()
        else:
            before = self._key
            with_open_files(lambda: shards.move(found))
            self._key = (self.group, self.port, found.index)
            self._dispatcher.tagged_also(self._key, self._outlet)
            self._keeper.moved(self, before)
        self._tell(EventKind.REFRESHED)

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
    def _keys(self) -> list[Key]:
        """The same with all interface indexes it ever had."""
        return [(self.group, self.port, index) for index in self._shards.indexes]

    def _establish(self, wanted: SourceFilter) -> None:
        """Make the first filter hold, or raise with nothing joined."""
        make_all([Change(self._shards, wanted)])

    def _abandon(self) -> None:
        """Close everything of a membership that did not come to be."""
        self._is_ended = self._has_left = True
        self._shards.abandon()
        self._dispatcher.close(self._outlet)

    def _leave(self) -> None:
        """Leave, hand over what can be, close the sockets, end the streams. Can be gone through again."""
        self._is_ended = True
        if self._leaving is None:
            self._leaving = self._shards.generations
        self._shards.stop()
        while self._leaving:
            self._shards.retire(self._leaving[0])
            del self._leaving[0]
        self._dispatcher.close(self._outlet)
        self._keeper.left(self)
        if not self._has_left:
            self._has_left = True
            self._tell(EventKind.LEFT)

    def _tell(self, kind: EventKind, error: Exception | None = None) -> None:
        if self._keeper.is_heard(kind):
            self._keeper.tell(self, kind, error=error)

    def _failed(self, error: RefusedError) -> None:
        """End what waits for this membership alone: the others have nothing to do with it."""
        self._outlet.fail(error)
        self._tell(EventKind.FAILED, error)

    def _check(self) -> None:
        if self._is_ended:
            raise StateError(f"{self!r} was left", "join again")
        self._reading.check()


class _Told:
    """What the sockets tell, for the membership."""

    __slots__ = ("_membership",)

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def failed(self, error: RefusedError) -> None:
        """See `sockets.Told`."""
        self._membership._failed(error)

    def lost(self, count: int) -> None:
        """See `sockets.Told`."""
        self._membership._keeper.dropped(self._membership, count)
