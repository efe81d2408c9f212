"""A loop without `add_reader`, as the Windows proactor loop is, and programs that run on it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

import aiomcast
from aiomcast import Receiver
from aiomcast.loops.read_loop import ReadLoop
from aiomcast.loops.waking import Waking
from tests.support.sending import Sources

__all__ = ["ENDS", "PORT", "Unwatching", "Woken", "run", "sources"]

PORT = 5000
ENDS: dict[str, Callable[[Receiver, aiomcast.Membership], Awaitable[None]]] = {
    "leave": lambda receiver, membership: membership.leave(),
    "aclose": lambda receiver, membership: receiver.aclose(),
}


class Unwatching(asyncio.SelectorEventLoop):
    """asyncio's loop without the calls that the proactor loop lacks."""

    def add_reader(self, fd: object, callback: object, *args: object) -> None:
        raise NotImplementedError

    def remove_reader(self, fd: object) -> bool:
        raise NotImplementedError


class Woken(ReadLoop):
    """Has a thread wait, whatever the event loop can."""

    def _made_waking(self) -> Waking:
        return self._by_thread()


# Any: asyncio's own type for a coroutine, and for what a loop complains of
def run(main: Coroutine[Any, Any, None], loop: Callable[[], Unwatching] = Unwatching) -> None:
    """Run `main`; it fails when the loop has anything to complain of, then or when all is gone."""
    complaints: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        runner.run(main)
        gc.collect()
    gc.collect()
    assert complaints == []


@pytest.fixture
def sources(any_group: str) -> Iterator[Sources]:
    """Senders to the group of the test."""
    with Sources(any_group, PORT) as sources:
        yield sources
