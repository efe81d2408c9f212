"""Draws a run out of a seed: receivers, traffic, and operations as data that can be written and replayed.

Every operation is total: where it does not fit the state it meets (a swap of what is not joined), it
does nothing. So any part of the list is a list that can be run.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias, TypedDict

from .traffic import Shape
from .world import Place

__all__ = ["KINDS", "Filters", "Operation", "ReceiverShape", "Scenario", "draw"]

Operation: TypeAlias = dict[str, Any]  # Any: what JSON holds
"""`do` is what to do, `thread` and `actor` who does it, `wait` seconds before (-1: a loop turn)."""

Filters: TypeAlias = list[Any]  # Any: JSON
"""[include?, numbers of senders' addresses, first stranger, number of strangers]."""

_POLICIES = ("PAUSE", "PAUSE", "DROP_OLDEST", "DROP_NEWEST")
_CAPACITIES = (4, 16, 64, 256, 1200, 1200, 4096)
_RATES = (300, 1000, 2500, 5000, 12000)
_BURSTS = (2, 8, 40, 120)
_WAITS = (*[0] * 8, *[-1] * 4, 0.0003, 0.001, 0.002, 0.004, 0.006, 0.02, 0.05, 0.12)
_STALLS = (0.001, 0.005, 0.02, 0.1, 0.4)
_TROUBLES = ("none", "msf", "files", "faults", "files and faults")
_MSF = (4, 7, 10, 15, 25)
_ERRNOS = ("ENOBUFS", "ENOMEM")  # not what says that the interface or the membership is gone

# How often each operation is drawn
_WEIGHTS = {
    "swap": 30,
    "delta": 8,
    "apply": 10,
    "join": 9,
    "leave": 4,
    "open": 7,
    "close": 4,
    "forget": 2,
    "stall": 6,
    "break": 4,
    "resume": 5,
    "refresh": 2,
    "send": 8,
}
KINDS = (*_WEIGHTS, "deliver", "modes", "shards", "limits", "files", "faults", "drops")
"""What a run can be drawn without."""


class ReceiverShape(TypedDict):
    """Arguments of a receiver, and which of the streams before the joins it has."""

    policy: str
    capacity: int


class Scenario(TypedDict):
    """A run: everything about it that is drawn. `switch` is the interpreter's switch interval, in seconds."""

    seed: int
    family: int
    trouble: str
    switch: float
    threads: list[list[ReceiverShape]]
    traffic: Shape
    operations: list[Operation]


class _Drawer:
    def __init__(
        self, seed: int, place: Place, without: Collection[str], is_root: bool, threads: int
    ) -> None:
        self.chance = random.Random(seed)
        self.place = place
        self.without = frozenset(without)
        troubles = [one for one in _TROUBLES if is_root or one != "msf"]
        if place.family == 6 or "limits" in self.without:
            troubles = [one for one in troubles if one != "msf"]
        for name in ("files", "faults"):
            if name in self.without:
                troubles = [one for one in troubles if name not in one]
        self.trouble = self.chance.choice(troubles)
        self.weights = {name: weight for name, weight in _WEIGHTS.items() if name not in self.without}
        if self.trouble == "msf":
            self.weights["msf"] = 6
        if "files" in self.trouble:
            self.weights |= {"few files": 3, "many files": 5}
            if threads == 1:  # two may meet it at once
                self.weights["low soft limit"] = 2

    def receiver(self) -> ReceiverShape:
        policies = [one for one in _POLICIES if one == "PAUSE" or "drops" not in self.without]
        return ReceiverShape(policy=self.chance.choice(policies), capacity=self.chance.choice(_CAPACITIES))

    def filter(self, source_specific: bool) -> Filters:
        """Draw a filter; the first source is mostly allowed, so that it has long stretches without a gap."""
        chance, senders = self.chance, range(len(self.place.sources))
        include = source_specific or "modes" in self.without or chance.random() < 0.55
        others = [one for one in senders[1:] if chance.random() < 0.5]
        if include:
            listed = others + [0] * (chance.random() < 0.85)
        else:
            listed = others[: chance.choice((0, 1, 1, 3))] + [0] * (chance.random() < 0.1)
        strangers = 0
        if "shards" not in self.without and chance.random() < 0.45:
            strangers = chance.choice((3, 8, 12, 20, len(self.place.strangers)))
        first = chance.randrange(len(self.place.strangers) - strangers + 1)
        return [include, sorted(listed), first, strangers]

    def operation(self, do: str, receivers: int) -> Operation:
        chance = self.chance
        made: Operation = {"do": do, "receiver": chance.randrange(receivers)}
        slots = range(len(self.place.slots))
        slot = chance.choice((0, 0, 1, 1, 2, 3))
        specific = self.place.slots[slot].source_specific
        if do in ("join", "leave", "swap", "delta", "refresh"):
            made["slot"] = slot
        if do in ("join", "swap"):
            made["filter"] = self.filter(specific)
        if do == "delta":
            made["source"] = chance.choice((1, 2, 3))
        if do == "apply":
            some = sorted(chance.sample(slots, chance.choice((2, 2, 3, 4))))
            made["filters"] = {str(one): self.filter(self.place.slots[one].source_specific) for one in some}
        if do in ("swap", "apply"):
            deliver = "deliver" not in self.without and chance.random() < 0.4
            made["pending"] = "deliver" if deliver else "discard"
        if do in ("join", "swap", "delta", "apply", "refresh"):
            made["before"], made["after"] = chance.choice(((0, 0), (1, 1), (2, 2), (5, 5), (0, 3), (3, 0)))
            if "faults" in self.trouble and chance.random() < 0.3:
                made["fault"] = [chance.randrange(1, 14), chance.choice(_ERRNOS)]
        if do in ("open", "close", "forget", "stall", "break", "resume"):
            made["stream"] = chance.randrange(3)
        if do == "open":
            made["slot"] = chance.choice((None, None, None, slot))
            tag = chance.random()
            made["source"] = chance.choice((0, 1, 2)) if tag < 0.25 else None
            made["group"] = slot if 0.2 < tag < 0.35 and made["slot"] is None else None
            made["batches"] = chance.random() < 0.5
            made["pace"] = chance.choice(([0, 0], [0, 0], [50, 0.002], [3, 0.0002]))
        if do == "stall":
            made["seconds"] = chance.choice(_STALLS)
        if do == "close":
            made["abandon"] = chance.random() < 0.5
        if do == "forget":
            made["collect"] = chance.random() < 0.5
        if do == "send":
            made["slot"], made["count"] = slot, chance.choice((1, 3, 10, 40))
        if do == "msf":
            made["sources"] = chance.choice(_MSF)
        if do == "few files":
            made["spare"] = chance.choice((0, 0, 1, 2, 4))
        return made

    def filter_of(self, include: bool) -> Filters:
        """Draw a filter of a mode, which lets the first source in."""
        made = self.filter(include)
        made[1] = [one for one in made[1] if one != 0] + [0] * include
        return [include, sorted(made[1]), *made[2:]]

    def turmoil(self, receivers: int, kind: str = "") -> list[Operation]:
        """Draw a short sequence of a kind that is hard: each step with little or no pause before it."""
        chance = self.chance
        receiver, slot = chance.randrange(receivers), chance.choice((0, 1, 3))
        common = {"receiver": receiver, "slot": slot, "wait": 0}

        def some(do: str, **fixed: Any) -> Operation:  # Any: JSON
            return (
                self.operation(do, receivers) | common | {"wait": chance.choice((0, 0, -1, 0.0005))} | fixed
            )

        def mode(**fixed: Any) -> list[Operation]:
            return [some("swap", filter=self.filter_of(include), **fixed) for include in (True, False)]

        made: list[Operation] = []
        kinds = ["full queue", "modes", "lists", "fresh", "unheard", "refused"]
        if "files" in self.trouble:
            kinds += ["refused"] * 3
        kind = kind or chance.choice(kinds)
        if kind == "full queue" and "stall" in self.weights:  # a stream is full while the mode changes
            one, other = chance.sample(range(3), 2)
            made += [
                some("open", stream=stream, slot=None, source=None, group=None) for stream in (one, other)
            ]
            made += [some("join", filter=self.filter_of(True))]
            made += [
                some("stall", stream=stream, seconds=0.4) for stream in (one, other)[: chance.choice((1, 2))]
            ]
            made += [some("send", count=40, wait=chance.choice((0, 0.002))), *mode(before=5, after=5)]
            end = chance.choice([one for one in ("close", "break", "forget", "stall") if one in self.weights])
            made += [some(end, stream=one, seconds=0.001, wait=chance.choice((0, 0.002, 0.006, 0.12)))]
            made += [some("send", count=3)]
        elif kind == "modes":
            made += [some("join"), *(mode(before=2, after=2) * chance.choice((1, 2, 4)))]
        elif kind == "lists":  # long, short, long
            long = [True, [0, 1, 2, 3], 0, len(self.place.strangers)]
            made += [some("join"), some("swap", filter=long, before=5, after=5)]
            made += [some("swap", filter=self.filter_of(True), before=5, after=5)]
            made += [some("swap", filter=long, before=5, after=5)]
        elif kind == "fresh":  # a change at once after the join
            made += [some("leave"), some("join", after=5, wait=0), *mode(before=5, after=5, wait=0)]
        elif kind == "unheard":  # much has come before anybody listens
            one, other, third = chance.sample(range(3), 3)
            made += [some("close", stream=stream, slot=None) for stream in (one, other, third)]
            made += [some("join", filter=self.filter_of(True)), some("send", count=400)]
            made += [*mode(before=2, after=2)[: chance.choice((1, 2))]]
            untagged = {"source": None, "group": None, "wait": 0}
            made += [some("open", stream=one, slot=None, **untagged | {"wait": 0.02})]
            made += [some("open", stream=other, slot=chance.choice((None, None, slot)), **untagged)]
            made += [some("close", stream=chance.choice((one, one, other)), abandon=chance.random() < 0.75)]
            made[-1]["wait"] = chance.choice((0, 0, -1, 0.001))
            made += [some("send", count=2)]
        elif kind == "refused":  # a list that shrinks beside one that grows
            other = chance.choice([one for one in (0, 1, 2, 3) if one != slot])
            long, short = [True, [0, 1, 2, 3], 0, len(self.place.strangers)], [True, [0, 1], 0, 0]
            made += [some("join", filter=long), some("join", slot=other, filter=short)]
            made += [some("swap", filter=long), some("swap", slot=other, filter=short)]
            if "few files" in self.weights:
                made += [some("few files", spare=chance.choice((0, 1)))]
            filters = {str(slot): [True, [1], 0, 3], str(other): long}
            made += [some("apply", filters=filters, before=5, after=5), some("send", count=5)]
            if "few files" in self.weights:
                made += [some("many files")]
        return [one for one in made if one["do"] in self.weights and self._fits(one)]

    def _fits(self, one: Operation) -> bool:
        """Whether nothing in it was to be left out."""
        filters = [*one.get("filters", {}).values(), *([one["filter"]] if "filter" in one else [])]
        if "modes" in self.without and not all(drawn[0] for drawn in filters):
            return False
        return "shards" not in self.without or not any(drawn[3] for drawn in filters)

    def prelude(self, receivers: int) -> list[Operation]:
        """Draw how it begins: joins and streams in either order, with changes at once after them."""
        made = []
        for receiver in range(receivers):
            begin = [self.operation("join", receivers) | {"slot": slot} for slot in (0, 1)]
            begin += [
                self.operation("open", receivers) | {"stream": 0, "slot": None, "source": None, "group": None}
            ]
            self.chance.shuffle(begin)
            for one in begin:
                if one["do"] == "join":
                    one["filter"] = self.filter(False)
                made.append(one | {"receiver": receiver, "wait": 0})
            made.append(self.operation("swap", receivers) | {"receiver": receiver, "wait": 0, "slot": 0})
        for one in made:
            one.pop("fault", None)
        return [one for one in made if one["do"] in self.weights]


def draw(
    seed: int,
    place: Place,
    *,
    threads: int = 1,
    length: int = 200,
    without: Collection[str] = (),
    is_root: bool = True,
) -> Scenario:
    """Draw a run of about `length` operations, without the kinds named in `without`."""
    drawer = _Drawer(seed, place, without, is_root, threads)
    chance = drawer.chance
    shapes = [[drawer.receiver() for _ in range(chance.choice((1, 1, 2)))] for _ in range(threads)]
    operations: list[Operation] = []
    for thread, receivers in enumerate(shapes):
        begin = drawer.prelude(len(receivers))
        if chance.random() < 0.2:  # instead, much waits before anybody listens
            receivers[:] = [ReceiverShape(policy="PAUSE", capacity=1200) for _ in receivers]
            begin = drawer.turmoil(len(receivers), "unheard")
        operations += [one | {"thread": thread, "actor": 0} for one in begin]
    kinds: Sequence[str] = list(drawer.weights)
    weights = list(drawer.weights.values())
    actors = chance.choice((1, 2, 3))
    while len(operations) < length:
        thread = chance.randrange(threads)
        if chance.random() < 0.05:
            listed = drawer.turmoil(len(shapes[thread]))
            actor = chance.randrange(actors)
            operations += [one | {"thread": thread, "actor": actor} for one in listed]
            continue
        one = drawer.operation(chance.choices(kinds, weights)[0], len(shapes[thread]))
        operations.append(
            one | {"thread": thread, "actor": chance.randrange(actors), "wait": chance.choice(_WAITS)}
        )
    shape = Shape(seed=seed, rate=chance.choice(_RATES), burst=chance.choice(_BURSTS))
    return Scenario(
        seed=seed,
        family=place.family,
        trouble=drawer.trouble,
        switch=chance.choice((0.005, 0.005, 0.0001, 0.000001)),
        threads=shapes,
        traffic=shape,
        operations=operations,
    )
