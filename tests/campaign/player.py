"""One thread of a run: performs its operations in tasks of an event loop, comes to rest, and closes.

Only public names of the library are used. Nothing waits without a limit.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiomcast

from .changing import Changing
from .draw import Operation, ReceiverShape
from .stage import BOUND, Stage, now
from .streaming import Streaming

__all__ = ["Player"]

_QUIET = 0.06  # seconds between two looks whether anything has come
_LOOKS = 5  # without anything: in all longer than replaced sockets are kept
_BUFFER = 8 << 20


class Player:
    """Performs the operations of one thread on its stage.

    `acted` is set when they are done; `rest()` is to be called, from another thread, when nobody sends
    any more. Then it waits until nothing comes, and closes everything; `rested` is when that was.
    """

    def __init__(
        self,
        stage: Stage,
        shapes: list[ReceiverShape],
        operations: list[tuple[int, Operation]],
        patience: float,
    ) -> None:
        """`operations` have their places in the list; `patience` is seconds the other threads may take."""
        self.stage = stage
        self.acted = threading.Event()
        self.rested: int | None = None
        self._shapes = shapes
        self._operations = operations
        self._patience = patience
        self._changing = Changing(stage)
        self._streaming = Streaming(stage)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resting = asyncio.Event()
        changing, streaming = self._changing, self._streaming
        self._does: dict[str, Callable[[Operation], Awaitable[None]]] = {
            "join": changing.join,
            "leave": changing.leave,
            "swap": changing.swap,
            "delta": changing.delta,
            "apply": changing.apply,
            "refresh": changing.refresh,
            "open": streaming.open,
            "close": streaming.close,
            "forget": streaming.forget,
            "stall": streaming.stall,
            "break": streaming.break_off,
            "resume": streaming.resume,
            "send": self._send,
            "msf": self._msf,
            "few files": self._few_files,
            "many files": self._many_files,
            "low soft limit": self._low_soft_limit,
        }

    def rest(self) -> None:
        """Say that nobody sends any more. For other threads."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._resting.set)

    async def run(self) -> None:
        """Do it all."""
        stage = self.stage
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._unhandled)
        try:
            await self._make_receivers()
            await self._act()
        except Exception as error:
            stage.unexpected("performing the operations", error)
        finally:
            self.acted.set()
        try:
            async with asyncio.timeout(self._patience):
                await self._resting.wait()
            await self._come_to_rest()
            await self._close()
        except Exception as error:
            stage.unexpected("coming to rest", error)
        for consumer in stage.consumers:
            await consumer.break_off()
            consumer.note_takes(stage.records, stage.note)

    async def _make_receivers(self) -> None:
        stage = self.stage
        for number, shape in enumerate(self._shapes):
            receiver = aiomcast.Receiver(
                capacity=shape["capacity"],
                overflow=aiomcast.Overflow[shape["policy"]],
                receive_buffer=_BUFFER,
            )
            stage.receivers.append(await receiver.__aenter__())
            stage.joined.append(asyncio.Event())
            stage.drops.append(shape["policy"] != "PAUSE")
            what = f"{shape['policy']}, capacity {shape['capacity']}"
            stage.log(now(), f"makes receiver {stage.receiver_number(number)}: {what}")

    async def _act(self) -> None:
        actors: dict[int, list[tuple[int, Operation]]] = {}
        for number, operation in self._operations:
            actors.setdefault(operation["actor"], []).append((number, operation))
        tasks = [asyncio.create_task(self._perform(listed)) for listed in actors.values()]
        if tasks:
            await asyncio.wait(tasks)

    async def _perform(self, operations: list[tuple[int, Operation]]) -> None:
        for number, operation in operations:
            wait = operation["wait"]
            if wait:
                await asyncio.sleep(max(wait, 0))
            began, before = now(), len(self.stage.lines)
            try:
                await self._does[operation["do"]](operation)
            except Exception as error:
                self.stage.unexpected(f"{operation}", error)
            if len(self.stage.lines) > before:
                self.stage.performed[number] = began

    async def _come_to_rest(self) -> None:
        """Take from every stream until nothing comes any more."""
        stage = self.stage
        gc.collect()  # streams that were forgotten
        for consumer in stage.consumers:
            consumer.flow()
        stage.send([(held.record.group, held.record.port) for held in stage.held.values()], 2)
        before: object = None
        quiet = 0
        until = time.monotonic() + BOUND * 2
        while quiet < _LOOKS:
            await asyncio.sleep(_QUIET)
            found = (sum(one.taken for one in stage.consumers), [one.statistics() for one in stage.receivers])
            quiet = quiet + 1 if found == before else 0
            before = found
            if time.monotonic() > until:
                stage.note("stuck", now(), f"it did not come to rest: {found}")
                return
        for consumer in stage.consumers:
            stream = None if consumer.has_ended or consumer.is_abandoned else consumer.stream
            queued = 0 if stream is None else stream.statistics().queued
            if queued:
                text = f"stream {consumer.record.number} holds {queued} packets and wakes nobody"
                stage.note("stuck", now(), text)
        self._changing.compare(list(stage.held.values()))
        self.rested = now()
        self._streaming.account(self.rested)
        self._streaming.note_counters()

    async def _close(self) -> None:
        stage = self.stage
        records = [held.record for held in stage.held.values()]
        for record in records:
            record.leaving = now()
        for receiver in stage.receivers:
            async with asyncio.timeout(BOUND):
                await receiver.aclose()
        for joined in stage.joined:
            joined.set()
        for record in records:
            record.left = now()
        for consumer in stage.consumers:
            if consumer.stream is not None and not await consumer.end(BOUND):
                stage.note("stuck", now(), f"the iteration of stream {consumer.record.number} does not end")
        self._streaming.account(now())
        self._streaming.note_counters()

    # Traffic and limits

    async def _send(self, operation: Operation) -> None:
        slot = self.stage.place.slots[operation["slot"]]
        what = f"sends {operation['count']} from each source to {slot.group} port {slot.port}"
        self.stage.log(now(), what)
        self.stage.send([(slot.group, slot.port)], operation["count"])

    async def _msf(self, operation: Operation) -> None:
        self.stage.log(now(), f"sets igmp_max_msf to {operation['sources']}")
        self.stage.limits.set_msf(operation["sources"])

    async def _few_files(self, operation: Operation) -> None:
        self.stage.log(now(), f"leaves {operation['spare']} files to be opened")
        self.stage.limits.few_files(operation["spare"])

    async def _many_files(self, operation: Operation) -> None:
        self.stage.log(now(), "lets files be opened again")
        self.stage.limits.many_files()

    async def _low_soft_limit(self, operation: Operation) -> None:
        self.stage.log(now(), "lowers the soft limit of open files")
        self.stage.limits.low_soft_limit()

    # Any: asyncio's own type for a context
    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        text = f"the loop's exception handler: {context.get('message')}: {context.get('exception')!r}"
        self.stage.note("unexpected", now(), text)
