"""The benchmarks run, with tiny counts. Nothing is asserted about time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks need Linux"),
    pytest.mark.skipif(
        shutil.which(os.environ.get("CC", "cc")) is None, reason="the baseline needs a C compiler"
    ),
]

FEW = ["queue", "portable", "portable-batches", "native", "native-batches"]
COMMANDS = {
    "drain": ["--packets", "100", "--rounds", "1", "--only", *FEW],
    "coalesced": ["--packets", "100", "--rounds", "1", "--only", *FEW],
    "live": ["--seconds", "0.05", "--precision", "1000", "--only", "native"],
    "latency": ["--seconds", "0.05", "--rounds", "1", "--paces", "1,000/s", "bursts of 20"],
    "lag": ["--loop", "asyncio", "--seconds", "0.3"],
    "blocked": ["--loop", "asyncio", "--rounds", "1", "--seconds", "0.1", "--busy", "0.01"],
    "growth": ["--packets", "40", "--rounds", "1", "--channels", "1", "5"],
    "threads": ["--packets", "40", "--rounds", "1", "--channels", "2"],
    "memory": ["--channels", "5"],
    "merge": ["--packets", "100", "--rounds", "1"],
    "relay": ["--packets", "100", "--rounds", "1"],
    "join": ["--channels", "5", "--rounds", "2"],
    "scrape": ["--channels", "5", "--rounds", "2"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_measures_and_writes_what_it_measured(command: str, tmp_path: Path) -> None:
    pytest.importorskip("rich")
    written = tmp_path / "measured.json"
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", command, "--json", str(written), *COMMANDS[command]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert command in ended.stdout
    measured = json.loads(written.read_text())
    assert measured["command"] == command
    assert measured["environment"]["kernel"].startswith("Linux")


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("rich")
    drawn = tmp_path / "measured.svg"
    command = ["memory", "--channels", "5", "--loop", "asyncio", "--plot", str(drawn)]
    ended = subprocess.run([sys.executable, "-m", "benchmarks", *command], cwd=ROOT, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
    assert "<svg" in drawn.read_text()


def test_a_page_is_written(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    page = tmp_path / "measured.md"
    measured = ["memory", "--channels", "5", "--loop", "asyncio"]
    command = [*measured, "--page", str(page)]
    ended = subprocess.run([sys.executable, "-m", "benchmarks", *command], cwd=ROOT, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
    lines = page.read_text().splitlines()
    assert lines[:3] == ["```", " ".join(["python -m benchmarks", *measured]), "```"]
    assert lines[4].startswith("Linux ")
    rows = [line.count("|") for line in lines if line.startswith("|")]
    assert len(rows) > 2
    assert len(set(rows)) == 1
