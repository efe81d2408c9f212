"""One run, in a process of its own: `python -m tests.campaign.worker LOOP`.

It reads a scenario (JSON) from standard input and writes an outcome to standard output.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TextIO, TypedDict

from tests.support.loops import LOOPS

from . import checker, faults, history, world
from .draw import Scenario
from .player import Player
from .sending import Gun
from .stage import Stage
from .traffic import Traffic

__all__ = ["LIMIT", "Outcome", "run"]

LIMIT = 180.0
"""Seconds that a run may take beside the waits of its operations; then it counts as stuck."""
_PATIENCE = 0.02  # seconds for a probe in a loop's thread
_CLOCK_STEP = 200_000  # ns
_DROPPED_OPEN = re.compile("<PacketStream of .* was never closed")
_FEW, _MANY = 2048, 8192  # files: where all but a few are held open for a while, and where none may lack


class Outcome(TypedDict):
    """What a run came to: violations, as dictionaries of `history.Violation`, and its history as text.

    `performed` has the operations that fitted, by their place in the list, and when they were begun (ms).
    """

    violations: list[dict[str, Any]]  # Any: JSON
    performed: dict[str, float]
    lines: list[str]
    counts: dict[str, int]
    excuses: list[str]


def run(scenario: Scenario, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Outcome:
    """Run a scenario and judge it."""
    place = world.place(scenario["family"])
    waits = sum(max(one["wait"], 0) for one in scenario["operations"])
    limits = world.Limits(_FEW if "files" in scenario["trouble"] else _MANY)
    sys.setswitchinterval(scenario["switch"])
    seen: list[history.Note] = []
    warned: list[str] = []
    _watch(seen, warned)
    for _ in range(2):
        loop_factory().close()  # what a loop keeps open once and for all
    before = _descriptors()
    dropped = world.dropped()
    clock = _clock()
    start = time.monotonic_ns()
    with ExitStack() as stack:
        stack.enter_context(faults.installed())
        players = []
        for thread, shapes in enumerate(scenario["threads"]):
            gun = Gun(1 + thread, place.flows, place.interface, _PATIENCE)
            stack.callback(gun.close)
            stage = Stage(thread, len(scenario["threads"]), place, gun, limits)
            mine = [
                (number, one) for number, one in enumerate(scenario["operations"]) if one["thread"] == thread
            ]
            players.append(Player(stage, shapes, mine, LIMIT + waits))
        traffic = Traffic(place.flows, place.interface, scenario["traffic"])
        try:
            made = threading.Barrier(len(players))
            threads = [
                threading.Thread(target=_play, args=(player, loop_factory, made, seen), daemon=True)
                for player in players
            ]
            for thread_ in threads:
                thread_.start()
            for player in players:
                player.acted.wait()
            limits.restore()
            sent = traffic.stop()
        finally:
            traffic.kill()
        for player in players:
            player.rest()
        for thread_ in threads:
            thread_.join()
        for player in players:
            sent += player.stage.gun.log
        whole = _together(players, sent)
        whole.notes += seen
        excuses = [
            f"{name} +{count - dropped[name]}"
            for name, count in world.dropped().items()
            if count != dropped[name]
        ]
        if abs(_clock() - clock) > _CLOCK_STEP:
            excuses.append("the clock was set")
            whole.is_clock_set = True
        whole.excuses += excuses
        performed = {
            str(number): (began - start) / 1e6
            for player in players
            for number, began in player.stage.performed.items()
        }
        lines = sorted(line for player in players for line in player.stage.lines)
        del players, player, threads, thread_, stage, gun
    gc.collect()
    whole.warned = len(warned)
    left_open = _descriptors()
    if sorted(left_open) != sorted(before):
        new = sorted({*left_open} - {*before}) or sorted(left_open)
        whole.notes.append(history.Note("descriptors", time.monotonic_ns(), f"left open: {new}"))
    found = checker.check(whole)
    return Outcome(
        violations=[
            {
                "rule": one.rule,
                "ms": round((one.time - start) / 1e6, 3),
                "text": one.text,
                "stream": one.stream,
                "membership": one.membership,
                "packets": [_told(whole, key, start) for key in one.keys[:5]],
            }
            for one in found
        ],
        performed=performed,
        lines=[f"{(when - start) / 1e6:10.3f} ms  {text}" for when, text in lines],
        counts={
            "datagrams": len(whole.datagrams),
            "packets": sum(len(one.takes) for one in whole.streams),
            "memberships": len(whole.memberships),
            "streams": len(whole.streams),
            "changes": sum(len(one.changes) for one in whole.memberships),
            "refused": sum(bool(change.refused) for one in whole.memberships for change in one.changes),
            "ms": (time.monotonic_ns() - start) // 1_000_000,
        },
        excuses=excuses
        + [f"kernel drops {one.kernel_drops}" for one in whole.memberships if one.kernel_drops],
    )


def _play(
    player: Player,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    made: threading.Barrier,
    seen: list[history.Note],
) -> None:
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.get_loop()
            made.wait(10)  # before another thread leaves no files to be opened
            runner.run(player.run())
    except BaseException:
        text = traceback.format_exc()
        seen.append(history.Note("unexpected", time.monotonic_ns(), f"the event loop ended: {text}"))
    finally:
        player.acted.set()


def _together(players: list[Player], sent: list[history.Datagram]) -> history.History:
    whole = history.History(players[0].stage.place.flows, {one.key: one for one in sent})
    for player in players:
        records = player.stage.records
        whole.memberships += records.memberships
        whole.streams += records.streams
        whole.accounts += records.accounts
        whole.notes += records.notes
        whole.unstamped |= records.unstamped
    rests = [player.rested for player in players]
    whole.rest = None if None in rests else min(one for one in rests if one is not None)
    return whole


def _told(whole: history.History, key: history.Key, start: int) -> str:
    flow = whole.flows[key[1]]
    text = f"number {key[2]} of sender {key[0]} from {flow.source} to {flow.group} port {flow.port}"
    datagram = whole.datagrams.get(key)
    if datagram is None:
        return text
    times = [f"{(one - start) / 1e6:.3f}" for one in datagram[1:] if one is not None]
    taken = [
        f"{(when - start) / 1e6:.3f} by stream {one.number}"
        for one in whole.streams
        for when, taken in one.takes
        if taken == key
    ]
    return f"{text}, sent {' to '.join(times[:2])}, arrived by {(times[2:] or ['?'])[0]}, taken {taken}"


def _watch(seen: list[history.Note], warned: list[str]) -> None:
    """Note warnings of what was not ended, and what nobody catches.

    `warned` gets those of streams that were dropped open, which the checker expects.
    """

    def note(rule: str, text: str) -> None:
        seen.append(history.Note(rule, time.monotonic_ns(), text))

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, ResourceWarning) and _DROPPED_OPEN.match(str(message)):
            warned.append(str(message))
        elif issubclass(category, ResourceWarning) or "never awaited" in str(message):
            note("warning", f"{filename}:{lineno}: {category.__name__}: {message}")

    warnings.simplefilter("always")
    warnings.showwarning = show
    sys.unraisablehook = lambda what: note(
        "unexpected", f"{what.err_msg}: {what.exc_value!r} in {what.object!r}"
    )
    threading.excepthook = lambda what: note("unexpected", f"in a thread: {what.exc_value!r}")


def _clock() -> int:
    """Return how far CLOCK_REALTIME is ahead of CLOCK_MONOTONIC, in nanoseconds."""
    return max(time.time_ns() - time.monotonic_ns() for _ in range(100))


def _descriptors() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue  # that of the listing itself
    return found


def _main() -> None:
    scenario: Scenario = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints must not end up in the answer
    waits = sum(max(one["wait"], 0) for one in scenario["operations"])
    faulthandler.enable()
    faulthandler.dump_traceback_later(LIMIT + waits, exit=True)
    if world.is_root():
        world.prepare()
    outcome = run(scenario, LOOPS[sys.argv[1]])
    json.dump(outcome, answers)
    answers.flush()


if __name__ == "__main__":
    _main()
