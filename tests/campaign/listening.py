"""A stream and who takes from it: stalls, breaks off and resumes on command, and keeps what came."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiomcast

from . import history
from .sending import key_of

__all__ = ["Consumer"]

_now = time.monotonic_ns


class Consumer:
    """Takes from one stream, whose record it fills. `stream` is None once it is forgotten.

    `is_bare` says whether there is nothing to wait for: a stream of a receiver that has joined nothing,
    where to wait is an error, which is awaited here. Then it goes on when `joined` is set.
    """

    def __init__(
        self,
        stream: aiomcast.PacketStream,
        record: history.Stream,
        *,
        batches: bool,
        pace: tuple[int, float],
        failed: Callable[[str, BaseException], None],
        wrong: Callable[[str, int, str], None],
        joined: asyncio.Event,
        is_bare: Callable[[], bool],
    ) -> None:
        self.stream: aiomcast.PacketStream | None = stream
        self.record = record
        self.taken = 0
        self._batches = batches
        self._pace = pace
        self._failed = failed
        self._wrong = wrong
        self._joined = joined
        self._is_bare = is_bare
        self._watched = weakref.ref(stream, self._note_gone)
        self._items: list[tuple[int, aiomcast.Packet | list[aiomcast.Packet]]] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.has_ended = False
        self.is_abandoned = False
        """Whether nobody is to take what is queued."""

    def start(self) -> None:
        """Take from the stream, unless somebody does or it has ended."""
        is_taking = self._task is not None and not self._task.done()
        if self.stream is None or self.has_ended or self.is_abandoned or is_taking:
            return
        # Any: an iterator of packets or of lists of them
        iterator: AsyncIterator[Any] = self.stream.batches() if self._batches else aiter(self.stream)
        self._task = asyncio.create_task(self._consume(iterator))

    async def _consume(self, iterator: AsyncIterator[Any]) -> None:
        count, pause = self._pace
        items, flowing = self._items, self._flowing
        try:
            while True:
                await flowing.wait()  # which goes on without a loop turn while it is set
                item = await self._next(iterator)
                items.append((_now(), item))
                self.taken += len(item) if self._batches else 1
                if count and len(items) % count == 0:
                    await asyncio.sleep(pause)
        except StopAsyncIteration:
            self.has_ended = True
        except Exception as error:
            self.has_ended = True
            self._failed(f"taking from stream {self.record.number}", error)

    async def _next(self, iterator: AsyncIterator[Any]) -> Any:  # Any: a packet, or a list of them
        while self._is_bare():
            turned: list[None] = []
            turning = asyncio.get_running_loop().call_soon(turned.append, None)
            try:
                return await anext(iterator)
            except aiomcast.StateError as error:
                if "has joined nothing" not in str(error):
                    raise
                self._joined.clear()
            finally:
                turning.cancel()
                if turned:
                    text = f"stream {self.record.number} was waited on with nothing joined"
                    self._wrong("in vain", _now(), text)
            await self._joined.wait()
        return await anext(iterator)

    def _note_gone(self, reference: weakref.ref[aiomcast.PacketStream]) -> None:
        self.record.gone = _now()

    def stall(self, seconds: float) -> None:
        """Take nothing for so long."""
        self._flowing.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._flowing.set)

    async def break_off(self) -> None:
        """End the iteration, wherever it is; the stream stays open."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})
        if self._task is task:  # nobody has resumed it meanwhile
            self._task = None

    def flow(self) -> None:
        """End a stall, and a break."""
        if self._timer is not None:
            self._timer.cancel()
        self._flowing.set()
        self.start()

    async def forget(self, collect: bool) -> None:
        """Drop the stream without closing it."""
        await self.break_off()
        self.record.forgotten = _now()
        self.stream = None
        if collect:
            gc.collect()

    async def end(self, seconds: float) -> bool:
        """Wait until the iteration has ended; say if it has, or is not to."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
        return self.has_ended or self.is_abandoned

    def note_takes(self, records: history.History, wrong: Callable[[str, int, str], None]) -> None:
        """Fill the records with what came, once the run is over."""
        for when, item in self._items:
            for packet in item if self._batches else [item]:
                assert isinstance(packet, aiomcast.Packet)
                self._note(when, packet, records, wrong)
        self._items.clear()

    def _note(
        self,
        when: int,
        packet: aiomcast.Packet,
        records: history.History,
        wrong: Callable[[str, int, str], None],
    ) -> None:
        flows = records.flows
        key = key_of(packet.data)
        tags = history.Flow(packet.source, packet.group, packet.port)
        if key is None or key[1] >= len(flows):
            wrong("garbled", when, f"stream {self.record.number} yielded {packet!r}")
        elif flows[key[1]] != tags:
            wrong("garbled", when, f"stream {self.record.number} yielded {key} of {flows[key[1]]} as {tags}")
        else:
            self.record.takes.append((when, key))
            if packet.timestamp_ns is None:
                records.unstamped.add(key)
