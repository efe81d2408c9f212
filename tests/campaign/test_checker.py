"""The campaign's checker, on made-up histories: leaks, doubles, order, accounts. Losses: `test_losses`."""

from __future__ import annotations

import pytest

from .checker import check
from .history import Account, Change, Datagram, Membership, Note
from .story import BOTH, MS, NOT_A, ONLY_A, ONLY_B, PORT, REST, A, B, G, Story


def test_a_clean_history() -> None:
    story = Story()
    for number in range(10):
        story.send(10 + number, A, taken=11.5 + number)
        story.send(10.1 + number, B, taken=11.6 + number)
    story.swap(30, 30.1, ONLY_B)
    story.send(31, A)
    story.send(31.1, B, taken=32)
    assert story.broken() == set()


# Leaks


def test_leaked_after_a_swap_that_discards() -> None:
    story = Story()
    story.swap(20, 20.1, ONLY_B)
    key = story.send(10, A, taken=20.2)
    (violation,) = check(story.history)
    assert (violation.rule, violation.time, violation.keys) == ("leaked", int(20.2 * MS), [key])


def test_leaked_from_a_stream_that_was_closed_before_the_swap() -> None:
    story = Story(closing=15 * MS, closed=16 * MS)
    story.swap(20, 20.1, ONLY_B)
    story.send(10, A, taken=20.2)
    assert story.broken() == {"leaked from a closed stream"}


def test_a_swap_in_progress_leaves_both_filters_open() -> None:
    story = Story(ONLY_A)
    story.swap(20, None, ONLY_B)
    story.send(10, A, taken=21)
    story.send(21, B, taken=22)
    assert story.broken() == set()


def test_leaked_before_a_swap_lets_it_in() -> None:
    story = Story(ONLY_A)
    story.send(10, B, taken=11)
    story.swap(20, 20.1, BOTH)
    assert story.broken() == {"leaked"}


def test_deliver_lets_come_what_was_sent_before_it_returned() -> None:
    story = Story()
    story.swap(20, 20.1, ONLY_B, "deliver")
    story.send(20.05, A, taken=25)
    assert story.broken() == set()
    story.send(20.2, A, taken=26)
    assert story.broken() == {"leaked"}


def test_deliver_after_deliver() -> None:
    story = Story()
    story.swap(20, 20.1, ONLY_B, "deliver")
    story.swap(21, 21.1, ONLY_B, "deliver")
    story.send(10, A, taken=25)
    assert story.broken() == set()
    story.send(20.5, A, taken=26)
    assert story.broken() == {"leaked"}


def test_deliver_spares_also_what_came_long_before() -> None:
    story = Story()
    story.swap(20, 20.1, ONLY_A)
    story.swap(21, 21.1, ONLY_B, "deliver")
    story.send(10, A, taken=25)
    assert story.broken() == set()


def test_deliver_cannot_judge_what_has_no_time_of_arrival() -> None:
    story = Story()
    story.swap(20, 20.1, ONLY_B, "deliver")
    key = story.send(20.2, A, taken=26)
    story.history.unstamped.add(key)
    assert story.broken() == set()
    story.swap(30, 30.1, ONLY_B)
    story.history.unstamped.add(story.send(30.2, A, taken=31))
    assert story.broken() == {"leaked"}


def test_discard_ends_what_deliver_had_spared() -> None:
    story = Story()
    story.swap(20, 20.1, ONLY_B, "deliver")
    story.swap(21, 21.1, NOT_A)
    story.send(10, A, taken=25)
    assert story.broken() == {"leaked"}


def test_a_refused_swap_keeps_the_filter() -> None:
    story = Story()
    story.swap(20, 20.1, ONLY_B, refused="LimitError")
    story.send(21, A, taken=22)
    assert story.broken() == set()
    story.swap(30, 30.1, ONLY_B)
    story.swap(31, 31.1, BOTH, refused="LimitError")
    story.send(32, A, taken=33)
    assert story.broken() == {"leaked"}


def test_nothing_new_after_an_end() -> None:
    story = Story(closing=20 * MS, closed=21 * MS)
    story.send(20.5, taken=30)
    assert story.broken() == set()
    story.send(22, taken=31)
    assert story.broken() == {"after the end"}


def test_after_a_leave_only_what_was_sent_before() -> None:
    story = Story()
    story.membership.leaving, story.membership.left = 20 * MS, 21 * MS
    story.send(19, taken=30)
    assert story.broken() == set()
    story.send(22, taken=31)
    assert story.broken() == {"leaked"}


def test_a_membership_joined_again_is_another() -> None:
    story = Story(ONLY_A)
    story.membership.leaving, story.membership.left = 20 * MS, 21 * MS
    again = Membership(1, 0, G, PORT, [Change("join", ONLY_B, 30 * MS, returned=31 * MS)])
    story.history.memberships.append(again)
    story.send(19, A, taken=40)
    story.send(32, B, taken=41)
    assert story.broken() == set()
    story.send(32.5, A, taken=42)
    assert story.broken() == {"leaked"}


# The others


def test_doubled() -> None:
    story = Story()
    key = story.send(10, taken=11)
    story.take(key, 12)
    (violation,) = check(story.history)
    assert (violation.rule, violation.time, violation.keys) == ("doubled", 12 * MS, [key])


@pytest.mark.parametrize("sources", [(A, A), (A, B)])
def test_out_of_order(sources: tuple[str, str]) -> None:
    story = Story()
    late = story.send(10, sources[0])
    story.send(10.1, sources[1], taken=11)
    story.take(late, 12)
    (violation,) = check(story.history)
    assert (violation.rule, violation.time, violation.keys) == ("out of order", 12 * MS, [late])


@pytest.mark.parametrize("took", [0.2, 6, None])
def test_in_any_order_where_they_overlap_or_nobody_knows(took: float | None) -> None:
    story = Story()
    late = story.send(10, A, took=took)
    story.send(10.1 if took != 6 else 17, B, taken=18)
    story.take(late, 19)
    assert story.broken() == set()


def test_in_any_order_before_the_source_is_let_in() -> None:
    story = Story(ONLY_B)
    story.swap(20, 21, BOTH)
    late = story.send(20.5, A)
    story.send(20.6, B, taken=22)
    story.take(late, 23)
    assert story.broken() == set()
    late = story.send(30.5, A)
    story.send(30.6, B, taken=32)
    story.take(late, 33)
    assert story.broken() == {"out of order"}


def test_in_any_order_without_a_time_of_arrival() -> None:
    story = Story()
    late = story.send(10, A)
    story.send(10.1, B, taken=11)
    story.take(late, 12)
    story.history.unstamped.add(late)
    assert story.broken() == set()


def test_garbled_and_foreign() -> None:
    story = Story(source=B)
    story.take((7, 0, 7), 10)
    assert story.broken() == {"garbled"}
    story.stream.takes.clear()
    story.send(10, A, taken=11)
    assert story.broken() == {"foreign"}
    story.stream.takes.clear()
    story.history.datagrams[0, 2, 0] = Datagram((0, 2, 0), 10 * MS, 10 * MS, 10 * MS)
    story.stream.source = None
    story.take((0, 2, 0), 11)
    assert "foreign" in story.broken()


def test_accounts() -> None:
    story = Story()
    right = Account(0, REST * MS, 10, queue_drops=2, filtered=3, queued=1, streams={0: (4, 2, 1, 1, True)})
    story.history.accounts.append(right)
    assert story.broken() == set()
    for wrong in (
        right._replace(received=11),
        right._replace(queued=0),
        right._replace(streams={0: (5, 2, 1, 1, True)}),
    ):
        story.history.accounts[:] = [wrong]
        assert story.broken() == {"unaccounted"}
        story.history.accounts[:] = [wrong._replace(some_forgotten=True)]
        assert story.broken() == set()


def test_accounts_with_several_streams() -> None:
    story = Story()
    # 10 read: 2 refused by the filter, 8 handed to each of two streams, and to a third that was late
    streams = {0: (8, 0, 0, 0, True), 1: (3, 4, 1, 0, True), 2: (1, 0, 0, 0, False)}
    account = Account(0, REST * MS, 10, queue_drops=4, filtered=3, queued=0, streams=streams)
    story.history.accounts.append(account)
    assert story.broken() == set()
    story.history.accounts[:] = [account._replace(filtered=2)]
    assert story.broken() == {"unaccounted"}


def test_what_was_noted_is_a_violation() -> None:
    story = Story()
    story.history.notes.append(Note("unexpected", 5 * MS, "ValueError"))
    assert story.broken() == {"unexpected"}


def test_a_broken_membership_is_judged_no_more() -> None:
    story = Story()
    story.membership.broken = 9 * MS
    story.send(10, A)
    story.send(10, B, taken=11)
    assert story.broken() == set()


# Forgotten streams


@pytest.mark.parametrize(("warned", "broken"), [(0, {"forgotten"}), (1, set()), (2, {"forgotten"})])
def test_a_forgotten_stream_is_warned_of_once(warned: int, broken: set[str]) -> None:
    story = Story(forgotten=10 * MS, gone=11 * MS)
    story.history.warned = warned
    assert story.broken() == broken


def test_a_warning_of_a_stream_that_was_not_forgotten() -> None:
    story = Story(closing=10 * MS, closed=10 * MS, gone=11 * MS)
    assert story.broken() == set()
    story.history.warned = 1
    assert story.broken() == {"forgotten"}


@pytest.mark.parametrize("gone", [None, (REST + 1) * MS])
def test_a_forgotten_stream_that_is_kept(gone: int | None) -> None:
    story = Story(forgotten=10 * MS, gone=gone)
    assert story.broken() == {"forgotten"}


@pytest.mark.parametrize(
    ("leaving", "left", "expected"), [(5, 6, {0}), (9, 10.5, {0, 1}), (12, 13, {0, 1}), (16, 17, {1})]
)
def test_a_forgotten_stream_whose_membership_leaves(leaving: int, left: float, expected: set[int]) -> None:
    story = Story(membership=0, forgotten=10 * MS, gone=15 * MS)
    story.membership.leaving, story.membership.left = leaving * MS, int(left * MS)
    for warned in (0, 1, 2):
        story.history.warned = warned
        assert story.broken() == (set() if warned in expected else {"forgotten"})
