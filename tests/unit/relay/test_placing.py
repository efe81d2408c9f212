"""Which member has which channel."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aiomcast.relay.placing import Holding, owners

CHANNELS = [f"239.1.{number // 256}.{number % 256}:5000" for number in range(300)]
names = st.sets(st.text("abcdefgh", min_size=1, max_size=4), min_size=1, max_size=6)


@given(names, st.integers(1, 3))
def test_as_many_as_asked_for_and_nobody_twice(members: set[str], copies: int) -> None:
    for channel in CHANNELS[:5]:
        chosen = owners(channel, members, copies)
        assert len(chosen) == len(set(chosen)) == min(copies, len(members))
        assert set(chosen) <= members
        assert chosen == owners(channel, sorted(members, reverse=True), copies)


@given(names, st.integers(1, 3))
def test_when_one_goes_only_its_channels_move(members: set[str], copies: int) -> None:
    gone, *rest = sorted(members)
    for channel in CHANNELS[:20]:
        before, after = owners(channel, members, copies), owners(channel, rest, copies)
        assert [one for one in before if one != gone] == list(after)[: len(before) - (gone in before)]


def test_shares_are_alike() -> None:
    counted = Counter(owners(channel, ["a", "b", "c"], 1)[0] for channel in CHANNELS)
    assert min(counted.values()) > 70


@given(st.sets(st.sampled_from(CHANNELS)))
def test_what_a_member_says_that_it_holds(held: set[str]) -> None:
    holding = Holding(Holding.of(held))
    assert {channel for channel in CHANNELS if channel in holding} == held
    assert Holding.of(held) == Holding.of(sorted(held, reverse=True))
