"""Faults in any order and within one another, and changes of what is wanted meanwhile: all of it heals.

The model is what is wanted: which groups, and from which sources. A seed draws the story.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from aiomcast import Membership, MulticastError, Receiver
from aiomcast.system.device_groups import device_groups

from .broken import CABLE, FAULTS, NEIGHBOUR, Fault, Scene
from .flows import Flow, Sending, Taking

# More of them: AIOMCAST_HEALING_SEEDS=100 python -m pytest tests/lab/test_healing_fuzz.py
SEEDS = range(int(os.environ.get("AIOMCAST_HEALING_SEEDS", "3")))
LENGTH = 6  # faults of a story
BOUND = 2.0  # seconds from when the last of them is undone
PAUSES = (0.0, 0.003, 0.02, 0.2)  # seconds: shorter and longer than announcements are gathered
POOL = [fault for fault in FAULTS if fault.is_announced and fault.interface == CABLE]


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


class Story:
    """What happens to a receiver's cable, and what is wanted of the receiver meanwhile."""

    def __init__(self, seed: int, scene: Scene, receiver: Receiver) -> None:
        self._random = random.Random(seed)
        self._scene = scene
        self._receiver = receiver
        firsts = [scene.flow(CABLE, family) for family in (4, 6) for _ in range(3)]
        self.flows = firsts + [flow.like(host="s2", source=NEIGHBOUR[flow.family]) for flow in firsts]
        self.wanted: dict[str, set[str]] = {}
        """Sources by group."""
        self.memberships: dict[str, Membership] = {}
        self._lasting: list[Fault] = []

    @property
    def groups(self) -> set[str]:
        """All that there are."""
        return {flow.group for flow in self.flows}

    def is_wanted(self, flow: Flow) -> bool:
        """Whether it is to be received."""
        return flow.source in self.wanted.get(flow.group, ())

    async def change(self) -> None:
        """Want something else, if that is not refused: what is refused changes nothing."""
        group = self._random.choice(sorted(self.groups))
        sources = [flow.source for flow in self.flows if flow.group == group]
        chosen = self._random.sample(sources, self._random.randint(0, 2))
        with suppress(MulticastError):
            if group not in self.wanted:
                if chosen:
                    self.memberships[group] = await self._receiver.join(
                        group, 5000, sources=chosen, interface=CABLE
                    )
                    self.wanted[group] = set(chosen)
            elif chosen:
                await self.memberships[group].swap(chosen)
                self.wanted[group] = set(chosen)
            else:
                await self.memberships.pop(group).leave()
                del self.wanted[group]
        print(f"wanted: {self.wanted}")

    async def happen(self) -> None:
        """Have all of it happen, and be undone."""
        try:
            for fault in self._random.choices(POOL, k=LENGTH):
                while self._lasting and not self._lasting[-1].admits_others:
                    await self._undo()
                print(f"{fault}: begins")
                await asyncio.to_thread(fault.breaks, self._scene)
                if fault.mends is not None:
                    self._lasting.append(fault)
                await self._go_on()
                if self._lasting and self._random.random() < 0.5:
                    await self._undo()
        finally:
            while self._lasting:
                await self._undo()

    async def _undo(self) -> None:
        fault = self._lasting.pop()
        assert fault.mends is not None
        print(f"{fault}: is undone")
        await asyncio.to_thread(fault.mends, self._scene)
        if self._lasting:
            await self._go_on()

    async def _go_on(self) -> None:
        await asyncio.sleep(self._random.choice(PAUSES))
        if self._random.random() < 0.5:
            await self.change()


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")  # of what is doubtful as things stand
@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_heals(scene: Scene, seed: int) -> None:
    async with Receiver() as receiver:
        story = Story(seed, scene, receiver)
        async with Taking(receiver, story.flows) as taking:
            with Sending(scene.network, story.flows):
                while len(story.wanted) < 3:
                    await story.change()
                await taking.until(lambda: all(flow.came for flow in story.flows if story.is_wanted(flow)))
                await story.happen()
                sent = {flow: flow.sent for flow in story.flows}
                expected = [flow for flow in story.flows if story.is_wanted(flow)]
                await taking.until(
                    lambda: all(flow.beyond(sent[flow]) is not None for flow in expected), BOUND
                )
                came = {flow for flow in story.flows if flow.beyond(sent[flow]) is not None}
        assert came == set(expected)
        assert {
            group: set(feed.kernel_filter().sources) for group, feed in story.memberships.items()
        } == story.wanted
        index = scene.index()
        on_device = {one.group for one in device_groups(4) | device_groups(6) if one.interface_index == index}
        assert on_device & story.groups == set(story.wanted)
