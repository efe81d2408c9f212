"""Random changes of long lists on the model of FreeBSD's sockets, by `spread` and `plan`."""

from __future__ import annotations

import errno
import random
from collections import Counter

import pytest

from aiomcast import SourceFilter
from aiomcast.system.planner import Action, Rules, Step, plan, spread
from tests.support.bsd_model import BSD, BsdSocket

GROUP = "239.1.1.1"
RULES = Rules(empty_set_clears=False)
HOST_LIMIT = 512  # net.inet.ip.mcast.maxgrpsrc
POOL = [f"203.0.{number // 250}.{number % 250 + 1}" for number in range(800)]


def take(sock: BsdSocket, step: Step) -> None:
    match step.action:
        case Action.JOIN_GROUP:
            sock.join_group(GROUP)
        case Action.LEAVE_GROUP:
            sock.leave_group(GROUP)
        case Action.JOIN_SOURCE:
            sock.join_source(GROUP, step.source or "")
        case Action.UNBLOCK_SOURCE:
            sock.unblock(GROUP, step.source or "")
        case Action.SET_FILTER:
            sock.set(GROUP, step.after.mode, sorted(step.after.sources))


def listed(sockets: list[BsdSocket]) -> set[str]:
    return set().union(*(sock.held[GROUP].entries for sock in sockets if GROUP in sock.held))


def changed(limit: int, longest: int, times: int) -> Counter[str]:
    """Return what became of so many changes, of sockets that are given `limit` sources at most."""
    draw, tally = random.Random(limit), Counter[str]()
    sockets, held = [BsdSocket()], [SourceFilter.none()]
    for _ in range(times):
        chosen = draw.sample(POOL[: 2 * longest], draw.choice([0, 1, 2, draw.randint(0, longest), longest]))
        wanted = draw.choice(
            [SourceFilter.include(chosen)] * 2
            + [SourceFilter.exclude(chosen[:limit]), SourceFilter.any(), SourceFilter.none()]
        )
        parts = spread(held, wanted, limit)
        while len(sockets) < len(parts):
            sockets.append(BsdSocket())
            held.append(SourceFilter.none())
        try:
            for number in range(len(parts) - 1, -1, -1):
                before = listed(sockets)
                for step in plan(held[number], parts[number], RULES):
                    take(sockets[number], step)
                    held[number] = step.after
                tally["too many for the host"] += len(before | listed(sockets)) > HOST_LIMIT
        except OSError as error:
            tally[errno.errorcode[error.errno or 0]] += 1
            sockets, held = [BsdSocket()], [SourceFilter.none()]
            continue
        tally["made"] += 1
        states = [sock.held[GROUP].filter if GROUP in sock.held else SourceFilter.none() for sock in sockets]
        assert states == held
        kept = [number for number, one in enumerate(held) if number == 0 or not one.is_none]
        sockets, held = [sockets[number] for number in kept], [held[number] for number in kept]
    return +tally


@pytest.mark.parametrize("longest", [60, 128, 400])
def test_with_half_of_what_one_call_lists_every_change_is_made(longest: int) -> None:
    assert changed(BSD.sources // 2, longest, 1000) == {"made": 1000}


def test_with_all_of_it_some_are_refused() -> None:
    tally = changed(BSD.sources, 120, 1000)
    assert set(tally) == {"made", "ENOSPC"}
    assert tally["ENOSPC"] > 10
