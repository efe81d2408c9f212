"""The merge of lines, told what they bring and what time it is."""

from __future__ import annotations

import pytest

from aiomcast import Packet
from aiomcast.feeds import LineEventKind

from .lines import Lines, packet

SILENT, BACK, APART = LineEventKind.SILENT, LineEventKind.BACK, LineEventKind.APART
TOGETHER, ENDED = LineEventKind.TOGETHER, LineEventKind.ENDED


def test_each_number_comes_once_and_the_first_copy_wins() -> None:
    lines = Lines()
    lines.bring(0, 1, 2, 3)
    lines.bring(1, 1, 2, 3, 4, 5)
    lines.bring(0, 4, 5, 6)
    assert [one.data for one in lines.out if isinstance(one, Packet)] == [
        b"1 of 0", b"2 of 0", b"3 of 0", b"4 of 1", b"5 of 1", b"6 of 0",
    ]  # fmt: skip
    assert (lines.line(0).won, lines.line(0).copies) == (4, 2)
    assert (lines.line(1).won, lines.line(1).copies) == (2, 3)


def test_what_is_ahead_waits_for_what_another_line_brings() -> None:
    lines = Lines()
    lines.bring(0, 1, 2, 5, 6)
    assert lines.got == [1, 2]
    assert lines.machine.deadline == 1.0
    lines.bring(1, 1, 2, 3)
    assert lines.got == [3]
    lines.bring(1, 4)
    assert lines.got == [4, 5, 6]
    assert lines.machine.deadline is None


def test_a_gap_stands_where_no_line_brought_it_in_time() -> None:
    lines = Lines(hold=0.5)
    lines.bring(0, 1, 4)
    lines.wait(0.25)
    lines.bring(0, 6)
    lines.wait(0.24)
    assert lines.got == [1]
    lines.wait(0.01)
    assert lines.got == [("gap", 2, 3, 2), 4]
    lines.wait(0.24)
    assert lines.got == []
    lines.wait(0.01)
    assert lines.got == [("gap", 5, 5, 1), 6]
    assert lines.machine.statistics().lost == 3


def test_part_of_what_is_missing_comes() -> None:
    lines = Lines(hold=0.5)
    lines.bring(0, 1, 10)
    lines.bring(1, 1, 4, 5, 8)
    lines.wait(0.5)
    assert lines.got == [1, ("gap", 2, 3, 2), 4, 5, ("gap", 6, 7, 2), 8, ("gap", 9, 9, 1), 10]


def test_what_comes_after_it_was_given_up_is_late_and_nothing_else() -> None:
    lines = Lines(hold=0.5)
    lines.bring(0, 1, 3)
    lines.wait(0.5)
    lines.bring(1, 1, 2, 3)
    lines.bring(0, 2)
    assert lines.got == [1, ("gap", 2, 2, 1), 3]
    assert (lines.line(1).late, lines.line(1).copies) == (1, 2)
    assert (lines.line(0).late, lines.line(0).copies) == (0, 1)
    counted = lines.machine.statistics()
    assert (counted.delivered, counted.lost, counted.late) == (2, 1, 1)


def test_one_line_alone_is_put_in_order() -> None:
    lines = Lines(count=1)
    lines.bring(0, 1, 3, 2, 2, 6, 5, 4, 4)
    assert lines.got == [1, 2, 3, 4, 5, 6]
    assert lines.line(0).duplicates == 2


def test_a_hold_of_nothing_waits_for_nothing_but_what_is_there() -> None:
    lines = Lines(count=1, hold=0)
    lines.bring(0, 1, 3, 2, 5)
    lines.wait(0)
    assert lines.got == [1, 2, 3, ("gap", 4, 4, 1), 5]


def test_no_more_than_the_window_waits() -> None:
    lines = Lines(count=1, window=4)
    lines.bring(0, 1)
    lines.each(0, (3, 4, 5))
    assert lines.got == [1]
    lines.bring(0, 6)
    assert lines.got == [("gap", 2, 2, 1), 3, 4, 5, 6]


def test_a_run_that_is_longer_than_the_window() -> None:
    lines = Lines(window=4)
    lines.bring(0, *range(50))
    lines.bring(0, *range(50, 100))
    assert lines.got == list(range(100))


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_numbers_wrap(bits: int) -> None:
    lines = Lines(bits=bits, window=20)
    first = (1 << bits) - 5
    for start in range(first, first + 30, 6):
        lines.bring(0, *(number for number in range(start, start + 6) if number % 7))
        lines.bring(1, *(number for number in range(start, start + 6) if number % 5))
    lines.bring(0, first + 30)
    lines.wait(1)
    lost = [number for number in range(first, first + 30) if number % 35 == 0]
    got = lines.got
    assert [one for one in got if isinstance(one, int)] == [
        number for number in range(first, first + 31) if number not in lost
    ]
    assert [one for one in got if not isinstance(one, int)] == [
        ("gap", number & lines.mask, number & lines.mask, 1) for number in lost
    ]


def test_a_gap_over_the_end_of_the_numbers() -> None:
    lines = Lines(count=1, bits=16)
    lines.bring(0, 65533, 65538)
    lines.wait(1)
    assert lines.got == [65533, ("gap", 65534, 1, 4), 65538]


def test_what_was_lost_here_and_everywhere() -> None:
    lines = Lines(hold=0.5)
    lines.bring(0, 1, 2, 5, 6, 8)  # 3, 4, 7
    lines.bring(1, 1, 3, 6, 7, 8)  # 2, 4, 5
    lines.wait(0.5)
    assert lines.got == [1, 2, 3, ("gap", 4, 4, 1), 5, 6, 7, 8]
    for _ in range(2):  # while they are remembered, and when the books are closed
        assert [(one.lost_here, one.lost_everywhere) for one in map(lines.line, (0, 1))] == [(2, 1)] * 2
        for start in range(9, 409, 50):
            lines.bring(0, *range(start, start + 50))
            lines.bring(1, *range(start, start + 50))


def test_a_line_that_begins_later_has_lost_nothing_before() -> None:
    lines = Lines()
    lines.bring(0, *range(50))
    lines.bring(1, 52, 51, 53)
    lines.bring(0, *range(50, 60))
    assert lines.got == list(range(60))
    assert (lines.line(1).won, lines.line(1).copies, lines.line(1).duplicates) == (3, 0, 0)
    assert lines.line(1).lost_here == 0


def test_what_was_before_the_first_is_late() -> None:
    lines = Lines()
    lines.bring(0, 10, 11)
    lines.bring(1, 8, 9, 10, 11)
    assert lines.got == [10, 11]
    assert (lines.line(1).late, lines.line(1).copies) == (2, 2)


# Lines that die, and come back


def test_a_line_that_dies_is_told_of_and_changes_nothing() -> None:
    lines = Lines()
    for number in range(300):
        lines.wait(0.01)
        lines.bring(0, number)
        if number < 100:
            lines.bring(1, number)
    assert lines.got == list(range(300))
    assert lines.told == [(SILENT, 1)]
    assert lines.line(1).is_silent
    for number in range(300, 320):
        lines.bring(1, number)
        lines.bring(0, number)
    assert lines.got == list(range(300, 320))
    assert lines.told == [(BACK, 1)]
    assert not lines.line(1).is_silent
    assert lines.line(1).lost_here == 200


def test_a_line_of_which_nothing_ever_comes_is_told_of() -> None:
    lines = Lines()
    for number in range(200):
        lines.wait(0.01)
        lines.bring(0, number)
    assert lines.told == [(SILENT, 1)]


def test_a_quiet_feed_is_no_dead_line() -> None:
    lines = Lines()
    for number in range(100):
        lines.wait(10)
        lines.bring(0, number)
        lines.bring(1, number)
    assert lines.told == []


def test_a_line_that_ends_is_told_of() -> None:
    lines = Lines()
    lines.bring(0, 1, 3)
    lines.machine.end(0, lines.now)
    assert lines.told == [(ENDED, 0)]
    assert lines.line(0).is_ended
    lines.bring(1, 1, 2, 3, 4)
    assert lines.got == [1, 2, 3, 4]


def test_what_waits_is_put_out_at_the_end() -> None:
    lines = Lines()
    lines.bring(0, 1, 3, 6)
    lines.machine.flush(lines.out)
    assert lines.got == [1, ("gap", 2, 2, 1), 3, ("gap", 4, 5, 2), 6]
    lines.machine.flush(lines.out)
    assert lines.got == []


# Numbers that have nothing to do with each other


def test_one_number_from_elsewhere_is_no_restart() -> None:
    lines = Lines(count=1)
    lines.bring(0, 1, 2, 77777, 3, 4)
    assert lines.got == [1, 2, 3, 4]
    assert lines.line(0).astray == 1


def test_the_same_number_twice_from_elsewhere_is_no_restart() -> None:
    lines = Lines(count=1)
    lines.bring(0, 1, 2, 77777, 77777, 3, 4)
    assert lines.got == [1, 2, 3, 4]
    assert (lines.line(0).astray, lines.line(0).duplicates) == (1, 1)


def test_a_source_that_begins_anew() -> None:
    lines = Lines(count=1)
    lines.bring(0, 5000, 5001, 5003)
    lines.bring(0, 1)
    assert lines.got == [5000, 5001]
    lines.bring(0, 2)
    assert lines.got == [("gap", 5002, 5002, 1), 5003, ("restart", 5003, 1), 1, 2]
    lines.bring(0, 3, 4)
    assert lines.got == [3, 4]
    assert lines.machine.statistics().restarts == 1


def test_a_source_that_begins_anew_out_of_order() -> None:
    lines = Lines(count=1)
    lines.bring(0, 5000, 5001)
    lines.bring(0, 3, 1, 2)
    assert lines.got == [5000, 5001, ("restart", 5001, 1), 1, 2, 3]


def test_a_source_that_begins_anew_on_both_lines_one_behind_the_other() -> None:
    lines = Lines()
    lines.bring(0, *range(5000, 5010))
    lines.bring(1, *range(5000, 5004))
    lines.bring(0, *range(1, 6))
    assert lines.got == list(range(5000, 5010))
    lines.bring(1, *range(5004, 5010))
    lines.bring(1, 1, 2)
    assert lines.got == [("restart", 5009, 1), 1, 2, 3, 4, 5]
    lines.bring(1, 3, 4, 5, 6)
    assert lines.got == [6]
    assert lines.told == []


def test_a_line_that_is_ahead_by_an_hour_does_not_silence_the_other() -> None:
    lines = Lines(window=50)
    lines.bring(0, *range(10))
    lines.bring(1, *range(10))
    for number in range(10, 500):
        lines.wait(0.01)
        lines.bring(0, number + 3_600_000)
        lines.bring(1, number)
    assert lines.got == list(range(500))
    assert lines.told == [(APART, 0)]
    assert lines.line(0).is_apart
    assert lines.line(0).astray == 490 - 50
    lines.bring(0, 499, 500, 501)
    assert lines.got == [500, 501]
    assert lines.told == [(TOGETHER, 0)]


def test_lines_that_have_nothing_to_do_with_each_other_are_told_of_and_not_mixed() -> None:
    lines = Lines()
    for number in range(100):
        lines.wait(0.01)
        lines.bring(0, number)
        lines.bring(1, 2_000_000_000 + number)
    assert lines.got == list(range(100))
    assert lines.told == [(APART, 1)]
    assert lines.line(1).astray + len(lines.machine.lines[1].apart) == 100


def test_one_that_is_apart_takes_over_when_the_other_dies() -> None:
    lines = Lines(hold=0.1)
    lines.bring(0, *range(10))
    lines.bring(1, *range(7000, 7020))
    assert lines.got == list(range(10))
    lines.wait(0.1)
    lines.bring(1, 7020)
    assert lines.got == [("restart", 9, 7000), *range(7000, 7021)]
    lines.bring(0, 10, 11, 12)
    assert lines.got == []
    lines.machine.end(1, lines.now)
    lines.bring(0, 13)
    assert lines.got == [("restart", 7020, 10), 10, 11, 12, 13]


def test_two_of_three_that_are_apart_from_the_third_do_not_silence_it() -> None:
    lines = Lines(count=3)
    lines.bring(0, *range(10))
    for number in range(10, 60):
        lines.bring(1, 90_000 + number)
        lines.bring(2, 90_000 + number)
        lines.bring(0, number)
    assert lines.got == list(range(60))
    assert lines.told == [(APART, 1), (APART, 2)]


def test_a_stray_number_of_the_one_is_no_leave_for_the_other_to_take_over() -> None:
    lines = Lines()
    lines.bring(0, *range(10))
    lines.bring(1, *range(80_000, 80_010))
    lines.bring(0, 555_555)
    lines.bring(1, 80_010)
    lines.bring(0, 10)
    assert lines.got == list(range(11))


# What cannot be read


@pytest.mark.parametrize("passes", [False, True])
def test_a_number_that_cannot_be_read(passes: bool) -> None:
    lines = Lines(passes_unreadable=passes)
    lines.bring(0, None, 1, None, 2)
    lines.bring(1, None)
    assert lines.got == ([-1, 1, -1, 2, -1] if passes else [1, 2])
    assert (lines.line(0).unreadable, lines.line(1).unreadable) == (2, 1)
    assert lines.machine.statistics().delivered == (5 if passes else 2)


# Time between lines


def test_how_far_a_line_is_behind_by_the_kernel_s_stamps() -> None:
    lines = Lines()
    for line, late_ns in ((0, 0), (1, 50_000_000)):
        batch = [packet(number, line, 10**18 + number * 10**6 + late_ns) for number in range(64)]
        lines.machine.take(line, batch, 0.0, lines.out)
    assert lines.line(0).behind == 0
    assert lines.line(1).behind == pytest.approx(0.05)


def test_how_far_a_line_is_behind_by_the_clock_where_nothing_is_stamped() -> None:
    lines = Lines()
    lines.bring(0, *range(64))
    lines.wait(0.2)
    lines.bring(1, *range(64))
    assert lines.line(1).behind == pytest.approx(0.2)


def test_what_is_kept_has_a_limit() -> None:
    lines = Lines(window=64)
    machine = lines.machine
    for number in range(0, 100_000, 7):  # six of seven are lost, and one line is dead
        lines.wait(0.001)
        lines.bring(0, number)
        lines.out.clear()
        for table in (machine._ahead, machine._given_up, machine._stamps, machine.lines[0]._missing):
            assert len(table) <= 4 * 64
        assert len(machine._holes) <= 64
