"""How it is found out: the order in which one looks, tries and decides."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, final

import attrs

from ..errors import MulticastError
from ..values.addresses import family
from ..values.doubts import Doubt
from ..values.filters import SourceFilter
from ..values.interface import Interface
from ..values.sealed import sealed
from . import firewall, gathering, nft, probes
from .arrivals import Arrivals
from .facts import Facts, Look, Probes, RuleDrops
from .recording import Recording
from .table import decide
from .verdicts import Diagnosis, Verdict

__all__ = ["Case", "Window", "concluded", "examine", "likely"]

Window = Callable[[], Awaitable[object]]
"""What is awaited between the two looks."""

_AGAIN: Final = 0.3  # seconds: that a switch takes to forward again, many times


@final
@sealed
@attrs.frozen(slots=True)
class Case:
    """What is asked about."""

    group: str
    port: int
    wanted: SourceFilter
    interface: Interface


def concluded(facts: Facts) -> Diagnosis:
    """Return what the facts come to."""
    verdict, *others = decide(facts)
    return Diagnosis(verdict, tuple(others), facts)


def likely(case: Case, before: Look, after: Look, doubts: Sequence[Doubt]) -> Verdict | None:
    """Return the likeliest cause that two looks show, None where they show none. Waits for nothing."""
    verdict = decide(_facts(case, before, after, doubts))[0]
    return verdict if verdict.is_cause else None


async def examine(
    case: Case, arrivals: Arrivals, doubts: Sequence[Doubt], window: Window, *, probe: bool
) -> Diagnosis:
    """Look, await `window`, look again; where nothing has come, try to find out why.

    Sends nothing but this host's own reports unless `probe` allows it.
    """
    rules, untold = await firewall.rules()
    recording, missing = _recording(case.interface.name)
    try:
        leaves: tuple[bool | None, int | None] = (None, None)
        if not case.interface.is_loopback:  # where nothing is reported
            leaves = await probes.report_leaves(case.interface, family(case.group), recording)
        begun = arrivals.count()
        before, start = _look(case), time.monotonic()
        await window()
        seconds, arrived = time.monotonic() - start, arrivals.count() - begun
        after = _look(case)
        found = _facts(case, before, after, doubts)
        capture = recording.capture() if recording else None  # before the probes are in it
        inodes = arrivals.inodes if after.sockets else frozenset()  # where descriptors have inodes
        tried = Probes(reports_leave=leaves[0], report_version=leaves[1])
        unseen = [*after.unseen, *missing, *([untold] if untold else [])]
        if capture is not None and not capture.is_whole:
            unseen.append("some of the frames: there were more than it looks at")
        is_unread = False
        dropped_by: tuple[RuleDrops, ...] = ()
        if not arrived:
            is_unread = not arrivals.is_witness and any(
                one.waiting for one in after.sockets if one.inode in inodes
            )
            tried = await _tried(case, arrivals, tried, probe=probe)
            if rules is not None:
                dropped_by = nft.dropped(rules, (await firewall.rules())[0] or {})
            if not probe:
                unseen.append(
                    "whether a firewall drops the group, who else sends to it, and whether the source is "
                    "alive: that takes probes, which send datagrams"
                )
        return concluded(
            attrs.evolve(
                found,
                seconds=seconds,
                arrived=arrived,
                heard=arrivals.heard,
                unread=is_unread,
                kernel_drops=_drops(before, after, inodes if arrivals.is_witness else frozenset()),
                capture=capture,
                probes=tried,
                dropped_by=dropped_by,
                unseen=tuple(unseen),
            )
        )
    finally:
        if recording is not None:
            recording.close()


async def _tried(case: Case, arrivals: Arrivals, tried: Probes, *, probe: bool) -> Probes:
    """Return also what comes of asking this host, and of what is only tried where it is allowed."""
    before = arrivals.count()
    answers = again = None
    if not case.interface.is_loopback:
        answers = await probes.answers_queries(case.interface, case.group)
    if answers:
        again = await probes.until(lambda: arrivals.count() > before, _AGAIN)
    tried = attrs.evolve(tried, answers_queries=answers, comes_after_report=again)
    if not probe or again:
        return tried
    others = sorted(case.wanted.sources) if case.wanted.is_include else []
    return attrs.evolve(
        tried,
        comes_from_itself=await probes.comes_from_itself(case.interface, case.group, case.port),
        real_sources=await probes.real_sources(case.interface, case.group, case.port),
        source_answers=await probes.source_answers(others[0]) if others else None,
    )


def _look(case: Case) -> Look:
    return gathering.look(case.interface, case.group, case.port)


def _facts(case: Case, before: Look, after: Look, doubts: Sequence[Doubt]) -> Facts:
    name, number = case.interface.name, family(case.group)
    own, routes = gathering.own_and_routes(case.wanted.sources if case.wanted.is_include else ())
    return Facts(
        group=case.group,
        port=case.port,
        wanted=case.wanted,
        interface=name,
        before=before,
        after=after,
        doubts=tuple(doubts),
        kernel_drops=_drops(before, after, frozenset()),
        own_sources=own,
        routes=routes,
        rp_filter=gathering.rp_filter(name) if number == 4 else None,
        forced_version=gathering.forced_version(name, number),
    )


def _drops(before: Look, after: Look, aside: frozenset[int]) -> int:
    """Return how many datagrams sockets that were there all the time have dropped, but for some."""
    known = {one.inode: one.drops for one in before.sockets if one.inode not in aside}
    return sum(one.drops - known[one.inode] for one in after.sockets if one.inode in known)


def _recording(interface: str) -> tuple[Recording | None, list[str]]:
    try:
        return Recording(interface), []
    except (MulticastError, OSError) as error:
        why = "CAP_NET_RAW" if isinstance(error, PermissionError) else str(error)
        return None, [
            f"which ports, sources and VLAN tags frames have, and which queries and reports there are: {why}"
        ]
