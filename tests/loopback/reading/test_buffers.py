"""A receive buffer larger than what the system grants: as much of it as there is to have."""

import errno
import socket
import sys
from collections.abc import Iterator

import attrs
import pytest

from aiomcast import Receiver, RefusedError
from aiomcast.reading import options
from aiomcast.rfc3678.abi import native
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
