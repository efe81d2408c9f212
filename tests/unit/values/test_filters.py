"""The algebra of `SourceFilter` against its definition, and what the delta calls make of a filter."""

import copy
import pickle
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast import AddressError, FilterError, FilterMode, SourceFilter
from aiomcast.values import filters

POOL = [f"192.0.2.{number}" for number in range(1, 7)]
POOL6 = ["2001:db8::1", "2001:db8::a:b", "fe80::1"]
GROUP, SSM = "239.1.2.3", "232.1.2.3"

modes = st.sampled_from(FilterMode)


def filters_of(pool: list[str]) -> st.SearchStrategy[SourceFilter]:
    return st.builds(SourceFilter, modes, st.frozensets(st.sampled_from(pool)))


pairs = st.sampled_from([POOL, POOL6]).flatmap(lambda pool: st.tuples(filters_of(pool), filters_of(pool)))


@given(pairs)
def test_the_algebra_is_that_of_what_is_let_through(pair: tuple[SourceFilter, SourceFilter]) -> None:
    one, two = pair
    for source in [*POOL, *POOL6, "198.51.100.9"]:
        assert one.allows(source) is ((source in one.sources) == (one.mode is FilterMode.INCLUDE))
        assert (one | two).allows(source) is (one.allows(source) or two.allows(source))
        assert (one & two).allows(source) is (one.allows(source) and two.allows(source))
        assert (~one).allows(source) is not one.allows(source)


@given(pairs)
def test_equal_filters_let_the_same_through(pair: tuple[SourceFilter, SourceFilter]) -> None:
    one, two = pair
    same = (one.mode, one.sources) == (two.mode, two.sources)
    assert (one == two) is same
    if same:
        assert hash(one) == hash(two)
    assert ~~one == one
    assert one | two == two | one
    assert one & two == two & one
    assert one | SourceFilter.none() == one == one & SourceFilter.any()
    assert one & SourceFilter.none() == SourceFilter.none()
    assert one | SourceFilter.any() == SourceFilter.any()


@given(pairs)
def test_repr_pickle_and_copy_round_trip(pair: tuple[SourceFilter, SourceFilter]) -> None:
    one, _ = pair
    if one.sources:
        assert eval(repr(one)) == one
    for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert other == one
        assert hash(other) == hash(one)


def test_sources_show_themselves_plainly() -> None:
    listed = SourceFilter.include(POOL[:1])
    assert repr(listed.sources) == repr(frozenset(POOL[:1])) == f"frozenset({{'{POOL[0]}'}})"
    assert repr(SourceFilter.any().sources) == "frozenset()"


senders = st.ip_addresses(v=4).filter(lambda one: not one.is_multicast and 0 < int(one) < 2**32 - 1)


@given(st.frozensets(senders))
def test_any_form_of_a_source_is_the_same_source(sources: frozenset[object]) -> None:
    texts = {str(source) for source in sources}
    assert SourceFilter.include(sources).sources == texts  # type: ignore[arg-type]  # any form
    assert SourceFilter.exclude([f"::ffff:{text}" for text in texts]).sources == texts


def test_constructors() -> None:
    assert SourceFilter.include(POOL[:2]) == SourceFilter(FilterMode.INCLUDE, set(POOL[:2]))
    assert SourceFilter.exclude(iter(POOL[:2])) == SourceFilter(FilterMode.EXCLUDE, POOL[1::-1])
    assert SourceFilter.any() == SourceFilter.exclude([])
    assert SourceFilter.none() == SourceFilter.include([])
    assert SourceFilter.any() != SourceFilter.none()
    assert SourceFilter.include(["::ffff:192.0.2.1"]).allows(ip_address("192.0.2.1"))


def test_a_filter_is_frozen() -> None:
    one = SourceFilter.include(POOL)
    with pytest.raises(AttributeError):
        one.mode = FilterMode.EXCLUDE  # type: ignore[misc]  # wrong on purpose
    with pytest.raises(TypeError):
        one | 5  # type: ignore[operator]  # wrong on purpose
    with pytest.raises(TypeError):
        one & {"192.0.2.1"}  # type: ignore[operator]  # wrong on purpose


@pytest.mark.parametrize(
    ("sources", "error"),
    [
        ("192.0.2.1", FilterError),
        (b"192.0.2.1", FilterError),
        (["192.0.2.1", "192.0.2.1"], FilterError),
        (["192.0.2.1", "::ffff:192.0.2.1"], FilterError),
        (["2001:db8::1", "2001:DB8:0::1"], FilterError),
        (["192.0.2.1", "2001:db8::1"], AddressError),
        (["192.0.2.1", "nonsense"], AddressError),
        ([None], AddressError),
        (["232.1.1.1"], AddressError),
        (["0.0.0.0"], AddressError),
        (["255.255.255.255"], AddressError),
        (5, FilterError),
    ],
)
@pytest.mark.parametrize("make", [SourceFilter.include, SourceFilter.exclude])
def test_a_list_that_cannot_be_meant(
    make: Callable[[object], SourceFilter], sources: object, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        make(sources)
    assert caught.value.hint  # type: ignore[attr-defined]  # `error` is one of the library's


def test_what_sources_means() -> None:
    assert filters.filter_for(GROUP, None) == SourceFilter.any()
    assert filters.filter_for(GROUP, ["192.0.2.1"]) == SourceFilter.include(["192.0.2.1"])
    given_filter = SourceFilter.exclude(["192.0.2.1"])
    assert filters.filter_for(GROUP, given_filter) is given_filter
    assert filters.filter_for(SSM, ()) == SourceFilter.none()


@pytest.mark.parametrize(
    ("group", "sources"),
    [
        (SSM, None), (SSM, SourceFilter.any()), (SSM, SourceFilter.exclude(["192.0.2.1"])),
        ("ff3e::1", None), ("ff35::1", SourceFilter.exclude(["2001:db8::1"])),
        (GROUP, ["2001:db8::1"]), (GROUP, SourceFilter.exclude(["2001:db8::1"])), ("ff0e::1", ["192.0.2.1"]),
    ],
)  # fmt: skip
def test_what_no_group_of_that_kind_can_have(group: str, sources: filters.Sources) -> None:
    with pytest.raises(AddressError) as caught:
        filters.filter_for(group, sources)
    assert caught.value.hint


@given(filters_of(POOL), st.sampled_from(POOL))
def test_delta_calls_follow_the_modes_of_rfc_3678(held: SourceFilter, source: str) -> None:
    listed, include = source in held.sources, held.mode is FilterMode.INCLUDE
    table = [
        (filters.joined, include and not listed, held.sources | {source}),
        (filters.left, include and listed, held.sources - {source}),
        (filters.blocked, not include and not listed, held.sources | {source}),
        (filters.unblocked, not include and listed, held.sources - {source}),
    ]
    for change, possible, sources in table:
        if possible:
            assert change(held, GROUP, source) == SourceFilter(held.mode, sources)
        else:
            with pytest.raises(FilterError) as caught:
                change(held, GROUP, source)
            assert caught.value.hint
        with pytest.raises(AddressError):
            change(held, GROUP, "2001:db8::1")
