"""swap: what a change of filter costs beside the bare system calls; with --soak whether it keeps its word."""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from typing import TypedDict

import attrs
from rich.console import Console

import aiomcast
from aiomcast import SourceFilter
from aiomcast.rfc3678.abi import native
from tests.support.inside import readers_of

from . import environment, report, soak, sockets
from .results import Bar, Panel, Result, Samples, Table
from .worker import Worker

__all__ = ["HELP", "Times", "add_arguments", "measure", "run"]

HELP = "microseconds per swap beside the bare system calls; --soak: leaks and losses under traffic"
_SPENT = 0.01  # seconds that a sample should take: short, so that many are not interrupted
_MCAST_MSFILTER = 48  # Linux, linux/in.h
_CALLS = ctypes.CDLL(None, use_errno=True)
_CALLS.setsockopt.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_WAYS = {
    "text": "lists of text",
    "sets": "sets of text",
    "addresses": "lists of ipaddress objects",
    "filter": "SourceFilter objects",
}
_KEPT = {True: "half kept", False: "disjoint"}


class Times(TypedDict):
    """Microseconds per change in each round, and how many system calls the bare change makes."""

    calls: int
    bare: list[float]
    text: list[float]
    sets: list[float]
    addresses: list[float]
    filter: list[float]


@attrs.frozen
class Case:
    """`memberships` memberships, each of which goes from `sources` sources to as many others."""

    sources: int
    half_kept: bool
    memberships: int = 1
    version: int = 4

    @property
    def label(self) -> str:
        """The case in words."""
        what = f"{self.sources:,} sources" if self.sources > 1 else "1 source"
        if self.memberships > 1:
            what = f"apply: {self.memberships} x {what}"
        return f"{what}, {_KEPT[self.half_kept]}" + ", IPv6" * (self.version == 6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add sizes, and what restricts the soak."""
    parser.add_argument("--rounds", type=int, default=31, help="rounds (%(default)s)")
    parser.add_argument(
        "--sources", type=int, nargs="+", default=[1, 10, 100, 1000], help="sources per list (1 10 100 1000)"
    )
    parser.add_argument(
        "--memberships", type=int, default=100, help="memberships of 10 sources for apply (%(default)s)"
    )
    parser.add_argument(
        "--soak", type=float, metavar="SECONDS", help="swap under traffic instead, for SECONDS in all"
    )
    parser.add_argument("--family", type=int, choices=soak.FAMILIES, help="soak one address family only")
    parser.add_argument("--reader", choices=soak.READERS, help="soak one reader only")
    parser.add_argument("--rate", type=float, default=6_000, help="datagrams/s and source (%(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of filters (%(default)s)")


def run(options: argparse.Namespace) -> Result:
    """Measure every case on every loop, or soak. RuntimeError when the soak found a fault."""
    if options.soak is None:
        return _compare(options)
    result = soak.run(options)
    broken = [one for one in result.data["soak"] if soak.faults(one)]
    if broken or not result.data["complete"]:
        _show_all(result, options)
        raise RuntimeError("the soak failed: see the notes")
    return result


def _show_all(result: Result, options: argparse.Namespace) -> None:
    report.show(result, Console() if sys.stdout.isatty() else Console(width=120))
    if options.json:
        content = {"command": result.command, "environment": environment.describe(), **result.data}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _compare(options: argparse.Namespace) -> Result:
    result = Result("swap")
    # One source cannot be kept by half.
    cases = [Case(size, kept) for size in options.sources for kept in _KEPT if size > 1 or not kept]
    cases += [Case(10, kept, options.memberships) for kept in _KEPT]
    cases += [Case(10, kept, version=6) for kept in _KEPT]
    found: dict[tuple[str, Case], Times] = {}
    for loop in options.loops:
        with Worker(loop) as worker:
            for case in cases:
                found[loop, case] = worker.call(measure, rounds=options.rounds, **attrs.asdict(case))
    _tell(result, options, found)
    return result


async def measure(sources: int, half_kept: bool, memberships: int, version: int, rounds: int) -> Times:
    """Time changes there and back, the bare calls and the library's in turn: in a worker."""
    kept = sources // 2 if half_kept else 0
    source, group = (
        ("10.0.{}.{}", "239.193.{}.{}") if version == 4 else ("fd00::{:x}{:02x}", "ff05::{:x}{:02x}")
    )
    addresses = [source.format(n >> 8, n & 255) for n in range(1, 2 * sources - kept + 1)]
    lists = [addresses[:sources], addresses[sources - kept :]]
    groups = [group.format(n >> 8, n & 255) for n in range(256, 256 + 2 * memberships)]
    given: dict[str, Sequence[aiomcast.Sources]] = {
        "text": lists,
        "sets": [set(one) for one in lists],
        "addresses": [list(map(ip_address, one)) for one in lists],
        "filter": [SourceFilter.include(one) for one in lists],
    }
    times = Times(calls=0, bare=[], text=[], sets=[], addresses=[], filter=[])
    with ExitStack() as stack:
        async with aiomcast.Receiver() as receiver:
            ours = [
                await receiver.join(group, sockets.PORT, sources=lists[0], interface=sockets.LOOPBACK)
                for group in groups[:memberships]
            ]
            calls = _bare_calls(stack, groups[memberships:], lists, len(readers_of(ours[0])))
            times["calls"] = len(calls[0])

            async def bare(turn: int) -> None:
                setsockopt = _CALLS.setsockopt
                for arguments in calls[turn]:
                    if setsockopt(*arguments):
                        raise OSError(ctypes.get_errno(), "setsockopt")

            ways: dict[str, Callable[[int], Awaitable[None]]] = {"bare": bare}
            for way, both in given.items():
                ways[way] = _swapping(receiver, ours, both)
            repeats = {way: _repeats(await _spent(change, 1)) for way, change in ways.items()}
            for _ in range(rounds):
                for way, change in ways.items():
                    spent = await _spent(change, repeats[way])
                    # the type is ignored as it is a name of the dictionary
                    times[way].append(spent / repeats[way] / 2 * 1e6)  # type: ignore[literal-required]
    return times


def _swapping(
    receiver: aiomcast.Receiver,
    memberships: Sequence[aiomcast.Membership],
    given: Sequence[aiomcast.Sources],
) -> Callable[[int], Awaitable[None]]:
    """Return what swaps all memberships to `given[turn]`."""
    if len(memberships) == 1:
        membership = memberships[0]

        async def change(turn: int) -> None:
            await membership.swap(given[turn])

    else:
        changes = [dict.fromkeys(memberships, one) for one in given]

        async def change(turn: int) -> None:
            await receiver.filters.apply(changes[turn])

    return change


async def _spent(change: Callable[[int], Awaitable[None]], repeats: int) -> float:
    """Change there and back `repeats` times; return the seconds."""
    start = time.perf_counter()
    for _ in range(repeats):
        await change(1)
        await change(0)
    return time.perf_counter() - start


def _repeats(once: float) -> int:
    return max(1, min(1000, round(_SPENT / once)))


def _bare_calls(
    stack: ExitStack, groups: Sequence[str], lists: Sequence[list[str]], shards: int
) -> list[list[tuple[int, int, int, bytes, int]]]:
    """Return the arguments of the calls that make each list hold, over as many sockets as the library has.

    The sockets, closed with `stack`, hold the first list already.
    """
    abi = native()
    calls: list[list[tuple[int, int, int, bytes, int]]] = [[] for _ in lists]
    for group in groups:
        for shard in range(shards):
            sock = stack.enter_context(aiomcast.open_socket(group, sockets.PORT, sockets.LOOPBACK))
            # Of each list every `shards`-th: so a source that both have stays on its socket.
            sock.set_filter(SourceFilter.include(lists[0][shard::shards]))
            for number, listed in enumerate(lists):
                packed = [ip_address(one).packed for one in listed[shard::shards]]
                to = ip_address(group)
                value = abi.group_filter(sockets.LOOPBACK.index, to.packed, abi.MCAST_INCLUDE, packed)
                level = abi.IPPROTO_IP if to.version == 4 else abi.IPPROTO_IPV6
                arguments = (sock.fileno(), level, _MCAST_MSFILTER, value, len(value))
                calls[number].append(arguments)
    return calls


def _tell(result: Result, options: argparse.Namespace, found: dict[tuple[str, Case], Times]) -> None:
    result.data = {
        "rounds": options.rounds,
        "cases": [{"loop": loop, **attrs.asdict(case), **times} for (loop, case), times in found.items()],
    }
    bars = []
    for loop in options.loops:
        rows: list[tuple[str, ...]] = []
        for (on, case), times in found.items():
            if on != loop:
                continue
            base = Samples(tuple(times["bare"]))
            rows.append(
                (case.label, f"{times['calls']} bare", f"{base.median:,.1f}", base.spread(1), "1.00", "")
            )
            for way, says in _WAYS.items():
                spent = Samples(tuple(times[way]))  # type: ignore[literal-required]  # a name of it
                ratio = Samples(tuple(a / b for a, b in zip(spent.values, base.values, strict=True)))
                rows.append(
                    (
                        "",
                        says,
                        f"{spent.median:,.1f}",
                        spent.spread(1),
                        f"{ratio.median:.2f}",
                        ratio.spread(2),
                    )
                )
                bars.append(Bar(f"{case.label}, {says}", loop, ratio.median, ours=True))
                if case.sources == 10 and way == "text":  # the worst of its cases counts
                    key = ("swap 10" if case.memberships == 1 else "apply 100", loop)
                    result.measured[key] = max(ratio.median, result.measured.get(key, 0.0))
        title = f"swap on {loop}: microseconds per change of INCLUDE lists, {options.rounds} rounds"
        headings = ("", "by", "µs", "min-max", "ratio to bare", "min-max")
        result.tables.append(Table(title, headings, rows))
    title = "Changing a source list"
    result.panels.append(Panel(title, "times the bare system calls (less is better)", bars))
