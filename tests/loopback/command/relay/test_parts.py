"""The parts of `aiomcast relay` that no process shows: what is handed over, told, and shared out."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aiomcast import Flow, Packet, Receiver
from aiomcast.command.handing import Handed
from aiomcast.command.relaying import told
from aiomcast.command.sharing_out import SharedOut
from aiomcast.relay import JetStream
from aiomcast.testing import MemoryNetwork

PACKETS = [Packet(b"%d" % number, Flow("10.0.0.2", 7, "232.1.1.1", 5000, 1)) for number in range(3)]


async def test_what_was_handed_over_comes_before_the_end() -> None:
    async with Receiver(network=MemoryNetwork()) as receiver:
        handed = Handed(receiver)
        handed.give(PACKETS[:1])
        assert await anext(handed) == PACKETS[:1]
        handed.give(PACKETS[1:])
        handed.end()
        handed.give(PACKETS)
        async with asyncio.timeout(10):
            assert [batch async for batch in handed] == [PACKETS[1:]]


async def test_it_asks_when_it_wants_the_next() -> None:
    async with Receiver(network=MemoryNetwork()) as receiver:
        handed = Handed(receiver)
        assert not handed.is_asked.is_set()
        asking = asyncio.create_task(anext(handed))
        async with asyncio.timeout(10):
            await handed.is_asked.wait()
            handed.give(PACKETS)
            assert not handed.is_asked.is_set()
            assert await asking == PACKETS


def test_a_warning_is_told_once_until_something_is_better(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("aiomcast.relay")
    before = logger.level, list(logger.handlers)
    with told(quiet=False):
        for _ in range(2):
            logger.warning("%s is away", "it")
            logger.warning("%s is away", "it")
            logger.info("it is back")
        logger.error("what the summary has")
        logger.debug("what nobody asked for")
    assert capfd.readouterr().err.splitlines() == 2 * ["aiomcast: it is away", "it is back"]
    with told(quiet=True):
        logger.info("it is back")
        logger.warning("it is away")
    assert capfd.readouterr().err == "aiomcast: it is away\n"
    assert (logger.level, logger.handlers) == before


async def test_of_channels_shared_out_those_are_told_that_are_joined() -> None:
    filters = {("FF15::1", 5000): None, ("239.1.1.1", 5000): None, ("232.1.1.1", 5000): ["10.0.0.2"]}
    async with JetStream("nats://127.0.0.1:1") as server, Receiver(network=MemoryNetwork()) as receiver:
        shared = SharedOut(filters, "eth0", server, "bucket", name="a", copies=1, lease=3.0)
        shared._receiver = receiver  # no server is asked
        assert shared.now() == {}
        first = await receiver.join("ff15::1", 5000, interface="eth0")
        second = await receiver.join("232.1.1.1", 5000, sources=["10.0.0.2"], interface="eth0")
        assert shared.now() == {("FF15::1", 5000): first, ("232.1.1.1", 5000): second}
