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
from collections.abc import Callable, Iterator
from typing import final

from ..errors import StateError
from ..reading.contract import Reading
from ..values.options import Options
from ..values.packets import Packet
from ..values.tags import Tags
from .listening import Listening
from .outlet import Key, Outlet, key_of
from .packet_stream import PacketStream, Sink
from .stalls import Stalls

__all__ = ["Dispatcher"]


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
        self._outlets: dict[Key, Outlet] = {}
        self.stalls: Stalls[Outlet] = Stalls(stalled, self._call_later, self._held_up)

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
        outlet.is_closed = True
        for key in outlet.keys:
            if self._outlets.get(key) is outlet:
                del self._outlets[key]

    @property
    def queued(self) -> int:
        """How many packets wait in the streams of the whole receiver and of memberships left."""
        return self.listening.queued + self.finished.queued

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
        self.listening.end(error)

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
                home = self._outlets.get(key_of(packet.flow), self)
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
        self.stalls.watch(stream, None)

    def relaxed(self, stream: PacketStream) -> None:
        """Go on reading unless another stream is full."""
        self.stalls.drained(stream)
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
            home = self._outlets.get(key_of(packet.flow), self)
            home.dropped_count += 1

    def gone(self) -> None:
        """Do without it from the next loop turn on."""
        self.later(self._without_gone)

    def later(self, call: Callable[[], None]) -> None:
        """Call in the next loop turn, from whichever thread this is called."""
        if self.reading is not None:
            self.reading.call_soon(call)

    def _call_later(self, seconds: float, call: Callable[[], None]) -> bool:
        if self.reading is None:
            return False
        self.reading.call_later(seconds, call)
        return True

    def _held_up(self, outlet: Outlet | None) -> Iterator[PacketStream]:
        """Yield what a full stream of `outlet`, or of the whole receiver, holds up."""
        yield from self.listening.open()
        for one in dict.fromkeys(self._outlets.values()) if outlet is None else (outlet,):
            yield from one.listening.open()

    def _without_gone(self) -> None:
        self.listening.remove(None)
        self._redirect()
        self._resume()

    def _resume(self) -> None:
        if self.reading is not None and not self.listening.is_full:
            self.reading.resume()
            for changed in tuple(self.waiting):
                changed()


def _others_have_it(batch: list[Packet]) -> None:
    """Count nothing: the streams that are left have copies of their own."""
