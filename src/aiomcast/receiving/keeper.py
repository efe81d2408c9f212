"""What memberships ask of whoever has them, and tell, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, final

from ..diagnosis.verdicts import Verdict
from ..errors import StateError
from ..reading.contract import Network
from ..streams.dispatcher import Dispatcher
from ..streams.outlet import Key, Outlet
from ..streams.packet_stream import PacketStream
from ..values.events import EventKind
from ..values.interface import Interface
from ..values.statistics import NOTHING, Statistics, Tally
from .events import Event, Telling
from .membership import Membership
from .mending import Mending
from .tightness import Tightness

__all__ = ["MembershipKeeper"]

_BETWEEN_DROPS: Final = 1.0  # seconds between two events of drops at one membership, on one interface


@final
class MembershipKeeper:
    """What memberships ask and tell, and what becomes of it. See `membership.Keeper`."""

    def __init__(self, receiver: object, network: Network, silence: float | None) -> None:
        self._receiver = receiver  # alive while a membership, or a stream of one, is
        self.memberships: dict[Membership, None] = {}
        """Those that are joined, in that order."""
        self.known: dict[Key, Membership] = {}
        """The same by how their packets are tagged, and were on interfaces they are no longer on."""
        self.dispatcher: Dispatcher = Dispatcher(self._stalled)
        self.telling: Telling = Telling()
        self.is_heard: Callable[[EventKind], bool] = self.telling.is_heard
        self.of_left: Statistics = NOTHING
        self.mending: Mending = Mending(network, self.memberships, silence)
        self.tightness: Tightness = Tightness(self.memberships)
        self._drops: dict[tuple[Membership, str], int] = {}  # not told yet

    @property
    def heals(self) -> bool:
        """Whether what is lost is mended."""
        return self.mending.is_on

    def waits(self) -> None:
        """Have it looked at soon."""
        self.mending.look_later()

    def tell(
        self,
        membership: Membership,
        kind: EventKind,
        interface: Interface | None = None,
        *,
        error: Exception | None = None,
        count: int = 0,
        stream: PacketStream | None = None,
        cause: str | None = None,
        seconds: float | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        """Make it an event, where somebody hears it."""
        if not self.telling.is_heard(kind):
            return
        if interface is None and len(membership.interfaces) == 1:
            interface = membership.interface
        where = (membership.group, membership.port, None if interface is None else interface.name)
        self.telling.tell(
            Event(kind, *where, membership.filter, error, membership, stream, count, cause, seconds, verdict)
        )

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
            self.tightness.dropped(membership)

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

    def untag(self, membership: Membership, keys: Iterable[Key]) -> None:
        """Know it by these no more."""
        for key in keys:
            if self.known.get(key) is membership:
                del self.known[key]

    def swapped(self, membership: Membership) -> None:
        """Look if the route to its sources is another."""
        self.mending.swapped(membership)

    def ended(self, error: Exception | None) -> None:
        """End the streams of what nothing more can come to, of the receiver once that is so of all.

        `error` is raised in their iterations, after what is queued.
        """
        are_over = [membership for membership in self.memberships if membership._presence.is_over]
        for membership in are_over:
            membership._outlet.end(error)
        if len(are_over) == len(self.memberships):
            self.dispatcher.end(error)

    async def refresh(self, memberships: Sequence[Membership]) -> None:
        """Join them anew."""
        await self.mending.refresh(memberships)

    def left(self, membership: Membership) -> None:
        """Keep its counters, once."""
        if membership in self.memberships:
            counted = Tally()
            membership._presence.count(counted)
            counted.queued = 0
            self.forget(membership)
            counted.add(self.of_left)
            self.of_left = counted.statistics()
        self.mending.left(membership)

    def forget(self, membership: Membership) -> None:
        """Know it no more."""
        self.untag(membership, membership._keys)
        self.memberships.pop(membership, None)  # last: else nobody would come back where this was interrupted

    def _stalled(self, stream: PacketStream, outlet: Outlet | None) -> None:
        for membership in self.memberships:
            if membership._outlet is outlet:
                self.tell(membership, EventKind.STALLED, stream=stream)
                return
        if self.telling.is_heard(EventKind.STALLED):
            self.telling.tell(Event(EventKind.STALLED, None, None, None, None, stream=stream))
