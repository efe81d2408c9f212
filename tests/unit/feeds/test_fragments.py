"""Fragments put together: every order, doubles, overlaps, what is missing, and how much is kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiomcast.feeds.fragments import Fragment, Fragments, Head
from aiomcast.values import bounds

HEAD = Head(9, 0, 17)
DATA = bytes(range(200))


def pieces(data: bytes = DATA, size: int = 64) -> list[Fragment]:
    return [
        Fragment(at, data[at : at + size], at + size >= len(data), HEAD._replace(hop_limit=at // 8))
        for at in range(0, len(data), size)
    ]


def added(fragments: Fragments, *given: Fragment, at: int = 0, key: int = 1, family: int = 4) -> bytes | None:
    found = None
    for one in given:
        found = fragments.add(family, (key,), one, at) or found
    assert found is None or found[1].hop_limit == 0  # of the first
    return found and found[0]


@given(st.permutations(pieces()), st.sampled_from([4, 6]))
def test_in_any_order(order: list[Fragment], family: int) -> None:
    fragments = Fragments()
    assert added(fragments, *order, family=family) == DATA
    assert (fragments.waiting, fragments.incomplete) == (0, 0)


@given(st.permutations([*pieces()[:-1], *pieces()[:-1]]))
def test_what_the_network_has_doubled_is_taken_once(order: list[Fragment]) -> None:
    assert added(Fragments(), *order, pieces()[-1]) == DATA


OVERLAPS = {
    "other data in the same place": [pieces()[0], pieces()[0]._replace(data=bytes(64))],
    "the end of one": [pieces()[0], Fragment(56, DATA[56:128], False, HEAD)],
    "a part of another": [pieces()[0], Fragment(8, DATA[8:16], False, HEAD)],
    "around another": [Fragment(64, DATA[64:72], False, HEAD), Fragment(0, DATA[:128], False, HEAD)],
    "beyond the end": [pieces()[-1], Fragment(200, bytes(8), False, HEAD)],
    "two ends": [pieces()[-1], Fragment(64, DATA[64:128], True, HEAD)],
    "an end before what has come": [pieces()[2], Fragment(0, DATA[:64], True, HEAD)],
    "more than a datagram can be": [Fragment(65528, bytes(16), True, HEAD)],
    "no multiple of 8": [Fragment(0, bytes(9), False, HEAD)],
    "nothing": [Fragment(0, b"", False, HEAD)],
}


def test_of_what_overlaps_nothing_is_delivered_also_not_of_what_comes_later() -> None:
    for name, wrong in OVERLAPS.items():
        fragments = Fragments()
        assert added(fragments, *wrong, *pieces()) is None, name
        assert (fragments.waiting, fragments.incomplete) == (0, 1), name
        assert added(fragments, *pieces(), key=2) == DATA, name


def test_what_is_missing_for_too_long_is_given_up() -> None:
    for family, seconds in ((4, 30), (6, 60)):
        fragments = Fragments()
        assert added(fragments, *pieces()[:-1], family=family) is None
        assert added(fragments, pieces()[-1], at=seconds * 10**9 + 1, family=family) is None
        assert fragments.incomplete == 1
        fragments = Fragments()
        assert added(fragments, *pieces()[:-1], family=family) is None
        assert added(fragments, pieces()[-1], at=seconds * 10**9, family=family) == DATA


def test_a_number_that_was_given_up_can_be_used_again() -> None:
    fragments = Fragments()
    added(fragments, *OVERLAPS["a part of another"])
    assert added(fragments, *pieces(), at=31 * 10**9) == DATA


def test_so_many_are_kept_and_no_more() -> None:
    fragments = Fragments()
    for key in range(bounds.FRAGMENTED + 10):
        added(fragments, pieces()[0], key=key)
    assert (fragments.waiting, fragments.incomplete) == (bounds.FRAGMENTED, 10)
    assert added(fragments, *pieces()[1:], key=0) is None
    assert added(fragments, *pieces()[1:], key=bounds.FRAGMENTED) == DATA


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9), st.integers(0, 40), st.binary(max_size=24), st.booleans(), st.integers()
        ),
        max_size=60,
    )
)
def test_any_fragments_are_put_up_with(
    given: list[tuple[int, int, bytes, bool, int]],
) -> None:
    fragments = Fragments()
    for key, place, data, is_last, stamp_ns in given:
        whole = fragments.add(6, (key,), Fragment(place * 8, data, is_last, HEAD), stamp_ns)
        assert whole is None or len(whole[0]) <= 65535
    assert fragments.waiting <= bounds.FRAGMENTED
