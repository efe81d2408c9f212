"""`Listening`: the open streams of somebody, held weakly, and which of them ask for a pause."""

from __future__ import annotations

import weakref
from typing import final

from .packet_stream import PacketStream

__all__ = ["Listening"]


@final
class Listening:
    """Streams, oldest first, and which of them are full. It keeps none of them alive."""

    __slots__ = ("_full", "streams")

    def __init__(self) -> None:
        self.streams: tuple[weakref.ref[PacketStream], ...] = ()
        """Those that were open when it was last looked, oldest first: where it is empty, none is."""
        self._full: weakref.WeakSet[PacketStream] | None = None

    def open(self) -> tuple[PacketStream, ...]:
        """Return the streams."""
        if not self.streams:
            return ()
        streams = [found for stream in self.streams if (found := stream()) is not None]
        return tuple([stream for stream in streams if not stream._is_gone])

    def __bool__(self) -> bool:
        return any((found := stream()) is not None and not found._is_gone for stream in self.streams)

    def add(self, stream: PacketStream) -> None:
        """Put in one more."""
        self.remove(None)
        self.streams = (*self.streams, weakref.ref(stream))

    def remove(self, stream: PacketStream | None) -> None:
        """Forget a stream, and those that are gone."""
        self.streams = tuple([weakref.ref(one) for one in self.open() if one is not stream])
        if stream is not None:
            self.relax(stream)
        for one in tuple(self._full or ()):
            if one._is_gone:
                self.relax(one)

    def fill(self, stream: PacketStream) -> None:
        """Note that a stream asks for a pause."""
        if self._full is None:
            self._full = weakref.WeakSet()
        self._full.add(stream)

    def relax(self, stream: PacketStream) -> None:
        """Note that it asks no more."""
        if self._full is not None:
            self._full.discard(stream)

    @property
    def is_full(self) -> bool:
        """Whether one asks for a pause."""
        return bool(self._full)

    @property
    def queued(self) -> int:
        """How many packets wait in them."""
        streams = self.open()
        return sum(map(len, streams)) if streams else 0

    def end(self, error: Exception | None) -> None:
        """End their iterations after what is queued, by `error` if any."""
        for stream in self.open():
            if error is not None:
                stream._fail(error)
            stream._end()
