"""Counting by source, on request."""

import pytest

import aiomcast
from aiomcast import SourceStatistics, StateError
from aiomcast.values import bounds
from tests.loopback.conftest import Senders
from tests.support.packets import take
from tests.support.sending import A, B, C


async def test_what_came_from_each_source(group: str, senders: Senders) -> None:
    async with aiomcast.listen(
        group, senders.port, sources=[A, B, C], interface="lo", by_source=True
    ) as feed:
        await senders.send(A, group, b"1", b"22")
        await senders.send(B, group, b"333")
        packets = await take(aiter(feed), 3)
        stamps = {packet.source: packet.timestamp_ns for packet in packets}
        counted = {A: SourceStatistics(2, 3, stamps[A]), B: SourceStatistics(1, 3, stamps[B])}
        assert feed.statistics_by_source() == counted
        await feed.swap([B])
        await senders.send(A, group, b"refused")
        await senders.send(B, group, b"4")
        await take(aiter(feed), 1)
        assert feed.statistics_by_source()[A] == counted[A]
        assert feed.statistics_by_source()[B].packets == 2
    assert feed.statistics_by_source()[B].octets == 4


async def test_beyond_the_limit_the_others_are_counted_together(
    group: str, senders: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SOURCES_COUNTED", 1)
    async with aiomcast.listen(
        group, senders.port, sources=[A, B, C], interface="lo", by_source=True
    ) as feed:
        for source in (A, B, C, A):
            await senders.send(source, group, b"1")
        await take(aiter(feed), 4)
        counted = feed.statistics_by_source()
        assert {source: one.packets for source, one in counted.items()} == {A: 2, None: 2}


async def test_who_did_not_ask_is_told(group: str) -> None:
    async with aiomcast.listen(group, 5000, sources=[A], interface="lo") as feed:
        with pytest.raises(StateError, match="by source"):
            feed.statistics_by_source()
