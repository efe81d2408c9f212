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


def judged(gate: Gate, source: str, *stamps: int | None) -> list[bool]:
    return [gate.allows(source, stamp) for stamp in stamps]


def test_what_was_stamped_up_to_the_cut_may_pass_by_either_filter() -> None:
    """The kernel has judged when it came: what is there of a source just added came after the call."""
    gate = Gate(SourceFilter.include([A, B]))
    gate.change(SourceFilter.include([B, C]), until_ns=100)
    assert judged(gate, A, 99, 100, 101, None) == [True, True, False, True]
    assert judged(gate, B, 99, 100, 101, None) == [True] * 4
    assert judged(gate, C, 99, 100, 101, None) == [True] * 4
    assert gate.passing == SourceFilter.include([A, B, C])


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


def test_the_past_is_forgotten_once_the_socket_was_empty_however_late_the_clock_is() -> None:
    """Nothing rests on stamps that never come to be later than the cut."""
    gate = Gate(SourceFilter.exclude([A]))
    gate.change(SourceFilter.exclude([A, B]), until_ns=100, now_ns=5 * SECOND)
    gate.emptied(5 * SECOND + 1)  # something may still be on its way to the socket
    assert judged(gate, B, 99, 101) == [True, False]
    gate.emptied(6 * SECOND)
    assert judged(gate, B, 99, 101) == [False, False]
    assert not gate.timed


@given(st.lists(st.tuples(filters, st.integers(0, SECOND // 2)), min_size=1, max_size=6), st.data())
def test_several_cuts(changes: list[tuple[SourceFilter, int]], data: st.DataObject) -> None:
    """Against the definition: any filter whose cut is not before the stamp, and the last."""
    first = data.draw(filters)
    gate, in_force, cuts = Gate(first), first, []
    for wanted, cut in sorted(changes, key=lambda change: change[1]):
        cuts.append((cut, in_force))
        gate.change(wanted, until_ns=cut)
        in_force = wanted
    for stamp in data.draw(st.lists(st.integers(0, SECOND // 2), max_size=10)):
        judges = [in_force, *(then for cut, then in cuts if stamp <= cut)]
        for source in (A, B, C):
            assert gate.allows(source, stamp) is any(judge.allows(source) for judge in judges)


def handed_over(before: SourceFilter, after: SourceFilter, cut_ns: int) -> tuple[Gate, Gate]:
    """Return the gates of two sockets, of which the new one takes over at the cut."""
    old, new = Gate(before), Gate(after)
    old.end(cut_ns)
    new.begin(cut_ns - 5, cut_ns, old.passing)
    return old, new


def test_up_to_the_cut_the_old_socket_delivers_what_it_can_and_the_new_one_the_rest() -> None:
    old, new = handed_over(SourceFilter.include([A, B]), SourceFilter.exclude([A]), 100)
    assert (judged(old, B, 99, 100, 101), old.until_has_passed) == ([True, True, False], True)
    assert judged(new, B, 99, 100, 101) == [False, False, True]
    # The old one never had C. What came of it before the cut would come after later packets of B;
    # what looks older than the new socket is younger, as that was no member then.
    assert judged(new, C, 95, 99, 100, 101, 94, 10) == [False, False, False, True, True, True]
    assert (judged(old, B, None), judged(new, B, None), judged(new, C, None)) == ([True], [False], [True])


def test_once_the_old_socket_has_closed_the_new_one_refuses_what_that_has_delivered() -> None:
    """Whatever the clock says: it was set back by 90 between the two packets."""
    old, new = handed_over(SourceFilter.include([B]), SourceFilter.exclude([A]), 100)
    assert judged(old, B, 95, 10) == [True, True]
    assert judged(new, B, 95, 10) == [False, False]
    new.alone(old.heard)
    assert judged(new, B, 95, 10, 11, 12) == [False, False, True, True]
    assert judged(new, C, 10) == [True]
    new.emptied(0)
    assert not new.timed
    assert judged(new, B, 10) == [True]


def test_a_socket_that_stands_alone_from_the_beginning_refuses_nothing_for_another() -> None:
    gate = Gate(SourceFilter.include([A]))
    gate.alone([(A, 5)])
    gate.emptied(0)
    assert judged(gate, A, 5, None) == [True, True]


def test_what_only_the_gate_refused_is_not_let_in_by_a_later_filter() -> None:
    """Of a list that is longer than the kernel takes, the kernel has let in the rest."""
    refusing, other = SourceFilter.exclude([A, B]), SourceFilter.exclude([B])
    gate = Gate(refusing)
    gate.beyond_kernel = frozenset([A])
    gate.change(other, 100)
    assert not gate.allows(A, 90)
    assert gate.allows(A, 110)
    gate.change(refusing, 200)
    assert not gate.allows(A, 90)
    assert gate.allows(A, 110)
    assert not gate.allows(A, 210)
