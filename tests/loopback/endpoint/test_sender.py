"""`Sender`: what it sends arrives as it was meant, and what cannot be meant is refused."""

import asyncio
import errno
import socket
from typing import Any

import pytest

import aiomcast
from aiomcast import AddressError, ArgumentError, InterfaceError, RefusedError, Sender, StateError
from tests.support.accounts import open_descriptors
from tests.support.interfaces import ipv6_way
from tests.support.packets import take
from tests.support.seam import Faults, faults
from tests.support.sending import A

__all__ = ["faults"]


@pytest.mark.parametrize("ttl", [0, 1, 255])
async def test_what_is_sent(ttl: int, group: str) -> None:
    async with (
        aiomcast.listen(group, 5000, sources=[A], interface="lo", ancillary=["hop_limit"]) as feed,
        Sender(group, 5000, source=A, interface="lo", ttl=ttl) as sender,
    ):
        assert sender.source == A
        for data in (b"", b"text", bytes(65507)):
            await sender.send(data)
        packets = await take(aiter(feed), 3)
        assert [len(packet.data) for packet in packets] == [0, 4, 65507]
        assert {(packet.source, packet.hop_limit) for packet in packets} == {(A, ttl)}


@pytest.mark.parametrize("loop", [True, False])
async def test_loop_reaches_the_kernel(loop: bool, any_group: str, group6: str) -> None:
    """On lo the wire itself brings everything back, so the option is asked."""
    async with Sender(any_group, 5000, source=A, interface="lo", loop=loop) as sender:
        asked = sender._socket.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP)
        assert bool(asked) is loop
    interface, source = ipv6_way()
    async with Sender(group6, 5000, source=source, interface=interface, loop=loop) as sender:
        asked = sender._socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP)
        assert bool(asked) is loop


@pytest.mark.parametrize("source", ["127.0.0.1", A])
async def test_the_source_says_the_interface(source: str, group: str) -> None:
    async with Sender(group, 5000, source=source) as sender:
        assert sender.interface.name == "lo"
        assert sender.source == source


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("192.0.2.1", 5000), {}, AddressError), (("nonsense", 5000), {}, AddressError),
        (("232.1.1.1", 0), {}, ArgumentError), (("232.1.1.1", "x"), {}, ArgumentError),
        (("232.1.1.1", 5000), {"ttl": 256}, ArgumentError), (("232.1.1.1", 5000), {"ttl": -1}, ArgumentError),
        (("232.1.1.1", 5000), {"ttl": True}, ArgumentError),
        (("232.1.1.1", 5000), {"source": "::1"}, AddressError),
        (("232.1.1.1", 5000), {"source": "224.0.0.1"}, AddressError),
        (("232.1.1.1", 5000), {"source": "198.51.100.1"}, RefusedError),
        (("232.1.1.1", 5000), {"interface": "nosuch0"}, InterfaceError),
    ],
)  # fmt: skip
async def test_wrong_arguments(
    # Any: wrong on purpose
    arguments: tuple[Any, Any],
    options: dict[str, Any],
    error: type[aiomcast.MulticastError],
) -> None:
    before = open_descriptors()
    with pytest.raises(error) as caught:
        Sender(*arguments, **{"interface": "lo", **options})
    assert caught.value.hint
    assert open_descriptors() == before


async def test_too_long_a_datagram(group: str) -> None:
    async with Sender(group, 5000, source=A, interface="lo") as sender:
        with pytest.raises(RefusedError) as caught:
            await sender.send(bytes(65508))
        assert caught.value.errno == errno.EMSGSIZE
        assert "65508" in str(caught.value)
        await sender.send(b"short")


async def test_a_closed_sender(group: str) -> None:
    sender = Sender(group, 5000, source=A, interface="lo")
    await sender.aclose()
    await sender.aclose()
    with pytest.raises(StateError) as caught:
        await sender.send(b"late")
    assert caught.value.hint


async def test_a_refused_option_leaves_nothing_open(group: str, faults: Faults) -> None:
    before = open_descriptors()
    for failing in (1, 2, 3):
        faults.fail_at(failing, errno.EPERM)
        with pytest.raises(aiomcast.NoPermissionError):
            Sender(group, 5000, source=A, interface="lo")
        faults.stop()
    assert open_descriptors() == before


async def test_many_senders_at_once(any_group: str) -> None:
    async with aiomcast.listen(any_group, 5000, interface="lo", receive_buffer=1 << 20) as feed:

        async def send(number: int) -> None:
            async with Sender(any_group, 5000, source=f"127.0.2.{number}", interface="lo") as sender:
                await sender.send(b"%d" % number)

        async with asyncio.TaskGroup() as tasks:
            for number in range(1, 101):
                tasks.create_task(send(number))
        packets = await take(aiter(feed), 100)
        assert {packet.source: packet.data for packet in packets} == {
            f"127.0.2.{number}": b"%d" % number for number in range(1, 101)
        }
