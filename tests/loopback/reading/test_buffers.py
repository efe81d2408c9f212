"""The receive buffer: what is asked for by default, and as much as there is where less is granted."""

import errno
import socket
import sys
from collections.abc import Iterator

import attrs
import pytest

import aiomcast
from aiomcast import Receiver, RefusedError
from aiomcast.reading import buffers, options
from aiomcast.rfc3678 import kernel
from aiomcast.rfc3678.abi import native
from aiomcast.values import bounds
from tests.support.inside import sockets_of
from tests.support.platforms import needs_adoption
from tests.support.seam import intercepted, refusal

MOST = 150_000  # what FreeBSD grants is a little less than kern.ipc.maxsockbuf


class Granting:
    """A system that refuses buffers of MOST bytes or more, with an errno of its own."""

    number = errno.ENOBUFS

    def __init__(self) -> None:
        self.asked: list[int] = []

    def refuse(self, sock: socket.socket, level: int, option: int, value: object) -> None:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF):
            assert isinstance(value, int)
            self.asked.append(value)
            if value >= MOST:
                raise refusal(self.number)


@pytest.fixture
def granting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Granting]:
    monkeypatch.setattr(options, "ABI", attrs.evolve(native(), SO_RCVBUFFORCE=None))
    made = Granting()
    with intercepted("setsockopt", made.refuse):
        yield made


@pytest.mark.parametrize("size", [MOST - 1, MOST, 2 << 20, 1 << 30])
async def test_it_is_as_large_as_can_be(size: int, any_group: str, granting: Granting) -> None:
    async with Receiver(receive_buffer=size) as receiver:
        await receiver.join(any_group, 5000, interface="lo")
        last = [one for one in granting.asked if one < MOST][-1]
        assert MOST - 1024 <= last < MOST
        doubled = sys.platform.startswith("linux")  # for its own need
        assert receiver.statistics().receive_buffer == last * (1 + doubled)
        assert len(granting.asked) < 30
    if size < MOST:
        assert granting.asked == [size]


async def test_another_refusal_is_one(any_group: str, granting: Granting) -> None:
    granting.number = errno.EPERM
    async with Receiver(receive_buffer=1 << 20) as receiver:
        with pytest.raises(RefusedError) as caught:
            await receiver.join(any_group, 5000, interface="lo")
        assert caught.value.errno == errno.EPERM
        assert granting.asked == [1 << 20]


async def test_nothing_granted_at_all_is_an_error(
    any_group: str, granting: Granting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.loopback.reading.test_buffers.MOST", 0)
    async with Receiver(receive_buffer=1 << 20) as receiver:
        with pytest.raises(RefusedError) as caught:
            await receiver.join(any_group, 5000, interface="lo")
        assert caught.value.errno == errno.ENOBUFS


# By default

ABI = native()
TIMES = 1 + ABI.facts.doubles_buffers


def given_by_the_system() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


class Granter:
    """A system whose limit is `most` bytes, and that lets nobody go beyond."""

    def __init__(self, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most, self.asked = most, list[int]()
        self._real = kernel.setsockopt
        monkeypatch.setattr(kernel, "setsockopt", self.setsockopt)
        monkeypatch.setattr(buffers, "sysctl_value", lambda name: most)

    def setsockopt(self, sock: socket.socket, level: int, option: int | None, value: int | bytes) -> None:
        """Refuse force, and cut what is asked for."""
        if level == socket.SOL_SOCKET and option is not None:
            if option == ABI.SO_RCVBUFFORCE:
                raise refusal(errno.EPERM)
            if option == socket.SO_RCVBUF:
                assert isinstance(value, int)
                self.asked.append(value)
                value = min(value, self.most)
        self._real(sock, level, option, value)


async def test_a_burst_is_asked_for(any_group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    granter = Granter(bounds.RECEIVE_BUFFER, monkeypatch)
    async with Receiver() as receiver:
        one = await receiver.join(any_group, 5000, interface="lo")
        assert granter.asked == [bounds.RECEIVE_BUFFER]
        assert sockets_of(one)[0].is_buffer_whole in (True, False)  # the real system's limit may be less


async def test_the_systems_own_can_be_asked_for(any_group: str) -> None:
    async with Receiver(receive_buffer="system") as receiver:
        one = await receiver.join(any_group, 5000, interface="lo")
        assert receiver.statistics().receive_buffer == given_by_the_system()
        assert sockets_of(one)[0].is_buffer_whole is None


@pytest.mark.skipif(not ABI.facts.doubles_buffers, reason="Linux alone cuts")
async def test_what_there_is_already_is_not_lowered(any_group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux would cut it to its limit, which may be less than what a socket has from the start."""
    granter = Granter(given_by_the_system() // (2 * TIMES), monkeypatch)
    async with Receiver() as receiver:
        one = await receiver.join(any_group, 5000, interface="lo")
        assert granter.asked == []
        assert receiver.statistics().receive_buffer == given_by_the_system()
        assert sockets_of(one)[0].is_buffer_whole is False


async def test_a_size_among_the_socket_options_stays(any_group: str) -> None:
    size = 100_000
    sized = [(socket.SOL_SOCKET, socket.SO_RCVBUF, size)]
    async with Receiver(socket_options=sized) as receiver:
        await receiver.join(any_group, 5000, interface="lo")
        assert receiver.statistics().receive_buffer == size * TIMES


@needs_adoption
async def test_a_socket_that_is_adopted_keeps_its_own(any_group: str) -> None:
    size = 100_000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as given:
        given.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        given.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        given.bind((any_group, 0))
        async with Receiver() as receiver:
            await receiver.join(any_group, 0, interface="lo", sock=given)
            assert receiver.statistics().receive_buffer == size * TIMES


async def test_a_system_that_refuses_it_is_joined_all_the_same(any_group: str) -> None:
    def refuse(sock: socket.socket, level: int, option: int, value: object) -> None:
        if level == socket.SOL_SOCKET and option in (socket.SO_RCVBUF, ABI.SO_RCVBUFFORCE):
            raise refusal(errno.EACCES)

    with intercepted("setsockopt", refuse):
        async with Receiver() as receiver:
            await receiver.join(any_group, 5000, interface="lo")
            assert receiver.statistics().receive_buffer == given_by_the_system()


async def test_an_endpoint_asks_for_it_too(any_group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    granter = Granter(bounds.RECEIVE_BUFFER, monkeypatch)
    transport, _ = await aiomcast.create_multicast_endpoint(
        aiomcast.MulticastProtocol, any_group, 5000, interface="lo"
    )
    transport.close()
    assert granter.asked == [bounds.RECEIVE_BUFFER]


@pytest.mark.skipif(not ABI.facts.doubles_buffers, reason="what Linux counts")
@pytest.mark.parametrize("octets", [1, 100, 128, 129, 200, 700, 1472, 1500, 4000, 8900])
def test_the_room_that_a_datagram_takes(octets: int) -> None:
    """As the kernel counts it, or a little more where it is small."""
    assert ABI.SO_MEMINFO is not None
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
    ):
        receiving.bind(("127.0.0.1", 0))
        for _ in range(4):
            sending.sendto(bytes(octets), receiving.getsockname())
        used = int.from_bytes(receiving.getsockopt(socket.SOL_SOCKET, ABI.SO_MEMINFO, 4), sys.byteorder)
    assert used / 4 <= buffers.room_for(octets) * 1.01
    assert buffers.room_for(octets) < 1.6 * used / 4
