"""The campaign's checker: what should have come, and each exception by which it need not."""

from __future__ import annotations

import pytest

from .checker import check
from .history import Change, Filter, Flow, Membership, Stream
from .story import BOTH, MS, NOT_A, ONLY_A, ONLY_B, PORT, REST, A, B, Story


def test_lost_at_rest() -> None:
    story = Story()
    key = story.send(10)
    (violation,) = check(story.history)
    assert (violation.rule, violation.keys, violation.stream, violation.membership) == ("lost", [key], 0, 0)
    assert violation.time == REST * MS


def test_skipped_if_a_later_one_was_taken_also_if_its_source_is_refused_afterwards() -> None:
    story = Story()
    story.send(10, A)
    story.send(11, A, taken=12)
    story.swap(20, 20.1, ONLY_B)
    (violation,) = check(story.history)
    assert (violation.rule, violation.time) == ("skipped", 12 * MS)


def test_not_due_before_it_is_refused() -> None:
    story = Story()
    story.send(10, A)
    story.swap(20, 20.1, ONLY_B)
    story.send(21, B, taken=22)
    assert story.broken() == set()


def test_lost_across_a_swap_that_allows_it_before_and_after() -> None:
    story = Story()
    story.send(20.05, A)
    story.swap(20, 20.1, ONLY_A)
    assert story.broken() == {"lost"}


def test_a_source_comes_only_from_the_return_of_the_swap_on_that_lets_it_in() -> None:
    story = Story(ONLY_B)
    story.swap(20, 20.1, BOTH)
    story.send(20.05, A)
    assert story.broken() == set()
    story.send(20.2, A)
    assert story.broken() == {"lost"}


def test_before_the_join_nothing_is_owed() -> None:
    story = Story(opening=0, opened=1)
    story.send(1.5)
    assert story.broken() == set()


@pytest.mark.parametrize("sent", [2.5, 2.95])
def test_from_the_join_on_packets_wait_for_the_first_stream(sent: float) -> None:
    story = Story()
    story.send(sent)
    assert story.broken() == {"lost"}


def test_with_another_stream_listening_a_new_one_is_owed_only_what_comes_later() -> None:
    story = Story()
    story.history.streams.append(Stream(1, 0, drops=True, queue_drops=9, opening=0, opened=1))
    story.send(2.5)
    assert story.broken() == set()


def test_packets_wait_from_the_close_of_the_last_stream_on() -> None:
    story = Story(opening=20 * MS, opened=int(20.1 * MS))
    story.history.streams.append(Stream(1, 0, opening=0, opened=1, closing=9 * MS, closed=10 * MS))
    story.send(9.5)
    assert story.broken() == set()
    story.send(15)
    assert story.broken() == {"lost"}


@pytest.mark.parametrize("end", ["closing", "forgotten", "leaving"])
def test_nothing_is_due_at_an_end(end: str) -> None:
    story = Story()
    story.send(10)
    setattr(story.membership if end == "leaving" else story.stream, end, 11 * MS)
    story.stream.gone = 12 * MS
    story.history.warned = int(end == "forgotten")
    assert story.broken() == set()


def test_skipped_before_an_end_if_a_later_one_was_taken() -> None:
    story = Story(closing=30 * MS, closed=31 * MS)
    story.send(10, A)
    story.send(11, A, taken=12)
    assert story.broken() == {"skipped"}


def test_tags() -> None:
    story = Story(source=B)
    story.send(10, A)
    assert story.broken() == set()
    story.send(11, B)
    assert story.broken() == {"lost"}


def test_deliver_owes_what_had_arrived() -> None:
    story = Story()
    story.send(10, A)
    story.swap(20, 20.1, ONLY_B, "deliver")
    assert story.broken() == {"lost"}


@pytest.mark.parametrize("took", [15.0, None])
def test_deliver_does_not_owe_what_may_not_have_arrived(took: float | None) -> None:
    story = Story()
    story.send(10, A, took=took)
    story.swap(20, 20.1, ONLY_B, "deliver")
    assert story.broken() == set()


def test_what_a_swap_delivers_may_be_discarded_by_the_next() -> None:
    story = Story()
    story.send(10, A)
    story.swap(20, 20.1, ONLY_B, "deliver")
    story.swap(21, 21.1, BOTH)
    assert story.broken() == set()


def test_a_drop_policy_excuses_as_many_as_it_counts() -> None:
    story = Story(drops=True, queue_drops=1)
    story.send(10)
    assert story.broken() == set()
    story.send(11)
    assert story.broken() == {"lost"}


def test_a_refused_change_excuses_nothing_by_itself() -> None:
    story = Story()
    change = story.swap(20, 21, ONLY_B, refused="LimitError")
    story.send(20.5, A)
    assert story.broken() == {"lost"}
    change.lossy = "refused sets"
    assert story.broken() == set()
    story.send(21.5, A)
    assert story.broken() == {"lost"}


def test_a_refresh_excuses_what_was_in_flight() -> None:
    story = Story()
    story.membership.changes.append(Change("refresh", BOTH, 20 * MS, returned=21 * MS, lossy="refresh"))
    story.send(20.5, A)
    story.send(19, A, took=1.5)
    assert story.broken() == set()
    story.send(19, A)
    assert story.broken() == {"lost"}


@pytest.mark.parametrize("took", [60.0, None])
def test_a_flight_longer_than_replaced_sockets_stay_is_excused(took: float | None) -> None:
    story = Story()
    story.send(10, A, took=took)
    assert story.broken() == {"lost"}
    story.swap(20, 20.1, NOT_A._replace(sources=frozenset()))
    assert story.broken() == set()


def test_drops_by_the_system_are_no_loss() -> None:
    story = Story()
    story.send(10)
    story.membership.kernel_drops = 1
    assert story.broken() == set()
    story.membership.kernel_drops = 0
    story.history.excuses.append("backlog +3")
    assert story.broken() == set()


def test_a_race_of_the_kernel() -> None:
    flow, other = Flow("2001:db8::2", "ff1e::1", PORT), Filter(False, frozenset(("2001:db8::2",)))
    for mine, theirs, broken in (
        (Filter(False, frozenset()), other, set()),
        (Filter(True, frozenset((flow.source,))), other, {"lost"}),
        (Filter(False, frozenset()), Filter(False, frozenset()), {"lost"}),
    ):
        story = Story(mine)
        story.history.flows[0] = flow
        story.membership.group = flow.group
        join = Change("join", theirs, 5 * MS, returned=6 * MS)
        story.history.memberships.append(Membership(1, 7, flow.group, PORT + 1, [join], leaving=8 * MS))
        story.send(10, A)
        assert story.broken() == broken


def test_many_changes_of_mode_while_nobody_takes() -> None:
    story = Story()
    story.send(30, A)
    for number in range(9):
        wanted = ONLY_A if number % 2 else Filter(False, frozenset((B,)))
        story.swap(40 + number, 40.1 + number, wanted)
    assert story.broken() == {"lost"}
    story.membership.queue_drops = 1
    assert story.broken() == set()


def test_several_changes_of_mode_around_the_first_packets() -> None:
    for sent, broken in ((10, set()), (30, {"lost"})):
        story = Story()
        story.send(sent, A)
        for number in range(3):
            wanted = ONLY_A if number % 2 else Filter(False, frozenset((B,)))
            story.swap(sent + 1 + number, sent + 1.1 + number, wanted)
        assert story.broken() == broken
        story.history.unstamped.add(story.send(sent + 5, A, taken=sent + 6))
        assert story.broken() == set()
