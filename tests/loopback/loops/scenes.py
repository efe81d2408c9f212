"""What happens when the system itself fails: `python -m tests.loopback.loops.scenes NAME LOOP GROUP`.

Run by `test_system_faults`, with the faults of `tests.support.system_faults` before the C library.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import sys
from collections.abc import Awaitable, Callable

import aiomcast
from aiomcast import EventKind, Receiver, RefusedError, SourceFilter
from tests.support.inside import is_settled
from tests.support.loops import LOOPS
from tests.support.packets import payloads, take
from tests.support.sending import A, B, Sources
from tests.support.system_faults import faults
from tests.support.waiting import turns, until

PORT = 5000
MANY = [f"127.0.1.{number}" for number in range(1, 26)]
FAULTS = faults()
include, exclude = SourceFilter.include, SourceFilter.exclude


async def came(stream: aiomcast.PacketStream, sent: list[bytes]) -> list[aiomcast.Packet]:
    """The next packets are those, and they are all."""
    packets = await take(stream, len(sent))
    assert payloads(packets) == sent, (packets[:3], sent[:3])
    await turns()
    assert len(stream) == 0
    return packets


async def no_place(group: str, senders: Sources) -> None:
    """No place in an epoll set: an `apply` fails whole, and nothing after its last call can fail."""
    async with Receiver(capacity=8) as receiver:
        wanted: tuple[aiomcast.Sources, ...] = ([A], exclude([B]))
        ones = [
            await receiver.join(group, PORT + n, sources=sources, interface="lo")
            for n, sources in enumerate(wanted)
        ]
        before = [one.filter for one in ones]
        stream = receiver.packets()
        for left in itertools.count():
            FAULTS.fault_places(errno.ENOSPC, left)
            try:
                await receiver.filters.apply({ones[0]: [A, *MANY], ones[1]: [A, *MANY]})
            except RefusedError as refused:
                assert refused.errno == errno.ENOSPC, refused
                assert [one.filter for one in ones] == before == [one.kernel_filter() for one in ones]
            else:
                break
            finally:
                FAULTS.fault_places(0, 0)
            for n in range(2):
                await came(stream, senders.number(A, port=PORT + n))
        assert left == 5, left  # two more sockets, and three new ones
        FAULTS.fault_places(errno.ENOMEM, 0)
        # At the end of the handover they are read; they fill the stream.
        sent = senders.number(*[A] * 10, port=PORT + 1)
        await came(stream, sent)
        await came(stream, senders.number(*[A] * 10))
        FAULTS.fault_places(0, 0)


async def no_place_at_a_join(group: str, senders: Sources) -> None:
    async with Receiver() as receiver:
        first = await receiver.join(group, PORT, sources=[A], interface="lo")
        stream = receiver.packets()
        FAULTS.fault_places(errno.ENOSPC, 0)
        for sources in ([A], MANY):
            try:
                await receiver.join(group, PORT + 1, sources=sources, interface="lo")
            except RefusedError as refused:
                assert refused.errno == errno.ENOSPC
            else:
                raise AssertionError("it was joined")
        FAULTS.fault_places(0, 0)
        assert receiver.memberships == (first,)
        await came(stream, senders.number(A))


async def failing_reads(group: str, senders: Sources) -> None:
    """A read that fails again and again: told once, tried again at growing intervals, mended by itself."""
    async with Receiver() as receiver:
        for sources in ([A], [A, *MANY]):
            one = await receiver.join(group, PORT, sources=sources, interface="lo")
            stream, events = one.packets(), receiver.events()
            FAULTS.fault_receive(errno.EIO)
            sent = senders.number(*[A] * 10)
            try:
                await take(stream, 1)
            except RefusedError as refused:
                assert refused.errno == errno.EIO
            else:
                raise AssertionError("no error was raised")
            loop = asyncio.get_running_loop()
            end, wakeups = loop.time() + 0.3, 0
            while loop.time() < end:
                await asyncio.sleep(0.001)
                wakeups += 1
            calls = FAULTS.fault_receive_calls()
            assert 2 < calls < 40, calls
            assert [event.kind for event in [await anext(events)]] == [EventKind.FAILED]
            assert len(events) == 0
            FAULTS.fault_receive(0)
            await came(stream, sent)
            await came(stream, senders.number(*[A] * 3))
            await events.aclose()
            await one.leave()


async def late_stamps(group: str, senders: Sources) -> None:
    """The kernel stamps what came before it began to stamp when it is read: that is no time of arrival."""
    changes: list[Callable[[aiomcast.Membership], Awaitable[None]]] = [
        lambda one: one.swap([A], pending="deliver"),
        lambda one: one.swap([B], pending="deliver"),
        lambda one: one.swap(exclude([B])),
        lambda one: one.swap(exclude([B]), pending="deliver"),
        lambda one: one.swap(exclude([A]), pending="deliver"),
    ]
    for change in changes:
        async with Receiver(receive_buffer=8 << 20) as receiver:
            one = await receiver.join(group, PORT, sources=[A], interface="lo")
            FAULTS.fault_stamps(500)
            sent = senders.number(*[A] * 500)
            await change(one)
            stream = receiver.packets()
            packets = await came(stream, sent)
            assert [packet.timestamp_ns for packet in packets] == [None] * 500
            FAULTS.fault_stamps(0)
            source = A if one.filter.allows(A) else B
            (packet,) = await came(stream, senders.number(source))
            assert packet.timestamp_ns is not None
            (packet,) = await came(stream, senders.number(source))
            assert packet.timestamp_ns is not None
            statistics = receiver.statistics()
            assert statistics.received == 502 + statistics.filtered


async def late_stamps_on_both_sockets(group: str, senders: Sources) -> None:
    """What comes right after a change of mode is at the old and the new sockets, and not stamped."""
    for pending in aiomcast.Pending.__args__:  # type: ignore[attr-defined]  # a Literal has it
        async with Receiver(receive_buffer=8 << 20) as receiver:
            one = await receiver.join(group, PORT, sources=[A], interface="lo")
            sent = senders.number(*[A] * 30)
            await one.swap(exclude([B]), pending=pending)
            FAULTS.fault_stamps(10_000)  # 60 here, 30 and 20 there, and again with the next change
            sent += senders.number(*[A] * 30)
            added = senders.number(*[MANY[0]] * 20)
            await one.swap([A, MANY[0]], pending=pending)
            sent += senders.number(*[A] * 30)
            added += senders.number(*[MANY[0]] * 20)
            stream = receiver.packets()
            got = [packet.data for packet in await take(stream, len(sent) + len(added))]
            assert [data for data in got if data in sent] == sent
            assert [data for data in got if data in added] == added
            await came(stream, senders.number(A))
            # mypy does not see that the argument has a default
            await until(lambda one=one: is_settled(one))  # type: ignore[misc]  # the number of this turn
            FAULTS.fault_stamps(0)
            await came(stream, senders.number(A))


SCENES = {
    scene.__name__: scene
    for scene in (no_place, no_place_at_a_join, failing_reads, late_stamps, late_stamps_on_both_sockets)
}


def main(name: str, loop: str, group: str) -> None:
    """Run one scene."""

    async def play() -> None:
        with Sources(group, PORT) as senders:
            await SCENES[name](group, senders)

    logging.getLogger("aiomcast").addHandler(logging.NullHandler())  # standard error is to stay empty
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())
    print("played")


if __name__ == "__main__":
    main(*sys.argv[1:])
