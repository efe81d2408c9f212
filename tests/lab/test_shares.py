"""Three hosts share 300 channels by leases: none is left alone for longer than a lease, whatever breaks."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import statistics
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import time_ns
from typing import TypeAlias

import attrs
import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from aiomcast.relay import JetStream, Start, Subscription, SubscriptionStatistics
from aiomcast.relay.placing import Holding, owners
from tests.support.brokers import NatsServer

from .network import SWITCH, Network, stop
from .share_worker import PAYLOAD, PORT, channels

MEMBERS = ("s2", "s3", "rcv")  # the source and the server are s1
GONE = "s3"  # that one is killed, or its cable pulled
COUNT = 300
LEASE = 3.0
LOOK_NS = int(LEASE / 4 * 1e9)
SERVER_PORT = 4222
ROUND = 0.3  # seconds from one packet of a channel to the next, about
BURST = 50
SECOND = 1e9
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_factories=["asyncio"]),  # the members run on a loop of their own
]
Packets: TypeAlias = tuple[int, int]  # of which channel, and which round


@attrs.frozen
class Result:
    """What came of a test: how often each packet is stored, and what was received by whom."""

    stored: Counter[Packets]
    messages: int
    seen: SubscriptionStatistics
    received: dict[str, set[Packets]]
    told: dict[str, dict[str, int]]


class Shares:
    """The members, each a process on a host of its own; what they say in the bucket; who sends to them."""

    def __init__(self, network: Network, folder: Path, server: NatsServer, copies: int) -> None:
        self._network, self._folder, self._server, self.copies = network, folder, server, copies
        source = network.hosts["s1"]
        self._sources = source.address4, source.address6
        self._channels = channels(COUNT, *self._sources)
        self._keys = [one.key for one in self._channels]
        self._shares: dict[tuple[str, tuple[str, ...]], frozenset[int]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.said: list[tuple[str, frozenset[int]]] = []
        self.holds: dict[str, frozenset[int]] = {}
        self.rounds: list[tuple[int, int]] = []  # when each began and ended
        self.sending: asyncio.Task[None] | None = None

    def start(self, name: str) -> None:
        """Start a member."""
        self.holds.pop(name, None)
        self.processes[name] = self._network.popen(
            name,
            [
                sys.executable, "-m", "tests.lab.share_worker", self._server.url, name, str(self._folder),
                str(self.copies), str(LEASE), str(COUNT), *self._sources,
            ],
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def kill(self, name: str) -> None:
        """Kill -9."""
        self.processes[name].kill()
        self.processes[name].wait()

    async def came(self, msg: Msg) -> None:
        """Note what a member says in the bucket."""
        name = bytes.fromhex(msg.subject.rpartition(".")[2]).decode()
        holding = Holding(msg.data)
        held = frozenset(number for number, key in enumerate(self._keys) if key in holding)
        self.holds[name] = held
        self.said.append((name, held))

    def share(self, name: str, members: tuple[str, ...]) -> frozenset[int]:
        """The channels that are a member's own."""
        if (name, members) not in self._shares:
            self._shares[name, members] = frozenset(
                number for number, key in enumerate(self._keys) if name in owners(key, members, self.copies)
            )
        return self._shares[name, members]

    async def settled(self, *members: str) -> None:
        """Wait until each of these holds its share and nothing else."""
        await until(
            lambda: all(self.holds.get(name) == self.share(name, members) for name in members),
            f"{members} hold their shares",
        )

    async def send(self) -> None:
        """Send on every channel, round by round, without end."""
        senders = [self._network.sender("s1", family) for family in (socket.AF_INET, socket.AF_INET6)]
        try:
            for number in itertools.count():
                began = time_ns()
                for at, channel in enumerate(self._channels):
                    senders[at % 2].sendto(struct.pack(PAYLOAD, at, number), (channel.group, PORT))
                    if at % BURST == BURST - 1:
                        await asyncio.sleep(0)
                self.rounds.append((began, time_ns()))
                await asyncio.sleep(ROUND)
        finally:
            for sender in senders:
                sender.close()

    async def further(self, count: int) -> None:
        """Wait until so many more rounds were sent."""
        last = len(self.rounds) + count
        await until(lambda: len(self.rounds) >= last, "more rounds")

    def received(self, name: str) -> set[Packets]:
        """What a member has received."""
        path = self._folder / name
        data = path.read_bytes() if path.exists() else b""
        return set(struct.iter_unpack(PAYLOAD, data[: len(data) // 8 * 8]))

    async def finish(self) -> Result:
        """Send no more, end the members, and read what is stored."""
        assert self.sending is not None
        await self.further(3)
        self.sending.cancel()
        await asyncio.gather(self.sending, return_exceptions=True)
        last = {(at, len(self.rounds) - 1) for at in range(COUNT)}
        living = {name: one for name, one in self.processes.items() if one.poll() is None}
        await until(lambda: last <= set().union(*map(self.received, living)), "the last round came")
        for process in living.values():
            process.terminate()
        told = {}
        for name, process in living.items():
            out, _ = await asyncio.to_thread(process.communicate, timeout=30)
            told[name] = json.loads(out)
        received = {name: self.received(name) for name in self.processes}
        async with JetStream(self._server.url) as far, Subscription(far, start=Start.FIRST) as subscription:
            state = (await (await far.connect()).jetstream().stream_info("MCAST")).state
            stored: Counter[Packets] = Counter()
            async with asyncio.timeout(60):
                async for packet in subscription:
                    stored[struct.unpack(PAYLOAD, packet.data)] += 1
                    seen = subscription.statistics()
                    if seen.packets + seen.repeated == state.messages and seen.packets == stored.total():
                        break
        return Result(stored, state.messages, seen, received, told)

    def late(self, names: tuple[str, ...], began: int, ended: int) -> int:
        """By how many nanoseconds a look of these came too late at the most: how busy the machine is."""
        late = 0
        for name in names:
            looks = [
                (int(line.split()[0]), int(line.split()[1]))
                for line in (self._folder / f"{name}.looks").read_text().splitlines()
            ]
            looks = [one for one in looks if began - 2 * LOOK_NS < one[0] < ended + 2 * LOOK_NS]
            late = max([late, *(after[0] - one[0] - LOOK_NS for one, after in itertools.pairwise(looks))])
            late = max([late, *(end - begin for begin, end in looks)])
        return late

    def gaps(self, stored: Counter[Packets], first: int) -> dict[int, int]:
        """For how many nanoseconds each channel that misses something had nobody, by the sender's clock."""
        gaps: dict[int, int] = {}
        for at in range(COUNT):
            before = first - 1
            for number in (*(one for one in range(first, len(self.rounds)) if (at, one) in stored), None):
                if number is None:
                    break
                if number > before + 1:
                    gap = self.rounds[number][1] - self.rounds[max(before, 0)][0]
                    gaps[at] = max(gap, gaps.get(at, 0))
                before = number
        return gaps

    def slowest_round(self) -> int:
        """The longest from the beginning of a round to the end of the next."""
        return max(after[1] - one[0] for one, after in itertools.pairwise(self.rounds))


async def until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Wait for what other processes do; it tells what did not come."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within {seconds} s: {what}")


@pytest.fixture
def server(network: Network, tmp_path: Path) -> Iterator[NatsServer]:
    with network.inside("s1"):
        address = network.hosts["s1"].address4
        with NatsServer(tmp_path / "nats", address, SERVER_PORT) as running:
            yield running


@pytest_asyncio.fixture(params=[1, 2], ids=["one-copy", "two-copies"])
async def shares(
    request: pytest.FixtureRequest, network: Network, server: NatsServer, tmp_path: Path
) -> AsyncIterator[Shares]:
    """One member has all channels, and all are sent to."""
    made = Shares(network, tmp_path, server, request.param)
    async with JetStream(server.url) as watching:
        await (await watching.connect()).subscribe("$KV.aiomcast.member.>", cb=made.came)
        made.start(MEMBERS[0])
        await made.settled(MEMBERS[0])
        made.sending = asyncio.create_task(made.send())
        await until(lambda: len({at for at, _ in made.received(MEMBERS[0])}) == COUNT, "all are received")
        yield made
        made.sending.cancel()
        with suppress(asyncio.CancelledError):
            await made.sending
        for process in made.processes.values():
            stop(process)


async def everybody(shares: Shares) -> int:
    """Start all, and wait until they have their shares; return the round from which on all are received."""
    first = len(shares.rounds)
    for name in MEMBERS[1:]:
        shares.start(name)
    await shares.settled(*MEMBERS)
    return first


def check(shares: Shares, result: Result, name: str = "", before: frozenset[Packets] = frozenset()) -> None:
    """All that was received is stored, and once.

    A relay that was killed takes the last of what it had received `before` with it.
    """
    assert all(count == 1 for count in result.stored.values()), "twice"
    for one, received in result.received.items():
        taken = before if one == name else frozenset()
        assert received - taken <= result.stored.keys(), f"received by {one}, and not stored"
    lost = before - result.stored.keys()
    for at, number in lost:
        assert {(at, later) for later in range(number, len(shares.rounds))} & before <= lost, "not its last"
    assert not lost or shares.copies == 1, "another had it too"
    assert all(one["pending"] == 0 == one["dropped"] for one in result.told.values())
    assert result.seen.missing == 0


def check_gaps(
    shares: Shares, result: Result, first: int, moved: frozenset[int], began: int, ended: int
) -> None:
    """Of those whose receiver went away none was alone for longer than the lease, and no other ever."""
    gaps = shares.gaps(result.stored, first)
    rest = tuple(name for name in MEMBERS if name != GONE)
    late, slowest = shares.late(rest, began, ended), shares.slowest_round()
    if gaps:
        print(
            f"\n{len(gaps)} channels alone: median {statistics.median(gaps.values()) / SECOND:.2f} s, most "
            f"{max(gaps.values()) / SECOND:.2f} s; lease {LEASE:g} s, looks {late / SECOND:.2f} s late, "
            f"rounds {slowest / SECOND:.2f} s"
        )
    if shares.copies > 1:
        assert not gaps, "another has it all the time"
    assert gaps.keys() <= moved
    assert max(gaps.values(), default=0) <= LEASE * SECOND + 2 * late + slowest


async def test_who_comes_takes_its_share_and_nothing_is_missed(shares: Shares) -> None:
    first = await everybody(shares)
    result = await shares.finish()
    check(shares, result)
    assert shares.gaps(result.stored, first) == {}
    assert result.messages == len(result.stored)
    held = [len(shares.share(name, MEMBERS)) for name in MEMBERS]
    print(f"\nshares of {held}")
    assert sum(held) == shares.copies * COUNT
    assert all(0.7 * shares.copies * 100 < one < 1.3 * shares.copies * 100 for one in held)


async def test_who_is_killed_is_replaced_within_the_lease(shares: Shares) -> None:
    first = await everybody(shares)
    began = time_ns()
    shares.kill(GONE)
    before = frozenset(shares.received(GONE))
    await shares.settled("s2", "rcv")
    ended = time_ns()
    await shares.further(3)
    shares.start(GONE)
    await shares.settled(*MEMBERS)
    result = await shares.finish()
    check(shares, result, GONE, before)
    check_gaps(shares, result, first, shares.share(GONE, MEMBERS), began, ended)
    assert result.messages == len(result.stored)


async def test_a_server_that_is_killed_and_comes_back_loses_no_assignment(
    shares: Shares, server: NatsServer
) -> None:
    first = await everybody(shares)
    before = len(shares.said)
    for _ in range(2):
        server.kill()
        await shares.further(3)
        server.start()
        count = Counter(name for name, _ in shares.said)
        await until(
            lambda count=count: all(  # type: ignore[misc]  # the count of this turn
                Counter(name for name, _ in shares.said)[one] > count[one] + 4 for one in MEMBERS
            ),
            "all have looked again",
        )
    assert all(held >= shares.share(name, MEMBERS) for name, held in shares.said[before:])
    await shares.settled(*MEMBERS)
    print(f"\nmost held {max(len(held) for _, held in shares.said[before:])}")
    result = await shares.finish()
    check(shares, result)
    assert shares.gaps(result.stored, first) == {}


async def test_a_cable_that_is_pulled_has_others_take_over_until_it_is_back(
    network: Network, shares: Shares
) -> None:
    first = await everybody(shares)
    port = network.hosts[GONE].port
    began = time_ns()
    network.ip(SWITCH, f"link set {port} down")
    try:
        await shares.settled("s2", "rcv")
        ended = time_ns()
        await shares.further(3)
    finally:
        network.ip(SWITCH, f"link set {port} up")
    await shares.settled(*MEMBERS)
    result = await shares.finish()
    check(shares, result)
    check_gaps(shares, result, first, shares.share(GONE, MEMBERS), began, ended)
