"""`diagnose` and `Membership.diagnose` on loopback, with the system's sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest

import aiomcast
from aiomcast import VerdictKind
from aiomcast.diagnosis.diagnose import diagnose_over
from aiomcast.testing import MemoryNetwork
from tests.loopback.conftest import Senders
from tests.support.platforms import linux_only

A, B = "127.0.0.2", "127.0.0.3"
PORT = 5000
SHORT = 0.05  # seconds


async def no_time() -> None:
    await asyncio.sleep(0)


def sending(senders: Senders, group: str, *sources: str) -> Callable[[], Awaitable[None]]:
    async def window() -> None:
        for source in sources:
            await senders.send(source, group, b"x")

    return window


async def test_it_flows(senders: Senders, group: str) -> None:
    window = sending(senders, group, A, A, B)
    found = await diagnose_over(window, group, PORT, sources=[A, "127.0.0.9"], interface="lo")
    assert found.verdict.kind is VerdictKind.FLOWS
    assert found.verdict.text == f"packets come in from {A}; nothing from 127.0.0.9"
    assert found.verdict.is_flowing
    assert not found.verdict.is_cause
    assert found.facts is not None
    assert (found.facts.arrived, found.facts.heard) == (2, (A,))
    json.dumps(found.as_dict())


@linux_only
async def test_what_the_kernel_has_no_room_to_keep_out_is_kept_out_here(
    senders: Senders, any_group: str
) -> None:
    """A list of more sources than one socket can exclude."""
    listed = [f"127.0.0.{number}" for number in range(2, 22)]
    window = sending(senders, any_group, *listed, "127.0.0.99")
    excluded = aiomcast.SourceFilter.exclude(listed)
    found = await diagnose_over(window, any_group, PORT, sources=excluded, interface="lo")
    assert found.facts is not None
    assert (found.facts.arrived, found.facts.heard) == (1, ("127.0.0.99",))


@linux_only
async def test_it_leaves_nothing_behind(any_group: str) -> None:
    """The sockets of a test are counted after it: what is left is the membership."""
    from aiomcast.system.device_groups import device_groups

    await diagnose_over(no_time, any_group, PORT, interface="lo", probe=True)
    assert any_group not in {one.group for one in device_groups(4)}


async def test_a_port_that_is_not_shared(any_group: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as selfish:
        selfish.bind(("", 0))
        port = selfish.getsockname()[1]
        found = await aiomcast.diagnose(any_group, port, interface="lo", seconds=SHORT)
    assert found.verdict.kind is VerdictKind.PORT_HELD
    assert found.verdict.is_cause
    assert "this process" in found.verdict.text
    assert found.verdict.remedy == f"ss -ulnp sport = :{port}"


@linux_only
async def test_what_can_be_known_at_the_join(group: str, group6: str) -> None:
    for asked, sources, kind in (
        (group, ["192.0.2.9"], VerdictKind.REMOTE_SOURCE),
        (group6, ["::1"], VerdictKind.NO_LOOPBACK_ROUTE),
        ("ff10::1", None, VerdictKind.SCOPE),
    ):
        found = await diagnose_over(no_time, asked, PORT, sources=sources, interface="lo")
        assert found.verdict.kind is kind
        assert found.verdict.remedy


@linux_only
async def test_no_route_is_a_verdict(monkeypatch: pytest.MonkeyPatch, any_group: str) -> None:
    def refuse(*_: object) -> None:
        raise aiomcast.NoRouteError(101, "no route to it", "name the interface")

    monkeypatch.setattr("aiomcast.diagnosis.diagnose.find_interface", refuse)
    found = await aiomcast.diagnose(any_group, PORT, seconds=SHORT)
    assert (found.verdict.kind, found.facts, found.verdict.remedy) == (
        VerdictKind.NO_ROUTE,
        None,
        "name the interface",
    )


@linux_only
async def test_where_the_system_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, senders: Senders, group: str
) -> None:
    """As on other systems than Linux: whether packets come is told, and that nothing else was seen."""
    from pathlib import Path

    from aiomcast.diagnosis import gathering

    monkeypatch.setattr(gathering, "_NET", Path("/nowhere"))
    monkeypatch.delattr(socket, "AF_PACKET")
    monkeypatch.setattr(gathering, "device_groups", _untold)
    window = sending(senders, group, A)
    found = await diagnose_over(window, group, PORT, sources=[A], interface="lo")
    assert found.verdict.kind is VerdictKind.FLOWS
    found = await diagnose_over(no_time, group, PORT, sources=[A], interface="lo")
    assert not found.verdict.is_cause
    said = "\n".join(found.unseen)
    for missing in (
        "/proc/net/snmp",
        "/proc/net/netstat",
        "/proc/net/dev",
        "a member of the group",
        "VLAN tags",
    ):
        assert missing in said


def _untold(family: int) -> None:
    raise aiomcast.UnsupportedError("this system does not tell")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"group": "10.0.0.1"}, aiomcast.AddressError),
        ({"group": "232.1.1.1"}, aiomcast.AddressError),
        ({"port": 0}, aiomcast.ArgumentError),
        ({"sources": ["::1"]}, aiomcast.AddressError),
        ({"sources": []}, aiomcast.ArgumentError),
        ({"interface": "none-such"}, aiomcast.InterfaceError),
        ({"seconds": 0}, aiomcast.ArgumentError),
        ({"seconds": "3"}, aiomcast.ArgumentTypeError),
    ],
)
async def test_wrong_arguments(wrong: dict[str, object], error: type[Exception]) -> None:
    right: dict[str, object] = {"group": "239.1.1.1", "port": PORT, "interface": "lo", "seconds": SHORT}
    with pytest.raises(error):
        await aiomcast.diagnose(**(right | wrong))  # type: ignore[arg-type]  # they are wrong


# Of a membership


@linux_only
async def test_a_membership_that_flows_loses_nothing(senders: Senders, group: str) -> None:
    async with aiomcast.listen(group, PORT, sources=[A], interface="lo") as feed:
        stream = feed.packets()
        looking = asyncio.ensure_future(feed.diagnose(seconds=SHORT))
        sent = 0
        while not looking.done():
            await senders.send(A, group, str(sent).encode())
            sent += 1
            await asyncio.sleep(0.001)
        found = await looking
        assert found.verdict.kind is VerdictKind.FLOWS
        assert [packet.data for packet in [await stream.receive() for _ in range(sent)]] == [
            str(number).encode() for number in range(sent)
        ]
        assert feed.statistics().received == sent


@linux_only
async def test_a_membership_that_nobody_reads(senders: Senders, group: str) -> None:
    async with aiomcast.listen(group, PORT, sources=[A], interface="lo") as feed:
        await senders.send(A, group, b"kept")
        found = await feed.diagnose(seconds=SHORT)
        assert found.verdict.kind is VerdictKind.UNREAD
        assert found.verdict.is_cause
        assert (await anext(aiter(feed))).data == b"kept"


@linux_only
async def test_a_membership_whose_buffer_is_full(senders: Senders, group: str) -> None:
    async with aiomcast.listen(group, PORT, sources=[A], interface="lo", receive_buffer=2048) as feed:
        looking = asyncio.ensure_future(feed.diagnose(seconds=SHORT))
        while not looking.done():  # so that some are dropped while it looks, whenever that is
            await senders.send(A, group, *[bytes(1000)] * 50)
            await asyncio.sleep(0)
        found = await looking
    assert found.verdict.kind is VerdictKind.UNREAD
    assert VerdictKind.DROPS in {one.kind for one in found.others}


async def test_a_membership_that_cannot_be_asked_about(group: str) -> None:
    async with aiomcast.listen(group, PORT, sources=[A], interface="lo") as feed:
        await feed.swap([])
        with pytest.raises(aiomcast.StateError):
            await feed.diagnose(seconds=SHORT)
        with pytest.raises(aiomcast.ArgumentError):
            await feed.diagnose(seconds=-1)
    with pytest.raises(aiomcast.StateError):
        await feed.diagnose(seconds=SHORT)


async def test_a_network_in_memory_has_nothing_to_look_at(group: str) -> None:
    async with aiomcast.listen(group, PORT, sources=[A], network=MemoryNetwork()) as feed:
        with pytest.raises(aiomcast.UnsupportedError):
            await feed.diagnose(seconds=SHORT)
