"""A burst that comes while the event loop is busy: the buffer that is asked for by default holds it."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

import pytest

import aiomcast

from .traffic import Traffic

COUNT, OCTETS = 2000, 1472  # what fits into frames of 1,500 bytes
BUSY = 0.05  # seconds that the event loop is blocked, at least


def send_while_busy(ssm: Traffic) -> None:
    """Block the event loop, as somebody's work would."""
    end = time.monotonic() + BUSY
    ssm.send("s1", *[bytes(OCTETS)] * COUNT)
    time.sleep(max(end - time.monotonic(), 0))


async def burst(ssm: Traffic, buffer: int | Literal["system"] | None) -> aiomcast.Statistics:
    """Send it while nothing else runs in this thread; return what came of it."""
    async with aiomcast.Receiver(receive_buffer=buffer, gro=False) as receiver:
        feed = await receiver.join(ssm.group, ssm.port, sources=[ssm.address("s1")], interface="v0")
        stream = feed.packets()
        ssm.forwarded("s1")
        send_while_busy(ssm)
        async with asyncio.timeout(10):
            while (counted := feed.statistics()).received + counted.kernel_drops < COUNT:
                await asyncio.sleep(0.001)
        assert len(stream) == counted.received
        return counted


async def test_nothing_is_lost_of_two_thousand_datagrams(ssm: Traffic) -> None:
    counted = await burst(ssm, None)
    assert (counted.received, counted.kernel_drops) == (COUNT, 0)
    assert counted.receive_buffer == 2 * (4 << 20)


async def test_the_systems_own_buffer_holds_a_fraction(ssm: Traffic) -> None:
    counted = await burst(ssm, "system")
    assert 0 < counted.received < COUNT / 2
    assert counted.receive_buffer < 1 << 20


@pytest.mark.parametrize("asked", [65536, 8 << 20])
async def test_another_size_is_as_asked(asked: int, ssm: Traffic) -> None:
    counted = await burst(ssm, asked)
    assert (counted.kernel_drops > 0) is (asked < 4 << 20)
    assert counted.receive_buffer == 2 * asked
