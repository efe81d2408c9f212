"""On which loop a command runs, and that it works on each: uvloop there, not there, and broken."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rich")

from aiomcast.command.running import run
from tests.support.loops import LOOPS

SEND = ("send", "232.1.1.1", "5000", "--source", "127.0.0.2", "--count", "1")


async def name() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.skipif("uvloop" not in LOOPS, reason="no uvloop for this Python")
def test_on_uvloop_where_it_is_installed() -> None:
    assert run(name()) == "uvloop"


def test_on_asyncios_loop_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run(name()) == "asyncio"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop to be broken")
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise ImportError('made for another')", "made for another"),
        ("import nosuch", "No module named 'nosuch'"),
    ],
)
def test_a_uvloop_that_cannot_be_loaded_is_said(tmp_path: Path, source: str, why: str) -> None:
    (tmp_path / "uvloop.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "aiomcast", *SEND],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0
    first, sent = done.stderr.splitlines()
    assert first == f"aiomcast: uvloop cannot be loaded ({why}): asyncio's loop serves"
    assert sent.startswith("sent 1 packets")
