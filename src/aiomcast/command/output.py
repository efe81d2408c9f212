"""Standard input and output without blocking the event loop, and what is said on standard error."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["FOREVER", "STDERR", "STDIN", "STDOUT", "drop_the_rest", "say", "until_ready", "write"]

STDIN, STDOUT, STDERR = range(3)
FOREVER = 1e9  # seconds: longer than any wait, and what a clock can still add


async def write(descriptor: int, data: bytes) -> None:
    """Write all of it; who reads slowly stops this task, but not the loop with its signals and timers."""
    loop, left = asyncio.get_running_loop(), memoryview(data)
    portion = len(data) if sys.platform == "win32" else select.PIPE_BUF  # what a ready pipe surely takes
    while left:
        if sys.platform != "win32" and not select.select((), (descriptor,), (), 0)[1]:
            await until_ready(descriptor, loop.add_writer, loop.remove_writer)
        try:
            left = left[os.write(descriptor, left[:portion]) :]
        except OSError as error:
            if sys.platform == "win32" and error.errno == errno.EINVAL:  # so Windows says it of a pipe
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            raise


async def until_ready(descriptor: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    """Wait until the descriptor is ready, by a loop's `add_reader` or `add_writer` and what takes it back."""
    ready = asyncio.Event()
    try:
        add(descriptor, ready.set)
    except (OSError, NotImplementedError):  # a file, which is always ready, or a loop that cannot wait
        return
    try:
        await ready.wait()
    finally:
        remove(descriptor)


def say(line: object) -> None:
    """Write a line to standard error; nobody may be left to be told."""
    with contextlib.suppress(OSError):  # nobody is left to be told
        print(line, file=sys.stderr, flush=True)


def drop_the_rest() -> None:
    """Have what standard output did not take go nowhere: at its end Python would try and fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)
