"""A socket of an endpoint that was granted a small buffer, and a rate that it cannot hold for long."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiomcast import EventKind, Interface, MulticastProtocol, MulticastTransport, create_multicast_endpoint
from aiomcast.reading import buffers, held
from tests.support.platforms import needs_drops
from tests.support.sending import LO, A, sending
from tests.support.small_buffers import grant_little
from tests.support.waiting import turns, until

PORT = 5000
PATIENCE = 20  # seconds
BURST = [bytes(1400)] * 150  # more than the system's own buffer holds


class Told(MulticastProtocol):
    def __init__(self) -> None:
        self.count = 0
        self.told: list[tuple[EventKind, str, str | None]] = []

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:  # Any: asyncio's own type
        self.count += 1

    def interface_changed(self, interface: Interface, kind: EventKind, cause: str | None) -> None:
        self.told.append((kind, interface.name, cause))


@asynccontextmanager
async def opened(group: str, **keywords: Any) -> AsyncIterator[tuple[MulticastTransport, Told]]:
    """An endpoint on loopback that is closed at the end."""
    transport, protocol = await create_multicast_endpoint(
        Told, group, PORT, interface=LO, sources=[A], **keywords
    )
    try:
        yield transport, protocol
    finally:
        transport.close()
        await turns()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it look more often than it does."""
    monkeypatch.setattr(held, "BETWEEN", 0.05)


async def until_told(group: str, protocol: Told, *payloads: bytes) -> None:
    """Send all of these again and again, until it is told of something."""
    with sending(A, group, PORT) as sender:
        async with asyncio.timeout(PATIENCE):
            while not protocol.told:
                for payload in payloads:
                    sender.send(payload)
                await asyncio.sleep(0.0005)


@needs_drops
@pytest.mark.parametrize("heal", [True, False])
async def test_it_is_told_once(
    heal: bool, any_group: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    grant_little(monkeypatch)
    caplog.set_level(logging.INFO, "aiomcast")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with opened(any_group, heal=heal) as (transport, protocol):
            assert transport.statistics().receive_buffer < 10_000
            await until_told(any_group, protocol, bytes(1400))
            ((kind, name, cause),) = protocol.told
            assert cause is not None
            assert (kind, cause.partition(" of ")[0]) == (EventKind.TIGHT, "the receive buffer")
            assert name == transport.get_extra_info("interface").name
            where = f"{any_group} port {PORT} on {name}"
            assert [str(one.message) for one in caught] == [f"{where}: {cause}"]
            assert f"tight {where}: {cause}" in caplog.messages
            before = transport.statistics()
            with sending(A, any_group, PORT) as sender:
                for payload in BURST:
                    sender.send(payload)
            await until(lambda: transport.statistics().kernel_drops > before.kernel_drops)
            assert transport._tightness._timer is None
        assert (len(caught), len(protocol.told)) == (1, 1)


@needs_drops
async def test_after_a_drop_it_looks_all_the_same(any_group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "DEFAULT_GRANT", 0)  # which the system's own is as much as
    async with opened(any_group) as (transport, protocol):
        assert transport._tightness._timer is None
        with pytest.warns(RuntimeWarning, match="the receive buffer"):
            await until_told(any_group, protocol, *BURST)
        ((kind, _, cause),) = protocol.told
        assert kind is EventKind.TIGHT
        assert cause is not None
        assert cause.endswith("ask for more by receive_buffer=")


async def test_nobody_looks_where_nothing_was_dropped(
    any_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "DEFAULT_GRANT", 0)
    async with opened(any_group) as (transport, protocol):
        with sending(A, any_group, PORT) as sender:
            for _ in range(20):
                sender.send(bytes(1400))
        await until(lambda: protocol.count == 20)
        assert transport.statistics().kernel_drops == 0
        await turns()
        assert transport._tightness._timer is None


@needs_drops
async def test_of_a_size_of_ones_own_nothing_is_told(any_group: str) -> None:
    async with opened(any_group, receive_buffer=4096) as (transport, protocol):
        with sending(A, any_group, PORT) as sender:
            for payload in BURST:
                sender.send(payload)
        await until(lambda: transport.statistics().kernel_drops > 0)
        await turns()
        assert transport._tightness._timer is None
        assert protocol.told == []


async def test_nobody_looks_at_what_is_closed(any_group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grant_little(monkeypatch)
    async with opened(any_group) as (transport, _):
        assert transport._tightness._timer is not None
    assert transport._tightness._timer is None
    assert transport._tightness._come == {}


async def test_a_socket_that_takes_the_place_of_another_is_looked_at(
    any_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant_little(monkeypatch)
    async with opened(any_group) as (transport, protocol):
        (old,) = transport.members
        assert transport._mending is not None
        transport._mending._open(old, old.sock.interface)
        assert transport.members != (old,)
        with pytest.warns(RuntimeWarning, match="the receive buffer"):
            await until_told(any_group, protocol, bytes(1400))
