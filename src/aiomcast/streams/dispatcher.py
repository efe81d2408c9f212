"""Who gets what was read: streams of a receiver and of its memberships, and who stops the reading.

Every stream that wants a packet gets it, so the slowest one that may stop the reading decides how
fast is read: that is what PAUSE means. A stream of one membership stops that membership alone; one
of the whole receiver stops everything. Nobody is to be stopped by a stream that nobody holds any
more, so streams are held weakly and the batches go through weak references; and nobody is to be
stopped without a word by one that is held and not received from, so a full stream is looked at
until it drains, and told of when somebody else waits because of it.

What was read and is in no stream is counted, at the membership it came through: as a drop where
nobody listened, as filtered where those who listen had asked for other tags.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from functools import partial
from typing import TypeAlias, final

from ..errors import StateError
from ..loops.in_loop import weakly
from ..reading.contract import Reading
from ..values import bounds
from ..values.filters import SourceFilter
from ..values.options import Options
from ..values.packets import Flow, Packet
from ..values.tags import Tags
from .by_source import SourceCounts
from .listening import Listening
from .packet_stream import PacketStream, Sink

__all__ = ["Dispatcher", "Key", "Outlet"]

Key: TypeAlias = tuple[str, int, int]
"""(group, port, interface index): what tells the memberships of one receiver apart."""

_STALLED_AFTER = 1.0  # seconds that a full stream is not received from while another one is awaited


@final
class Outlet:
    """Where the packets of one membership go: its own streams and those of the receiver.

    It has a follower for each interface: a call that is made when `sink`, `is_read` or `is_received`
    may be others than before.
    """

    __slots__ = (
        "__weakref__",
        "_dispatcher",
        "_drop",
        "_followers",
        "_is_closed",
        "_left",
        "_most_left",
        "by_source",
        "dropped_count",
        "finished",
        "keys",
        "listening",
        "sink",
        "unwanted_count",
    )

    def __init__(self, dispatcher: Dispatcher, by_source: bool) -> None:
        self._dispatcher = dispatcher
        self.by_source: SourceCounts | None = SourceCounts() if by_source else None
        self._followers: tuple[Callable[[], None], ...] = ()
        self._is_closed = False
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
        return (bool(self.listening) or bool(self._dispatcher.listening)) and not self.listening.is_full

    @property
    def is_received(self) -> bool:
        """Whether what is read now gets into a stream: one listens, and none asks for a pause."""
        return self.is_read and not self._dispatcher.listening.is_full

    def follow(self, changed: Callable[[], None]) -> None:
        """Call `changed` from now on."""
        if changed not in self._followers:
            self._followers = (*self._followers, changed)

    def unfollow(self, changed: Callable[[], None]) -> None:
        """Call it no more."""
        self._dispatcher.waiting.pop(changed, None)
        self._followers = tuple(one for one in self._followers if one != changed)

    def wait(self, changed: Callable[[], None], waits: bool) -> None:
        """Call this follower also when all reading has stood still and goes on, or no longer."""
        if not waits:
            self._dispatcher.waiting.pop(changed, None)
        elif changed in self._followers:
            self._dispatcher.waiting[changed] = None

    def changed(self) -> None:
        """Tell the followers."""
        for changed in self._followers:
            changed()

    @property
    def queued(self) -> int:
        """How many packets wait in the streams of this membership alone."""
        return _queued(self.listening, self.finished)

    def refuse(self, refused: Callable[[SourceFilter, Flow], bool], wanted: SourceFilter) -> None:
        """Drop what is queued anywhere of flows that are `refused` by `wanted`, and count it as unwanted."""
        own, shared = self.listening, self._dispatcher.listening
        ended, all_ended = self.finished, self._dispatcher.finished
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
        _end(self.listening, error)

    def redirect(self) -> None:
        """Find out anew who gets its packets, and tell."""
        own = self.listening.open()
        shared = self._dispatcher.shared_sink
        if own:
            self.sink = self._dispatcher.fan_out((*own, *self._dispatcher.listening.open()))
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
            found.add(_key(flow))
            return False

        for stream in self._streams():
            stream._refuse(note)
        return found

    def _streams(self) -> list[PacketStream]:
        """Return all in which something of it may be queued."""
        home = self._dispatcher
        return [
            stream
            for listening in (self.listening, home.listening, self.finished, home.finished)
            for stream in listening.open()
        ]

    # What streams call

    def new_waiter(self) -> asyncio.Future[None]:
        """Return a future. StateError in another event loop than the receiver's."""
        return self._dispatcher.new_future()

    def full(self, stream: PacketStream) -> None:
        """Stop reading for this membership."""
        self.listening.fill(stream)
        self.changed()
        self._dispatcher.watch(stream, self)

    def relaxed(self, stream: PacketStream) -> None:
        """Go on reading unless another stream is full."""
        self._dispatcher.told.discard(stream)
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
        if self._is_closed:
            self._dispatcher.dropped_count += len(packets)

    def gone(self) -> None:
        """Do without it from the next loop turn on."""
        self._dispatcher.later(self._without_gone)

    def _without_gone(self) -> None:
        self.listening.remove(None)
        self.redirect()


@final
class Dispatcher:
    """The streams of a receiver, and the outlets of its memberships.

    `stalled` is called, once until it has drained, with a full stream that nobody receives from
    while another one that it holds up is awaited, and with the outlet it is of, if it is of one.
    """

    def __init__(self, stalled: Callable[[PacketStream, Outlet | None], None]) -> None:
        self.reading: Reading | None = None
        self.listening: Listening = Listening()
        self.finished: Listening = Listening()
        self.shared_sink: Sink | None = None
        self.waiting: dict[Callable[[], None], None] = {}
        """Followers of outlets that are told when all reading goes on."""
        self.dropped_count: int = 0
        self.unwanted_count: int = 0
        """Of memberships that have been left."""
        self._create_future: Callable[[], asyncio.Future[None]] | None = None
        self._stalled = stalled
        self._outlets: dict[Key, Outlet] = {}
        self._watched: weakref.WeakSet[PacketStream] = weakref.WeakSet()
        self.told: weakref.WeakSet[PacketStream] = weakref.WeakSet()  # of, and not drained since

    # Memberships

    def open(self, by_source: bool) -> Outlet:
        """Return a new outlet, which nothing is tagged for yet."""
        outlet = Outlet(self, by_source)
        outlet.redirect()
        return outlet

    def tagged_also(self, key: Key, outlet: Outlet) -> None:
        """Count what is tagged with `key` at `outlet` too, and at no other any more."""
        before = self._outlets.get(key)
        if before is not None and before is not outlet:
            before.forget(key)
        self._outlets[key] = outlet
        outlet.tag(key)

    def untagged(self, key: Key, outlet: Outlet) -> list[Key]:
        """Take note that nothing more will be tagged with `key`. See `Outlet.untag`."""
        forgotten = outlet.untag(key)
        for one in forgotten:
            del self._outlets[one]
        return forgotten

    def close(self, outlet: Outlet) -> None:
        """End the streams of a membership; what is queued in them can still be received."""
        outlet.end()
        for stream in outlet.finished.open():
            self.finished.add(stream)
        outlet._is_closed = True
        for key in outlet.keys:
            if self._outlets.get(key) is outlet:
                del self._outlets[key]

    @property
    def queued(self) -> int:
        """How many packets wait in the streams of the whole receiver and of memberships left."""
        return _queued(self.listening, self.finished)

    # Streams

    def stream(
        self, owner: object, options: Options, tags: Tags, outlet: Outlet | None = None, default: bool = False
    ) -> PacketStream:
        """Return a new stream of everything, or of what comes out of `outlet`."""
        if outlet is not None:
            stream = PacketStream(outlet, owner, options, tags, default)
            outlet.listening.add(stream)
            outlet.redirect()
        else:
            stream = PacketStream(self, owner, options, tags, default)
            self.listening.add(stream)
            self._redirect()
        return stream

    def end(self, error: Exception | None = None) -> None:
        """End the streams of the whole receiver after what is queued, by `error` if any."""
        _end(self.listening, error)

    def fan_out(self, streams: tuple[PacketStream, ...]) -> Sink:
        """Return what hands each of `streams` a list of its own."""
        lost = self.dropped if len(streams) == 1 else _others_have_it
        first, *others = [stream._sink(lost) for stream in streams]
        every_tagged = all(stream._is_tagged for stream in streams)
        if not others and not every_tagged:
            return first
        tagged = Listening()
        for stream in streams if every_tagged else ():
            tagged.add(stream)

        def feed(batch: list[Packet]) -> None:
            if every_tagged:
                self._count_unwanted(batch, tagged.open())
            for sink in others:
                sink(list(batch))
            first(batch)

        return feed

    def _redirect(self) -> None:
        streams = self.listening.open()
        self.shared_sink = self.fan_out(streams) if streams else None
        for outlet in dict.fromkeys(self._outlets.values()):
            outlet.redirect()

    def _count_unwanted(self, batch: list[Packet], streams: tuple[PacketStream, ...]) -> None:
        for packet in batch:
            if not any(stream._matches(packet.flow) for stream in streams):
                home = self._outlets.get(_key(packet.flow), self)
                home.unwanted_count += 1

    # What streams call

    def new_waiter(self) -> asyncio.Future[None]:
        """Return a future. StateError where nothing is joined, and in a wrong event loop."""
        if not self._outlets:
            raise StateError("the receiver has joined nothing", "await join() before you wait for packets")
        return self.new_future()

    def new_future(self) -> asyncio.Future[None]:
        """Return a future of the running event loop. StateError where that is another than the receiver's."""
        if self.reading is None:
            return asyncio.get_running_loop().create_future()
        self.reading.check()
        if self._create_future is None:  # once: what loop is running is a system call on Python 3.11
            self._create_future = asyncio.get_running_loop().create_future
        return self._create_future()

    def full(self, stream: PacketStream) -> None:
        """Stop all reading."""
        self.listening.fill(stream)
        if self.reading is not None:
            self.reading.pause()
        self.watch(stream, None)

    def relaxed(self, stream: PacketStream) -> None:
        """Go on reading unless another stream is full."""
        self.told.discard(stream)
        self.listening.relax(stream)
        self._resume()

    def closed(self, stream: PacketStream) -> None:
        """Hand it nothing more."""
        self.listening.remove(stream)
        self.finished.add(stream)
        self._redirect()  # before anything is read again: it is no sink any more
        self._resume()

    def dropped(self, packets: list[Packet]) -> None:
        """Count what nobody receives, at the memberships it came through."""
        for packet in packets:
            home = self._outlets.get(_key(packet.flow), self)
            home.dropped_count += 1

    def gone(self) -> None:
        """Do without it from the next loop turn on."""
        self.later(self._without_gone)

    def later(self, call: Callable[[], None]) -> None:
        """Call in the next loop turn, from whichever thread this is called."""
        if self.reading is not None:
            self.reading.call_soon(call)

    def _without_gone(self) -> None:
        self.listening.remove(None)
        self._redirect()
        self._resume()

    def _resume(self) -> None:
        if self.reading is not None and not self.listening.is_full:
            self.reading.resume()
            for changed in tuple(self.waiting):
                changed()

    # Full streams that nobody receives from

    def watch(self, stream: PacketStream, outlet: Outlet | None) -> None:
        """Look after a full stream until it has drained."""
        if stream not in self._watched and self.reading is not None:
            self._watched.add(stream)
            self._look_later(weakref.ref(stream), outlet, stream._delivered)

    def _look_later(self, known: weakref.ref[PacketStream], outlet: Outlet | None, before: int) -> None:
        if self.reading is not None:
            look = weakly(self._look)  # a timer is not to keep alive what nobody holds
            self.reading.call_later(_STALLED_AFTER, lambda: look(known, outlet, before))

    def _look(self, known: weakref.ref[PacketStream], outlet: Outlet | None, before: int) -> None:
        stream = known()
        if stream is None or stream._is_gone:
            return
        if stream._ended or not stream._paused:
            self._watched.discard(stream)
            return
        stands = stream._delivered == before
        if stands and stream not in self.told and self._holds_up_one(stream, outlet):
            self.told.add(stream)
            self._stalled(stream, outlet)
        self._look_later(known, outlet, stream._delivered)

    def _holds_up_one(self, stream: PacketStream, outlet: Outlet | None) -> bool:
        """Whether another stream that a full one holds up is awaited."""
        concerned = (outlet,) if outlet is not None else tuple(dict.fromkeys(self._outlets.values()))
        return any(
            other._is_awaited
            for listening in (self.listening, *(one.listening for one in concerned))
            for other in listening.open()
            if other is not stream
        )


def _others_have_it(batch: list[Packet]) -> None:
    """Count nothing: the streams that are left have copies of their own."""


def _queued(listening: Listening, finished: Listening) -> int:
    """Return how many packets wait in these streams."""
    streams = listening.open() + finished.open()
    return sum(map(len, streams)) if streams else 0


def _key(flow: Flow) -> Key:
    return flow.group, flow.port, flow.interface_index


def _end(listening: Listening, error: Exception | None) -> None:
    for stream in listening.open():
        if error is not None:
            stream._fail(error)
        stream._end()
