"""Limits of the system that change while memberships stand: net.ipv4.igmp_max_msf, raised and lowered."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

import aiomcast
from aiomcast import LimitError, Receiver, SourceFilter
from tests.support.inside import is_settled
from tests.support.packets import payloads, take
from tests.support.sending import Sources
from tests.support.waiting import until

from .network import Host

MSF = Path("/proc/sys/net/ipv4/igmp_max_msf")
PORT = 5000
MANY = [f"127.0.1.{number}" for number in range(1, 41)]
include, exclude = SourceFilter.include, SourceFilter.exclude
_numbers = itertools.count(1)


@pytest.fixture
def msf(in_receiver: Host) -> Iterator[Path]:
    """The limit of the receiver's namespace, put back at the end."""
    before = MSF.read_text(encoding="ascii")
    yield MSF
    MSF.write_text(before, encoding="ascii")


@pytest.fixture
def group() -> str:
    return f"239.4.1.{next(_numbers)}"


def limit(value: int) -> None:
    MSF.write_text(f"{value}\n", encoding="ascii")


@pytest.mark.parametrize("pending", ["discard", "deliver"])
async def test_swaps_go_on_without_a_loss_whatever_the_limit_becomes(
    pending: aiomcast.Pending, msf: Path, group: str
) -> None:
    with Sources(group, PORT, 1) as sender:
        async with Receiver(receive_buffer=8 << 20) as receiver:
            one = await receiver.join(group, PORT, sources=MANY[:20], interface="lo")
            stream = receiver.packets()
            always, got = MANY[:8], []
            for value, wanted in itertools.product(
                (10, 4, 20, 3, 1, 40, 5), ([*always], MANY[:20], [*always, *MANY[30:]], MANY)
            ):
                limit(value)
                sender.number(*always)
                await one.swap(wanted, pending=pending)
                assert one.filter == one.kernel_filter() == include(wanted)
                sender.number(*always)
                await asyncio.sleep(0)
            got = payloads(await take(stream, len(sender.sent)))
            assert got == sender.sent
            await until(lambda: is_settled(one))
            assert len(stream) == 0
            assert one.statistics().queue_drops == 0


async def test_a_list_that_is_not_longer_is_swapped_under_a_lowered_limit(msf: Path, group: str) -> None:
    async with Receiver() as receiver:
        one = await receiver.join(group, PORT, sources=MANY[:10], interface="lo")
        two = await receiver.join(group, PORT + 1, sources=MANY[:10], interface="lo")
        limit(3)
        await one.swap(MANY[10:20])
        assert one.kernel_filter() == include(MANY[10:20])
        await receiver.filters.apply({one: MANY[5:15], two: MANY[5:15]})
        assert [each.kernel_filter() for each in (one, two)] == [include(MANY[5:15])] * 2
        limit(10)
        three = await receiver.join(group, PORT + 2, sources=exclude(MANY[:10]), interface="lo")
        limit(3)
        with pytest.warns(RuntimeWarning, match="igmp_max_msf"):
            await three.swap(exclude(MANY[10:20]))
        assert three.filter == exclude(MANY[10:20])
        assert len(three.kernel_filter().sources) == 3


@pytest.mark.parametrize("lowered", [1, 4, 9])
async def test_a_refresh_under_a_lowered_limit(lowered: int, msf: Path, group: str) -> None:
    with Sources(group, PORT, 1) as sender:
        async with Receiver() as receiver:
            one = await receiver.join(group, PORT, sources=MANY[:20], interface="lo")
            stream = receiver.packets()
            limit(lowered)
            sender.number(*MANY[:20])
            await one.refresh()
            assert one.filter == one.kernel_filter() == include(MANY[:20])
            sender.number(*MANY[:20])
            assert payloads(await take(stream, 40)) == sender.sent
            await one.refresh()
            sender.number(*MANY[:20])
            assert payloads(await take(stream, 20)) == sender.sent[40:]


async def test_where_no_socket_may_list_a_source(msf: Path, group: str) -> None:
    """One join of a source each goes through even so (as the kernel has it); a list is refused, typed."""
    async with Receiver() as receiver:
        one = await receiver.join(group, PORT, sources=MANY[:4], interface="lo")
        limit(0)
        try:
            await one.swap(MANY[4:8])
        except LimitError as refused:
            assert refused.sysctl == "net.ipv4.igmp_max_msf"
            assert one.filter == one.kernel_filter() == include(MANY[:4])
        else:
            assert one.filter == one.kernel_filter() == include(MANY[4:8])
        limit(10)
        await one.swap(MANY[:3])
        assert one.filter == one.kernel_filter() == include(MANY[:3])
