"""When a flow counts as silent, and how often it is mended then. No clock."""

import itertools
import math

import pytest

from aiomcast import ArgumentError, ArgumentTypeError
from aiomcast.receiving.silence import Silence, check_silence


def flowed(least: float, packets: int, gap: float) -> tuple[Silence, float]:
    """Return one that has seen a packet each `gap` seconds, and the time of the last."""
    silence = Silence(least)
    for number in range(packets + 1):
        assert not silence.look(number, number * gap)
    return silence, packets * gap


def asked(silence: Silence, count: int, begin: float, seconds: float, step: float = 0.125) -> list[float]:
    """Return after how many seconds it asks to be mended."""
    times = [step * number for number in range(1, round(seconds / step) + 1)]
    return [one for one in times if silence.look(count, begin + one)]


def test_what_has_flowed_and_stops_is_silent_after_so_many_seconds() -> None:
    silence, last = flowed(0.5, 100, 0.015625)
    assert asked(silence, 100, last, 0.5) == []
    assert silence.flows
    assert asked(silence, 100, last, 0.625) == [0.625]
    assert not silence.flows
    assert silence.last_at == last


def test_a_slow_flow_is_given_eight_of_its_gaps() -> None:
    silence, last = flowed(0.5, 10, 1.0)
    assert asked(silence, 10, last, 8.0) == []
    assert asked(silence, 10, last + 8.0, 0.125) == [0.125]


def test_it_asks_again_ever_later() -> None:
    silence, last = flowed(0.5, 100, 0.015625)
    times = asked(silence, 100, last, 150)
    assert [later - one for one, later in itertools.pairwise(times)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert silence.tries == len(times)


def test_a_packet_ends_it_and_the_next_silence_is_another() -> None:
    silence, last = flowed(0.5, 100, 0.015625)
    asked(silence, 100, last, 3)
    assert not silence.look(101, last + 3)
    assert silence.flows
    assert asked(silence, 101, last + 3, 2)[0] == 0.625


def test_what_has_never_flowed_is_not_silent() -> None:
    silence = Silence(0.5)
    assert asked(silence, 0, 0.0, 100) == []


def test_what_begins_anew_has_not_flowed() -> None:
    silence, last = flowed(0.5, 100, 0.015625)
    silence.begin(100, last)
    assert not silence.flows
    assert asked(silence, 100, last, 100) == []


@pytest.mark.parametrize("wrong", [0, -1, math.inf, math.nan])
def test_it_is_a_number_of_seconds(wrong: float) -> None:
    with pytest.raises(ArgumentError, match="silence"):
        check_silence(wrong, True)


@pytest.mark.parametrize("wrong", [True, "1", [1]])
def test_it_is_a_number(wrong: float) -> None:
    with pytest.raises(ArgumentTypeError, match="silence"):
        check_silence(wrong, True)


def test_it_needs_healing() -> None:
    assert check_silence(None, False) is None
    assert check_silence(1, True) == 1.0
    with pytest.raises(ArgumentError, match="heal"):
        check_silence(1, False)


def test_it_is_late_when_half_of_its_patience_is_over() -> None:
    silence, last = flowed(0.5, 10, 0.125)  # patient for 8 times that
    assert not silence.is_late(last + 0.5)
    assert silence.is_late(last + 0.625)
    assert silence.look(10, last + 1.125)
    assert not silence.is_late(last + 1.25)  # it is silent
    assert not Silence(0.5).is_late(9.0)  # nothing has flowed
