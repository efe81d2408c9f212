"""`Reading.open` with a socket that exists, and with port 0, on both ways of reading in a loop."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

import aiomcast
from aiomcast import RefusedError, SourceFilter, UnsupportedError
from aiomcast.loops.network import SystemNetwork
from aiomcast.loops.read_loop import ReadLoop
from aiomcast.reading import options as asked
from aiomcast.reading.contract import Reader, Reading
from aiomcast.values.filters import Sources
from aiomcast.values.options import Options
from aiomcast.values.packets import Packet
from tests.support.accounts import open_descriptors
from tests.support.packets import payloads, take
from tests.support.platforms import needs_adoption
from tests.support.seam import Faults, faults
from tests.support.sending import A, B
from tests.support.sending import Sources as Senders
from tests.support.waiting import turns, until

from .unwatching import Woken

__all__ = ["faults"]

Kind = Callable[[asyncio.AbstractEventLoop], Reading]
every_kind = pytest.mark.parametrize("kind", [ReadLoop, Woken])
every_form = pytest.mark.parametrize("by", ["object", "descriptor"])
network = SystemNetwork()


@pytest.fixture
def bound(any_group: str) -> Iterator[socket.socket]:
    """A socket that a service manager has bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        yield sock


def end(reading: Reading, *readers: Reader) -> None:
    for reader in readers:
        assert reader.place is not None
        reader.place.forget()
        reader.close()
    reading.close()


@needs_adoption
@every_kind
@every_form
async def test_it_is_read(kind: Kind, by: str, any_group: str, bound: socket.socket) -> None:
    reading, into = kind(asyncio.get_running_loop()), list[Reader]()
    port, descriptor = bound.getsockname()[1], bound.fileno()
    options = Options(receive_buffer=50_000)
    given = bound if by == "object" else bound.detach()
    reading.open(any_group, 0, network.find("lo"), SourceFilter.include([A]), options, into, given)
    (reader,) = into
    assert (bound.fileno(), reader.sock.fileno(), reader.sock.port) == (-1, descriptor, port)
    reader.sock.set_filter([A])
    got: list[Packet] = []
    reader.sink = got.extend
    assert reader.place is not None
    reader.place.add()
    with Senders(any_group, port) as senders:
        senders.send(B, b"refused")
        senders.send(A, b"1", b"2")
        await until(lambda: len(got) == 2)
    assert payloads(got) == [b"1", b"2"]
    end(reading, reader)
    await turns(10)


@every_kind
async def test_port_0(kind: Kind, any_group: str) -> None:
    reading, into = kind(asyncio.get_running_loop()), list[Reader]()
    for _ in range(2):
        port = into[0].sock.port if into else 0
        reading.open(any_group, port, network.find("lo"), SourceFilter.none(), Options(), into)
    assert into[0].sock.port == into[1].sock.port > 0
    end(reading, *into)
    await turns(10)


@needs_adoption
@every_kind
@every_form
async def test_it_is_left_open_where_it_cannot_be_read(
    kind: Kind, by: str, any_group: str, bound: socket.socket, faults: Faults
) -> None:
    """Whichever call of the system is refused, and for options that nobody can meet."""
    await until(lambda: not any("waits for sockets" in one.name for one in threading.enumerate()))
    reading, into = kind(asyncio.get_running_loop()), list[Reader]()
    before, blocking = open_descriptors(), os.get_blocking(bound.fileno())
    given = bound if by == "object" else bound.fileno()
    interface, options = network.find("lo"), Options(receive_buffer=9999)
    failed, calls = 0, 1
    while True:
        faults.fail_at(calls, errno.ENOBUFS)
        try:
            reading.open(any_group, 0, interface, SourceFilter.none(), options, into, given)
        except RefusedError:
            failed += 1
            await turns(10)  # in which a transport of the loop would close it
            assert (into, open_descriptors(), os.get_blocking(bound.fileno())) == ([], before, blocking)
            assert bound.getsockname()[0] == "0.0.0.0"
        else:
            break
        calls += 1
    assert failed >= 4
    if by == "descriptor":
        bound.detach()
    end(reading, *into)
    await turns(10)


@needs_adoption
@every_kind
async def test_it_is_left_open_where_there_is_no_place(
    kind: Kind, any_group: str, bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, into = kind(asyncio.get_running_loop()), list[Reader]()

    def refuse(reader: Reader) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(reading, "_reserve", refuse)
    with pytest.raises(RefusedError) as caught:
        reading.open(any_group, 0, network.find("lo"), SourceFilter.none(), Options(), into, bound)
    await turns(10)
    assert (caught.value.errno, into) == (errno.ENOSPC, [])
    assert bound.getsockname()[0] == "0.0.0.0"
    reading.close()


async def test_options_that_cannot_be_met_leave_it_open(
    any_group: str, bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(asked._ASKING["hardware_timestamp"], 4, (1, None, 1))  # as where it is not told
    reading, into = ReadLoop(asyncio.get_running_loop()), list[Reader]()
    options = Options(ancillary=["hardware_timestamp"])
    with pytest.raises(UnsupportedError) as caught:
        reading.open(any_group, 0, network.find("lo"), SourceFilter.none(), options, into, bound)
    assert caught.value.hint
    assert into == []
    assert bound.getsockname()[1] > 0
    reading.close()


@needs_adoption
@every_form
async def test_a_receiver_takes_it_over(by: str, any_group: str, bound: socket.socket) -> None:
    """Its membership keeps the port when its list is spread over more sockets, and over a handover."""
    port = bound.getsockname()[1]
    many = [A, *(f"127.0.1.{number}" for number in range(1, 25))]
    given = bound if by == "object" else bound.detach()
    async with aiomcast.listen(any_group, 0, sources=[A], interface="lo", sock=given) as feed:
        assert feed.port == port
        with Senders(any_group, port) as senders:
            filters: list[Sources] = [many, [A, B], SourceFilter.exclude([B]), [A]]
            for number, allowed in enumerate(filters):
                senders.send(A, b"%d" % number)
                assert payloads(await take(aiter(feed), 1)) == [b"%d" % number]
                await feed.swap(allowed)
