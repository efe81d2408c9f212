"""Measurements run in processes of their own: one per event loop and reader, kept over the rounds.

A request names a function of this package; its answer is what the function returns, as JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import baseline

__all__ = ["LOOPS", "Worker", "WorkerError", "new_loop"]

LOOPS = ("asyncio", "uvloop")


# asyncio reads into a buffer of 256 KiB, which glibc maps and unmaps for every datagram, at several
# times the cost of the rest, until something in the process happens to raise these limits. Everyone
# is measured in the better case.
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}


class WorkerError(Exception):
    """What a worker raised, as its last line."""


class Worker:
    """A process with the event loop `loop`, the library reading by `reading` (None: as it likes).

    `tuned` keeps the C library's allocator from giving back what the next datagram needs again;
    `preload` is a library to load before all others.
    """

    def __init__(
        self, loop: str, reading: str | None = None, *, tuned: bool = True, preload: Path | None = None
    ) -> None:
        environment = {**os.environ, baseline.LIBRARY: str(baseline.compiled())}
        if tuned:
            environment |= _ALLOCATOR
        if reading is not None:
            environment["AIOMCAST_READING"] = reading
        if preload is not None:
            environment["LD_PRELOAD"] = str(preload)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, loop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:  # Any: JSON
        """Run a function, or a coroutine function, of a module of this package over there.

        Arguments and answer are what JSON can hold. WorkerError if it raises.
        """
        self.start(function, **arguments)
        return self.answer()

    def start(self, function: Callable[..., Any], **arguments: Any) -> None:  # Any: JSON
        """Do the first half of `call`: the worker is at it, and `answer` is due."""
        assert self._process.stdin is not None
        request = {"module": function.__module__, "name": function.__name__, "arguments": arguments}
        print(json.dumps(request), file=self._process.stdin, flush=True)

    def answer(self) -> Any:  # Any: JSON
        """Wait for what was started."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the worker ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """Return a new event loop of that kind."""
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()


def _serve(loop: str) -> None:
    # Always the same core, so that caches and clock are the same for all.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    logging.getLogger("aiomcast").addHandler(logging.NullHandler())  # of drops: they are measured here
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints must not end up among the answers
    with asyncio.Runner(loop_factory=lambda: new_loop(loop)) as runner:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                function = getattr(importlib.import_module(request["module"]), request["name"])
                value = function(**request["arguments"])
                if inspect.iscoroutine(value):
                    value = runner.run(value)
                answer = {"value": value}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
