"""Runs what a command does: on which event loop, and what ends it early."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

__all__ = ["every", "run"]

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:  # what it yields and is sent is its loop's
    """Run `work` on uvloop where that is installed, else on asyncio's loop, and return what it returns.

    Ctrl-C, SIGTERM and SIGHUP (unless that is ignored, as by nohup) cancel it once. A uvloop that is
    there and cannot be loaded is a RuntimeWarning.
    """

    async def cancelled_by_signals() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        for number in _ending():
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, task.cancel)
        return await work

    with asyncio.Runner(loop_factory=_new_loop()) as runner:
        return runner.run(cancelled_by_signals())


def _ending() -> Iterator[int]:
    yield signal.SIGINT
    yield signal.SIGTERM
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        yield hangup


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    try:
        from uvloop import new_event_loop
    except ImportError as error:
        if error.name != "uvloop":  # it is there, but broken
            warnings.warn(f"uvloop cannot be loaded ({error}): asyncio's loop serves", RuntimeWarning, 1)
        return None
    return new_event_loop


async def every(seconds: float) -> AsyncIterator[None]:
    """Yield at times so far apart, however long what is done in between takes."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + seconds, loop.time())
        await asyncio.sleep(due - loop.time())
        yield
