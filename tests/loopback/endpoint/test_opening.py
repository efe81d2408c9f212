"""What an endpoint is opened with: a socket from elsewhere, a port of the system's choice, other options."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from aiomcast import ArgumentError, ArgumentTypeError, MulticastProtocol, Packet, create_multicast_endpoint
from tests.support.platforms import bound_host, needs_adoption
from tests.support.sending import LO, A, Sources
from tests.support.waiting import turns, until


class Kept(MulticastProtocol):
    def __init__(self) -> None:
        self.packets: list[Packet] = []

    def packets_received(self, packets: list[Packet]) -> None:
        self.packets += packets


def bound(group: str, port: int = 0) -> socket.socket:
    """Return a socket as a service manager would hand it over."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((group, port))
    return sock


@needs_adoption
@pytest.mark.parametrize("form", ["socket", "descriptor"])
async def test_a_socket_from_elsewhere(form: str, any_group: str) -> None:
    given = bound(any_group)
    port = given.getsockname()[1]
    number = given.fileno() if form == "socket" else given.detach()
    transport, protocol = await create_multicast_endpoint(
        Kept, any_group, None, interface=LO, sources=[A], sock=given if form == "socket" else number
    )
    assert transport.get_extra_info("sockname") == (any_group, port)
    assert transport.get_extra_info("socket").fileno() == number
    with Sources(any_group, port) as sources:
        sources.send(A, b"one")
        await until(lambda: [packet.data for packet in protocol.packets] == [b"one"])
    transport.close()
    await turns()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


@needs_adoption
async def test_a_socket_is_given_back_where_the_opening_fails(any_group: str) -> None:
    def factory() -> Kept:
        raise ZeroDivisionError

    with bound(any_group) as given:
        every = [name for _, name in socket.if_nameindex()]
        wrong: list[dict[str, Any]] = [{"ttl": 256}, {"port": 7}, {"interface": every}]  # Any: keywords
        for arguments in wrong:
            with pytest.raises(ArgumentError):
                await create_multicast_endpoint(
                    Kept, any_group, **{"port": 0, "interface": LO, "sock": given, **arguments}
                )
            assert given.fileno() >= 0
        with pytest.raises(ZeroDivisionError):
            await create_multicast_endpoint(factory, any_group, 0, interface=LO, sources=[A], sock=given)
        transport, _ = await create_multicast_endpoint(Kept, any_group, 0, interface=LO, sock=given)
        transport.close()
        await turns()


async def test_a_port_of_the_systems_choice(any_group: str) -> None:
    transport, protocol = await create_multicast_endpoint(Kept, any_group, 0, interface=LO, sources=None)
    host, port = transport.get_extra_info("sockname")
    assert (host, port > 0) == (bound_host(any_group), True)
    transport.sendto(b"to the same")
    await until(lambda: [packet.port for packet in protocol.packets] == [port])
    transport.close()
    await turns()


async def test_other_options(any_group: str) -> None:
    transport, _ = await create_multicast_endpoint(
        Kept, any_group, 5000, interface=LO, socket_options=[(socket.IPPROTO_IP, socket.IP_TTL, 5)]
    )
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 5
    transport.close()
    await turns()


async def test_no_port_is_an_error(any_group: str) -> None:
    with pytest.raises(ArgumentError):
        await create_multicast_endpoint(Kept, any_group, None, interface=LO)


async def test_whether_it_heals_is_a_truth_value(any_group: str) -> None:
    with pytest.raises(ArgumentTypeError, match="heal"):
        await create_multicast_endpoint(Kept, any_group, 0, interface=LO, heal=1)  # type: ignore[arg-type]  # wrong on purpose
