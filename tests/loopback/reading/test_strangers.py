"""What was sent to the port and not to the group is never yielded, wherever the socket is bound."""

from __future__ import annotations

import socket

import attrs
import pytest

import aiomcast
from aiomcast import Receiver, SourceFilter
from aiomcast.reading import Reader
from aiomcast.rfc3678.abi import native
from aiomcast.system.sockets import MulticastSocket
from tests.support.accounts import accounted
from tests.support.interfaces import ipv6_way
from tests.support.packets import payloads, take
from tests.support.readers import PORT, sender, sock
from tests.support.sending import A, Sources, sending
from tests.support.waiting import turns, until, wait_readable

__all__ = ["sender", "sock"]

HEARS_ALL = not native().facts.binds_to_group
"""Whether a socket hears what is sent to its port on any address."""
hears_all = pytest.mark.skipif(not HEARS_ALL, reason="sockets are bound to the group here")


def send(address: str, port: int, payload: bytes = b"stranger") -> None:
    six = ":" in address
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(payload, (address, port))


async def test_unicast_to_the_port(any_group: str) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(any_group, PORT, sources=None, interface="lo")
        stream = one.packets()
        with Sources(any_group, PORT) as sources:
            send("127.0.0.1", PORT)
            sources.send(A, b"1")
            assert payloads(await take(stream, 1)) == [b"1"]
            send("127.0.0.1", PORT)
            send("127.0.0.1", PORT)
            sources.send(A, b"2")
            await one.leave()
        assert payloads([packet async for packet in stream]) == [b"2"]
        statistics = receiver.statistics()
        assert statistics.filtered == (3 if HEARS_ALL else 0)
        accounted(statistics, 2)


async def test_unicast_at_a_swap(any_group: str) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(any_group, PORT, sources=[A], interface="lo")
        with Sources(any_group, PORT) as sources:
            send("127.0.0.1", PORT)
            sources.send(A, b"1")
            await one.swap(SourceFilter.any(), pending="deliver")
            send("127.0.0.1", PORT)
            sources.send(A, b"2")
            assert payloads(await take(aiter(one), 2)) == [b"1", b"2"]


async def test_another_group_on_the_port(group: str, any_group: str) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(group, PORT, sources=[A], interface="lo")
        other = await receiver.join(any_group, PORT, sources=[A], interface="lo")
        with Sources(group, PORT) as to_one, Sources(any_group, PORT) as to_other:
            to_other.send(A, b"other")
            to_one.send(A, b"one")
            assert payloads(await take(aiter(one), 1)) == [b"one"]
            assert payloads(await take(aiter(other), 1)) == [b"other"]


def test_ipv6(group6: str) -> None:
    interface, source = ipv6_way()
    with (
        aiomcast.open_socket(group6, PORT, interface) as sock,
        sending(source, group6, PORT, interface.index) as sender,
    ):
        sock.set_filter([source])
        reader = Reader(sock, SourceFilter.any())
        send("::1", PORT)
        sender.send(b"six")
        wait_readable(sock)
        packets: list[aiomcast.Packet] = []
        while not packets:
            packets += reader.read(5)[0]
        assert payloads(packets) == [b"six"]
        assert reader.filtered == (1 if HEARS_ALL else 0)


@hears_all
def test_another_interface(sock: MulticastSocket, sender: socket.socket) -> None:
    reader = Reader(sock, SourceFilter.any())
    sender.send(b"ours")
    assert payloads(reader.read(5)[0]) == [b"ours"]
    sock.interface = attrs.evolve(sock.interface, index=sock.interface.index + 1)
    sender.send(b"another's")
    assert reader.read(5) == ([], 1)
    assert (reader.received, reader.filtered) == (2, 1)


async def test_answers_come_to_who_has_asked(any_group: str) -> None:
    """What an endpoint sends from is bound to an address, and hears what is sent to that one."""
    got: list[bytes] = []

    class Asking(aiomcast.MulticastProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
            got.append(data)

    transport, _ = await aiomcast.create_multicast_endpoint(
        Asking, any_group, PORT, sources=[A], interface="lo", source="127.0.0.1"
    )
    assert transport.source is not None
    send("127.0.0.1", transport.source[1], b"answer")
    await until(lambda: got == [b"answer"])
    transport.close()
    await turns()
