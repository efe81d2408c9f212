"""Operations on streams: open, close, forget, stall, break off and resume; and their accounts."""

from __future__ import annotations

import asyncio

import aiomcast

from . import history
from .draw import Operation
from .listening import Consumer
from .stage import BOUND, Held, Stage, now

__all__ = ["Streaming"]


class Streaming:
    """The operations by name, for one thread."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._defaults: set[object] = set()  # receivers and memberships whose default stream was opened
        self._kept: set[int] = set()  # those streams, which cannot be forgotten

    async def open(self, operation: Operation) -> None:
        """Open a stream of a receiver or of a membership, and take from it."""
        stage = self._stage
        key = (operation["receiver"], operation["stream"])
        held = None if operation["slot"] is None else stage.held.get((key[0], operation["slot"]))
        if key in stage.streams or (operation["slot"] is not None and held is None):
            return
        source = None if operation["source"] is None else stage.place.sources[operation["source"]]
        group = None if operation["group"] is None else stage.place.slots[operation["group"]].group
        records = stage.records.streams
        record = history.Stream(
            stage.number(records),
            stage.receiver_number(key[0]),
            None if held is None else held.record.number,
            source,
            group,
            stage.drops[key[0]],
            opening=now(),
        )
        receiver = stage.receivers[key[0]]
        stream = self._new(receiver, held, record)
        record.opened = now()
        records.append(record)
        consumer = stage.streams[key] = Consumer(
            stream,
            record,
            batches=operation["batches"],
            pace=(operation["pace"][0], operation["pace"][1]),
            failed=stage.unexpected,
            wrong=stage.note,
            joined=stage.joined[key[0]],
            is_bare=lambda: held is None and not receiver.memberships,
        )
        stage.consumers.append(consumer)
        consumer.start()
        whose = f"receiver {record.receiver}" if held is None else f"membership {record.membership}"
        tags = " ".join(tag for tag in (source, group) if tag is not None)
        stage.log(record.opening, f"opens stream {record.number} of {whose} {tags}")

    def _new(
        self, receiver: aiomcast.Receiver, held: Held | None, record: history.Stream
    ) -> aiomcast.PacketStream:
        owner = receiver if held is None else held.membership
        if record.source is None and record.group is None and owner not in self._defaults:
            self._defaults.add(owner)  # once: a default stream that was closed stays so
            self._kept.add(record.number)
            return aiter(owner)
        if held is not None:
            return held.membership.packets(source=record.source)
        return receiver.packets(source=record.source, group=record.group)

    async def close(self, operation: Operation) -> None:
        """Close a stream; what is queued is still taken from it, or abandoned."""
        consumer = self._pop(operation)
        if consumer is not None and consumer.stream is not None:
            consumer.is_abandoned = operation["abandon"]
            consumer.record.closing = now()
            what = "closes and abandons" if operation["abandon"] else "closes"
            self._stage.log(consumer.record.closing, f"{what} stream {consumer.record.number}")
            async with asyncio.timeout(BOUND):
                await consumer.stream.aclose()
            consumer.record.closed = now()
            if consumer.is_abandoned:  # not before: another task could run
                await consumer.break_off()

    async def forget(self, operation: Operation) -> None:
        """Drop a stream without closing it."""
        present = self._consumer(operation)
        if present is not None and present.record.number not in self._kept:
            self._pop(operation)
            self._stage.log(now(), f"forgets stream {present.record.number}")
            await present.forget(operation["collect"])

    async def stall(self, operation: Operation) -> None:
        """Take nothing for a while."""
        consumer = self._consumer(operation)
        if consumer is not None:
            consumer.stall(operation["seconds"])
            self._stage.log(now(), f"stalls stream {consumer.record.number} for {operation['seconds']} s")

    async def break_off(self, operation: Operation) -> None:
        """End the iteration; the stream stays."""
        consumer = self._consumer(operation)
        if consumer is not None:
            self._stage.log(now(), f"breaks off stream {consumer.record.number}")
            await consumer.break_off()

    async def resume(self, operation: Operation) -> None:
        """Iterate again."""
        consumer = self._consumer(operation)
        if consumer is not None:
            self._stage.log(now(), f"resumes stream {consumer.record.number}")
            consumer.start()

    def account(self, when: int) -> None:
        """Note the counters of all receivers and their streams, at one point of the loop."""
        stage = self._stage
        for number, receiver in enumerate(stage.receivers):
            mine = stage.receiver_number(number)
            joins = [one.changes[0].began for one in stage.records.memberships if one.receiver == mine]
            first_join = min(joins, default=when)
            streams: dict[int, tuple[int, int, int, int, bool]] = {}
            some_forgotten = False
            for consumer in stage.consumers:
                record = consumer.record
                if record.receiver != mine:
                    continue
                if consumer.stream is None:
                    some_forgotten = True
                    continue
                counted = consumer.stream.statistics()
                is_whole = (record.membership, record.source, record.group) == (None, None, None)
                is_whole &= record.closing is None and (record.opened or when) <= first_join
                counts = (consumer.taken, counted.queue_drops, counted.filtered, counted.queued)
                streams[record.number] = (*counts, is_whole)
                if counted.delivered != consumer.taken:
                    text = f"stream {record.number} counts {counted.delivered} delivered, "
                    stage.note("unaccounted", when, text + f"and {consumer.taken} were taken")
            total = receiver.statistics()
            stage.records.accounts.append(
                history.Account(
                    mine,
                    when,
                    total.received,
                    total.queue_drops,
                    total.filtered,
                    total.queued,
                    streams,
                    some_forgotten,
                )
            )

    def note_counters(self) -> None:
        """Note what streams and memberships count as dropped."""
        stage = self._stage
        for consumer in stage.consumers:
            if consumer.stream is not None:
                consumer.record.queue_drops = consumer.stream.statistics().queue_drops
        for held in (*stage.held.values(), *stage.left):
            counted = held.membership.statistics()
            held.record.kernel_drops = counted.kernel_drops
            held.record.queue_drops = counted.queue_drops

    def _consumer(self, operation: Operation) -> Consumer | None:
        return self._stage.streams.get((operation["receiver"], operation["stream"]))

    def _pop(self, operation: Operation) -> Consumer | None:
        return self._stage.streams.pop((operation["receiver"], operation["stream"]), None)
