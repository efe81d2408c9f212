"""When what is sent at a pace is sent, and who has a turn meanwhile."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from aiomcast.command.pacing import SLACK, Pace, exact_sleeps
from tests.support.platforms import linux_only


async def test_nothing_is_early() -> None:
    pace = Pace()
    for ahead in (0.0, 0.0001, 0.001, 0.004, -1.0, 0.0005):
        due = time.monotonic() + ahead
        await pace.until(due)
        assert time.monotonic() >= due


async def test_others_have_their_turn_although_all_is_past_due() -> None:
    pace, turned, patience = Pace(), asyncio.Event(), time.monotonic() + 10
    await pace.until(0.0)
    asyncio.get_running_loop().call_soon(turned.set)
    while not turned.is_set() and time.monotonic() < patience:
        await pace.until(0.0)
    assert turned.is_set()


@linux_only
def test_sleeps_are_exact_only_as_long_as_they_are_to_be() -> None:
    before = SLACK.read_text(encoding="ascii")
    with exact_sleeps():
        assert int(SLACK.read_text(encoding="ascii")) == 1
    assert SLACK.read_text(encoding="ascii") == before


def test_a_system_without_that_sleeps_as_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiomcast.command.pacing.SLACK", tmp_path / "none")
    with exact_sleeps():
        pass
    assert not (tmp_path / "none").exists()
