"""Exceptions out of nowhere: a signal handler that raises, no memory, in the middle of a swap or a batch."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import sys
import warnings
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING

import pytest

import aiomcast
from aiomcast import Receiver, SourceFilter
from aiomcast.loops.read_loop import ReadLoop
from tests.loopback.conftest import Senders
from tests.support.accounts import accounted, open_descriptors
from tests.support.inside import are_settled, readers_of, reading_of
from tests.support.packets import payloads, take
from tests.support.readers import PORT, reading, sender, sock
from tests.support.sending import A, B, C, sending
from tests.support.waiting import turns, until

if TYPE_CHECKING:
    from _typeshed import TraceFunction

__all__ = ["reading", "sender", "sock"]

include, exclude = SourceFilter.include, SourceFilter.exclude
MANY = [f"127.0.1.{number}" for number in range(1, 26)]
PACKAGE = str(Path(aiomcast.__file__).parent)


class Interrupt(BaseException):
    """What the signal handler raises."""


class Raising:
    """Raises once, at the `which`-th line of the package that is run while it is set."""

    def __init__(self, which: int) -> None:
        self.which, self.lines = which, 0

    def __enter__(self) -> Raising:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.which:
                sys.settrace(None)
                raise Interrupt
        return self._trace


CHANGES = {
    "lists": (include([A]), include([B, C]), include([A]), include([B])),
    "modes": (include([A, B]), exclude([C]), exclude([A]), include([B])),
    "growing and shrinking": (include([A]), include([A, B, *MANY]), include([A, *MANY]), include([B])),
}


@pytest.mark.parametrize("pending", ["discard", "deliver"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_signal_handler_that_raises_anywhere_in_an_apply(
    change: str, pending: aiomcast.Pending, any_group: str, senders: Senders
) -> None:
    """Wholly before or wholly after, or a second `apply` makes it so; and nothing is left behind."""
    first, first_after, second, second_after = CHANGES[change]
    step = 5 if change == "lists" else 97  # the lines, one in so many: all of them take minutes
    async with Receiver() as receiver:
        events = receiver.events()
        for which in itertools.count(1, step):
            one = await receiver.join(any_group, PORT, sources=first, interface="lo")
            two = await receiver.join(any_group, PORT + 1, sources=second, interface="lo")
            stream, descriptors = receiver.packets(), open_descriptors()
            wanted = {one: first_after, two: second_after}
            raising = Raising(which)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # a socket that nobody had yet
                try:
                    with raising:
                        await receiver.filters.apply(wanted, pending)
                except Interrupt:
                    pass
                gc.collect()
            held = [one.filter, two.filter]
            if held == [one.kernel_filter(), two.kernel_filter()]:
                assert held in ([first, second], [first_after, second_after])
            await receiver.filters.apply(wanted, pending)
            assert [one.filter, two.filter] == [one.kernel_filter(), two.kernel_filter()]
            assert [one.filter, two.filter] == [first_after, second_after]
            with sending(B, any_group, PORT) as to_one, sending(B, any_group, PORT + 1) as to_two:
                to_one.send(b"one")
                to_two.send(b"two")
            assert sorted(payloads(await take(stream, 2))) == [b"one", b"two"]
            await until(partial(are_settled, one, two))
            more = sum(len(readers_of(each)) for each in (one, two))
            assert open_descriptors() <= descriptors + more
            await one.leave()
            await two.leave()
            await stream.aclose()
            if raising.lines < which:
                break
        assert which > 3 * step
        assert len(events) > 0


@pytest.mark.parametrize("what", ["join", "leave"])
async def test_a_signal_handler_that_raises_anywhere_in_a_join_or_leave(what: str, any_group: str) -> None:
    async with Receiver() as receiver:
        await receiver.join(any_group, PORT + 1, sources=[A], interface="lo")
        gc.collect()
        descriptors = open_descriptors()
        for which in itertools.count(1, 17):
            raising = Raising(which)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                one = None
                if what == "leave":
                    one = await receiver.join(any_group, PORT, sources=MANY, interface="lo")
                try:
                    with raising:
                        if one is None:
                            await receiver.join(any_group, PORT, sources=MANY, interface="lo")
                        else:
                            await one.leave()
                except Interrupt:
                    pass
                gc.collect()
            for joined in receiver.memberships[1:]:
                await joined.leave()
            gc.collect()
            assert len(receiver.memberships) == 1
            assert open_descriptors() == descriptors
            if raising.lines < which:
                break
        assert which > 50


@pytest.mark.parametrize("kind", [MemoryError, Interrupt, KeyError])
async def test_what_is_raised_in_the_middle_of_a_batch_costs_one_packet_that_is_counted(
    reading: ModuleType,
    kind: type[BaseException],
    sock: aiomcast.MulticastSocket,
    sender: socket.socket,
) -> None:
    class Sources(frozenset[str]):
        asked = 0

        def __contains__(self, source: object) -> bool:
            Sources.asked += 1
            if Sources.asked == 5:
                raise kind
            return True

    reader = reading.Reader(sock, SourceFilter.any())
    sender.send(b"first")
    assert payloads(reader.read(1)[0]) == [b"first"]
    wanted = include([A])
    object.__setattr__(wanted, "sources", Sources([A]))
    reader.set_filter(wanted, until_ns=1 << 62)  # so that each packet is looked up
    batches: list[list[aiomcast.Packet]] = []
    reader.sink = batches.append
    reads = reading.ReadSet()
    reads.add(reader)
    for number in range(20):
        sender.send(b"%d" % number)
    with pytest.raises(kind):
        reads.read(64)
    reads.read(64)
    got = [packet for batch in batches for packet in payloads(batch)]
    missing = [b"%d" % number for number in range(20) if b"%d" % number not in got]
    assert len(missing) == 1
    assert got == [b"%d" % number for number in range(20) if b"%d" % number not in missing]
    assert (reader.received, reader.unmade, reader.filtered) == (21, 1, 0)
    reads.close()


async def test_memory_that_runs_out_in_a_batch(any_group: str) -> None:
    """Wherever an allocation fails: what was received was delivered, or is counted."""
    testcapi = pytest.importorskip("_testcapi")
    if not hasattr(testcapi, "set_nomemory"):
        pytest.skip("this Python cannot run out of memory on request")
    loop = asyncio.get_running_loop()
    told: list[object] = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    async with Receiver(receive_buffer=4 << 20) as receiver:
        one = await receiver.join(any_group, PORT, sources=[A, B], interface="lo")
        stream = receiver.packets()
        reading_in_loop = reading_of(receiver)
        assert isinstance(reading_in_loop, ReadLoop)
        ready = reading_in_loop._read
        taken = 0
        with sending(A, any_group, PORT) as first, sending(B, any_group, PORT) as second:
            for start in range(60):
                for number in range(10):
                    (first if number % 3 else second).send(b"%d" % number)
                try:
                    testcapi.set_nomemory(start, start + 1)
                    ready()
                except MemoryError:
                    pass
                finally:
                    testcapi.remove_mem_hooks()
                await turns(3)
                while len(stream):
                    await anext(stream)
                    taken += 1
        await turns(20)
        statistics = one.statistics()
        if aiomcast.reading.implementation == "native":
            assert statistics.received == 600
            assert statistics.queue_drops > 0, "no allocation failed"
        else:  # what recvmsg itself had no memory for is lost, uncounted
            assert 500 < statistics.received <= 600
        accounted(statistics, taken)
