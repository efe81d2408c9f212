"""Whole receivers on a FreeBSD host: its rules on loopback's packets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading

import pytest

from aiomcast import FilterMode, LimitError, Membership, Receiver, SourceFilter, create_multicast_endpoint
from aiomcast.endpoint.protocol import MulticastProtocol
from aiomcast.rfc3678 import holdings
from aiomcast.values.addresses import pack
from tests.support.bsd_loopback import BsdLoopback, bsd_loopback
from tests.support.inside import readers_of, sockets_of
from tests.support.sending import LO
from tests.support.waiting import turns

from ..conftest import Senders

__all__ = ["bsd_loopback"]

SENDING = [f"127.0.0.{number}" for number in range(2, 8)]
OTHERS = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(600)]


def some_filter(draw: random.Random, *, longest: int = 140) -> SourceFilter:
    """Return a filter of some that send and many that do not; now and then of nobody, or everybody."""
    count = draw.choice([0, 1, 3, draw.randrange(longest), longest, longest])
    listed = draw.sample(SENDING, draw.randrange(len(SENDING))) + draw.sample(OTHERS, count)
    if draw.random() < 0.4:
        return SourceFilter.exclude(listed[:60])
    return SourceFilter.include(listed)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(6))
async def test_a_walk_of_swaps(
    seed: int, any_group: str, senders: Senders, bsd_loopback: BsdLoopback
) -> None:
    """Nothing is let through, and nothing that both filters allow is lost, where the mode stays."""
    draw = random.Random(seed)
    got: list[tuple[str, bytes]] = []
    async with Receiver(heal=False) as receiver:
        feed = await receiver.join(any_group, senders.port, sources=["127.0.0.2"], interface="lo")

        async def take() -> None:
            async for packet in feed:
                got.append((packet.source, packet.data))

        task = asyncio.create_task(take())
        expected: list[tuple[str, bytes]] = []
        for step in range(40):
            wanted = some_filter(draw)
            await feed.swap(wanted)
            assert feed.filter == wanted
            if feed.filter.is_include or len(wanted.sources) <= 64:
                assert feed.kernel_filter() == wanted
            assert len(bsd_loopback.sources(LO, any_group)) <= 512
            for source in draw.sample(SENDING, 4):
                data = b"%d" % step
                await senders.send(source, any_group, data)
                if wanted.allows(source):
                    expected.append((source, data))
            async with asyncio.timeout(10):
                while len(got) < len(expected):
                    await asyncio.sleep(0)
            await turns(5)
            assert sorted(got) == sorted(expected)
        await feed.leave()
        await task
    assert not bsd_loopback.members(LO, any_group)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [0, 1, 3, 4])
async def test_a_walk_of_receivers(
    seed: int, any_group: str, senders: Senders, bsd_loopback: BsdLoopback
) -> None:
    """Several join, leave, swap and refresh: every join is reported, and no call is one too many."""
    draw = random.Random(seed)
    refusals = 0
    held: dict[Membership, Receiver] = {}
    async with Receiver(heal=False) as one, Receiver(heal=False) as other:
        for _ in range(40):
            action = draw.choice(["join", "join", "swap", "swap", "swap", "leave", "refresh"])
            chosen = draw.choice(list(held)) if held else None
            before = chosen.filter if chosen is not None else None
            try:
                if action == "join" or chosen is None:
                    receiver = draw.choice([one, other])
                    port = draw.choice([5000, 5001])
                    if all((member.port, where) != (port, receiver) for member, where in held.items()):
                        wanted = some_filter(draw, longest=500)
                        joined = await receiver.join(any_group, port, sources=wanted, interface="lo")
                        held[joined] = receiver
                elif action == "swap":
                    await chosen.swap(some_filter(draw, longest=500))
                elif action == "leave":
                    await chosen.leave()
                    del held[chosen]
                else:
                    await chosen.refresh()
            except LimitError as error:
                refusals += 1
                assert error.limit == "sources per group, interface and host"
                assert chosen is None or action == "join" or chosen.filter == before
            for member in held:
                if member.filter.is_include or len(member.filter.sources) <= 64:
                    assert member.kernel_filter() == member.filter
            assert not bsd_loopback.deaf
    assert refusals > 0  # or the seed is one of no use
    assert not bsd_loopback.members(LO, any_group)


async def test_long_lists_are_swapped_whole(any_group: str, bsd_loopback: BsdLoopback) -> None:
    """400 sources are seven sockets, each of which can be set to any other 64."""
    async with Receiver(heal=False) as receiver:
        feed = await receiver.join(any_group, 5000, sources=OTHERS[:400], interface="lo")
        assert [len(sock.filter.sources) for sock in sockets_of(feed)] == [64] * 6 + [16]
        await feed.swap(OTHERS[:64] + OTHERS[200:448])
        assert feed.kernel_filter() == feed.filter
        with pytest.raises(LimitError, match="on one interface") as caught:
            await feed.swap(OTHERS[:550])
        assert caught.value.value == 512
        assert feed.kernel_filter() == feed.filter == SourceFilter.include(OTHERS[:64] + OTHERS[200:448])


async def test_two_receivers_share_the_room(any_group: str, bsd_loopback: BsdLoopback) -> None:
    async with Receiver(heal=False) as one, Receiver(heal=False) as other:
        feed = await one.join(any_group, 5000, sources=OTHERS[:460], interface="lo")
        for refused in (SourceFilter.include(OTHERS[400:513]), SourceFilter.exclude(OTHERS[500:553])):
            with pytest.raises(LimitError):
                await other.join(any_group, 5001, sources=refused, interface="lo")
        assert not other.memberships
        assert len(bsd_loopback.members(LO, any_group)) == 8
        await feed.leave()
        await other.join(any_group, 5001, sources=OTHERS[400:513], interface="lo")


@pytest.mark.parametrize("how", ["join", "swap", "apply", "join_source", "endpoint", "another receiver"])
async def test_a_join_waits_until_the_leave_is_reported(
    how: str, any_group: str, bsd_loopback: BsdLoopback
) -> None:
    async with Receiver(heal=False) as receiver, Receiver(heal=False) as other:
        feed = await receiver.join(any_group, 5000, sources=["127.0.0.2"], interface="lo")
        if how in ("swap", "apply", "join_source"):
            await feed.swap(())
        else:
            await feed.leave()
        turned = 0

        async def turn() -> None:
            nonlocal turned
            while True:
                await asyncio.sleep(0)
                turned += 1

        task = asyncio.create_task(turn())
        match how:
            case "join":
                await receiver.join(any_group, 5000, sources=["127.0.0.2"], interface="lo")
            case "another receiver":
                await other.join(any_group, 5001, sources=["127.0.0.2"], interface="lo")
            case "swap":
                await feed.swap(["127.0.0.3"])
            case "apply":
                await receiver.filters.apply({feed: ["127.0.0.3"]})
            case "join_source":
                await asyncio.gather(feed.join_source("127.0.0.3"), feed.join_source("127.0.0.4"))
                assert feed.filter == SourceFilter.include(["127.0.0.3", "127.0.0.4"])
            case "endpoint":
                transport, _ = await create_multicast_endpoint(
                    MulticastProtocol, any_group, 5000, interface="lo", sources=["127.0.0.2"]
                )
                transport.close()
                await turns(3)
        assert turned > 5  # the loop has gone on
        task.cancel()
    assert not bsd_loopback.deaf


async def test_no_join_waits_while_another_socket_is_a_member(
    any_group: str, bsd_loopback: BsdLoopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(seconds: float) -> None:
        raise AssertionError(f"it waits for {seconds} s")

    async with Receiver(heal=False) as receiver:
        await receiver.join(any_group, 5000, sources=["127.0.0.2"], interface="lo")
        feed = await receiver.join(any_group, 5001, sources=["127.0.0.2"], interface="lo")
        await feed.leave()
        monkeypatch.setattr("aiomcast.streams.pausing.asyncio.sleep", never)
        await receiver.join(any_group, 5001, sources=["127.0.0.3"], interface="lo")
        monkeypatch.undo()


async def test_a_swap_during_a_refresh_waits_with_it(any_group: str, bsd_loopback: BsdLoopback) -> None:
    async with Receiver(heal=False) as receiver:
        feed = await receiver.join(any_group, 5000, sources=["127.0.0.2"], interface="lo")
        refreshing = asyncio.create_task(feed.refresh())
        await turns(2)
        assert not bsd_loopback.members(LO, any_group)
        await feed.swap(["127.0.0.3"])
        await refreshing
        assert feed.kernel_filter() == feed.filter == SourceFilter.include(["127.0.0.3"])


async def test_a_refresh_waits_for_whoever_leaves_last(any_group: str, bsd_loopback: BsdLoopback) -> None:
    async with Receiver(heal=False) as receiver:
        feed = await receiver.join(any_group, 5000, sources=["127.0.0.2"], interface="lo")
        transport, _ = await create_multicast_endpoint(
            MulticastProtocol, any_group, 5001, interface="lo", sources=["127.0.0.3"]
        )
        refreshing = asyncio.create_task(feed.refresh())
        await asyncio.sleep(0.1)  # a part of the pause
        assert not bsd_loopback.members(LO, any_group), "the endpoint has left with it"
        transport.close()
        await refreshing
        assert feed.kernel_filter() == feed.filter == SourceFilter.include(["127.0.0.2"])


def test_receivers_of_two_threads_share_the_room(any_group: str, bsd_loopback: BsdLoopback) -> None:
    """What the kernel lists is never too much, whoever comes first, and all of it is given back."""
    failed: list[BaseException] = []

    async def walk(number: int) -> None:
        draw = random.Random(number)
        async with Receiver(heal=False) as receiver:
            feed = await receiver.join(any_group, 5000 + number, sources=["127.0.0.2"], interface="lo")
            for _ in range(60):
                with contextlib.suppress(LimitError):
                    await feed.swap(draw.sample(OTHERS, draw.randrange(1, 400)))
                assert feed.kernel_filter() == feed.filter

    def run(number: int) -> None:
        try:
            asyncio.run(walk(number))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert not bsd_loopback.members(LO, any_group)
    known = holdings.of_process
    assert known is not None
    assert known.wait(holdings.Place(LO, pack(any_group))) > 0  # the last has left, and nobody holds any


async def test_a_receiver_that_is_closed_while_a_join_waits(
    any_group: str, bsd_loopback: BsdLoopback
) -> None:
    async with Receiver(heal=False) as receiver:
        feed = await receiver.join(any_group, 5000, sources=["127.0.0.2"], interface="lo")
        await feed.leave()
        joining = asyncio.ensure_future(receiver.join(any_group, 5000, interface="lo"))
        await turns(2)
        await receiver.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await joining
    assert not bsd_loopback.members(LO, any_group)


async def test_what_an_exclude_list_names_does_not_come(
    any_group: str, senders: Senders, bsd_loopback: BsdLoopback
) -> None:
    """The kernel lets it in: the gate does not."""
    wanted = SourceFilter.exclude(["127.0.0.2"])
    async with Receiver(heal=False) as receiver:
        feed = await receiver.join(any_group, senders.port, sources=wanted, interface="lo")
        await senders.send("127.0.0.2", any_group, b"blocked")
        await senders.send("127.0.0.3", any_group, b"let in")
        async with asyncio.timeout(10):
            assert (await anext(aiter(feed))).data == b"let in"
        assert feed.statistics().filtered == 1
        (reader,) = readers_of(feed)
        assert reader.received == 2
        state = bsd_loopback.state(sockets_of(feed)[0], LO, any_group)
        assert state is not None
        assert state.mode is FilterMode.EXCLUDE


async def test_no_setting_has_this_kernel_refuse_what_is_blocked(
    any_group: str, bsd_loopback: BsdLoopback
) -> None:
    async with Receiver(heal=False) as receiver:
        with pytest.warns(RuntimeWarning, match="65 sources are blocked.*refused in user space$"):
            await receiver.join(any_group, 5000, sources=SourceFilter.exclude(OTHERS[:65]), interface="lo")
