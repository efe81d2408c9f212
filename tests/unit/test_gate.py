"""`Gate`: the filter in force when a packet was stamped judges it."""

from hypothesis import given
from hypothesis import strategies as st

from aiomcast import FilterMode, SourceFilter
from aiomcast.reading.gate import Gate

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
SECOND = 1_000_000_000
filters = st.builds(SourceFilter, st.sampled_from(FilterMode), st.frozensets(st.sampled_from([A, B, C])))


@given(filters, st.sampled_from([A, B, C]), st.none() | st.integers(0, 2**62))
def test_without_a_past_the_filter_in_force_judges(
    current: SourceFilter, source: str, stamp: int | None
) -> None:
    assert Gate(current).allows(source, stamp) is current.allows(source)


def test_what_was_stamped_up_to_the_cut_is_judged_as_before() -> None:
    gate = Gate(SourceFilter.include([A, B]))
    gate.change(SourceFilter.include([B, C]), until_ns=100)
    assert [gate.allows(A, stamp) for stamp in (99, 100, 101, None)] == [True, True, False, False]
    assert [gate.allows(B, stamp) for stamp in (99, 100, 101, None)] == [True] * 4
    assert [gate.allows(C, stamp) for stamp in (99, 100, 101, None)] == [False, False, True, True]


def test_a_change_without_a_cut_ends_every_exception() -> None:
    gate = Gate(SourceFilter.include([A]))
    gate.change(SourceFilter.include([B]), until_ns=100)
    gate.change(SourceFilter.include([C]))
    assert not gate.past
    assert [gate.allows(source, 50) for source in (A, B, C)] == [False, False, True]


def test_the_past_is_forgotten_once_packets_are_well_beyond_it() -> None:
    gate = Gate(SourceFilter.include([A]))
    gate.change(SourceFilter.include([B]), until_ns=100)
    assert gate.allows(B, 100 + SECOND)
    assert gate.past
    assert gate.allows(B, 101 + SECOND)
    assert not gate.past


@given(st.lists(st.tuples(filters, st.integers(0, SECOND // 2)), min_size=1, max_size=6), st.data())
def test_several_cuts(changes: list[tuple[SourceFilter, int]], data: st.DataObject) -> None:
    """Against the definition: the first filter whose cut is not before the stamp, else the last."""
    first = data.draw(filters)
    gate, in_force, cuts = Gate(first), first, []
    for wanted, cut in sorted(changes, key=lambda change: change[1]):
        cuts.append((cut, in_force))
        gate.change(wanted, until_ns=cut)
        in_force = wanted
    for stamp in data.draw(st.lists(st.integers(0, SECOND // 2), max_size=10)):
        judge = next((then for cut, then in cuts if stamp <= cut), in_force)
        for source in (A, B, C):
            assert gate.allows(source, stamp) is judge.allows(source)
