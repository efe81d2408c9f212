"""The live view at every size: whole, within the terminal, and with what matters in it."""

import io

import pytest

pytest.importorskip("rich")

from rich.console import Console

from aiomcast import SourceFilter, Statistics
from aiomcast.command.report import Account, ChannelReport, Report, SourceReport, Traffic
from aiomcast.command.units import age, bits, count, duration
from aiomcast.command.view import View
from aiomcast.feeds import SequenceStatistics

NOW = 10**18


def account(packets: int, *, lost: int = 0, seconds_ago: float = 0.1) -> Account:
    total = Traffic(packets * 10, packets * 1000, SequenceStatistics(lost=lost))
    return Account(total, Traffic(packets, packets * 100), NOW - round(seconds_ago * 1e9), 125e3)


def report(channels: int, sources: int, *, has_sequence: bool = True, silent: bool = False) -> Report:
    listed = tuple(
        ChannelReport(
            f"232.1.1.{number}",
            5000,
            "eth0",
            SourceFilter.include({f"192.0.2.{one}" for one in range(1, sources + 1)}),
            tuple(
                SourceReport(f"192.0.2.{one}", Account() if silent else account(250, lost=one))
                for one in range(1, sources + 1)
            ),
            Statistics(kernel_drops=number),
            Statistics(),
        )
        for number in range(1, channels + 1)
    )
    return Report(NOW, 12.0, 1.0, listed, has_sequence)


def drawn(view: View, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    console.print(view)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(("channels", "sources"), [(1, 1), (3, 2), (8, 2), (30, 1), (300, 2)])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (50, 20), (200, 50), (40, 10)])
def test_it_stays_within_the_terminal(
    width: int, height: int, channels: int, sources: int, silent: bool
) -> None:
    lines = drawn(View(report(channels, sources, silent=silent)), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "232.1.1.1:5000" in lines[1]
    if channels > 1:
        (total,) = [line for line in lines if line.startswith(f"all {channels} channels")]
        assert (count(250 * channels * sources) in total.split()) is not silent


def test_80_columns_show_everything_that_is_asked_of_it() -> None:
    head, channel, source, *_, drops = drawn(View(report(1, 1)), 80, 24)
    assert head.split() == ["12", "s", "pkt/s", "bit/s", "lost", "drops", "jitter", "last"]
    assert channel.split() == ["232.1.1.1:5000", "250", "200k", "1", "1", "125us", "0.1s"]
    assert source.split() == ["192.0.2.1", "250", "200k", "1", "125us", "0.1s"]
    assert drops == "dropped by kernel 1, queue 0; 0 filtered, 0 truncated"


def test_without_a_sequence_there_is_no_loss_to_show() -> None:
    assert "lost" not in drawn(View(report(1, 1, has_sequence=False)), 80, 24)[0]


def test_a_channel_is_shown_without_sources_before_it_is_cut() -> None:
    whole, short, cut = (drawn(View(report(10, 2)), 80, height) for height in (40, 14, 10))
    assert sum(line.startswith("  192.0.2.") for line in whole) == 20
    assert sum(line.startswith("232.1.1.") for line in short) == 10
    assert not any(line.startswith("  ") for line in short)
    assert any(line.startswith("4 more channels") for line in cut)


def test_what_is_silent_is_said_with_the_command_that_finds_out_why() -> None:
    lines = drawn(View(report(2, 1, silent=True)), 80, 24)
    assert lines[-2:] == [
        "silent: 232.1.1.1:5000 and 1 more",
        "why: aiomcast doctor 232.1.1.1 5000 -s 192.0.2.1",
    ]
    assert "never" in lines[1]


def test_at_the_end_all_is_there() -> None:
    assert len(drawn(View(report(100, 2), is_whole=True), 80, 24)) == 1 + 300 + 1 + 1


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (count(0), "0"), (count(0.25), "0.2"), (count(9), "9"), (count(99_999), "99999"),
        (count(123_456), "123k"), (count(1.5e9), "1.5G"), (bits(0), "0"), (bits(999), "999"),
        (bits(1000), "1.0k"), (bits(42_150_000), "42.1M"), (bits(999_600), "1.0M"), (bits(3e12), "3.0T"),
        (duration(None), "-"), (duration(7.25), "7.2ns"), (duration(999_600), "1.0ms"),
        (duration(4e9), "4.0s"),
        (age(None), "never"), (age(9.96), "10.0s"), (age(100), "2min"), (age(7200), "2h"),
    ],
)  # fmt: skip
def test_numbers_fit_into_six_characters(shown: str, expected: str) -> None:
    assert shown == expected
    assert len(shown) <= 6
