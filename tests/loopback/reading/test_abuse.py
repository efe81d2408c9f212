"""What Python code may do to the reading path, and a socket's owner to a socket: errors, never a crash."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from types import ModuleType

import pytest

import aiomcast
from aiomcast import EventKind, Receiver, RefusedError, SourceFilter, StateError
from tests.loopback.conftest import Senders
from tests.support.accounts import accounted
from tests.support.inside import readers_of
from tests.support.packets import payloads, take
from tests.support.platforms import IS_WINDOWS
from tests.support.readers import PORT, reading, sender, sock
from tests.support.sending import A, sending
from tests.support.waiting import turns, until

__all__ = ["reading", "sender", "sock"]


def test_taking_from_an_empty_queue(reading: ModuleType) -> None:
    queue = reading.PacketQueue(4)
    with pytest.raises(StateError):
        queue._take()
    assert queue._take_batch() == []
    queue._feed([1, 2])
    assert queue._advance()
    assert [queue._take(), queue._take()] == [1, 2]
    with pytest.raises(StateError):
        queue._take()


def test_a_queue_that_is_begun_twice_or_never(reading: ModuleType) -> None:
    queue = reading.PacketQueue(4)
    queue._feed([1, 2, 3])
    assert queue._advance()
    assert queue._take() == 1
    queue.__init__(8)
    for _ in range(len(queue)):
        assert queue._advance()
        queue._take()
    with pytest.raises(StateError):
        queue._take()


@pytest.mark.parametrize("kind", ["PacketQueue", "ReadSet", "Reader"])
def test_what_was_never_begun_raises(reading: ModuleType, kind: str) -> None:
    made = getattr(reading, kind).__new__(getattr(reading, kind))
    for name in dir(made):
        member = getattr(type(made), name, None)
        if (name.startswith("__") and name not in ("__len__", "__anext__")) or not callable(member):
            continue
        given: tuple[tuple[object, ...], ...] = ((), (1,), (None,), ([],), (made,))
        for arguments in given:
            try:
                made_of = getattr(made, name)(*arguments)
            except Exception:
                continue
            if asyncio.iscoroutine(made_of):
                made_of.close()


def test_a_reader_and_a_read_set_begun_twice(
    reading: ModuleType, sock: aiomcast.MulticastSocket, sender: socket.socket
) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    sender.send(b"one")
    assert payloads(reader.read(1)[0]) == [b"one"]
    with contextlib.suppress(StateError):
        reader.__init__(sock, SourceFilter.any())
    reads = reading.ReadSet()
    got: list[list[aiomcast.Packet]] = []
    reader.sink = got.append
    reads.add(reader)
    sender.send(b"two")
    reads.read(10)
    assert [payloads(batch) for batch in got] == [[b"two"]]
    reads.close()
    with pytest.raises((OSError, ValueError)):
        reads.add(reader)
    reads.read(10)
    sock.close()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        reading.ReadSet().add(reader)


def test_a_reader_of_a_closed_socket(reading: ModuleType, sock: aiomcast.MulticastSocket) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    sock.close()
    assert reader.read(5) == ([], 0)
    assert isinstance(reader.error, OSError)
    assert reader.error.errno == errno.EBADF
    reader.count_drops()
    reader.look()
    reader.close()


# A coroutine's own throw(), which the portable queue has, is to lose its three arguments one day.
@pytest.mark.filterwarnings("ignore:.*signature of throw.*:DeprecationWarning")
async def test_throwing_into_a_wait(group: str, senders: Senders) -> None:
    async with aiomcast.listen(group, PORT, sources=[A], interface="lo") as feed:
        stream = feed.packets()
        await senders.send(A, group, b"1", b"2")
        await until(lambda: len(stream) == 2)
        for wrong in ((), (1,), (int,), ("text",), (ValueError("x"), ValueError("y"))):
            waiting = stream.__anext__().__await__()
            with pytest.raises(TypeError):
                waiting.throw(*wrong)
            waiting.close()
        for thrown in ((ValueError,), (ValueError("told"),), (ValueError, "told"), (ValueError, None, None)):
            waiting = stream.__anext__().__await__()
            with pytest.raises(ValueError, match=r"told|^$"):
                waiting.throw(*thrown)
        assert payloads(await take(stream, 2)) == [b"1", b"2"]


def test_the_parts_of_the_compiled_reader_alone() -> None:
    native = pytest.importorskip("aiomcast.reading._native")
    for name in ("_Next", "_Known"):
        part = getattr(native, name, None)
        if part is None:
            continue
        made = part.__new__(part)
        for method in ("send", "throw", "close", "__next__", "__await__"):
            for arguments in ((), (None,), (ValueError,)):
                try:
                    getattr(made, method)(*arguments)
                except Exception:
                    continue
    wait = getattr(native, "_Wait", None)
    if wait is not None:
        for wrong in ((), (None, True), (object(), True)):
            with pytest.raises(TypeError):
                wait.__new__(wait, *wrong)


# A socket that somebody closes from under the library


def close(one: socket.socket) -> None:
    one.close()


def close_the_number(one: socket.socket) -> None:
    socket.close(one.fileno())


def detach(one: socket.socket) -> None:
    socket.close(one.detach())


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("take_away", [close, close_the_number, detach])
@pytest.mark.parametrize("shards", [1, 3])
async def test_a_socket_that_is_taken_away(
    take_away: Callable[[socket.socket], None], copied: bool, shards: int, any_group: str, senders: Senders
) -> None:
    """Told once, typed; no processor time; everything else goes on; and it can be left."""
    if IS_WINDOWS and (copied or take_away is close_the_number):
        pytest.skip("Windows copies no socket by its number, and gives none a number of one's choice")
    sources = [A, *(f"127.0.1.{number}" for number in range(1, 10 * shards))]
    async with Receiver() as receiver:
        other = await receiver.join(any_group, PORT + 1, sources=[A], interface="lo")
        one = await receiver.join(any_group, PORT, sources=sources, interface="lo")
        stream, rest, events = one.packets(), other.packets(), receiver.events()
        await senders.send(A, any_group, b"before")
        assert payloads(await take(stream, 1)) == [b"before"]
        taken = next(reader.sock for reader in readers_of(one) if A in reader.sock.filter.sources)
        assert isinstance(taken, aiomcast.MulticastSocket)
        number = taken.fileno()
        copy = os.dup(number) if copied else None
        take_away(taken)
        await senders.send(A, any_group, b"behind")
        if take_away is close_the_number and not copied:
            # Nothing tells of it but the next call; the number is nobody's, so give it to nobody else
            with pytest.raises(RefusedError):
                await one.swap([sources[1]])
            spare = os.open(os.devnull, os.O_RDONLY)
            if spare != number:
                os.dup2(spare, number)
                os.close(spare)
        else:
            with pytest.raises(RefusedError) as caught:
                await take(stream, 1)
            assert caught.value.errno == errno.EBADF
            assert (await anext(events)).kind is EventKind.FAILED
        assert receiver.statistics().received >= 1
        spent = time.process_time()
        await asyncio.sleep(0.2)
        assert time.process_time() - spent < 0.15
        assert len(events) == 0
        with sending(A, any_group, PORT + 1) as sender:
            sender.send(b"other")
        assert payloads(await take(rest, 1)) == [b"other"]
        async with asyncio.timeout(10):
            await one.leave()
        accounted(one.statistics(), taken=1)
        if copy is not None:
            os.close(copy)
        if take_away is close_the_number and not copied:
            taken.detach()
            os.close(number)
        await turns()
