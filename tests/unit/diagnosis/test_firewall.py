"""The program nft where it does not answer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from aiomcast.diagnosis import firewall
from tests.support.platforms import linux_only
from tests.support.waiting import turns

pytestmark = linux_only


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have a program that never ends in its place. Return where that writes its number when it has begun."""
    program, told = tmp_path / "nft", tmp_path / "told"
    program.write_text(f"#!/bin/sh\necho $$ >{told}.new\nmv {told}.new {told}\nexec sleep 600\n", "ascii")
    program.chmod(0o755)
    monkeypatch.setattr(firewall, "_PLACES", str(tmp_path))
    monkeypatch.setattr(firewall, "_has_capability", lambda: True)
    return told


def has_begun(told: Path) -> bool:
    return told.exists()


def children() -> str:
    """Return the numbers of the processes that this thread has started and not waited for."""
    return Path("/proc/thread-self/children").read_text("ascii")


def is_gone(told: Path) -> bool:
    """Whether there is no such process, also none that has ended and was not waited for."""
    try:
        os.kill(int(told.read_text("ascii")), 0)
    except ProcessLookupError:
        return True
    return False


async def test_one_that_does_not_answer_is_ended(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 0.1
    while True:  # as long as it takes to start, here
        monkeypatch.setattr(firewall, "_SECONDS", seconds)
        assert await firewall.rules() == (
            None,
            "which rule of nftables drops how many packets: nft list ruleset did not tell",
        )
        if has_begun(started):
            break
        seconds *= 2
    assert is_gone(started)


async def test_one_is_ended_wherever_nobody_waits_for_it_any_more(started: Path) -> None:
    """In each turn of its start, and when it has begun."""
    before, count = children(), 0
    while not has_begun(started):
        count += 1 + count // 2
        asking = asyncio.create_task(firewall.rules())
        await turns(count)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert children() == before
    assert is_gone(started)
