"""Any interleaving of lines that lose, double and reorder, against what a simple model makes of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from .lines import Lines

COUNT = 30  # numbers sent
WINDOW = 60
REACH = 8  # by how many places a packet comes late, at most
BATCH = 4

# For each number on a line: how many copies come, and by how many places late.
FATES = st.lists(
    st.tuples(st.sampled_from([1, 1, 1, 0, 2]), st.integers(0, REACH)), min_size=COUNT, max_size=COUNT
)


def line(fates: list[tuple[int, int]]) -> list[list[int]]:
    """What comes of the numbers on one line, batch by batch: not all, some twice, not quite in order."""
    came = [
        (number + late * copy, number)
        for number, (copies, late) in enumerate(fates)
        for copy in range(copies, 0, -1)
    ]
    numbers = [number for _, number in sorted(came, key=lambda one: one[0])]
    return [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]


@st.composite
def brought(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """Batches of one to three lines, those of each in their order."""
    lines = [line(fates) for fates in draw(st.lists(FATES, min_size=1, max_size=3))]
    turns = draw(st.permutations([index for index, batches in enumerate(lines) for _ in batches]))
    left = [iter(batches) for batches in lines]
    return [(index, next(left[index])) for index in turns]


def in_order(first: int, came: set[int]) -> list[object]:
    """All that came, in order from the first on, with the gaps between."""
    expected: list[object] = []
    due = first
    for number in sorted(one for one in came if one >= first):
        if number > due:
            expected.append(("gap", due, number - 1, number - due))
        expected.append(number)
        due = number + 1
    return expected


@given(brought(), st.sampled_from([0, (1 << 16) - 30, (1 << 16) - 1]))
def test_the_union_in_order_with_gaps_where_no_line_brought_it(
    batches: list[tuple[int, list[int]]], origin: int
) -> None:
    """Within the hold and the window. The origin has the numbers wrap somewhere."""
    count = 1 + max((index for index, _ in batches), default=0)
    lines = Lines(count, bits=16, window=WINDOW)
    for index, batch in batches:
        lines.bring(index, *(origin + number for number in batch))
    lines.wait(1)
    came = {number for _, batch in batches for number in batch}
    first = batches[0][1][0] if batches else 0
    expected = in_order(first, came)
    assert lines.got == [_raised(item, origin) for item in expected]
    counted = lines.machine.statistics()
    assert counted.delivered == sum(isinstance(item, int) for item in expected)
    assert counted.waiting == 0
    for index, one in enumerate(counted.lines):
        mine = [number for other, batch in batches if other == index for number in batch]
        assert one.received == one.won + one.copies + one.late + one.duplicates == len(mine)
        if mine:
            missing = {number for number in range(max(first, mine[0]), max(mine)) if number not in mine}
            assert one.lost_everywhere == len(missing - came)
            assert one.lost_here == len(missing & came)


def _raised(item: object, origin: int) -> object:
    if isinstance(item, int):
        return origin + item
    assert isinstance(item, tuple)
    _, first, last, count = item
    return ("gap", (origin + first) & 0xFFFF, (origin + last) & 0xFFFF, count)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 0.5), st.integers(0, 30)), max_size=120),
    st.floats(0.01, 1.0),
)
def test_a_number_that_comes_in_time_is_never_in_a_gap(
    events: list[tuple[int, float, int]], hold: float
) -> None:
    """Each number is put out once, by a packet or by a gap, in order; a gap never before the hold is over."""
    lines = Lines(hold=hold)
    shown: dict[int, float] = {}  # when a higher one first came
    put_out: list[int] = []
    for index, pause, number in events:
        lines.wait(pause)
        _check(lines, shown, put_out, hold)
        lines.bring(index, number)
        for lower in range(number):
            shown.setdefault(lower, lines.now)
        _check(lines, shown, put_out, hold)
    lines.wait(hold)
    _check(lines, shown, put_out, hold)
    assert not events or put_out == list(range(events[0][2], max(number for *_, number in events) + 1))


def _check(lines: Lines, shown: dict[int, float], put_out: list[int], hold: float) -> None:
    for item in lines.got:
        if isinstance(item, int):
            put_out.append(item)
        else:
            assert isinstance(item, tuple)
            missing = range(item[1], item[2] + 1)
            assert all(lines.now >= shown[number] + hold for number in missing)
            put_out += missing


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 255), max_size=10)), max_size=40))
def test_whatever_comes_every_packet_is_in_one_counter(batches: list[tuple[int, list[int]]]) -> None:
    """Numbers of 8 bits from anywhere: restarts, strays and lines apart."""
    lines = Lines(3, bits=8, window=20)
    for index, batch in batches:
        lines.wait(0.1)
        if batch:
            lines.bring(index, *batch)
        for one in range(3):
            lines.line(one)
    lines.machine.flush(lines.out)
    packets = sum(isinstance(item, int) for item in lines.got)
    assert packets == lines.machine.statistics().delivered
