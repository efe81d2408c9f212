"""A buffer that was granted small, and a rate that it cannot hold for long: told once."""

from __future__ import annotations

import asyncio
import socket
import sys
import warnings

import pytest

import aiomcast
from aiomcast import EventKind, Membership, Receiver
from aiomcast.reading import held
from aiomcast.testing import MemoryNetwork
from tests.support.inside import readers_of, reading_of
from tests.support.sending import A, sending
from tests.support.small_buffers import grant_little
from tests.support.waiting import turns

GRANTED = 212_992  # what a socket in memory has by itself
GROUP, PORT, SOURCE = "232.1.1.1", 5000, "192.0.2.10"


def shorten(receiver: Receiver, one: Membership, whole: bool) -> None:
    """Have its socket be one that was granted less than the default, or all of it."""
    for reader in readers_of(one):
        reader.sock.is_buffer_whole = whole  # type: ignore[misc]  # a socket in memory lets it be set
    receiver._keeper.tightness.joined(one, reading_of(receiver))


async def told(net: MemoryNetwork, per_second: int, whole: bool = False) -> list[aiomcast.Event]:
    """Return what is told in some seconds of datagrams of 1,400 bytes; the warnings are the same."""
    async with Receiver(network=net) as receiver, receiver.events() as events:
        one = await receiver.join(GROUP, PORT, sources=[SOURCE])
        stream = one.packets()
        shorten(receiver, one, whole)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(4 * 50):
                net.send_many(SOURCE, GROUP, PORT, [bytes(1400)] * (per_second // 50))
                await net.run_for(1 / 50)
                while len(stream):
                    stream.receive_nowait()
        found = [events.receive_nowait() for _ in range(len(events))]
        of_it = [one for one in found if one.kind is EventKind.TIGHT]
        assert [str(one.message).partition(": ")[2] for one in caught] == [one.cause for one in of_it]
        return of_it


def network(receive_buffer: int = GRANTED) -> MemoryNetwork:
    return MemoryNetwork(receive_buffer=receive_buffer, real_timers=False)


async def test_a_rate_that_is_held_for_less_than_50_ms_is_told_once() -> None:
    (event,) = await told(network(), 6000)
    assert (event.group, event.port, event.interface) == (GROUP, PORT, "eth0")
    assert event.cause is not None
    assert "212,992 bytes holds " in event.cause
    assert "datagrams/s: " in event.cause
    if sys.platform.startswith("linux"):
        assert event.cause.endswith(
            "raise it with sysctl -w net.core.rmem_max=4194304, or have CAP_NET_ADMIN"
        )
    assert str(event).startswith("tight 232.1.1.1 port 5000 on eth0: the receive buffer")


async def test_a_rate_that_is_held_is_not() -> None:
    assert await told(network(), 1000) == []


async def test_nobody_looks_where_all_was_granted_and_nothing_dropped() -> None:
    assert await told(network(), 6000, whole=True) == []


async def test_after_a_drop_one_looks_all_the_same() -> None:
    (event,) = await told(network(8000), 3000, whole=True)
    assert event.cause is not None
    assert event.cause.endswith("ask for more by receive_buffer=")


async def test_it_is_told_of_what_the_system_grants(any_group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that lets nobody go beyond some bytes: a few datagrams a second are too many."""
    grant_little(monkeypatch)
    monkeypatch.setattr(held, "BETWEEN", 0.05)
    with sending(A, any_group, PORT) as sender:
        async with Receiver() as receiver, receiver.events() as events:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                feed = await receiver.join(any_group, PORT, sources=[A], interface="lo")
                assert feed.statistics().receive_buffer < 10_000
                stream = receiver.packets()
                async with asyncio.timeout(20):
                    while (event := await next_of(events, sender)).kind is not EventKind.TIGHT:
                        pass
                assert event.membership is feed
                assert event.cause is not None
                assert event.cause in str(caught[0].message)
                await turns(10)
            assert len(caught) == 1
            await stream.aclose()


async def next_of(events: aiomcast.EventStream, sender: socket.socket) -> aiomcast.Event:
    """Return the next event, sending until there is one."""
    while not len(events):
        sender.send(bytes(1400))
        await asyncio.sleep(0.0005)
    return events.receive_nowait()
