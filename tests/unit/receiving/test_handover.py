"""The handover alone: driven through random orders of events, on sockets that hear what a kernel hears."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiomcast import SourceFilter
from aiomcast.reading.gate import Gate
from aiomcast.receiving.handover import (
    AT_ALL,
    IN_ORDER,
    Action,
    Handover,
    Step,
)
from aiomcast.values import bounds

ALWAYS, SOMETIMES = "192.0.2.1", "192.0.2.2"
FILTERS = [
    SourceFilter.include([ALWAYS]),
    SourceFilter.include([ALWAYS, SOMETIMES]),
    SourceFilter.exclude([SOMETIMES]),
    SourceFilter.any(),
]
SECOND = 1_000_000_000
AT_A_TIME = 1  # packet


class Hearing:
    """A socket: what it has joined, what waits in it, and the gate behind it."""

    def __init__(self, wanted: SourceFilter) -> None:
        self.joined: SourceFilter | None = wanted
        self.gate = Gate(wanted)
        self.queue: deque[tuple[int, str, int]] = deque()
        self.is_closed = False

    def hear(self, stamp: int, source: str, number: int) -> None:
        """Be sent a packet."""
        if self.joined is not None and (source in self.joined.sources) is self.joined.is_include:
            self.queue.append((stamp, source, number))

    def read(self, now_ns: int, most: int = AT_A_TIME) -> list[tuple[str, int]]:
        """Return what passes of the next packets."""
        passed = []
        for _ in range(min(most, len(self.queue))):
            stamp, source, number = self.queue.popleft()
            if self.gate.allows(source, stamp):
                passed.append((source, number))
        if not self.queue:
            self.gate.emptied(now_ns)
        return passed


class World:
    """A wire with one sender, the sockets of one membership, and their handover."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stamp = SECOND
        self.handover: Handover[Hearing] = Handover()
        self.sockets: list[Hearing] = []
        self.in_force: tuple[Hearing, ...] = (self.opened(FILTERS[0]),)
        self.is_received = True
        self.delivered: list[tuple[str, int]] = []
        self.dropped: list[tuple[str, int]] = []
        self.sent = 0

    def opened(self, wanted: SourceFilter) -> Hearing:
        """Return a new socket that has joined."""
        self.sockets.append(Hearing(wanted))
        return self.sockets[-1]

    def send(self, source: str) -> None:
        """Put a packet on the wire: it is stamped, and heard, at once."""
        self.stamp += 1000
        for socket in self.sockets:
            socket.hear(self.stamp, source, self.sent)
        self.sent += 1

    def change(self, wanted: SourceFilter) -> None:
        """Have a new socket take over."""
        begun = self.stamp
        new = self.opened(wanted)
        self.stamp += 1000
        for one in self.in_force:
            one.gate.end(self.stamp)
        self.handover.begin(self.in_force, self.now)
        self.in_force = (new,)
        elsewhere = SourceFilter.none()
        for one in self.handover.members:
            elsewhere |= one.gate.passing
        new.gate.begin(begun, self.stamp, elsewhere)
        self.settle()

    def wait(self, seconds: float) -> None:
        """Let time pass, and ask whenever the handover has said to."""
        until = self.now + seconds
        while (due := self.handover.due_at(self.now)) is not None and due <= until:
            self.stamp += int((due - self.now) * SECOND)
            self.now = due
            self.settle()
        self.stamp += int((until - self.now) * SECOND)
        self.now = until

    def read(self) -> None:
        """Read those whose turn it is, as a loop does."""
        if self.is_received:
            for one in self.handover.readable(self.in_force):
                self.delivered += one.read(self.now_ns)
        self.settle()

    @property
    def now_ns(self) -> int:
        """The time of the steady clock."""
        return int(self.now * SECOND)

    def settle(self) -> None:
        """Do all that is to be done now."""
        for _ in range(10_000):
            step = self.handover.next(self.now, self.is_received)
            if step is None:
                return
            while step is not None:
                step = self.handover.done(step, self.now, self.do(step))
        raise AssertionError("it never ends")

    def do(self, step: Step[Hearing]) -> bool:
        """Do one step; say if it is finished."""
        for one in step.members:
            assert not one.is_closed
        match step.action:
            case Action.READ:
                assert self.is_received
                return all(one.gate.until_has_passed for one in step.members) or self.read_some(step.members)
            case Action.LEAVE:
                self.leave(step.members)
            case Action.READ_OUT:
                assert self.is_received
                self.leave(step.members)
                return self.read_some(step.members)
            case Action.CLOSE:
                self.leave(step.members)
                for one in step.members:
                    while one.queue:
                        (self.delivered if self.is_received else self.dropped).extend(one.read(self.now_ns))
                    one.is_closed = True
                heard = [each for one in self.sockets if one.is_closed for each in one.gate.heard]
                for one in self.handover.after(step.members, self.in_force):
                    one.gate.alone(heard)
        return True

    def read_some(self, members: Iterable[Hearing]) -> bool:
        """Read a little of each; say if all are empty."""
        for one in members:
            self.delivered += one.read(self.now_ns)
        return not any(one.queue for one in members)

    def leave(self, members: Iterable[Hearing]) -> None:
        """Hear nothing more."""
        for one in members:
            one.joined = None

    def finish(self) -> None:
        """Have everything received, and all changes end."""
        self.is_received = True
        self.wait(1.0)
        for _ in range(self.sent + 10):
            self.read()
        self.wait(1.0)


EVENTS = st.one_of(
    st.sampled_from([("send", ALWAYS), ("send", SOMETIMES)]),
    st.sampled_from([("change", wanted) for wanted in FILTERS]),
    st.sampled_from([("wait", seconds) for seconds in (0.001, IN_ORDER, 0.05, AT_ALL, 0.3)]),
    st.sampled_from([("taken", True), ("taken", False), ("read", None)]),
)


def play(world: World, events: Iterable[tuple[str, object]]) -> None:
    """Have the events happen."""
    for what, which in events:
        match which:
            case str():
                world.send(which)
            case SourceFilter():
                world.change(which)
            case float():
                world.wait(which)
            case bool():
                world.is_received = which
                world.settle()
            case _:
                world.read()
        assert (
            sum(not one.is_closed for one in world.sockets)
            <= bounds.CHANGES_WAITING + bounds.SOCKETS_LINGERING + 2
        ), what


@settings(max_examples=400)
@given(st.lists(EVENTS, max_size=60))
def test_what_every_filter_allows_comes_once_and_in_order(events: list[tuple[str, object]]) -> None:
    world = World()
    play(world, events)
    world.finish()
    came = [number for source, number in world.delivered if source == ALWAYS]
    dropped = {number for source, number in world.dropped if source == ALWAYS}
    sent = [
        number for number, (_, which) in enumerate(e for e in events if e[0] == "send") if which == ALWAYS
    ]
    assert came == [number for number in sent if number not in dropped]


@settings(max_examples=400)
@given(st.lists(EVENTS, max_size=60))
def test_everything_ends(events: list[tuple[str, object]]) -> None:
    world = World()
    play(world, events)
    world.finish()
    assert world.handover.is_over
    assert world.handover.due_at(world.now) is None
    assert [one for one in world.sockets if not one.is_closed] == list(world.in_force)


def test_the_old_ones_are_read_out_before_the_new_ones_have_their_turn() -> None:
    world = World()
    old, *_ = world.in_force
    world.change(FILTERS[3])
    assert world.handover.readable(world.in_force) == (old,)
    world.wait(IN_ORDER)
    assert world.handover.readable(world.in_force) == (old, *world.in_force)
    world.wait(AT_ALL)
    assert world.handover.readable(world.in_force) == world.in_force


def test_old_sockets_leave_the_network_though_nobody_receives() -> None:
    world = World()
    old, *_ = world.in_force
    world.is_received = False
    world.change(FILTERS[3])
    world.send(ALWAYS)
    world.wait(AT_ALL)
    assert old.joined is None
    assert not old.is_closed
    assert old.queue


def test_changes_do_not_pile_up() -> None:
    world = World()
    world.is_received = False
    for _ in range(3 * bounds.CHANGES_WAITING):
        world.send(ALWAYS)
        world.change(FILTERS[3])
    assert sum(not one.is_closed for one in world.sockets) == bounds.CHANGES_WAITING + 1
    assert world.dropped


@pytest.mark.parametrize("action", [Action.READ, Action.LINGER, Action.LEAVE])
def test_a_step_that_was_not_done_comes_again(action: Action) -> None:
    """An exception may keep whoever does it from saying so."""
    handover: Handover[str] = Handover()
    handover.begin(("old",), 0.0)
    now = AT_ALL if action is Action.LEAVE else IN_ORDER
    if action is Action.LINGER:
        read = handover.next(now, True)
        assert read is not None
        handover.done(read, now, True)
    first, again = handover.next(now, True), handover.next(now, True)
    assert first is not None
    assert again is not None
    assert first.action is again.action is action
    handover.done(first, now, True)
    handover.done(again, now, True)  # late: it changes nothing
    assert handover.members == ("old",)


def test_a_socket_that_left_the_group_is_closed_once_nothing_can_come() -> None:
    handover: Handover[str] = Handover()
    handover.drain(("gone",), 0.0)
    assert handover.next(AT_ALL / 2, True) is None
    assert handover.due_at(0.0) == AT_ALL
    assert handover.next(AT_ALL, False) is None
    step = handover.next(AT_ALL, True)
    assert step is not None
    assert (step.action, step.members) == (Action.READ_AMONG, ("gone",))
    assert handover.done(step, AT_ALL, False) is None
    following = handover.done(step, AT_ALL, True)
    assert following is not None
    assert following.action is Action.CLOSE_AMONG
    handover.done(following, AT_ALL, True)
    assert handover.is_over


def test_a_socket_that_is_drained_goes_with_those_it_is_replaced_with() -> None:
    handover: Handover[str] = Handover()
    handover.drain(("gone",), 0.0)
    handover.begin(("old", "gone"), 0.0)
    actions, now = set(), 0.0
    while (due := handover.due_at(now)) is not None:
        now = due
        while (step := handover.next(now, True)) is not None:
            actions.add(step.action)
            handover.done(step, now, True)
    assert handover.is_over
    assert not actions & {Action.READ_AMONG, Action.CLOSE_AMONG}


def test_who_comes_after_those_that_close() -> None:
    handover: Handover[str] = Handover()
    handover.begin(("first",), 0.0)
    handover.begin(("second",), 0.0)
    first, second = handover.generations
    assert handover.after(first, ("now",)) == second
    handover.stop()
    assert handover.after(first, ("now",)) == ("now",)
