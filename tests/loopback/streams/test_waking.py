"""Who waits for a packet goes on in the turn of the loop that reads it, and is no trouble to anybody else."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from aiomcast import Membership, PacketStream, Receiver, StateError, reading
from tests.support.loops import LOOPS, NewLoop
from tests.support.sending import A, Sources
from tests.support.waiting import until

PORT = 5000
GROUPS = [f"239.77.9.{number}" for number in range(1, 4)]

in_context: contextvars.ContextVar[str] = contextvars.ContextVar("in_context", default="nobody's")


class Scene:
    """Memberships of one receiver and a task for each, which calls what `then` has for it at its packets."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.got: list[tuple[int, bytes]] = []
        self.then: dict[int, Callable[[], object]] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.feeds: list[Membership] = []

    async def open(self, count: int) -> None:
        receiver = await self.stack.enter_async_context(Receiver())
        for number in range(count):
            self.feeds.append(await receiver.join(GROUPS[number], PORT, sources=[A], interface="lo"))
            self.tasks.append(asyncio.create_task(self.iterate(number)))
        await until(lambda: all(self.is_waiting(number) for number in range(count)))

    async def iterate(self, number: int) -> None:
        async for packet in self.feeds[number]:
            self.got.append((number, packet.data))
            self.then.pop(number, lambda: None)()

    def stream(self, number: int) -> PacketStream:
        return aiter(self.feeds[number])

    def is_waiting(self, number: int) -> bool:
        return self.stream(number)._is_awaited

    def send(self, *numbers: int) -> None:
        """Send a packet to each, all of which are there before the loop turns."""
        for number in numbers:
            with Sources(GROUPS[number], PORT) as sources:
                sources.send(A, b"%d" % number)


@pytest.mark.skipif(reading.implementation != "native", reason="the compiled reader's alone")
async def test_in_the_turn_that_reads() -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(stack)
        await scene.open(1)
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        read = scene.feeds[0].statistics

        def look() -> None:
            """Note, turn by turn, how many were read and not yet received."""
            seen.append(read().received - len(scene.got))
            if len(seen) < 50:
                loop.call_soon(look)

        loop.call_soon(look)
        scene.send(0)
        await until(lambda: len(seen) == 50)
        assert scene.got == [(0, b"0")]
        assert set(seen) == {0}


async def test_one_that_the_one_before_has_cancelled_loses_nothing() -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(stack)
        await scene.open(2)
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        for one, other in ((0, 1), (1, 0)):  # whichever is first
            scene.then[one] = scene.tasks[other].cancel
        scene.send(0, 1)
        await until(lambda: any(task.done() for task in scene.tasks))
        (left,) = [number for number in (0, 1) if scene.tasks[number].done()]
        assert scene.tasks[left].cancelled()
        await until(lambda: len(scene.stream(left)) == 1 or len(scene.got) == 2)
        received = [number for number, _ in scene.got]
        assert told == []
        assert sorted([*received, *[left] * len(scene.stream(left))]) == [0, 1]


async def test_what_one_raises_is_its_own() -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(stack)
        await scene.open(3)

        def fail() -> None:
            raise LookupError("its own")

        scene.then = dict.fromkeys((0, 1), fail)
        scene.send(0, 1, 2)
        await until(lambda: len(scene.got) == 3)
        for number in (0, 1):
            with pytest.raises(LookupError):
                await scene.tasks[number]
        scene.send(2)
        await until(lambda: len(scene.got) == 4)
        assert not scene.tasks[2].done()


async def test_it_runs_as_its_own_task_in_its_own_context() -> None:
    seen: list[tuple[object, str]] = []
    async with AsyncExitStack() as stack:
        scene = Scene(stack)
        in_context.set("the task's")
        await scene.open(1)
        in_context.set("another's")
        scene.then[0] = lambda: seen.append((asyncio.current_task(), in_context.get()))
        scene.send(0)
        await until(lambda: bool(seen))
        assert seen == [(scene.tasks[0], "the task's")]


async def test_it_may_end_everything() -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(stack)
        await scene.open(2)
        ended: list[asyncio.Task[None]] = []

        def leave() -> None:
            ended.extend(asyncio.ensure_future(feed.leave()) for feed in scene.feeds)

        scene.then = {0: leave}
        scene.send(0, 1)
        async with asyncio.timeout(10):
            await asyncio.gather(*scene.tasks)
            await asyncio.gather(*ended)
        assert sorted(scene.got) == [(0, b"0"), (1, b"1")]
        with pytest.raises(StateError):
            await scene.stream(0).receive()


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_ends_the_loop_and_costs_nobody_a_packet(
    new_loop: NewLoop, kind: type[BaseException]
) -> None:
    loop = new_loop()
    stack = AsyncExitStack()
    scene = Scene(stack)

    def end() -> None:
        raise kind

    async def work() -> None:
        await scene.open(2)
        scene.then = {0: end}
        scene.send(0, 1)
        await asyncio.sleep(10)

    async def rest() -> None:
        await until(lambda: len(scene.got) == 2)
        scene.tasks[0].exception()
        scene.send(1)
        await until(lambda: len(scene.got) == 3)
        await stack.aclose()

    try:
        first = loop.create_task(work())
        with pytest.raises(kind):
            loop.run_until_complete(first)
        loop.run_until_complete(rest())
        first.cancel()
        loop.run_until_complete(asyncio.wait([first]))
    finally:
        loop.close()
