"""Channels shared out among members, over a real key-value bucket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
import pytest_asyncio

from aiomcast import ArgumentError, Receiver, SourceFilter, StateError
from aiomcast.relay import JetStream, JetStreamLeases, SharedChannel, Sharing
from aiomcast.relay.placing import owners
from aiomcast.testing import MemoryNetwork
from tests.support.brokers import NatsServer, needs_nats
from tests.support.waiting import until

LEASE = 0.8
CHANNELS = [SharedChannel.of(f"239.1.1.{number}", 5000) for number in range(30)]
KEYS = {channel.key for channel in CHANNELS}
_numbers = itertools.count(1)

pytestmark = needs_nats


class Members:
    """Hosts of one network in memory, each with a receiver and its part of the channels."""

    def __init__(self, server: NatsServer, opened: AsyncExitStack, copies: int) -> None:
        self._server, self._opened, self._copies = server, opened, copies
        self._bucket = f"share{next(_numbers)}"
        self._network = MemoryNetwork()
        self.sharing: dict[str, Sharing] = {}
        self.receivers: dict[str, Receiver] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, name: str) -> None:
        """Start a member."""
        server = await self._opened.enter_async_context(JetStream(self._server.url))
        receiver = await self._opened.enter_async_context(Receiver(network=self._network.add_host(name)))
        leases = JetStreamLeases(server, self._bucket, lease=LEASE)
        self.receivers[name] = receiver
        self.sharing[name] = Sharing(leases, CHANNELS, name=name, copies=self._copies, lease=LEASE)
        self.tasks[name] = asyncio.create_task(self.sharing[name].run(receiver))

    async def die(self, name: str) -> None:
        """End a member as a crash does: it says nothing any more."""
        gone = self.sharing.pop(name)
        gone._leases.give_up = silent  # type: ignore[method-assign]  # that is what a crash is
        await self.end(name)

    async def end(self, name: str) -> None:
        """End a member."""
        self.sharing.pop(name, None)
        task = self.tasks.pop(name)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self.receivers.pop(name).aclose()

    def are_shared(self) -> bool:
        """Whether each channel is joined by exactly those whose it is."""
        return all(
            one.joined == {key for key in KEYS if name in owners(key, self.sharing, self._copies)}
            for name, one in self.sharing.items()
        )

    @property
    def covered(self) -> set[str]:
        """What is joined by anybody."""
        return set().union(*(one.joined for one in self.sharing.values()))


async def silent(name: str) -> None:
    """Say nothing."""


@pytest_asyncio.fixture(params=[1, 2])
async def members(request: pytest.FixtureRequest, nats_server: NatsServer) -> AsyncIterator[Members]:
    async with AsyncExitStack() as opened:
        made = Members(nats_server, opened, request.param)
        yield made
        for name in tuple(made.tasks):
            await made.end(name)


async def test_who_comes_takes_a_share_and_nothing_is_left_alone(members: Members) -> None:
    await members.start("a")
    await until(lambda: members.covered == KEYS)
    for name in "bc":
        await members.start(name)

        def are_shared_and_kept() -> bool:
            assert members.covered == KEYS, "what moves is kept until the other has it"
            return members.are_shared()

        await until(are_shared_and_kept)
    counts = [len(one.memberships) for one in members.receivers.values()]
    assert sum(counts) == len(KEYS) * members._copies


async def test_who_dies_is_replaced(members: Members) -> None:
    for name in "abc":
        await members.start(name)
    await until(members.are_shared)
    await members.die("b")
    await until(lambda: members.covered == KEYS)
    await until(members.are_shared)


async def test_who_goes_is_replaced_at_the_next_look(members: Members) -> None:
    for name in "ab":
        await members.start(name)
    await until(members.are_shared)
    await members.end("a")
    await until(lambda: members.sharing["b"].members == {"b"})
    await until(members.are_shared)
    assert members.covered == KEYS


async def test_nothing_is_left_while_the_server_is_away(own_nats: NatsServer) -> None:
    async with AsyncExitStack() as opened:
        members = Members(own_nats, opened, 1)
        for name in "ab":
            await members.start(name)
        await until(members.are_shared)
        own_nats.kill()
        await asyncio.sleep(2 * LEASE)  # there is nothing to wait for: that nothing happens is meant
        assert members.covered == KEYS
        own_nats.start()
        await asyncio.sleep(LEASE)
        assert members.covered == KEYS
        await until(members.are_shared)
        for name in "ab":
            await members.end(name)


async def test_one_run_at_a_time(members: Members) -> None:
    await members.start("a")
    await until(lambda: members.covered == KEYS)
    with pytest.raises(StateError, match="runs already"):
        await members.sharing["a"].run(members.receivers["a"])


def test_what_is_shared() -> None:
    assert SharedChannel.of("232.1.1.1", 5000, sources=["10.0.0.2"]).key == "10.0.0.2@232.1.1.1:5000"
    assert SharedChannel.of("239.1.1.1", 5000).key == "!@239.1.1.1:5000"
    assert SharedChannel.of("ff12::1%eth0", 5000).interface == "eth0"
    exclude = SharedChannel.of("239.1.1.1", 5000, sources=SourceFilter.exclude(["10.0.0.2"]))
    assert exclude.key == "!10.0.0.2@239.1.1.1:5000"
    with pytest.raises(ArgumentError, match="source"):
        SharedChannel.of("232.1.1.1", 5000)


async def test_what_cannot_be(nats_server: NatsServer) -> None:
    leases = JetStreamLeases(JetStream(nats_server.url))
    for name, value in {"name": "", "copies": 0, "lease": 0.01}.items():
        with pytest.raises(ArgumentError, match=name):
            Sharing(leases, CHANNELS, **{name: value})  # type: ignore[arg-type]  # which it refuses
