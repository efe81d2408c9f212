"""A capture that is replayed is received as the wire would have been: filters, swaps, time, its end."""

from __future__ import annotations

import asyncio
import gc
import heapq
import logging
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from aiomcast import (
    ALL_INTERFACES,
    ArgumentError,
    CaptureError,
    EventKind,
    InterfaceError,
    Membership,
    Overflow,
    Packet,
    PacketBatches,
    Receiver,
    SourceFilter,
    StateError,
    UnsupportedError,
)
from aiomcast.feeds import Gap, Replay, Sequence, gaps, merge
from aiomcast.feeds import player as player_module
from aiomcast.values import bounds
from tests.support.waiting import turns, until
from tests.unit.feeds.captures import STAMP_NS, block, ethernet, interface, ipv4, packet, pcap, section, udp

A, B, C = "192.0.2.10", "192.0.2.11", "192.0.2.12"
GROUP, OTHER, PORT = "239.1.1.1", "239.1.1.2", 5000
MS = 1_000_000
LIMIT = 20  # seconds within which everything here ends

Sent = tuple[str, str, int]
"""Source, group, and the interface it is captured on."""


def frame(number: int, source: str = A, group: str = GROUP, port: int = PORT) -> bytes:
    return ethernet(ipv4(udp(number.to_bytes(4, "big"), (4000, port)), source, group))


def capture(path: Path, *sent: Sent, step_ns: int = MS, start_ns: int = STAMP_NS) -> Path:
    """Write a capture in which each packet carries its number, one each `step_ns`."""
    path.write_bytes(
        section()
        + interface(given=[(2, b"eth0"), (9, b"\x09")])
        + interface(given=[(2, b"eth1"), (9, b"\x09")])
        + b"".join(
            packet(frame(number, source, group), number=where, units=start_ns + number * step_ns)
            for number, (source, group, where) in enumerate(sent)
        )
    )
    return path


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def numbers(packets: list[Packet]) -> list[int]:
    return [int.from_bytes(one.data, "big") for one in packets]


async def all_of(stream: Membership | Receiver) -> list[Packet]:
    async with asyncio.timeout(LIMIT):
        return [one async for one in stream]


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self._calls: list[tuple[float, int, Call]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> Call:
        call = Call(callback)
        heapq.heappush(self._calls, (when, id(call), call))
        return call

    async def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._calls and self._calls[0][0] <= until:
            self.now, _, call = heapq.heappop(self._calls)
            call.make()
            await turns(9)
        self.now = until
        await turns(9)


class Call:
    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def make(self) -> None:
        if self._callback is not None:
            self._callback()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.pcapng"


THREE = [((A, B, C)[at % 3], GROUP, 0) for at in range(30)]


@pytest.mark.parametrize(
    "let_in",
    [
        SourceFilter.any(),
        SourceFilter.include([A]),
        SourceFilter.include([A, C]),
        SourceFilter.exclude([B]),
        SourceFilter.none(),
    ],
    ids=str,
)
async def test_a_filter_lets_in_what_it_would_on_the_wire(path: Path, let_in: SourceFilter) -> None:
    async with Receiver(network=Replay(capture(path, *THREE), speed="fast")) as receiver:
        feed = await receiver.join(GROUP, PORT, sources=let_in, interface="eth0")
        assert feed.kernel_filter() == let_in
        came = await all_of(feed)
    assert numbers(came) == [at for at, one in enumerate(THREE) if let_in.allows(one[0])]


async def test_a_packet_has_the_tags_it_was_captured_with(path: Path) -> None:
    sent = [(A, GROUP, 0), (B, GROUP, 1)]
    network = Replay(capture(path, *sent), speed="fast")
    async with Receiver(network=network, ancillary={"hop_limit", "traffic_class"}) as receiver:
        feed = await receiver.join(GROUP, PORT)  # on all there are
        assert [one.name for one in feed.interfaces] == ["eth0", "eth1"]
        first, second = await all_of(feed)
    assert (first.source, first.source_port, first.group, first.port) == (A, 4000, GROUP, PORT)
    assert (first.timestamp_ns, second.timestamp_ns) == (STAMP_NS, STAMP_NS + MS)
    assert (first.hop_limit, first.traffic_class, first.truncated) == (9, 0x28, False)
    assert network.find(second.interface_index).name == "eth1"


async def test_what_came_in_elsewhere_is_not_received(path: Path) -> None:
    sent = [(A, GROUP, at % 2) for at in range(8)] + [(A, OTHER, 0)]
    async with Receiver(network=Replay(capture(path, *sent), speed="fast")) as receiver:
        one = await receiver.join(GROUP, PORT, interface="eth1")
        await receiver.join(GROUP, PORT + 1, interface=ALL_INTERFACES)
        assert numbers(await all_of(receiver)) == [1, 3, 5, 7]
        assert one.statistics().received == 4


async def test_an_interface_that_is_not_in_the_capture(path: Path) -> None:
    async with Receiver(network=Replay(capture(path, *THREE))) as receiver:
        with pytest.raises(InterfaceError, match="eth0, eth1"):
            await receiver.join(GROUP, PORT, interface="eth9")


async def test_a_capture_without_names_can_be_given_one(path: Path) -> None:
    write(path, pcap([frame(7)]))
    for name, called in ((None, "interface 0"), ("eth0", "eth0")):
        async with Receiver(network=Replay(path, speed="fast", interface=name)) as receiver:
            feed = await receiver.join(GROUP, PORT, interface=called)
            assert numbers(await all_of(feed)) == [7]


async def test_fast_waits_for_whoever_is_slow_and_drops_nothing(path: Path) -> None:
    sent = [(A, GROUP, 0)] * 3000
    options = {"capacity": 10, "receive_buffer": 5000}
    async with Receiver(network=Replay(capture(path, *sent), speed="fast"), **options) as receiver:  # type: ignore[arg-type]  # of two types
        feed = await receiver.join(GROUP, PORT)
        came = []
        async with asyncio.timeout(LIMIT):
            async for one in feed:
                came.append(one)
                if len(came) % 50 == 0:
                    await turns(20)
        counted = feed.statistics()
    assert numbers(came) == list(range(3000))
    assert (counted.queue_drops, counted.kernel_drops) == (0, 0)


async def test_at_a_pace_a_full_buffer_drops_and_counts_as_on_the_wire(path: Path) -> None:
    clock, sent = Clock(), [(A, GROUP, 0)] * 300
    replay = Replay(capture(path, *sent), clock=clock)
    async with Receiver(network=replay, capacity=10, receive_buffer=260 * 20) as receiver:
        feed = await receiver.join(GROUP, PORT)
        stream = feed.packets()
        await clock.advance(1)
        got = [one async for one in stream]
        counted = feed.statistics()
    assert 0 < counted.kernel_drops == 300 - len(got)
    assert numbers(got) == sorted(numbers(got))


@pytest.mark.parametrize("speed", [1.0, 2.0, 0.5])
async def test_packets_come_when_they_are_due(path: Path, speed: float) -> None:
    clock = Clock()
    replay = Replay(capture(path, *THREE, step_ns=10 * MS), speed=speed, clock=clock)
    async with Receiver(network=replay) as receiver:
        feed = await receiver.join(GROUP, PORT)
        stream = feed.packets()
        for at in range(30):
            await turns(9)
            assert numbers([stream.receive_nowait()]) == [at]
            assert not len(stream)
            await clock.advance(0.0099 / speed - 0.0005)
            assert not len(stream)
            await clock.advance(0.0001 / speed + 0.000501)
        assert replay.is_over
        assert not [one async for one in stream]


async def test_time_that_goes_back_in_a_capture_keeps_the_order(path: Path) -> None:
    capture(path, *THREE, step_ns=-MS)
    async with Receiver(network=Replay(path)) as receiver:
        feed = await receiver.join(GROUP, PORT)
        came = await all_of(feed)
    assert numbers(came) == list(range(30))
    assert [one.timestamp_ns for one in came] == [STAMP_NS - at * MS for at in range(30)]


async def test_it_begins_when_somebody_receives_and_what_was_joined_by_then_misses_nothing(
    path: Path,
) -> None:
    sent = [(A, (GROUP, OTHER)[at % 2], 0) for at in range(40)]
    replay = Replay(capture(path, *sent), speed="fast")
    async with Receiver(network=replay) as receiver:
        one = await receiver.join(GROUP, PORT)
        await turns(20)
        two = await receiver.join(OTHER, PORT)
        await turns(20)
        assert replay.statistics().packets == 0
        assert numbers(await all_of(one)) == list(range(0, 40, 2))
        assert numbers(await all_of(two)) == list(range(1, 40, 2))  # it waited in the buffer


async def test_what_is_joined_later_misses_what_was_before(path: Path) -> None:
    clock, sent = Clock(), [(A, (GROUP, OTHER)[at % 2], 0) for at in range(40)]
    async with Receiver(network=Replay(capture(path, *sent), clock=clock)) as receiver:
        one = await receiver.join(GROUP, PORT)
        stream = one.packets()
        await clock.advance(0.0202)
        two = await receiver.join(OTHER, PORT)
        await clock.advance(1)
        assert numbers(await all_of(two)) == list(range(21, 40, 2))
        assert numbers([one async for one in stream]) == list(range(0, 40, 2))


async def test_it_can_be_made_to_wait(path: Path) -> None:
    replay = Replay(capture(path, *THREE), speed="fast", wait=True)
    async with Receiver(network=replay) as receiver:
        feed = await receiver.join(GROUP, PORT)
        stream = feed.packets()
        await turns(20)
        assert replay.statistics().packets == 0
        replay.start()
        replay.start()
        assert len([one async for one in stream]) == 30


async def test_every_iteration_ends_with_the_file(path: Path) -> None:
    replay = Replay(capture(path, *THREE), speed="fast")
    async with Receiver(network=replay) as receiver:
        feed = await receiver.join(GROUP, PORT)
        empty = await receiver.join(OTHER, PORT)
        streams = [receiver, feed, empty, receiver.packets(source=A), feed.packets(), empty.packets()]
        async with asyncio.timeout(LIMIT):
            came = await asyncio.gather(*(_numbers(stream) for stream in streams))
        assert [len(one) for one in came] == [30, 30, 0, 10, 30, 0]
        assert replay.is_over
        for stream in (receiver, feed, receiver.packets(), empty.packets()):  # also those begun later
            assert await _numbers(stream) == []
        late = await receiver.join(GROUP, PORT + 1)
        assert await all_of(late) == []
        with pytest.raises(StateError, match="closed"):
            await feed.packets().receive()


async def test_the_streams_of_a_receiver_end_when_the_last_membership_has_nothing_left(path: Path) -> None:
    """One that is over ends by itself; what another has not read yet still comes to the receiver."""
    sent = [(A, OTHER, 0)] * 1500
    replay = Replay(capture(path, *sent), speed="fast")
    async with Receiver(network=replay, capacity=4, receive_buffer=1 << 20) as receiver:
        over = await receiver.join(GROUP, PORT)
        slow = await receiver.join(OTHER, PORT)
        everything = receiver.batches()
        stopping = slow.packets()  # is full, and stops the reading of its membership
        assert await all_of(over) == []
        assert replay.is_over
        came, taken = await asyncio.gather(_batches(everything), _numbers(stopping))
    assert came == taken == list(range(1500))


async def _batches(batches: PacketBatches) -> list[int]:
    async with asyncio.timeout(LIMIT):
        return [number async for batch in batches for number in numbers(batch)]


async def _numbers(stream: object) -> list[int]:
    async with asyncio.timeout(LIMIT):
        return numbers([one async for one in stream])  # type: ignore[attr-defined]  # one of several kinds


@pytest.mark.parametrize("step_ns", [MS, 0, -MS], ids=["forward", "one time", "backward"])
@pytest.mark.parametrize("at", [0, 1, 7, 300, 500])
async def test_a_change_of_mode_leaves_no_gap_and_no_double(path: Path, step_ns: int, at: int) -> None:
    """What both filters let in comes once each, whatever the stamps of the capture say."""
    sent = [((A, B, C)[number % 3], GROUP, 0) for number in range(900)]
    replay = Replay(capture(path, *sent, step_ns=step_ns), speed="fast")
    async with Receiver(network=replay, capacity=5, receive_buffer=260 * 8) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A, B})
        came = []
        async with asyncio.timeout(LIMIT):
            async for one in feed:
                came.append(one)
                if len(came) == at + 1:
                    await feed.swap(SourceFilter.exclude({B}))
                    swapped_at = int.from_bytes(one.data, "big")
    by_source = {source: numbers([one for one in came if one.source == source]) for source in (A, B, C)}
    assert by_source[A] == list(range(0, 900, 3))
    assert all(number <= swapped_at for number in by_source[B])
    assert len(by_source[C]) == len(set(by_source[C]))
    first = min(by_source[C])
    assert by_source[C] == list(range(first, 900, 3))  # from its join on, without a gap


async def test_several_sockets_of_one_list_are_read_in_order(path: Path) -> None:
    """More sources than one socket would hold elsewhere, and swaps among them."""
    many = [f"192.0.2.{at}" for at in range(1, 60)]
    sent = [(many[number % 59], GROUP, 0) for number in range(590)]
    async with Receiver(network=Replay(capture(path, *sent), speed="fast")) as receiver:
        feed = await receiver.join(GROUP, PORT, sources=many)
        assert numbers(await all_of(feed)) == list(range(590))


async def test_the_end_waits_for_what_was_read_ahead(path: Path) -> None:
    """No socket has anything left, and what was read of one waits for the other: it comes before the end."""
    ahead = bounds.READ_AHEAD // 2  # of each of two sockets
    before = bounds.READ_PER_TURN - ahead  # then one turn reads all, and cannot know yet that it did
    sent = [(A, GROUP, 0)] * before + [(B, GROUP, 0)] * ahead
    replay = Replay(capture(path, *sent), speed="fast", wait=True)
    replay._station.wire.source_limit = 1  # it has none by itself: then there is one socket
    async with Receiver(network=replay) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A, B}, interface="eth0")
        replay.start()
        await until(lambda: replay.is_over)  # nobody has read
        await turns()  # and it was looked if all was read
        assert numbers(await all_of(feed)) == list(range(before + ahead))


async def test_lines_are_merged_and_gaps_seen(path: Path) -> None:
    sent: list[Sent] = []
    content: list[int] = []
    for number in range(100):
        for line in (0, 1):
            if not (line == 0 and number % 10 == 3) and not (line == 1 and number % 7 == 3):
                content.append(number)
                sent.append((A, GROUP, line))
    write(
        path,
        section()
        + interface(given=[(2, b"eth0"), (9, b"\x09")])
        + interface(given=[(2, b"eth1"), (9, b"\x09")])
        + b"".join(
            packet(frame(number, source, group), number=where, units=STAMP_NS + at * MS)
            for at, (number, (source, group, where)) in enumerate(zip(content, sent, strict=True))
        ),
    )
    sequence = Sequence.at(0, "u32", "big")
    async with Receiver(network=Replay(path, speed="fast")) as receiver:
        a = await receiver.join(GROUP, PORT, interface="eth0")
        b = await receiver.join(GROUP, PORT, interface="eth1")
        found = [one async for one in merge(a, b, sequence=sequence, hold=0.01)]
    whole = [int.from_bytes(one.data, "big") for one in found if isinstance(one, Packet)]
    lost = [one for one in range(100) if one % 10 == 3 and one % 7 == 3]
    assert whole == [one for one in range(100) if one not in lost]
    missing = [(one.first, one.last) for one in found if isinstance(one, Gap)]
    assert missing == [(one, one) for one in lost]
    async with Receiver(network=Replay(path, speed="fast")) as receiver:
        a = await receiver.join(GROUP, PORT, interface="eth0")
        seen = [one async for one in gaps(a, sequence) if isinstance(one, Gap)]
    assert [(one.first, one.last) for one in seen] == [(one, one) for one in range(3, 100, 10)]


async def test_a_broken_file_is_told_after_what_came_before(path: Path) -> None:
    whole = capture(path, *THREE).read_bytes()
    write(path, whole + block(6, bytes(4)))
    async with Receiver(network=Replay(path, speed="fast")) as receiver:
        feed = await receiver.join(GROUP, PORT)
        stream, came = feed.packets(), 0
        async with asyncio.timeout(LIMIT):
            while came < 30:
                await stream.receive()
                came += 1
            with pytest.raises(CaptureError, match=f"byte {len(whole)}"):
                await stream.receive()
        with pytest.raises(CaptureError):
            await feed.packets().receive()


async def test_a_file_that_was_cut_short_is_replayed_up_to_there(path: Path) -> None:
    whole = capture(path, *THREE).read_bytes()
    write(path, whole[:-10])
    replay = Replay(path, speed="fast")
    async with Receiver(network=replay) as receiver:
        feed = await receiver.join(GROUP, PORT)
        with pytest.warns(RuntimeWarning, match="ends within a packet"):
            assert len(await all_of(feed)) == 29
    assert replay.statistics().is_cut_short


async def test_several_receivers_share_one_playing(path: Path) -> None:
    replay = Replay(capture(path, *THREE), speed="fast", wait=True)
    async with Receiver(network=replay) as one, Receiver(network=replay) as two:
        a = await one.join(GROUP, PORT, sources={A})
        b = await two.join(GROUP, PORT, sources={B})
        replay.start()
        came = await asyncio.gather(all_of(a), all_of(b))
        assert [len(each) for each in came] == [10, 10]
    async with Receiver(network=replay) as late:
        with pytest.raises(StateError, match="over"):
            await late.join(GROUP, PORT)
    with pytest.raises(StateError, match="over"):
        replay.start()


async def test_the_file_is_closed_with_the_receiver(path: Path) -> None:
    capture(path, *([(A, GROUP, 0)] * 5000))

    def is_open() -> bool:
        there = [f"/proc/self/fd/{one}" for one in os.listdir("/proc/self/fd")]
        return any(os.path.realpath(one) == str(path) for one in there if os.path.lexists(one))

    replay = Replay(path, speed="fast")
    async with Receiver(network=replay, capacity=5) as receiver:
        feed = await receiver.join(GROUP, PORT)
        await anext(aiter(feed))
        assert is_open()
    await turns(5)
    gc.collect()
    assert not is_open()
    assert replay.is_over


@pytest.mark.parametrize("leaves", [True, False], ids=["leave", "swap"])
async def test_who_holds_up_the_replay_and_leaves_holds_it_up_no_more(path: Path, leaves: bool) -> None:
    sent = [(A, (GROUP, OTHER)[at % 2], 0) for at in range(400)]
    async with Receiver(network=Replay(capture(path, *sent), speed="fast"), receive_buffer=2000) as receiver:
        one = await receiver.join(GROUP, PORT)
        idle = await receiver.join(OTHER, PORT)
        stream = one.packets()
        await turns(50)
        assert len(stream) < 200
        await (idle.leave() if leaves else idle.swap(SourceFilter.none()))
        assert len(await _packets(stream)) == 200


async def _packets(stream: object) -> list[Packet]:
    async with asyncio.timeout(LIMIT):
        return [one async for one in stream]  # type: ignore[attr-defined]  # one of several kinds


async def test_a_replay_that_stands_still_says_so_once(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player_module, "_STANDS_STILL", 0.01)
    sent = [(A, (GROUP, OTHER)[at % 2], 0) for at in range(400)]
    async with Receiver(network=Replay(capture(path, *sent), speed="fast"), receive_buffer=2000) as receiver:
        one = await receiver.join(GROUP, PORT)
        await receiver.join(OTHER, PORT)
        stream = one.packets()
        with caplog.at_level(logging.WARNING, "aiomcast"):
            async with asyncio.timeout(LIMIT):
                while not caplog.records:
                    await asyncio.sleep(0.005)
        await stream.aclose()
    assert [one.getMessage() for one in caplog.records] == [
        f"the replay stands still until somebody receives from {OTHER} port {PORT}: its buffer is full"
    ]


async def test_counters_and_events_are_as_on_the_wire(path: Path) -> None:
    async with Receiver(network=Replay(capture(path, *THREE), speed="fast"), by_source=True) as receiver:
        events = receiver.events()
        feed = await receiver.join(GROUP, PORT, interface="eth0", sources={A, B})
        await all_of(feed)
        assert (await events.receive()).kind is EventKind.JOINED
        assert {source: one.packets for source, one in feed.statistics_by_source().items()} == {A: 10, B: 10}
        counted = receiver.statistics()
    assert (counted.received, counted.filtered, counted.queued) == (20, 0, 0)


async def test_what_drops_by_its_own_policy_does_so_here_too(path: Path) -> None:
    replay = Replay(capture(path, *THREE), speed="fast")
    async with Receiver(network=replay, capacity=4, overflow=Overflow.DROP_OLDEST) as receiver:
        feed = await receiver.join(GROUP, PORT)
        stream = feed.packets()
        while not replay.is_over:
            await turns(1)
        await turns(5)
        assert numbers([one async for one in stream]) == [26, 27, 28, 29]
        assert feed.statistics().queue_drops == 26


def test_wrong_arguments(path: Path) -> None:
    capture(path, *THREE)
    for wrong in (0, -1, float("nan"), float("inf"), "slow"):
        with pytest.raises(ArgumentError, match="speed"):
            Replay(path, speed=wrong)  # type: ignore[arg-type]  # that is what is tried
    for other in (True, None, b"fast"):
        with pytest.raises(TypeError, match="speed"):
            Replay(path, speed=other)  # type: ignore[arg-type]  # that is what is tried
    with pytest.raises(StateError, match="loop"):
        Replay(path).start()
    write(path, b"#!/bin/sh")
    with pytest.raises(CaptureError):
        Replay(path)


async def test_it_belongs_to_one_loop_and_adopts_no_socket(path: Path) -> None:
    replay = Replay(capture(path, *THREE))
    async with Receiver(network=replay) as receiver:
        await receiver.join(GROUP, PORT)

        async def elsewhere() -> None:
            async with Receiver(network=replay) as other:
                with pytest.raises(StateError, match="one event loop"):
                    await other.join(GROUP, PORT)

        await asyncio.to_thread(asyncio.run, elsewhere())
        with pytest.raises(UnsupportedError):
            await receiver.join(OTHER, PORT, interface="eth0", sock=0)


async def test_an_empty_capture_ends_at_once(path: Path) -> None:
    for content in (section(), section() + interface(), pcap([])):
        write(path, content)
        async with Receiver(network=Replay(path)) as receiver:
            feed = await receiver.join(GROUP, PORT)
            assert await all_of(feed) == []


def test_stamps_of_arrival_are_distinct_and_rise() -> None:
    from aiomcast.memory.clock import Clock as MemoryClock

    clock = MemoryClock(0)
    stamps = [clock.stamp_at(given) for given in (5, 5, 3, 100, 99)]
    assert stamps == [5, 6, 7, 100, 101]
    assert all(a < b for a, b in pairwise(stamps))
    assert clock.time_ns() == 101
