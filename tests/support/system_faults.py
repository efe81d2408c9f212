"""Faults below the library, in a process of their own: calls that no seam in Python reaches.

`run("tests.loopback.loops.scenes", "name", ...)` runs a module's `main` with the faults at hand; over
there, `faults()` gives what sets them.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

__all__ = ["faults", "run"]

_SOURCE = Path(__file__).with_suffix(".c")
_ROOT = Path(__file__).parents[2]


@cache
def _compiled() -> Path:
    library = Path(mkdtemp(prefix="aiomcast-faults-")) / "faults.so"
    atexit.register(rmtree, library.parent, ignore_errors=True)
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        if os.environ.get("AIOMCAST_REQUIRE_LAB") == "1":
            raise
        pytest.skip("no C compiler here")
    return library


def run(module: str, *arguments: str, reader: str, seconds: float = 150) -> str:
    """Run `python -m module *arguments` with the faults before the C library; return what it printed."""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(_compiled()),
        "AIOMCAST_READING": reader,
        "PYTHONWARNINGS": "error",
    }
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert not done.stderr, done.stderr[-4000:]
    return done.stdout


def faults() -> ctypes.CDLL:
    """Return fault_places(errno, left), fault_receive(errno), fault_receive_calls(), fault_stamps(count),
    and fault_hardware(seconds, nanoseconds)."""
    return ctypes.CDLL(None)
