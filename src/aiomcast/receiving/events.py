"""What happens to memberships, as values that `Receiver.events()` yields."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import final

import attrs

from ..diagnosis.verdicts import Verdict
from ..streams.event_stream import Audience, EventQueue
from ..streams.packet_stream import PacketStream
from ..values.events import EventKind
from ..values.filters import SourceFilter
from ..values.sealed import sealed
from .membership import Membership

__all__ = ["Event", "EventStream", "Telling"]

_SWAPPED = EventKind.SWAPPED  # looked up for every swap
_log = logging.getLogger("aiomcast")
_WARNINGS = (
    EventKind.FAILED,
    EventKind.DROPPED,
    EventKind.STALLED,
    EventKind.LOST,
    EventKind.SILENT,
)


@final
@sealed
@attrs.frozen(slots=True)
class Event:
    """One thing that happened to `membership`, of (`group`, `port`, interface name).

    `interface` is the name of the one that it happened on; None where it concerns all that the membership
    is on, and these are several (`membership.interfaces`). `filter` is the filter in force after it.
    `error` is set when `kind` is FAILED, `count` when it is DROPPED: how many datagrams. `stream` is the
    full one when it is STALLED; where that is a stream of the whole receiver, membership, group, port,
    interface and filter are None.

    `cause` says of what becomes of an interface why: "carrier" (lost), "down" (set so), "gone", "made anew",
    "device" (it has lost the group by itself), "address" (its first one), "route", "silence", the name that
    it had of one that is RENAMED, a sentence of what is DOUBTFUL or TIGHT. It is "lost" of one that is
    SWAPPED and lost: the filter is held there once it is HEALED. `seconds` is how long what is HEALED was
    lost or silent for all that the receiver could know. `verdict` is the likely cause of what is SILENT, as
    far as a glance has shown one; `membership.diagnose()` looks longer.
    """

    kind: EventKind
    group: str | None
    port: int | None
    interface: str | None
    filter: SourceFilter | None
    error: Exception | None = None
    membership: Membership | None = None
    stream: PacketStream | None = None
    count: int = 0
    cause: str | None = None
    seconds: float | None = None
    verdict: Verdict | None = None

    def __str__(self) -> str:
        where = f"{self.group} port {self.port} on {self._on}" if self.group else "the whole receiver"
        match self.kind:
            case EventKind.FAILED:
                what = f": {self.error}"
            case EventKind.DROPPED:
                what = f": the kernel has dropped {self.count} datagrams at the socket"
            case EventKind.STALLED:
                what = f": nobody receives from {self.stream!r}, which is full and holds up others"
            case EventKind.RENAMED:
                what = f": it was {self.cause}"
            case EventKind.SILENT:
                likely = f"likely {self.verdict.text} ({self.verdict.remedy}): " if self.verdict else ""
                what = f": {self.cause}: {likely}aiomcast doctor {self.group} {self.port} tells why"
            case EventKind.HEALED if self.seconds is not None:
                what = f": {self.cause}, after {self.seconds:.3f} s"
            case EventKind.SWAPPED if self.cause is not None:
                what = f": {self.filter}, once it is healed"
            case _ if self.cause is not None:
                what = f": {self.cause}" + (f": {self.error}" if self.error else "")
            case EventKind.JOINED | EventKind.SWAPPED:
                what = f": {self.filter}"
            case _:
                what = ""
        return f"{self.kind.value} {where}{what}"

    @property
    def _on(self) -> str:
        if self.interface is not None or self.membership is None:
            return str(self.interface)
        return ", ".join(one.name for one in self.membership.interfaces)


class EventStream(EventQueue[Event]):
    """Events from the moment it was made; beyond 1,024 that nobody received, the oldest go.

    An async iterator and context manager, as a `PacketStream` is.
    """


@final
class Telling:
    """The event streams of a receiver, held weakly, and the log line for each event."""

    def __init__(self) -> None:
        self._audience: Audience[Event] = Audience()

    def stream(self, new_future: Callable[[], asyncio.Future[None]]) -> EventStream:
        """Return a new stream; `new_future` raises where it is awaited in vain."""
        opened = EventStream(new_future)
        self._audience.add(opened)
        return opened

    def is_heard(self, kind: EventKind) -> bool:
        """Whether anybody would be told of an event of this kind."""
        return bool(self._audience) or _log.isEnabledFor(_level(kind))

    def tell(self, event: Event) -> None:
        """Hand it to the streams, and to the log: as text, as a record is to hold nothing alive."""
        if _log.isEnabledFor(_level(event.kind)):
            _log.log(_level(event.kind), "%s", str(event))
        self._audience.tell(event)

    def end(self) -> None:
        """End the streams."""
        self._audience.end()


def _level(kind: EventKind) -> int:
    if kind is _SWAPPED:
        return logging.DEBUG
    return logging.WARNING if kind in _WARNINGS else logging.INFO
