"""The C baseline: compiled into a directory of its own when first needed, called through ctypes.

Beside it `waiting`, which a worker process can have preloaded.
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["LIBRARY", "compiled", "destinations", "library", "waiting"]

LIBRARY = "AIOMCAST_BENCHMARK_LIBRARY"
"""The environment variable that tells worker processes where the compiled library is."""


class _Address(ctypes.Structure):
    """A sockaddr_in."""

    _fields_ = (
        ("family", ctypes.c_uint16),
        ("port", ctypes.c_uint16),
        ("address", ctypes.c_uint8 * 4),
        ("zero", ctypes.c_uint8 * 8),
    )


# name -> types of the arguments; each returns a long
_FUNCTIONS: dict[str, list[type]] = {
    "drain": [ctypes.c_int, ctypes.c_long, ctypes.c_size_t],
    "drain_set": [ctypes.c_int, ctypes.c_long, ctypes.c_size_t],
    "receive_for": [ctypes.c_int, ctypes.c_double, ctypes.c_size_t],
    "fill": [
        ctypes.c_int,
        ctypes.POINTER(_Address),
        ctypes.c_long,
        ctypes.c_long,
        ctypes.c_size_t,
        ctypes.c_long,
    ],
    "pace": [
        ctypes.c_int,
        ctypes.POINTER(_Address),
        ctypes.c_double,
        ctypes.c_double,
        ctypes.c_size_t,
    ],
    "pace_stamped": [
        ctypes.c_int,
        ctypes.POINTER(_Address),
        ctypes.c_double,
        ctypes.c_long,
        ctypes.c_double,
        ctypes.c_size_t,
    ],
    "receive_stamped": [
        ctypes.c_int,
        ctypes.c_double,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_int64),
        ctypes.POINTER(ctypes.c_int64),
        ctypes.c_long,
    ],
}


@functools.cache
def compiled() -> Path:
    """Return the compiled library. RuntimeError where there is no C compiler."""
    known = os.environ.get(LIBRARY)
    if known:
        return Path(known)
    built = _built("baseline")
    os.environ[LIBRARY] = str(built)
    return built


@functools.cache
def waiting() -> Path:
    """Return the library to preload that notes when a wait has ended. RuntimeError without a C compiler."""
    return _built("waiting")


def _built(name: str) -> Path:
    source = Path(__file__).with_name(f"{name}.c")
    built = Path(_directory().name) / f"{name}.so"
    command = [os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise RuntimeError("the baseline needs a C compiler: install one, or name it in CC") from None
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"the baseline did not compile:\n{error.stderr}") from None
    return built


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="aiomcast-benchmarks-")


@functools.cache
def library() -> ctypes.CDLL:
    """Return the library, its functions typed."""
    loaded = ctypes.CDLL(str(compiled()), use_errno=True)
    for name, types in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.argtypes = types
        function.restype = ctypes.c_long
    return loaded


def destinations(groups: Sequence[str], port: int) -> ctypes.Array[_Address]:
    """Return what `fill` and `pace` take as destinations."""
    made = (_Address * len(groups))()
    for address, group in zip(made, groups, strict=True):
        address.family = socket.AF_INET
        address.port = socket.htons(port)
        address.address[:] = socket.inet_aton(group)
    return made
