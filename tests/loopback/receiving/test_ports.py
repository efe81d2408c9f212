"""A port that the system chooses, and a socket that is adopted: every socket of the membership is on it."""

import errno
import socket

import pytest

import aiomcast
from aiomcast import ArgumentError, RefusedError, SourceFilter, StateError
from aiomcast.rfc3678 import kernel
from tests.support.inside import readers_of
from tests.support.packets import take
from tests.support.platforms import needs_adoption

A, B = "127.0.0.2", "127.0.0.3"
MANY = [f"127.0.1.{number}" for number in range(1, 40)]


async def hears(feed: aiomcast.Membership, packets: aiomcast.PacketStream, data: bytes) -> None:
    """What A sends to its port comes next."""
    async with aiomcast.Sender(feed.group, feed.port, source=A, interface="lo") as sender:
        await sender.send(data)
    (packet,) = await take(packets, 1)
    assert (packet.data, packet.port) == (data, feed.port)


def bound(group: str) -> socket.socket:
    """Return a socket bound to `group` and a port that the system chose, which others may share."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((group, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


async def test_the_system_chooses_a_port_and_all_sockets_have_it(any_group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        feed = await receiver.join(any_group, 0, sources={A}, interface="lo")
        packets = feed.packets()
        assert feed.port > 0
        assert f"port {feed.port}" in repr(feed)
        await hears(feed, packets, b"one")
        for wanted in (SourceFilter.any(), SourceFilter.include([A, *MANY]), SourceFilter.exclude({B})):
            await feed.swap(wanted)
            await hears(feed, packets, b"another")
            assert {reader.sock.port for reader in readers_of(feed)} == {feed.port}
        with pytest.raises(StateError, match="joined already"):
            await receiver.join(any_group, feed.port, interface="lo")
        others = [await receiver.join(any_group, 0, interface="lo") for _ in range(20)]
        assert len({one.port for one in others} | {feed.port}) == 21


async def test_listen_on_a_port_that_the_system_chooses(group: str) -> None:
    async with aiomcast.listen(group, 0, sources={A}, interface="lo") as feed:
        await hears(feed, aiter(feed), b"one")


@needs_adoption
async def test_a_socket_is_adopted_and_closed_with_the_membership(any_group: str) -> None:
    sock = bound(any_group)
    number, port = sock.fileno(), sock.getsockname()[1]
    async with aiomcast.listen(any_group, 0, sources={A}, interface="lo", sock=sock) as feed:
        assert sock.fileno() == -1
        assert (feed.port, [reader.sock.fileno() for reader in readers_of(feed)]) == (port, [number])
        packets = feed.packets()
        await hears(feed, packets, b"one")
        await feed.swap(SourceFilter.any())
        await hears(feed, packets, b"another")


@needs_adoption
async def test_a_socket_that_cannot_be_adopted_stays_as_it_was(any_group: str) -> None:
    async with aiomcast.Receiver() as receiver:
        with bound(any_group) as sock:
            port = sock.getsockname()[1]
            with pytest.raises(ArgumentError):
                await receiver.join(any_group, port % 60000 + 1, interface="lo", sock=sock)
            with pytest.raises(ArgumentError, match="several"):
                await receiver.join(any_group, port, interface=aiomcast.ALL_INTERFACES, sock=sock)
            assert sock.getsockname() == (any_group, port)
        assert receiver.memberships == ()


@needs_adoption
async def test_a_join_that_is_refused_closes_what_it_has_adopted(
    any_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = kernel.setsockopt

    def refuse(sock: socket.socket, level: int, option: int, value: bytes | int) -> None:
        if isinstance(value, bytes) and len(value) > 100:  # a group, and perhaps a source
            raise OSError(errno.ENOMEM, "refused")
        call(sock, level, option, value)

    async with aiomcast.Receiver() as receiver:
        sock = bound(any_group)
        monkeypatch.setattr(kernel, "setsockopt", refuse)
        with pytest.raises(RefusedError):
            await receiver.join(any_group, 0, interface="lo", sock=sock)
        assert (sock.fileno(), receiver.memberships) == (-1, ())
