"""Channels shared out among members, over a real key-value bucket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import pytest_asyncio

from aiomcast import ArgumentError, Membership, Receiver, SourceFilter, StateError
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


class Watched:
    """Leases that count, and that can be made to wait or to say nothing any more."""

    def __init__(self, leases: JetStreamLeases) -> None:
        self._leases = leases
        self.looks = self.renewals = 0
        self.may_renew = asyncio.Event()
        self.may_renew.set()
        self.is_silent = False
        self.looked: Callable[[frozenset[str]], None] = lambda _: None

    async def renew(self, name: str, holding: bytes) -> None:
        await self.may_renew.wait()
        await self._leases.renew(name, holding)
        self.renewals += 1

    async def members(self) -> Mapping[str, bytes]:
        found = await self._leases.members()
        self.looks += 1
        self.looked(frozenset(found))
        return found

    async def give_up(self, name: str) -> None:
        if not self.is_silent:
            await self._leases.give_up(name)


class Reluctant:
    """A receiver whose joins wait until they may."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.may_join = asyncio.Event()
        self.may_join.set()

    async def join(self, group: str, port: int, **options: Any) -> Membership:  # Any: handed on
        await self.may_join.wait()
        return await self._receiver.join(group, port, **options)


class Members:
    """Hosts of one network in memory, each with a receiver and its part of the channels."""

    def __init__(self, server: NatsServer, opened: AsyncExitStack, copies: int) -> None:
        self._server, self._opened, self._copies = server, opened, copies
        self._bucket = f"share{next(_numbers)}"
        self._network = MemoryNetwork()
        self.sharing: dict[str, Sharing] = {}
        self.receivers: dict[str, Receiver] = {}
        self.leases: dict[str, Watched] = {}
        self.joining: dict[str, Reluctant] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, name: str, *, may_join: bool = True) -> None:
        """Start a member."""
        server = await self._opened.enter_async_context(JetStream(self._server.url))
        receiver = await self._opened.enter_async_context(Receiver(network=self._network.add_host(name)))
        leases = self.leases[name] = Watched(JetStreamLeases(server, self._bucket, lease=LEASE))
        self.receivers[name] = receiver
        joining = self.joining[name] = Reluctant(receiver)
        if not may_join:
            joining.may_join.clear()
        self.sharing[name] = Sharing(leases, CHANNELS, name=name, copies=self._copies, lease=LEASE)
        self.tasks[name] = asyncio.create_task(
            self.sharing[name].run(joining)  # type: ignore[arg-type]  # it has what is called
        )

    async def die(self, name: str) -> None:
        """End a member as a crash does: it says nothing any more."""
        self.leases[name].is_silent = True
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


async def test_what_moves_is_kept_until_the_other_has_joined_it(members: Members) -> None:
    """However long that takes; and who is about to join is alive all the while."""
    await members.start("a")
    await until(lambda: members.covered == KEYS)
    await members.start("b", may_join=False)
    await until(lambda: members.sharing["a"].members == {"a", "b"})
    looks, renewals = members.leases["a"].looks, members.leases["b"].renewals
    await until(lambda: members.leases["a"].looks > looks + 8 and members.leases["b"].renewals > renewals + 8)
    assert members.sharing["a"].joined == KEYS
    members.joining["b"].may_join.set()

    def are_shared_and_kept() -> bool:
        assert members.covered == KEYS
        return members.are_shared()

    await until(are_shared_and_kept)


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


async def test_who_was_a_member_is_waited_for_when_the_server_is_back(own_nats: NatsServer) -> None:
    """Their entries have run out while nobody could renew them, and that is no reason to take all over."""
    async with AsyncExitStack() as opened:
        members = Members(own_nats, opened, 1)
        for name in "ab":
            await members.start(name)
        await until(members.are_shared)
        own = members.sharing["a"].joined
        own_nats.kill()
        members.leases["b"].may_renew.clear()
        await until(lambda: "look" in members.sharing["a"]._cannot)
        await asyncio.sleep(LEASE)  # the entries are to run out
        seen: list[tuple[frozenset[str], frozenset[str]]] = []
        members.leases["a"].looked = lambda found: seen.append((found, members.sharing["a"].joined))
        own_nats.start()
        await until(lambda: len(seen) >= 2)
        assert "b" not in seen[0][0], "it has not renewed its entry"
        assert seen[1][1] == own, "and nothing was joined for that"
        await until(lambda: members.sharing["a"].joined == KEYS)  # but not for ever
        members.leases["b"].may_renew.set()
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
