"""Each fault of a network: how it ends a flow for good, and how soon a receiver mends it.

What is measured goes where `healing_table` says; of time nothing is asserted but that it is a few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path

import pytest

from aiomcast import (
    ALL_INTERFACES,
    Event,
    EventKind,
    Membership,
    NoSuchInterfaceError,
    Receiver,
    SourceFilter,
)
from tests.support.inside import sockets_of

from .broken import (
    CABLE,
    CARRIER,
    DOWN,
    FAULTS,
    MORE_SOURCES,
    NEIGHBOUR,
    NEW_INDEX,
    OTHER,
    REMOTE,
    SAME_INDEX,
    SOURCES,
    Fault,
    Scene,
)
from .flows import RATE, Flow, Sending, Taking
from .healing_table import FILE, Table

# A table is measured with faults that last as long as those of the page it is for.
HOLD = 0.3 if FILE is None else 1.0
SILENCE = 0.5
BOUND = 5.0
ENOUGH = 20  # packets in a row: where none of them comes, the flow has ended
SETTLED = 0.25  # seconds: the reports of a join have been repeated then, and none mends anything by chance
MANY = 200  # memberships of each family
MANY_RATE = 5 if FILE is None else 25  # packets a second of each
FAMILIES = (4, 6)


@pytest.fixture(scope="module")
def scene(lab: None) -> Iterator[Scene]:
    """One network for all: what is done to it is undone."""
    with Scene() as built:
        yield built


@pytest.fixture(autouse=True)
def inside(scene: Scene) -> Iterator[None]:
    """The test's thread is in the receiver's namespace, and so is an event loop it runs."""
    with scene.network.inside("rcv"):
        yield


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """Where the figures go."""
    measured = Table()
    yield measured
    if FILE is not None:
        measured.write(Path(FILE))


class Run:
    """A receiver, flows that a fault concerns, and others, on the other cable, that it does not.

    The flows that come `later` are sent all the time, and let in at last.
    """

    def __init__(
        self,
        scene: Scene,
        receiver: Receiver,
        affected: Sequence[Flow],
        others: Sequence[Flow] = (),
        later: Sequence[Flow] = (),
    ) -> None:
        self.scene = scene
        self.receiver = receiver
        self.affected = affected
        self.others = others or [scene.flow(OTHER, family) for family in FAMILIES]
        self.later = later
        self.memberships: list[Membership] = []
        self._events = receiver.events()
        self._told: list[Event] = []

    async def join(self, interface: str = CABLE) -> None:
        """Join each flow: those that are affected on this interface."""
        for flow in self.affected:
            await self.join_one(flow, interface)
        await self.join_others()

    async def join_one(self, flow: Flow, interface: str | None, wait: bool = False) -> None:
        """Join one that is affected."""
        self.memberships.append(
            await self.receiver.join(
                flow.group, flow.port, sources=[flow.source], interface=interface, wait=wait
            )
        )

    async def join_others(self) -> None:
        """Join those that are not affected."""
        for flow in self.others:
            await self.receiver.join(flow.group, flow.port, sources=[flow.source], interface=OTHER)

    @asynccontextmanager
    async def flowing(
        self, rate: float = RATE, at_first: Sequence[Flow] = (), at_last: Sequence[Flow] = ()
    ) -> AsyncIterator[tuple[Taking, Sending]]:
        """Send and take, from when those flow that do so at first, until those have ended that do at last.

        Empty is all that can flow then. On the other cable nothing was lost in the end.
        """
        flows = [*self.affected, *self.others, *self.later]
        begun = at_first or [*self.affected, *self.others]
        last = [*at_last, *self.others] if at_last else flows
        async with Taking(self.receiver, flows) as taking:
            with Sending(self.scene.network, flows, rate) as sending:
                await taking.until(lambda: all(len(flow.came) > SETTLED * rate for flow in begun))
                yield taking, sending
                sending.stop()
                await taking.until(lambda: all(flow.is_ended for flow in last))
        assert all(flow.is_whole for flow in self.others)

    async def happens(
        self, fault: Fault, meanwhile: Callable[[], Awaitable[None]] | None = None
    ) -> Mapping[Flow, int]:
        """Have it happen and, after a while, be undone; return how many had been sent before that."""
        await asyncio.to_thread(fault.breaks, self.scene)
        if fault.mends is None:
            return self._sent()
        try:
            if meanwhile is not None:
                await meanwhile()
            await asyncio.sleep(HOLD)
            return self._sent()
        finally:
            await asyncio.to_thread(fault.mends, self.scene)

    async def heals(
        self, taking: Taking, sent: Mapping[Flow, int], flows: Sequence[Flow] = ()
    ) -> Mapping[Flow, float]:
        """Wait until these flows (none: the affected) flow again; return how long after the last change."""
        awaited = flows or self.affected
        await taking.until(lambda: all(flow.beyond(sent[flow]) is not None for flow in awaited))
        took = {flow: (flow.beyond(sent[flow]) or 0.0) - self.scene.changed_at for flow in awaited}
        assert max(took.values()) < BOUND  # also where the loop did not turn meanwhile
        return took

    async def is_told_to_be_well(self, interface: str = CABLE) -> None:
        """Wait until all that was told to be lost, or silent, is told to be healed; nothing else was so.

        The affected are on this interface then, by their names and by the interface's own list.
        """
        async with asyncio.timeout(BOUND):
            while self._are_ill() or any(feed.interface.name != interface for feed in self.memberships):
                self._told.append(await self._events.receive())
        assert {event.membership for event in self._told if event.cause} <= set(self.memberships)
        assert are_on(self.memberships, interface)

    def _are_ill(self) -> bool:
        while len(self._events):
            self._told.append(self._events.receive_nowait())
        ill = {EventKind.LOST: True, EventKind.SILENT: True, EventKind.HEALED: False}
        last = {event.membership: ill[event.kind] for event in self._told if event.kind in ill}
        return any(last.values())

    def _sent(self) -> Mapping[Flow, int]:
        return {flow: flow.sent for flow in (*self.affected, *self.others, *self.later)}


def affected(scene: Scene) -> list[Flow]:
    """One flow of each family on the cable."""
    return [scene.flow(CABLE, family) for family in FAMILIES]


def note(table: Table, row: str, took: Mapping[Flow, float]) -> None:
    """Keep the longest of each family."""
    for family in {flow.family for flow in took}:
        table.add(row, family, max(seconds for flow, seconds in took.items() if flow.family == family))


def laid(scene: Scene, fault: Fault) -> AbstractContextManager[None]:
    """Have the interface that the fault is about."""
    return nullcontext() if fault.interface == CABLE else scene.macvlan()


def are_on(feeds: Iterable[Membership], interface: str) -> bool:
    """Whether the interface itself is a member of the groups."""
    return all(feed.on_device() == {interface: True} for feed in feeds)


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_without_healing(scene: Scene, fault: Fault) -> None:
    with laid(scene, fault):
        async with Receiver(heal=False) as receiver:
            run = Run(scene, receiver, affected(scene))
            await run.join(fault.interface)
            async with run.flowing() as (taking, _):
                sent = await run.happens(fault)
                other = run.others[0]
                enough = other.sent + ENOUGH
                await taking.until(lambda: other.beyond(enough) is not None)
                ended = {flow.family for flow in run.affected if flow.beyond(sent[flow]) is None}
                assert ended == fault.kills
                await receiver.refresh()  # what there is to do by hand
                await run.heals(taking, sent)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_with_healing(scene: Scene, fault: Fault, table: Table) -> None:
    with laid(scene, fault):
        async with Receiver(silence=None if fault.is_announced else SILENCE) as receiver:
            run = Run(scene, receiver, affected(scene))
            await run.join(fault.interface)
            async with run.flowing() as (taking, _):
                sent = await run.happens(fault)
                note(table, fault.name, await run.heals(taking, sent))
                await run.is_told_to_be_well(fault.interface)


@pytest.mark.parametrize("fault", [CARRIER, NEW_INDEX], ids=str)
async def test_400_memberships(scene: Scene, fault: Fault, table: Table) -> None:
    async with Receiver() as receiver:
        run = Run(scene, receiver, [flow for _ in range(MANY) for flow in affected(scene)])
        await run.join()
        async with run.flowing(MANY_RATE) as (taking, _):
            sent = await run.happens(fault)
            note(table, f"{fault}; the last of 400 memberships", await run.heals(taking, sent))
            await run.is_told_to_be_well()


async def test_two_memberships_of_one_group(scene: Scene, table: Table) -> None:
    first = affected(scene)
    both = [*first, *(flow.like(port=flow.port + 1) for flow in first)]
    later = [flow.like(host="s2", source=NEIGHBOUR[flow.family]) for flow in both]
    async with Receiver() as receiver:
        run = Run(scene, receiver, both, later=later)
        await run.join()
        async with run.flowing() as (taking, _):
            sent = await run.happens(SAME_INDEX)
            note(table, f"{SAME_INDEX}; two memberships of one group", await run.heals(taking, sent))
            await run.is_told_to_be_well()
            for feed, flow, added in zip(run.memberships, both, later, strict=True):
                wanted = SourceFilter.include([flow.source, added.source])
                await feed.swap(wanted)
                assert feed.kernel_filter() == wanted
            await run.heals(taking, sent, later)


@pytest.mark.parametrize("fault", [CARRIER, SAME_INDEX], ids=str)
async def test_a_list_over_several_sockets(scene: Scene, fault: Fault, table: Table) -> None:
    (flow, _) = affected(scene)
    listed = [f"192.0.2.{number}" for number in range(101, 131)]
    async with Receiver() as receiver:
        run = Run(scene, receiver, [flow.like(source=source) for source in MORE_SOURCES])
        assert set(MORE_SOURCES) < set(listed)
        feed = await receiver.join(flow.group, flow.port, sources=listed, interface=CABLE)
        assert len(sockets_of(feed)) == len(MORE_SOURCES)
        run.memberships.append(feed)
        await run.join_others()
        async with run.flowing() as (taking, _):
            sent = await run.happens(fault)
            note(table, f"{fault}; a list of 30 sources", await run.heals(taking, sent))
            await run.is_told_to_be_well()
            assert feed.kernel_filter() == SourceFilter.include(listed)


async def test_a_list_that_is_swapped_while_the_interface_is_down(scene: Scene, table: Table) -> None:
    before = affected(scene)
    after = [flow.like(host="s2", source=NEIGHBOUR[flow.family]) for flow in before]
    async with Receiver() as receiver:
        run = Run(scene, receiver, before, later=after)
        await run.join()

        async def swap() -> None:
            for feed, flow in zip(run.memberships, after, strict=True):
                await feed.swap([flow.source])

        async with run.flowing(at_last=after) as (taking, _):
            sent = await run.happens(DOWN, swap)
            note(table, f"{DOWN}; a list that is swapped meanwhile", await run.heals(taking, sent, after))
            await run.is_told_to_be_well()


async def test_a_join_waits_for_its_interface(scene: Scene, table: Table) -> None:
    async with Receiver() as receiver:
        run = Run(scene, receiver, affected(scene))
        await run.join_others()
        joins: list[asyncio.Task[None]] = []

        async def join() -> None:
            with pytest.raises(NoSuchInterfaceError):
                await run.join()
            joins.extend(asyncio.create_task(run.join_one(flow, CABLE, wait=True)) for flow in run.affected)

        async with run.flowing(at_first=run.others) as (taking, _):
            sent = await run.happens(NEW_INDEX, join)
            note(table, "the interface is missing at the join", await run.heals(taking, sent))
            await asyncio.gather(*joins)
            assert are_on(run.memberships, CABLE)


async def test_an_interface_of_all_comes_and_goes(scene: Scene, table: Table) -> None:
    async with Receiver() as receiver:
        flows = affected(scene)
        others = [flow.like(interface=OTHER, source=SOURCES[OTHER, flow.family]) for flow in flows]
        run = Run(scene, receiver, flows, others)
        for flow, other in zip(flows, others, strict=True):
            sources = [flow.source, other.source]
            feed = await receiver.join(flow.group, flow.port, sources=sources, interface=ALL_INTERFACES)
            run.memberships.append(feed)
        async with run.flowing() as (taking, _):
            sent = await run.happens(NEW_INDEX)
            note(table, f"{NEW_INDEX}; joined on all interfaces", await run.heals(taking, sent))
            assert all(feed.on_device() == {CABLE: True, OTHER: True} for feed in run.memberships)


async def test_the_route_moves(scene: Scene, table: Table) -> None:
    moves = "the route moves to another interface"
    async with Receiver() as receiver:
        run = Run(scene, receiver, [flow.like(source=REMOTE[flow.family]) for flow in affected(scene)])
        scene.lead(CABLE)
        for flow in run.affected:
            await run.join_one(flow, None)
        await run.join_others()
        assert are_on(run.memberships, CABLE)
        async with run.flowing() as (taking, sending):

            def move(scene: Scene) -> None:
                for flow in run.affected:
                    sending.reroute(flow, OTHER)
                scene.lead(OTHER)

            sent = await run.happens(Fault(moves, move))
            note(table, moves, await run.heals(taking, sent))
            assert are_on(run.memberships, OTHER)
