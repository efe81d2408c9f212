"""What joins, swaps, refreshes and leaves put on the wire: IGMPv3 and MLDv2, decoded by tshark."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterable

import aiomcast
from aiomcast import SourceFilter

from .network import Network, wait_until
from .traffic import Traffic
from .wire import Capture, Report

Check = Callable[[list[Report]], bool]

_fences = itertools.count(1)


async def seen(capture: Capture, traffic: Traffic, check: Check) -> list[Report]:
    """Wait for reports of the group that satisfy `check`, while the event loop runs."""
    return await asyncio.to_thread(capture.wait_for, check, group=traffic.group)


def fence(network: Network, traffic: Traffic) -> str:
    """Join something else, wait until the bridge knows, and return that group.

    Every report before it has been sent then, and of changes already reported once the
    repetition too: what comes next is not merged with them. A capture that holds a report of
    the returned group holds all before it.
    """
    number = next(_fences)
    group = f"232.6.1.{number}" if traffic.family == socket.AF_INET else f"ff3e::8006:{number:x}"
    with Traffic(network, group, traffic.port) as other:
        other.witness("s1")
    return group


async def reported(network: Network, capture: Capture, traffic: Traffic) -> list[Report]:
    """All reports of the group up to now."""
    await asyncio.to_thread(capture.wait_for, bool, group=fence(network, traffic))
    return capture.reports(traffic.group)


def state(reports: Iterable[Report]) -> SourceFilter:
    """The filter a router has after these records (RFC 3376, 6.4), without its timers."""
    held = SourceFilter.none()
    for report in reports:
        listed = SourceFilter.include(report.sources)
        match report.record_type:
            case "TO_IN":
                held = listed
            case "TO_EX":
                held = ~listed
            case "ALLOW":
                held |= listed
            case "BLOCK":
                held &= ~listed
    return held


def is_state(wanted: SourceFilter) -> Check:
    return lambda reports: bool(reports) and state(reports) == wanted


async def test_join_and_leave_of_one_source(network: Network, ssm: Traffic) -> None:
    source = ssm.address("s1")
    with Capture(network) as capture:
        async with aiomcast.Receiver() as receiver:
            membership = await receiver.join(ssm.group, ssm.port, sources=[source], interface="v0")
            ssm.forwarded("s1")
            fence(network, ssm)
            await membership.leave()
            join, *leave = await seen(capture, ssm, lambda reports: len(reports) > 1)
    assert join == Report("ALLOW", ssm.group, frozenset({source}))
    # RFC 3376, 5.1: leaving an INCLUDE filter is BLOCK of its list, or TO_IN of nothing.
    ends = (Report("BLOCK", ssm.group, frozenset({source})), Report("TO_IN", ssm.group, frozenset()))
    assert len(leave) == 1
    assert leave[0] in ends


async def test_a_swap_reports_exactly_the_difference(network: Network, ssm: Traffic) -> None:
    first, second, third = (ssm.address(name) for name in ("s1", "s2", "s3"))
    async with aiomcast.listen(ssm.group, ssm.port, sources=[first, second], interface="v0") as feed:
        ssm.forwarded("s1", "s2")
        fence(network, ssm)
        with Capture(network) as capture:
            await feed.swap([second, third])
            ssm.forwarded("s2", "s3")
            reports = await reported(network, capture, ssm)
    assert sorted(reports, key=str) == [
        Report("ALLOW", ssm.group, frozenset({third})),
        Report("BLOCK", ssm.group, frozenset({first})),
    ]


async def test_the_same_swap_again_reports_nothing(network: Network, ssm: Traffic) -> None:
    sources = [ssm.address("s1"), ssm.address("s2")]
    async with aiomcast.listen(ssm.group, ssm.port, sources=sources, interface="v0") as feed:
        ssm.forwarded("s1", "s2")
        fence(network, ssm)
        with Capture(network) as capture:
            await feed.swap(sources)
            await feed.swap(reversed(sources))
            assert await reported(network, capture, ssm) == []


async def test_refresh_reports_again(network: Network, ssm: Traffic) -> None:
    wanted = SourceFilter.include([ssm.address("s1"), ssm.address("s2")])
    async with aiomcast.listen(ssm.group, ssm.port, sources=wanted, interface="v0") as feed:
        ssm.forwarded("s1", "s2")
        fence(network, ssm)
        with Capture(network) as capture:
            await feed.refresh()
            await seen(capture, ssm, is_state(wanted))
            assert state(await reported(network, capture, ssm)) == wanted
        assert feed.kernel_filter() == wanted


async def test_any_source(network: Network, asm: Traffic) -> None:
    with Capture(network) as capture:
        async with aiomcast.listen(asm.group, asm.port, interface="v0"):
            network.wait_for_member(asm.group, None)
            fence(network, asm)
        reports = await seen(capture, asm, lambda reports: len(reports) > 1)
    assert reports == [Report(kind, asm.group, frozenset()) for kind in ("TO_EX", "TO_IN")]


def held_by_the_bridge(network: Network, group: str) -> SourceFilter:
    """The filter the bridge holds for the receiver's port."""
    entries = [entry for entry in network.mdb() if (entry["port"], entry["grp"]) == ("p-rcv", group)]
    for entry in entries:
        if entry.get("src") is None and entry["filter_mode"] == "exclude":
            # In the list of an EXCLUDE group a source without a timer is blocked (RFC 3376, 6.2.1).
            listed = entry.get("source_list", ())
            return SourceFilter.exclude(one["address"] for one in listed if float(one["timer"]) == 0)
    return SourceFilter.include(entry["src"] for entry in entries if entry.get("src") is not None)


async def bridge_holds(network: Network, asm: Traffic, wanted: SourceFilter) -> None:
    """Wait until the bridge holds `wanted`, while the event loop runs."""

    def holds() -> bool:
        return held_by_the_bridge(network, asm.group) == wanted

    await asyncio.to_thread(wait_until, holds, 8, f"the bridge holds {wanted} for {asm.group}")


async def test_exclude_and_mode_switches(network: Network, asm: Traffic) -> None:
    first, second, third = (asm.address(name) for name in ("s1", "s2", "s3"))
    filters = [
        SourceFilter.exclude([first]),
        SourceFilter.exclude([second, third]),
        SourceFilter.include([third]),
        SourceFilter.any(),
    ]
    with Capture(network) as capture:
        async with aiomcast.listen(asm.group, asm.port, sources=filters[0], interface="v0") as feed:
            aiter(feed)  # somebody listens
            for wanted in filters:
                await feed.swap(wanted)
                if wanted.is_include:  # the bridge asks around before it believes that
                    await seen(capture, asm, is_state(wanted))
                else:
                    await bridge_holds(network, asm, wanted)
                fence(network, asm)
                assert feed.kernel_filter() == wanted
        reports = await seen(capture, asm, is_state(SourceFilter.none()))
    states = [state(reports[:count]) for count in range(1, len(reports) + 1)]
    assert [held for held in states if held in filters] == filters


async def test_a_mode_switch_is_reported_also_while_nobody_listens(network: Network, asm: Traffic) -> None:
    anyone, wanted = SourceFilter.any(), SourceFilter.include([asm.address("s1")])
    with Capture(network) as capture:
        async with aiomcast.listen(asm.group, asm.port, sources=anyone, interface="v0") as feed:
            network.wait_for_member(asm.group, None)
            fence(network, asm)
            await feed.swap(wanted)
            await seen(capture, asm, is_state(wanted))


async def test_a_list_over_several_sockets_is_reported_whole(network: Network, ssm: Traffic) -> None:
    if ssm.family == socket.AF_INET:
        sources = [f"192.0.2.{number}" for number in range(20, 45)]
    else:
        sources = [f"2001:db8::{number:x}" for number in range(0x20, 0x20 + 130)]
    with Capture(network) as capture:
        async with aiomcast.listen(ssm.group, ssm.port, sources=sources, interface="v0"):
            await seen(capture, ssm, is_state(SourceFilter.include(sources)))
        await seen(capture, ssm, is_state(SourceFilter.none()))
