"""`plan` against a model of a kernel that knows rules 1 to 6, and what `spread` promises."""

import itertools

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiomcast import FilterMode, SourceFilter
from aiomcast.system.planner import Action, Rules, Step, plan, spread

POOL = [f"192.0.2.{number}" for number in range(1, 9)]
LINUX, BSD = Rules(), Rules(empty_set_clears=False)

lists = st.frozensets(st.sampled_from(POOL), max_size=5)
filters = st.builds(SourceFilter, st.sampled_from(FilterMode), lists)
rules = st.sampled_from([LINUX, BSD])


class RefusedByModel(Exception):
    """The model's EINVAL, EADDRINUSE or EADDRNOTAVAIL."""


@attrs.define
class Kernel:
    """One socket and group: `state` None is no member. It does to itself what rules 1 to 6 say."""

    rules: Rules
    state: SourceFilter | None

    def take(self, step: Step) -> None:
        match step.action:
            case Action.JOIN_GROUP:
                if self.state is not None:
                    raise RefusedByModel("a member already")
                self.state = SourceFilter.any()
            case Action.LEAVE_GROUP:
                if self.state is None:
                    raise RefusedByModel("no member")
                self.state = None
            case Action.JOIN_SOURCE:
                self._join_source(step.source)
            case Action.UNBLOCK_SOURCE:
                if self.state is None or self.state.is_include or step.source not in self.state.sources:
                    raise RefusedByModel("not blocked")
                self.state = SourceFilter.exclude(self.state.sources - {step.source})
            case Action.SET_FILTER:
                self._set(step.after)

    def _join_source(self, source: str | None) -> None:
        assert source is not None
        if self.state is None or self.state == SourceFilter.any():  # rule 4: silently INCLUDE
            self.state = SourceFilter.include({source})
        elif not self.state.is_include or source in self.state.sources:
            raise RefusedByModel("blocks, or a duplicate")
        else:
            self.state = SourceFilter.include(self.state.sources | {source})

    def _set(self, wanted: SourceFilter) -> None:
        if self.state is None:
            raise RefusedByModel("rule 1: no member")
        if wanted == SourceFilter.none():
            self.state = None
        elif not wanted.sources and not self.rules.empty_set_clears:
            self.state = SourceFilter(wanted.mode, self.state.sources)
        else:
            self.state = wanted

    @property
    def holds(self) -> SourceFilter:
        return SourceFilter.none() if self.state is None else self.state


def kernel_holding(held: SourceFilter, which: Rules) -> Kernel:
    return Kernel(which, None if held == SourceFilter.none() else held)


@given(filters, filters, rules)
def test_a_plan_ends_at_what_is_wanted_and_knows_where_it_is(
    held: SourceFilter, wanted: SourceFilter, which: Rules
) -> None:
    kernel = kernel_holding(held, which)
    for step in plan(held, wanted, which):
        kernel.take(step)
        assert kernel.holds == step.after
    assert kernel.holds == wanted


@given(filters, filters, rules)
def test_the_undo_of_every_part_of_a_plan_ends_at_what_was_held(
    held: SourceFilter, wanted: SourceFilter, which: Rules
) -> None:
    steps = plan(held, wanted, which)
    for done in range(len(steps)):
        kernel = kernel_holding(held, which)
        for step in steps[:done]:
            kernel.take(step)
        for step in plan(kernel.holds, held, which):
            kernel.take(step)
        assert kernel.holds == held


@given(filters, filters, rules)
@example(SourceFilter.include(POOL[:2]), SourceFilter.any(), BSD)
@example(SourceFilter.exclude(POOL[:2]), SourceFilter.any(), BSD)
@example(SourceFilter.include(POOL[:2]), SourceFilter.exclude(POOL[2:3]), LINUX)
def test_no_step_refuses_a_source_that_both_filters_allow(
    held: SourceFilter, wanted: SourceFilter, which: Rules
) -> None:
    both = held & wanted
    for step in plan(held, wanted, which):
        assert both & step.after == both


@given(filters, filters)
def test_a_swap_of_a_member_is_one_call(held: SourceFilter, wanted: SourceFilter) -> None:
    steps = plan(held, wanted)
    if held == wanted:
        assert steps == ()
    elif held != SourceFilter.none():
        assert len(steps) == 1
    else:
        assert len(steps) <= 2


@st.composite
def shards(draw: st.DrawFn, largest: int) -> list[SourceFilter]:
    """What the sockets of one membership may hold: disjoint INCLUDE parts, or one EXCLUDE list."""
    parts = [SourceFilter.none()] * draw(st.integers(0, 4))
    if len(parts) > 0 and draw(st.booleans()):
        parts[0] = SourceFilter.exclude(draw(st.frozensets(st.sampled_from(POOL), max_size=largest)))
        return parts
    left = draw(st.permutations(POOL))
    for number in range(len(parts)):
        taken = draw(st.integers(0, min(largest, len(left))))
        parts[number] = SourceFilter.include(left[:taken])
        left = left[taken:]
    return parts


limits = st.one_of(st.none(), st.integers(1, 5))


@given(st.data(), filters, limits)
def test_spread_is_disjoint_complete_within_the_limit_and_moves_nothing(
    data: st.DataObject, wanted: SourceFilter, limit: int | None
) -> None:
    held = data.draw(shards(limit or len(POOL)))
    parts = spread(held, wanted, limit)
    assert len(parts) >= max(len(held), 1)
    assert all(limit is None or len(part.sources) <= limit for part in parts)
    if not wanted.is_include:
        assert parts[1:] == (SourceFilter.none(),) * (len(parts) - 1)
        assert not parts[0].is_include
        assert parts[0].sources <= wanted.sources
        assert len(parts[0].sources) == min(len(wanted.sources), limit if limit is not None else len(POOL))
        return
    assert all(part.is_include for part in parts)
    for one, two in itertools.combinations(parts, 2):
        assert not one.sources & two.sources
    assert frozenset().union(*(part.sources for part in parts)) == wanted.sources
    for before, after in zip(held, parts, strict=False):
        if before.is_include:
            assert before.sources & wanted.sources <= after.sources
    assert SourceFilter.none() not in parts[max(len(held), 1) :]


def test_spread_fills_the_room_there_is_before_it_asks_for_another_socket() -> None:
    assert [len(part.sources) for part in spread([], SourceFilter.include(POOL), 5)] == [5, 3]
    held = [SourceFilter.include(POOL[:2]), SourceFilter.include(POOL[2:3])]
    assert [len(part.sources) for part in spread(held, SourceFilter.include(POOL), 4)] == [4, 4]


@pytest.mark.parametrize("mode", FilterMode)
def test_spread_keeps_to_a_limit_that_was_lowered(mode: FilterMode) -> None:
    held, wanted = SourceFilter(mode, POOL), SourceFilter(mode, POOL[1:])
    assert all(len(part.sources) <= 3 for part in spread([held], wanted, 3))


@given(st.permutations(POOL))
def test_a_cut_exclude_list_keeps_what_the_kernel_blocks_already(order: list[str]) -> None:
    held = SourceFilter.exclude(order[:3])
    (part,) = spread([held], SourceFilter.exclude(order), 3)
    assert part == held
