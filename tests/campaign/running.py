"""Starts a run in a worker process and fetches its outcome."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, cast

from .draw import Scenario
from .worker import LIMIT, Outcome

__all__ = ["Way", "perform", "rules"]

_ROOT = Path(__file__).parents[2]
_MORE = 30.0  # seconds, beyond those after which the worker says itself that it is stuck


class Way(NamedTuple):
    """What a run is performed with: the event loop and the reader."""

    loop: str
    reader: str


def perform(scenario: Scenario, way: Way) -> Outcome:
    """Run a scenario. A worker that does not answer is a violation too, unless somebody has ended it."""
    outcome = _perform(scenario, way)
    if outcome is None:
        outcome = _perform(scenario, way)
    return outcome or _no_answer("crash", "the worker was ended from outside, twice")


def _perform(scenario: Scenario, way: Way) -> Outcome | None:
    environment = {
        **os.environ,
        "AIOMCAST_READING": way.reader,
        "PYTHONHASHSEED": str(scenario["seed"] % 2**32),
    }
    waits = sum(max(one["wait"], 0) for one in scenario["operations"])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.campaign.worker", way.loop],
            cwd=_ROOT,
            env=environment,
            input=json.dumps(scenario),
            text=True,
            capture_output=True,
            timeout=LIMIT + waits + _MORE,
        )
    except subprocess.TimeoutExpired as expired:
        return _no_answer("stuck", str(expired))
    if done.returncode in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
        return None
    if done.returncode:
        text = f"the worker ended with status {done.returncode}: {done.stderr}"
        return _no_answer("stuck" if "Timeout (" in done.stderr else "crash", text)
    return cast(Outcome, json.loads(done.stdout))


def rules(outcome: Outcome) -> set[str]:
    """Return the names of the rules that were broken."""
    return {violation["rule"] for violation in outcome["violations"]}


def _no_answer(rule: str, text: str) -> Outcome:
    violation = {
        "rule": rule,
        "ms": 0.0,
        "text": text[:4000],
        "stream": None,
        "membership": None,
        "packets": [],
    }
    return Outcome(violations=[violation], performed={}, lines=[], counts={}, excuses=[])
