"""A stock transport that opens late, or never, or fails: sockets are closed, errors told once."""

import asyncio
import errno
import itertools
from collections.abc import Coroutine
from typing import Any

import pytest

import aiomcast
from aiomcast import EventKind, Receiver, RefusedError
from tests.support.accounts import open_descriptors
from tests.support.packets import rest
from tests.support.sending import A, B, Sources
from tests.support.waiting import turns

from .unwatching import ENDS, PORT, Unwatching, run, sources, stock

__all__ = ["sources"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("waited", range(6), ids="{} turns".format)
def test_a_socket_is_closed_however_far_its_transport_is(any_group: str, end: str, waited: int) -> None:
    async def main() -> None:
        descriptors = open_descriptors()
        async with Receiver() as receiver:
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            await turns(waited)
            await ENDS[end](receiver, membership)
            again = [Receiver() for _ in range(3)]
            for one in again:
                await one.join(any_group, PORT, sources=[A], interface="lo")
            await turns(10)
            for one in again:  # none of their descriptors was taken for the closed one
                await one.aclose()
        await turns(10)
        assert open_descriptors() == descriptors
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


class Deaf(Unwatching):
    """Has no datagram transport, and says so after some turns."""

    waits = 0
    error: BaseException = OSError(errno.EACCES, "not for you")

    # Any: passed through
    async def create_datagram_endpoint(self, *arguments: Any, **options: Any) -> Any:
        await turns(self.waits)
        raise self.error


def run_deaf(main: Coroutine[Any, Any, None], waits: int, error: BaseException) -> None:
    def deaf() -> Deaf:
        loop = Deaf()
        loop.waits, loop.error = waits, error
        return loop

    run(main, deaf)


FAILURES = [OSError(errno.EACCES, "not for you"), NotImplementedError(), ValueError("what is this")]


@pytest.mark.parametrize("waits", [0, 3])
@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_a_transport_that_does_not_open_is_told_once(
    any_group: str, sources: Sources, waits: int, error: Exception
) -> None:
    async def main() -> None:
        async with Receiver() as receiver:
            events = receiver.events()
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            stream = membership.packets()
            with pytest.raises(RefusedError) as caught:
                async with asyncio.timeout(5):
                    await anext(stream)
            wanted = errno.EACCES if isinstance(error, OSError) else errno.EOPNOTSUPP
            assert caught.value.errno == wanted
            assert any_group in str(caught.value)
            sources.send(A, b"1", b"2")
            await turns(10)
            await membership.leave()
            assert membership.statistics().received == 2
            await receiver.aclose()
            assert [event.kind for event in [one async for one in events]] == [
                EventKind.JOINED, EventKind.FAILED, EventKind.LEFT
            ]  # fmt: skip
            assert await rest(stream) == [b"1", b"2"]

    run_deaf(main(), waits, error)


@pytest.mark.parametrize("waited", range(6), ids="{} turns".format)
@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_closing_while_the_opening_fails(any_group: str, waited: int, error: Exception) -> None:
    async def main() -> None:
        descriptors = open_descriptors()
        async with Receiver() as receiver:
            await receiver.join(any_group, PORT, sources=[A], interface="lo")
            await turns(waited)
        await turns(5)
        assert open_descriptors() == descriptors

    run_deaf(main(), 3, error)


@pytest.mark.parametrize("waited", range(4), ids="{} turns".format)
def test_an_opening_that_somebody_else_cancels_is_told_once(any_group: str, waited: int) -> None:
    """As when a program that ends cancels all tasks there are, and only then closes its receivers."""

    async def main() -> None:
        descriptors = open_descriptors()
        async with Receiver() as receiver:
            events = receiver.events()
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            stream = membership.packets()
            await turns(waited)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await turns(10)
            if others:
                with pytest.raises(RefusedError) as caught:
                    await anext(stream)
                assert caught.value.errno in (errno.ECANCELED, errno.ECONNABORTED)
            membership.statistics()
            await receiver.aclose()
            assert await rest(stream) == []
            kinds = [event.kind for event in [one async for one in events]]
            assert kinds.count(EventKind.FAILED) == len(others)
        await turns(5)
        assert open_descriptors() == descriptors

    run(main())


def test_an_error_of_the_socket_is_typed_and_told_once(any_group: str, sources: Sources) -> None:
    async def main() -> None:
        async with Receiver() as receiver:
            events = receiver.events()
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            stream = membership.packets()
            await turns()
            stock(membership).error_received(OSError(errno.ENETDOWN, "down"))
            sources.send(A, b"one")
            with pytest.raises(RefusedError) as caught:
                await anext(stream)
            assert caught.value.errno == errno.ENETDOWN
            assert (await anext(stream)).data == b"one"
            await receiver.aclose()
            assert [event.kind for event in [one async for one in events]] == [
                EventKind.JOINED, EventKind.FAILED, EventKind.LEFT
            ]  # fmt: skip

    run(main())


def test_an_error_when_the_socket_is_read_out(
    any_group: str, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Receiver() as receiver:
            events = receiver.events()
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            stream = membership.packets()
            await turns()
            sources.send(A, b"one", b"two")
            reads = itertools.count()
            real = aiomcast.MulticastSocket.recvfrom

            def recvfrom(sock: aiomcast.MulticastSocket, size: int) -> Any:  # Any: as the socket's own
                if next(reads) == 1:
                    raise OSError(errno.ENETDOWN, "down")
                return real(sock, size)

            with monkeypatch.context() as patch:
                patch.setattr(aiomcast.MulticastSocket, "recvfrom", recvfrom)
                await membership.swap([A, B], "deliver")
            came: list[bytes] = []
            errors: list[RefusedError] = []
            async with asyncio.timeout(10):
                while len(came) < 2 or not errors:
                    try:
                        came.append((await anext(stream)).data)
                    except RefusedError as error:
                        errors.append(error)
            assert came == [b"one", b"two"]
            assert [error.errno for error in errors] == [errno.ENETDOWN]
            await receiver.aclose()
            kinds = [event.kind for event in [one async for one in events]]
            assert kinds.count(EventKind.FAILED) == 1

    run(main())
