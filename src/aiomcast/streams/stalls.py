"""`Stalls`: which streams are full, not received from, and hold up another one."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar, final

from ..loops.in_loop import weakly
from .packet_stream import PacketStream

__all__ = ["Stalls"]

OutletT = TypeVar("OutletT")

_STALLED_AFTER: Final = 1.0  # seconds that a full stream is not received from while another one is awaited


@final
class Stalls(Generic[OutletT]):
    """Looks at full streams until they drain.

    `stalled` is called, once until it has drained, with a full stream that nobody receives from while
    another one of those that it has `held_up` is awaited, and with the outlet it is of, if it is of one.
    `call_later` calls after so many seconds; it returns False where there is nothing to call it.
    """

    def __init__(
        self,
        stalled: Callable[[PacketStream, OutletT | None], None],
        call_later: Callable[[float, Callable[[], None]], bool],
        held_up: Callable[[OutletT | None], Iterable[PacketStream]],
    ) -> None:
        self._stalled = stalled
        self._call_later = call_later
        self._held_up = held_up
        self._watched: weakref.WeakSet[PacketStream] = weakref.WeakSet()
        self._told: weakref.WeakSet[PacketStream] = weakref.WeakSet()  # of, and not drained since

    def watch(self, stream: PacketStream, outlet: OutletT | None) -> None:
        """Look after a full stream until it has drained."""
        if stream not in self._watched and self._look_later(weakref.ref(stream), outlet, stream._delivered):
            self._watched.add(stream)

    def drained(self, stream: PacketStream) -> None:
        """Tell of this stream once more when it is full the next time."""
        self._told.discard(stream)

    def _look_later(self, known: weakref.ref[PacketStream], outlet: OutletT | None, before: int) -> bool:
        look = weakly(self._look)  # a timer is not to keep alive what nobody holds
        return self._call_later(_STALLED_AFTER, lambda: look(known, outlet, before))

    def _look(self, known: weakref.ref[PacketStream], outlet: OutletT | None, before: int) -> None:
        stream = known()
        if stream is None or stream._is_gone:
            return
        if stream._ended or not stream._paused:
            self._watched.discard(stream)
            return
        stands = stream._delivered == before
        if stands and stream not in self._told and self._holds_up_one(stream, outlet):
            self._told.add(stream)
            self._stalled(stream, outlet)
        self._look_later(known, outlet, stream._delivered)

    def _holds_up_one(self, stream: PacketStream, outlet: OutletT | None) -> bool:
        """Whether another stream that a full one holds up is awaited."""
        return any(other._is_awaited for other in self._held_up(outlet) if other is not stream)
