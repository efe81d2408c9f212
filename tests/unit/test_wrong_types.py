"""Whatever a value of the package is made of or asked: it takes it, or raises an error of the package."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from aiomcast import (
    ArgumentError,
    ArgumentTypeError,
    Channel,
    FilterMode,
    FilterTypeError,
    Interface,
    MulticastError,
    SourceFilter,
    is_ssm,
    scope,
)
from aiomcast.errors import AddressError, AddressTypeError, InterfaceTypeError
from aiomcast.values import addresses, filters
from aiomcast.values.shown import shown

from ..support.junk import JUNK

A, GROUP = "192.0.2.1", "239.1.2.3"
HELD = SourceFilter.include([A])
TEXT = (str,)

# name -> (the call with one argument that may be junk, types of which junk is not a wrong type)
CALLS: dict[str, tuple[Callable[[Any], object], tuple[type, ...]]] = {
    "is_ssm": (is_ssm, TEXT),
    "scope": (scope, TEXT),
    "canonical": (addresses.canonical, TEXT),
    "split_zone": (addresses.split_zone, TEXT),
    "family": (addresses.family, TEXT),
    "group_address": (addresses.group_address, TEXT),
    "source_address": (addresses.source_address, TEXT),
    "source_address of a group": (lambda junk: addresses.source_address(junk, GROUP), TEXT),
    "check_port": (addresses.check_port, (int,)),
    "Channel's source": (lambda junk: Channel(junk, GROUP), TEXT),
    "Channel's group": (lambda junk: Channel(A, junk), TEXT),
    "allows": (HELD.allows, TEXT),
    "joined": (lambda junk: filters.joined(HELD, GROUP, junk), TEXT),
    "left": (lambda junk: filters.left(HELD, GROUP, junk), TEXT),
    "blocked": (lambda junk: filters.blocked(~HELD, GROUP, junk), TEXT),
    "unblocked": (lambda junk: filters.unblocked(~HELD, GROUP, junk), TEXT),
    "the mode": (lambda junk: SourceFilter(junk, [A]), ()),
    "a source": (lambda junk: SourceFilter.include([junk]), TEXT),
    "an excluded source": (lambda junk: SourceFilter.exclude([A, junk]), TEXT),
    "in": (lambda junk: junk in HELD, ()),
    "the index": (lambda junk: Interface(junk, "eth0"), (int,)),
    "the name": (lambda junk: Interface(1, junk), TEXT),
    "an address": (lambda junk: Interface(1, "eth0", (junk,)), TEXT),
    "multicast": (lambda junk: Interface(1, "eth0", (), junk), (type(None),)),
}
LISTS: dict[str, Callable[[Any], object]] = {
    "include": SourceFilter.include,
    "exclude": SourceFilter.exclude,
    "SourceFilter": lambda junk: SourceFilter(FilterMode.EXCLUDE, junk),
    "only": HELD.only,
    "filter_for": lambda junk: filters.filter_for(GROUP, junk),
    "addresses": lambda junk: Interface(1, "eth0", junk),
}


def is_of(junk: object, types: tuple[type, ...]) -> bool:
    return isinstance(junk, types) and not (isinstance(junk, bool) and int in types)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", JUNK)
def test_one_wrong_argument(name: str, call: str) -> None:
    junk, (function, types) = JUNK[name], CALLS[call]
    try:
        function(junk)
    except MulticastError as error:
        assert isinstance(error, ArgumentError)
        assert isinstance(error, TypeError) is not is_of(junk, types), error
        assert error.hint
        assert len(str(error)) < 1000
    else:
        assert is_of(junk, types) or (call, type(junk)) == ("multicast", bool)


@pytest.mark.parametrize("call", LISTS)
@pytest.mark.parametrize("name", JUNK)
def test_a_wrong_list(name: str, call: str) -> None:
    junk = JUNK[name]
    try:
        LISTS[call](junk)
    except MulticastError as error:
        assert isinstance(error, ArgumentTypeError)
        assert error.hint
        assert len(str(error)) < 1000
    else:
        assert call == "only" or not junk


def test_each_wrong_type_says_what_was_asked_for() -> None:
    raised: Mapping[type[Exception], list[Callable[[], object]]] = {
        AddressTypeError: [lambda: is_ssm([]), lambda: scope(object()), lambda: HELD.allows(5)],  # type: ignore[arg-type]
        FilterTypeError: [lambda: SourceFilter.include(5), lambda: "x" in HELD],  # type: ignore[arg-type]
        InterfaceTypeError: [lambda: Interface("eth0", 1)],  # type: ignore[arg-type]
        ArgumentTypeError: [lambda: addresses.check_port("5000")],  # type: ignore[arg-type]
    }
    for kind, calls in raised.items():
        for call in calls:
            with pytest.raises(kind) as caught:
                call()
            assert type(caught.value) is kind


def test_an_error_inside_the_users_own_iterable_is_the_users() -> None:
    def sources() -> Any:
        yield A
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        SourceFilter.include(sources())


def test_the_source_that_is_wrong_is_named() -> None:
    with pytest.raises(AddressTypeError, match=r"^\{\} is not an address"):
        SourceFilter.include([A, {}])  # type: ignore[list-item]
    with pytest.raises(AddressError, match=r"^'nonsense' is not an address"):
        SourceFilter.include([A, "nonsense"])


def test_a_value_is_shown_whole_cut_or_by_its_type() -> None:
    assert shown("x") == "'x'"
    assert shown("x" * 1000) == "'" + "x" * 199 + "..."
    assert shown(JUNK["10**5000"]) == "<int>"
    assert shown(JUNK["an object without a repr"]) == "<_NoRepr>"
