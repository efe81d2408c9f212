"""`Membership`: one (group, port, interface) of a receiver, with its filter."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import StateError
from ..reading import Reader
from ..reading.lanes import Lanes
from ..rfc3678.limits import with_open_files
from ..streams.streams import PacketBatches, PacketStream
from ..system.interfaces import find_interface
from ..values import filters
from ..values.addresses import Address
from ..values.events import EventKind
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface
from ..values.packets import Channel, Packet
from .manager import Change, Pending, make_all
from .member_sockets import MemberSockets

if TYPE_CHECKING:
    from .receiver import Receiver

__all__ = ["Membership"]


class Membership(MemberSockets):
    """A group and port on an interface, and which sources are let in. Made by `Receiver.join`.

    Iterating yields its packets (one default stream, made at first use, which goes on where
    it stopped); `packets()` and `batches()` make independent streams. An async context
    manager that leaves at the end.
    """

    __slots__ = ("_default", "_ended", "_is_counted", "_leaving")

    def __init__(self, receiver: Receiver, group: str, port: int, interface: Interface) -> None:
        super().__init__(receiver, group, port, interface)
        self._default: PacketStream | None = None
        self._ended = self._is_counted = False  # by the receiver, once it was left
        self._leaving: list[tuple[tuple[Reader, ...], Lanes | None]] | None = None

    def __repr__(self) -> str:
        state = "left" if self._ended else repr(self._filter)
        return f"<Membership {self.group} port {self.port} on {self.interface.name}: {state}>"

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
        found = with_open_files(lambda: find_interface(self.interface.name))
        if found.index == self.interface.index:
            self.ask_limit()
            if self.is_over_limit:  # what was left could not be joined again
                with_open_files(lambda: make_all([Change(self, self._filter)]))
            for reader in self.readers:
                reader.sock.rejoin()
        else:
            before = self.interface
            with_open_files(lambda: self.move(found))
            self._receiver.moved(self, before)
        self.announce(EventKind.REFRESHED)

    # Listening

    def packets(self, *, source: Address | None = None, channel: Channel | None = None) -> PacketStream:
        """Return a new stream of this membership's packets, of one `source` or `channel` if given."""
        self._check()
        stream = self._receiver.new_stream(self, source=source, channel=channel)
        self.listening.add(stream)
        self._receiver.direct(self)
        return stream

    def batches(self, *, source: Address | None = None, channel: Channel | None = None) -> PacketBatches:
        """Return a new stream like `packets()` that yields lists of packets."""
        return self.packets(source=source, channel=channel).batches()

    def __aiter__(self) -> PacketStream:
        if self._default is None:
            self._default = self.packets()
        return self._default

    # Ending

    async def leave(self) -> None:
        """Leave the group and close. What is queued can still be taken. StateError if left already."""
        self._check()
        try:
            self.end()
            self._receiver.forget(self)  # not before: what is handed over at the end is still counted here
        except BaseException:  # a signal handler raised: no half of it is to stay
            self.end()
            self._receiver.forget(self)
            raise

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
        make_all([Change(self, wanted)])

    def end(self) -> None:
        """Leave, hand over what can be, close the sockets, end the streams."""
        self._ended = True
        if self._leaving is None:
            self._leaving = self._all_apart()
        self._stop()
        while self._leaving:
            self.retire(*self._leaving[0])
            del self._leaving[0]
        for stream in self.streams:
            stream.end()
        if not self._is_counted:
            self._is_counted = True
            self._receiver.ended(self)
        self.announce(EventKind.LEFT)

    def stream_full(self, stream: PacketStream) -> None:
        """Stop reading for this membership."""
        self.listening.fill(stream)
        self._receiver.direct(self)

    def stream_relaxed(self, stream: PacketStream) -> None:
        """Go on reading unless another stream is full."""
        self.listening.relax(stream)
        self._receiver.direct(self)

    def stream_closed(self, stream: PacketStream) -> None:
        """Hand it nothing more."""
        self.listening.remove(stream)
        self.closed_streams.add(stream)
        self._receiver.direct(self)

    def stream_gone(self) -> None:
        """Do without it from the next loop turn on."""
        self._receiver.do_without(self)

    def stream_dropped(self, stream: PacketStream, packets: list[Packet]) -> None:
        """Count what the stream's overflow policy dropped, or what nobody can take any more."""
        self._queue_drops += len(packets)
        if self._is_counted:
            self._receiver.dropped_later(len(packets))

    def _check(self) -> None:
        if self._ended:
            raise StateError(f"{self!r} was left", "join again")
