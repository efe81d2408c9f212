"""`Outlet`: where the packets of one membership go, and what of them was counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias, final

from ..values import bounds
from ..values.filters import SourceFilter
from ..values.packets import Flow, Packet
from .by_source import SourceCounts
from .listening import Listening
from .packet_stream import PacketStream, Sink
from .stalls import Stalls

__all__ = ["Home", "Key", "Outlet", "key_of"]

Key: TypeAlias = tuple[str, int, int]
"""(group, port, interface index): what tells the memberships of one receiver apart."""


def key_of(flow: Flow) -> Key:
    """Return what tells the membership of a packet."""
    return flow.group, flow.port, flow.interface_index


class Home(Protocol):
    """The streams of the whole receiver, as its outlets know them. See `dispatcher.Dispatcher`."""

    listening: Listening
    finished: Listening
    shared_sink: Sink | None
    waiting: dict[Callable[[], None], None]
    dropped_count: int
    stalls: Stalls[Outlet]

    def fan_out(self, streams: tuple[PacketStream, ...]) -> Sink:
        """Return what hands each of `streams` a list of its own."""

    def new_future(self) -> asyncio.Future[None]:
        """Return a future of the receiver's event loop."""

    def later(self, call: Callable[[], None]) -> None:
        """Call in the next loop turn."""


@final
class Outlet:
    """Where the packets of one membership go: its own streams and those of the receiver.

    It has a follower for each interface: a call that is made when `sink`, `is_read` or `is_received`
    may be others than before.
    """

    __slots__ = (
        "__weakref__",
        "_drop",
        "_followers",
        "_home",
        "_left",
        "_most_left",
        "by_source",
        "dropped_count",
        "finished",
        "is_closed",
        "keys",
        "listening",
        "sink",
        "unwanted_count",
    )

    def __init__(self, home: Home, by_source: bool) -> None:
        self._home = home
        self.by_source: SourceCounts | None = SourceCounts() if by_source else None
        self._followers: tuple[Callable[[], None], ...] = ()
        self.is_closed: bool = False
        self._drop: Sink = self.dropped  # one object: whoever reads compares sinks
        self.keys: dict[Key, None] = {}
        """How its packets are tagged, and were: some may be queued still."""
        self._left: dict[Key, None] = {}  # of `keys`, those by which nothing is tagged any more
        self._most_left = bounds.INTERFACES_LEFT
        self.listening: Listening = Listening()
        self.finished: Listening = Listening()
        """Closed streams, with something queued still, and somebody who may receive it."""
        self.sink: Sink = self._drop
        """What batches are handed to."""
        self.dropped_count: int = 0
        self.unwanted_count: int = 0

    @property
    def is_read(self) -> bool:
        """Whether its sockets are to be read, unless all reading stands still."""
        return (bool(self.listening) or bool(self._home.listening)) and not self.listening.is_full

    @property
    def is_received(self) -> bool:
        """Whether what is read now gets into a stream: one listens, and none asks for a pause."""
        return self.is_read and not self._home.listening.is_full

    def follow(self, changed: Callable[[], None]) -> None:
        """Call `changed` from now on."""
        if changed not in self._followers:
            self._followers = (*self._followers, changed)

    def unfollow(self, changed: Callable[[], None]) -> None:
        """Call it no more."""
        self._home.waiting.pop(changed, None)
        self._followers = tuple(one for one in self._followers if one != changed)

    def wait(self, changed: Callable[[], None], waits: bool) -> None:
        """Call this follower also when all reading has stood still and goes on, or no longer."""
        if not waits:
            self._home.waiting.pop(changed, None)
        elif changed in self._followers:
            self._home.waiting[changed] = None

    def changed(self) -> None:
        """Tell the followers."""
        for changed in self._followers:
            changed()

    @property
    def queued(self) -> int:
        """How many packets wait in the streams of this membership alone."""
        return self.listening.queued + self.finished.queued

    def refuse(self, refused: Callable[[SourceFilter, Flow], bool], wanted: SourceFilter) -> None:
        """Drop what is queued anywhere of flows that are `refused` by `wanted`, and count it as unwanted."""
        own, shared = self.listening, self._home.listening
        ended, all_ended = self.finished, self._home.finished
        if not (own.streams or shared.streams or ended.streams or all_ended.streams):
            return  # at the cost of a look, for every swap
        for stream in self._streams():
            if len(stream):
                self.unwanted_count += stream._refuse(partial(refused, wanted))

    def fail(self, error: Exception) -> None:
        """Raise `error` in the iterations of this membership's own streams."""
        for stream in self.listening.open():
            stream._fail(error)

    def end(self, error: Exception | None = None) -> None:
        """End the iterations of this membership's own streams after what is queued, by `error` if any."""
        self.listening.end(error)

    def redirect(self) -> None:
        """Find out anew who gets its packets, and tell."""
        own = self.listening.open()
        shared = self._home.shared_sink
        if own:
            self.sink = self._home.fan_out((*own, *self._home.listening.open()))
        else:
            self.sink = shared or self._drop
        if self.by_source is not None:
            self.sink = self.by_source.counting(self.sink)
        self.changed()

    def tag(self, key: Key) -> None:
        """Have packets tagged with `key`."""
        self.keys[key] = None
        self._left.pop(key, None)

    def untag(self, key: Key) -> list[Key]:
        """Have nothing more tagged with `key`; return of what is so, what is not to be known any more.

        That is nothing at first: packets may be queued. Once there are many, the oldest of which none is.
        """
        if key in self.keys:
            self._left[key] = None
        if len(self._left) <= self._most_left:
            return []
        queued = self._queued_keys()
        old = list(self._left)[: -bounds.INTERFACES_LEFT // 2]
        forgotten = [one for one in old if one not in queued]
        for one in forgotten:
            self.forget(one)
        self._most_left = max(bounds.INTERFACES_LEFT, 2 * len(self._left))  # not to look each time
        return forgotten

    def forget(self, key: Key) -> None:
        """Know nothing of packets tagged with `key`."""
        self.keys.pop(key, None)
        self._left.pop(key, None)

    def _queued_keys(self) -> set[Key]:
        found: set[Key] = set()

        def note(flow: Flow) -> bool:
            found.add(key_of(flow))
            return False

        for stream in self._streams():
            stream._refuse(note)
        return found

    def _streams(self) -> list[PacketStream]:
        """Return all in which something of it may be queued."""
        home = self._home
        return [
            stream
            for listening in (self.listening, home.listening, self.finished, home.finished)
            for stream in listening.open()
        ]

    # What streams call

    def new_waiter(self) -> asyncio.Future[None]:
        """Return a future. StateError in another event loop than the receiver's."""
        return self._home.new_future()

    def full(self, stream: PacketStream) -> None:
        """Stop reading for this membership."""
        self.listening.fill(stream)
        self.changed()
        self._home.stalls.watch(stream, self)

    def relaxed(self, stream: PacketStream) -> None:
        """Go on reading unless another stream is full."""
        self._home.stalls.drained(stream)
        self.listening.relax(stream)
        self.changed()

    def closed(self, stream: PacketStream) -> None:
        """Hand it nothing more."""
        self.listening.remove(stream)
        self.finished.add(stream)
        self.redirect()

    def dropped(self, packets: list[Packet]) -> None:
        """Count what nobody receives."""
        self.dropped_count += len(packets)
        if self.is_closed:
            self._home.dropped_count += len(packets)

    def gone(self) -> None:
        """Do without it from the next loop turn on."""
        self._home.later(self._without_gone)

    def _without_gone(self) -> None:
        self.listening.remove(None)
        self.redirect()
