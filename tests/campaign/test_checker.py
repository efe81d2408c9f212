"""The campaign's checker, on histories that are made up: each kind of violation, and each exception."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pytest

from .checker import check
from .history import Account, Change, Datagram, Filter, Flow, History, Key, Membership, Note, Stream

MS = 1_000_000
A, B = "127.0.0.2", "127.0.0.3"
G, PORT = "239.1.1.1", 5000
FLOWS = [Flow(A, G, PORT), Flow(B, G, PORT), Flow(A, "239.1.1.2", PORT)]
BOTH, ONLY_A, ONLY_B = (Filter(True, frozenset(one)) for one in ((A, B), (A,), (B,)))
NOT_A = Filter(False, frozenset((A,)))
REST = 1000


class Story:
    """A membership that lets `first` in from 1 to 2 ms on, and a stream opened at 3 ms; times are in ms."""

    def __init__(self, first: Filter = BOTH, **stream: Any) -> None:
        self.membership = Membership(0, 0, G, PORT, [Change("join", first, MS, returned=2 * MS)])
        self.stream = Stream(0, 0, opening=int(2.9 * MS), opened=3 * MS)
        self.stream = dataclasses.replace(self.stream, **stream)
        self.history = History(FLOWS, {}, [self.membership], [self.stream], rest=REST * MS)
        self._numbers: dict[int, int] = {}

    def send(
        self, begin: float, source: str = A, *, took: float | None = 0.01, taken: float | None = None
    ) -> Key:
        """Send a datagram, which has arrived `took` ms later, and is taken from the stream at `taken`."""
        flow = [A, B].index(source)
        number = self._numbers[flow] = self._numbers.get(flow, -1) + 1
        start = int(begin * MS)
        key = (0, flow, number)
        arrived = None if took is None else start + int(took * MS)
        self.history.datagrams[key] = Datagram(key, start, start + 5000, arrived)
        if taken is not None:
            self.take(key, taken)
        return key

    def take(self, key: Key, at: float) -> None:
        """Have the stream yield a datagram."""
        self.stream.takes.append((int(at * MS), key))

    def swap(
        self,
        began: float,
        returned: float | None,
        wanted: Filter,
        pending: Literal["discard", "deliver"] = "discard",
        **more: Any,
    ) -> Change:
        """Change the filter."""
        end = None if returned is None else int(returned * MS)
        change = Change("swap", wanted, int(began * MS), pending, returned=end, **more)
        self.membership.changes.append(change)
        return change

    def broken(self) -> set[str]:
        """Return the names of the rules that are broken."""
        return {one.rule for one in check(self.history)}


def test_a_clean_history() -> None:
    story = Story()
    for number in range(10):
        story.send(10 + number, A, taken=11.5 + number)
        story.send(10.1 + number, B, taken=11.6 + number)
    story.swap(30, 30.1, ONLY_B)
    story.send(31, A)
    story.send(31.1, B, taken=32)
    assert story.broken() == set()


# Losses


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


def test_many_changes_of_mode_while_nobody_takes() -> None:
    story = Story()
    story.send(10, A)
    for number in range(9):
        wanted = ONLY_A if number % 2 else Filter(False, frozenset((B,)))
        story.swap(20 + number, 20.1 + number, wanted)
    assert story.broken() == {"lost"}
    story.membership.queue_drops = 1
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
