"""`ByThread` by itself: when it calls, and that its thread ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import socket
import threading
from collections.abc import Iterator

import pytest

from aiomcast import Packet, Receiver, RefusedError, SourceFilter
from aiomcast.loops import waking
from aiomcast.loops.network import SystemNetwork
from aiomcast.loops.waking import ByThread
from aiomcast.reading.contract import Reader
from aiomcast.system.readiness import ready
from aiomcast.values.options import Options
from tests.support.accounts import open_descriptors
from tests.support.sending import A, sending
from tests.support.waiting import turns, until

from .unwatching import PORT, Unwatching, Woken, run


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("aiomcast")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every test ends those that it began."""
    yield
    for one in threads():
        one.join(10)
    assert threads() == []


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets: what is sent to the second can be read from the first."""
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        yield one, other


async def test_it_calls_while_there_is_something_to_read(pair: tuple[socket.socket, socket.socket]) -> None:
    got: list[bytes] = []
    loop = asyncio.get_running_loop()
    woken = ByThread(loop, lambda: [pair[0].fileno()], lambda: got.append(pair[0].recv(1)))
    pair[1].send(b"ab")
    await turns(20)
    assert got == []
    woken.begin()
    await until(lambda: got == [b"a", b"b"])
    woken.pause()
    pair[1].send(b"c")
    await turns(20)
    assert len(got) == 2
    woken.begin()
    await until(lambda: len(got) == 3)
    woken.end()
    pair[1].send(b"d")
    await turns(20)
    assert len(got) == 3


async def test_it_calls_no_more_once_it_was_paused_though_a_call_was_on_its_way(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    called: list[int] = []
    woken = ByThread(asyncio.get_running_loop(), lambda: [pair[0].fileno()], lambda: called.append(1))
    for end in (woken.pause, woken.end):
        woken.begin()
        pair[1].send(b"x")
        for _ in range(10_000):  # the thread calls; the loop does not turn meanwhile
            if woken._is_called:
                break
            ready([pair[1].fileno()], 0.001)
        assert woken._is_called
        end()
        await turns(20)
        assert called == []


async def test_one_thread_waits_for_all_and_ends_with_the_last(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    loop = asyncio.get_running_loop()
    ones = [ByThread(loop, lambda: [pair[0].fileno()], lambda: None) for _ in range(3)]
    for one in ones:
        one.begin()
        (thread,) = threads()
    for one in ones[1:]:
        one.end()
        assert thread.is_alive()
    ones[0].end()
    thread.join(10)
    assert not thread.is_alive()
    again = ByThread(loop, lambda: [pair[0].fileno()], lambda: None)
    assert thread not in threads() != []
    again.end()
    again.end()


async def test_what_it_calls_may_raise(pair: tuple[socket.socket, socket.socket]) -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(context["exception"]))
    called: list[int] = []

    def call() -> None:
        called.append(1)
        if len(called) > 1:
            pair[0].recv(1)
        raise ZeroDivisionError

    woken = ByThread(loop, lambda: [pair[0].fileno()], call)
    woken.begin()
    pair[1].send(b"x")
    await until(lambda: len(called) == 2)
    woken.end()
    await turns()
    assert [type(one) for one in complaints] == [ZeroDivisionError] * 2


def test_it_ends_with_an_event_loop_that_nobody_tells_of(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "_LOOKS", 0.01)
    loop = asyncio.SelectorEventLoop()
    woken = ByThread(loop, lambda: [pair[0].fileno()], lambda: None)
    woken.begin()
    (thread,) = threads()
    loop.close()
    thread.join(10)
    assert not thread.is_alive()
    woken.end()


class Each(Woken):
    """Has the thread wait for sockets one by one, as on Windows: for those in `asked`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked: list[int] = []
        self.looks = 0
        super().__init__(loop)

    def _waited_for(self) -> list[int]:
        self.looks += 1
        return list(self.asked)


async def test_a_socket_that_is_added_is_waited_for_at_once(
    any_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "_LOOKS", 1000.0)
    reading, into = Each(asyncio.get_running_loop()), list[Reader]()
    interface = SystemNetwork().find("lo")
    reading.open(any_group, PORT, interface, SourceFilter.include([A]), Options(), into)
    (reader,) = into
    reader.sock.set_filter([A])
    got: list[Packet] = []
    reader.sink = got.extend
    await until(lambda: reading.looks > 0)  # it waits for nothing but to be told of more
    reading.asked.append(reader.sock.fileno())
    assert reader.place is not None
    with sending(A, any_group, PORT) as sender:
        sender.send(b"1")
        reader.place.add()
        await until(lambda: len(got) == 1)
    reader.place.forget()
    reader.close()
    reading.close()


async def test_more_sockets_than_select_takes() -> None:
    """On Windows those are 512."""
    got: list[int] = []
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(700)]
        for sock in socks:
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))

        def read() -> None:
            for number, sock in enumerate(socks):
                with contextlib.suppress(BlockingIOError):
                    got.append(number + sock.recv(1)[0])

        woken = ByThread(asyncio.get_running_loop(), lambda: [sock.fileno() for sock in socks], read)
        woken.begin()
        for number in (0, 511, 512, 699):
            socks[0].sendto(b"\0", socks[number].getsockname())
            await until(lambda number=number: number in got)  # type: ignore[misc]  # it has a default
        woken.end()
    assert got == [0, 511, 512, 699]


def test_a_thread_that_is_refused_is_told(any_group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        before = open_descriptors()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RefusedError) as caught:
                async with Receiver() as receiver:
                    await receiver.join(any_group, PORT, sources=[A], interface="lo")
        assert caught.value.errno == errno.EAGAIN
        gc.collect()
        assert open_descriptors() == before

    run(main(), Unwatching)
