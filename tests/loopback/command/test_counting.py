"""What is counted of packets, by flow, and what reports tell of it."""

import pytest

import aiomcast
from aiomcast import Flow, Packet
from aiomcast.command import counting
from aiomcast.command.counting import Counting
from aiomcast.command.report import Report
from aiomcast.feeds import Sequence
from aiomcast.testing import MemoryNetwork

GROUP, PORT = "232.1.1.1", 5000
A, B = "192.0.2.1", "192.0.2.2"


def packets(source: str, *numbers: int, port: int = 4000, stamp: int | None = 10**9) -> list[Packet]:
    return [Packet(bytes([number]), Flow(source, port, GROUP, PORT, 1), stamp) for number in numbers]


async def reports(counted: Counting, *rounds: list[Packet]) -> list[Report]:
    """Return a report for each round of packets, a second apart, on a membership with A in its filter."""
    made = []
    async with aiomcast.listen(GROUP, PORT, sources=[A], network=MemoryNetwork()) as feed:
        for passed, batch in enumerate(rounds, 1):
            counted.take(batch, now_ns=0)
            made.append(counted.report([feed], 10**10, passed))
            counted.begin_interval(made[-1], [feed])
        counted.forget_intervals()
        made.append(counted.report([feed], 10**10, len(rounds) + 1))
    return made


async def test_a_report_has_what_is_new_and_what_came_in_all() -> None:
    counted = Counting(Sequence.at(0, "u8"))
    first, second, whole = await reports(
        counted, packets(A, 1, 2, 4), packets(A, 3, stamp=None) + packets(A, 9, port=4001) + packets(B, 7)
    )
    assert (first.interval, second.interval, whole.interval) == (1, 1, 3)
    (of_a,) = first.channels[0].sources
    assert (of_a.account.total.packets, of_a.account.total.sequence.lost) == (3, 1)
    of_a, of_b = second.channels[0].sources
    assert (of_a.source, of_a.account.total.packets, of_a.account.new.packets) == (A, 5, 2)
    assert (of_a.account.total.sequence.lost, of_a.account.new.sequence.lost) == (0, -1)
    assert (of_b.source, of_b.account.new.octets) == (B, 1)
    assert whole.channels[0].account.new == whole.channels[0].account.total
    assert whole.age(whole.channels[0].account) == 9.0


async def test_a_source_of_the_filter_is_there_before_it_is_heard() -> None:
    first, _ = await reports(Counting(None), [])
    (of_a,) = first.channels[0].sources
    assert (of_a.source, of_a.account.latest_ns) == (A, None)
    assert first.age(of_a.account) is None


def test_whether_a_channel_has_come() -> None:
    counted = Counting(None)
    counted.take(packets(A, 1), now_ns=0)
    assert counted.has_come(GROUP, PORT, [])
    assert counted.has_come(GROUP, PORT, [B, A])
    assert not counted.has_come(GROUP, PORT, [B])
    assert not counted.has_come(GROUP, PORT + 1, [])


async def test_flows_beyond_a_limit_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_FLOWS", 2)
    batch = [one for port in range(6) for one in packets(A, 1, port=port)]
    counted = Counting(Sequence.rtp())
    report, _ = await reports(counted, batch)
    assert counted.has_come(GROUP, PORT, [B])  # which may be one of them
    assert {one.source: one.account.total.packets for one in report.channels[0].sources} == {
        A: 2,
        "others": 4,
    }
