"""Options of a socket as a value: what is taken, what it becomes, and what is refused."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from aiomcast import ArgumentError, ArgumentTypeError, Options
from aiomcast.values.socket_options import socket_options


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), ()),
        ([(1, 12, 5)], ((1, 12, 5),)),
        ([[1, 12, True]], ((1, 12, 1),)),
        (iter([(1, 12, 5), (1, 12, 6)]), ((1, 12, 5), (1, 12, 6))),
        ([(0, 1, bytearray(b"ab")), (0, 1, memoryview(b"cd"))], ((0, 1, b"ab"), (0, 1, b"cd"))),
        (
            [(socket.SOL_SOCKET, socket.SO_RCVBUF, -(1 << 31))],
            ((socket.SOL_SOCKET, socket.SO_RCVBUF, -(1 << 31)),),
        ),
    ],
)
def test_what_is_taken(given: Any, expected: object) -> None:
    made = socket_options(given)
    assert made == expected
    assert [type(part) for option in made for part in option[:2]] == [int] * 2 * len(made)
    assert {type(value) for _, _, value in made} <= {int, bytes}


@pytest.mark.parametrize(
    "wrong",
    [None, 5, "text", b"bytes", [5], ["abc"], [(1, 2)], [(1, 2, 3, 4)], [(1, "2", 3)], [(None, 2, 3)],
     [(1, 2, "3")], [(1, 2, None)], [(1, 2, 3.0)], [(True, 2, 3)], [(1, False, 3)], (1, 2, 3), {(1, 2): 3}],
)  # fmt: skip
def test_wrong_shapes(wrong: Any) -> None:
    for make in (socket_options, lambda given: Options(socket_options=given)):
        with pytest.raises(ArgumentTypeError, match="option") as caught:
            make(wrong)
        assert caught.value.hint


@pytest.mark.parametrize("number", [1 << 31, -(1 << 31) - 1, 10**5000], ids=["large", "small", "huge"])
@pytest.mark.parametrize("place", range(3))
def test_numbers_that_no_int_of_c_holds(number: int, place: int) -> None:
    option = [1, 2, 3]
    option[place] = number
    with pytest.raises(ArgumentError, match="32-bit") as caught:
        Options(socket_options=[tuple(option)])  # type: ignore[list-item]  # three of them
    assert not isinstance(caught.value, TypeError)


def test_they_are_a_value() -> None:
    one, other = Options(socket_options=[(1, 12, bytearray(b"x"))]), Options(socket_options=([1, 12, b"x"],))  # type: ignore[arg-type]  # a list is taken too
    assert one == other
    assert hash(one) == hash(other)
    assert Options().socket_options == ()


def test_the_names_of_extra_tags() -> None:
    assert Options(ancillary=["hardware_timestamp"]).ancillary == {"hardware_timestamp"}
    with pytest.raises(ArgumentError, match="hardware_timestamp, hop_limit, traffic_class"):
        Options(ancillary=["hardware"])
