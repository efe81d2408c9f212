"""Any sequence of swaps, planned by `spread` and `plan`, made on the models of the kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aiomcast import FilterMode, SourceFilter
from aiomcast.system.planner import Action, Rules, Step, needs_handover, plan, spread
from tests.support.bsd_model import BsdLimits, BsdSocket, BsdState
from tests.support.kernel_model import KernelSocket, Limits, State

GROUP = "239.1.1.1"
POOL = [f"192.0.2.{number}" for number in range(1, 13)]
STRANGER = "198.51.100.1"  # in no list
LIMIT = 3

sources = st.frozensets(st.sampled_from(POOL), max_size=10)
filters = st.builds(SourceFilter, st.sampled_from(FilterMode), sources)


class Shard:
    """A socket of the model, and what the library believes that it holds."""

    def __init__(self, kernel: KernelSocket | BsdSocket) -> None:
        self.kernel = kernel
        self.filter = SourceFilter.none()

    @property
    def state(self) -> State | BsdState:
        return self.kernel.held.get(GROUP, State(FilterMode.INCLUDE))

    def take(self, step: Step) -> None:
        kernel = self.kernel
        kernel.passed = []
        match step.action:
            case Action.JOIN_GROUP:
                kernel.join_group(GROUP)
            case Action.LEAVE_GROUP:
                kernel.leave_group(GROUP)
            case Action.JOIN_SOURCE:
                assert step.source is not None
                kernel.join_source(GROUP, step.source)
            case Action.UNBLOCK_SOURCE:
                assert step.source is not None
                kernel.unblock(GROUP, step.source)
            case Action.SET_FILTER:
                kernel.set(GROUP, step.after.mode, sorted(step.after.sources))
        self.filter = step.after


class Refused(Exception):
    """The call that was to be refused."""


class Swaps(RuleBasedStateMachine):
    """One membership: its sockets, and what the last swap that was not refused wanted."""

    kernel_rules = Rules()
    stamps_are_shared = True

    def __init__(self) -> None:
        super().__init__()
        self.shards = [self.opened()]
        self.wanted = SourceFilter.none()
        self.timed = self.stamps_are_shared

    def opened(self) -> Shard:
        """Return a new socket."""
        return Shard(KernelSocket(Limits(sources=LIMIT, groups=20)))

    @rule(wanted=filters)
    def swap(self, wanted: SourceFilter) -> None:
        for _ in self._calls(wanted):
            pass
        self._commit(wanted)

    @rule(wanted=filters, refused_at=st.integers(0, 6))
    def a_refused_call_leaves_the_old_state(self, wanted: SourceFilter, refused_at: int) -> None:
        before = [(shard, shard.state.filter) for shard in self.shards]
        with pytest.raises(Refused):  # noqa: PT012  the k-th call is the one that is refused
            for number, _ in enumerate(self._calls(wanted)):
                if number == refused_at:
                    raise Refused
            assume(False)
        for shard, held in reversed(before):
            for step in plan(shard.filter, held, self.kernel_rules):
                shard.take(step)
        assert [(shard, shard.state.filter) for shard in self.shards] == before

    @rule(timed=st.booleans())
    def another_platform(self, timed: bool) -> None:
        """Without timestamps a change of mode is made in place, and for a moment refuses or doubles."""
        self.timed = timed and self.stamps_are_shared

    @invariant()
    def the_kernel_holds_what_is_wanted(self) -> None:
        united = SourceFilter.none()
        for shard in self.shards:
            assert shard.state.filter == shard.filter
            assert len(shard.filter.sources) <= LIMIT
            united |= shard.state.filter
        if self.wanted.is_include:
            assert united == self.wanted
            assert sum(len(shard.filter.sources) for shard in self.shards) == len(self.wanted.sources)
        else:  # as much of it as one socket holds: the gate refuses the rest
            assert not united.is_include
            assert len(united.sources) == min(len(self.wanted.sources), LIMIT)
            assert united.sources <= self.wanted.sources

    def _calls(self, wanted: SourceFilter) -> Iterator[None]:
        """Make the calls of a swap; stop before each of them, and check after each of them."""
        hands_over = self.timed and needs_handover(self.wanted, wanted)
        held = [] if hands_over else self.shards
        self.after = list(held)
        both = [one for one in (*POOL, STRANGER) if self.wanted.allows(one) and wanted.allows(one)]
        for number, part in enumerate(spread([shard.filter for shard in held], wanted, LIMIT)):
            if number == len(self.after):
                self.after.append(self.opened())
            shard = self.after[number]
            for step in plan(shard.filter, part, self.kernel_rules):
                yield
                shard.take(step)
                for moment in [shard.state, *shard.kernel.passed]:
                    if hands_over or not needs_handover(self.wanted, wanted):
                        self._admitted(both, shard, moment, hands_over)

    def _admitted(self, both: list[str], called: Shard, moment: State | BsdState, hands_over: bool) -> None:
        for source in both:
            states = [moment if shard is called else shard.state for shard in self.shards]
            admitting = sum(state.lets_in(source) for state in states)
            assert admitting == 1, f"{source} comes {admitting} times"
        if hands_over:  # the new sockets do not yet have to let it in, but never twice
            new = [moment if shard is called else shard.state for shard in self.after]
            assert all(sum(state.lets_in(source) for state in new) <= 1 for source in both)

    def _commit(self, wanted: SourceFilter) -> None:
        first, *others = self.after
        self.shards = [first, *(shard for shard in others if not shard.filter.is_none)]
        self.wanted = wanted


class BsdSwaps(Swaps):
    """The same on FreeBSD, where old and new list count together, and empty lists clear nothing."""

    kernel_rules = Rules(empty_set_clears=False)
    stamps_are_shared = False

    def opened(self) -> Shard:
        """Return a new socket."""
        return Shard(BsdSocket(BsdLimits(sources=2 * LIMIT)))


TestSwaps = Swaps.TestCase
TestSwaps.settings = settings(max_examples=150, stateful_step_count=15, deadline=None)
TestBsdSwaps = BsdSwaps.TestCase
TestBsdSwaps.settings = settings(max_examples=150, stateful_step_count=15, deadline=None)
