"""Timers of a receiver on a network in memory, and which of them settling waits for."""

import asyncio

import pytest

from aiomcast.testing import MemoryNetwork
from tests.support.memory import GROUP, PORT, A, joined, opened, placed


@pytest.fixture
def net() -> MemoryNetwork:
    return MemoryNetwork()


async def test_a_timer_comes_when_the_clock_has_passed_its_time() -> None:
    net, came = MemoryNetwork(real_timers=False), list[float]()
    reading = net.open()
    reading.call_later(0.5, lambda: came.append(reading.monotonic()))
    reading.call_later(0.1, lambda: came.append(0)).cancel()
    await net.settle()
    assert came == []
    net.advance(0.4)
    assert came == []
    net.advance(0.2)
    assert came == [0.5]
    net.advance(9)
    assert came == [0.5]


async def test_a_timer_comes_at_last_though_nobody_moves_the_clock(net: MemoryNetwork) -> None:
    came = asyncio.Event()
    net.open().call_later(0.001, came.set)
    async with asyncio.timeout(10):
        await came.wait()
    assert net.open().monotonic() == 0
    net.advance(1)


@pytest.mark.parametrize("real_timers", [False, True])
async def test_a_timer_of_no_time_comes_in_the_next_turn(real_timers: bool) -> None:
    net, came = MemoryNetwork(real_timers=real_timers), asyncio.Event()
    net.open().call_later(0, came.set)
    assert not came.is_set()
    async with asyncio.timeout(10):
        await came.wait()


async def test_settling_waits_for_a_timer_that_something_unread_may_wait_for() -> None:
    net = MemoryNetwork(real_timers=False)
    reading = net.open()
    reader, heard = joined(reading, net)
    placed(reader).discard()
    reading.call_later(0.005, placed(reader).add)
    await net.settle()
    assert reading.monotonic() == 0  # nothing waits
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    assert (heard.data, reading.monotonic()) == ([b"1"], 0.005)


async def test_settling_does_not_wait_for_what_is_far_off_or_paused() -> None:
    net = MemoryNetwork(real_timers=False)
    reading = net.open()
    reader = opened(reading, net)
    reader.sock.set_filter(None)
    net.send(A, GROUP, PORT, b"1")
    reading.call_later(0.1, placed(reader).add)
    await net.settle()
    reading.call_later(0.005, placed(reader).add)
    reading.pause()
    await net.settle()
    assert reading.monotonic() == 0
