"""Standard input and output without blocking the event loop, and what is said on standard error."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = [
    "FOREVER",
    "STDERR",
    "STDIN",
    "STDOUT",
    "TO_FINISH",
    "Output",
    "drop_the_rest",
    "first_few",
    "is_closed_pipe",
    "say",
    "until_ready",
    "when_nobody_reads",
]

STDIN, STDOUT, STDERR = range(3)
FOREVER = 1e9  # seconds: longer than any wait, and what a clock can still add
PORTION = getattr(select, "PIPE_BUF", 4096)  # bytes: what a ready pipe surely takes, and whole
TO_FINISH = 1.0  # seconds, for what has been begun
MOST_TOLD = 8  # lines about things of a kind: of more it is said how many


class Output:
    """A descriptor that is written to in units, lines or payloads, of which none is cut.

    Who reads slowly stops the task that writes, but not the loop with its signals and timers. A task that is
    cancelled meanwhile finishes what it has begun, if that is taken within a second.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._written = 0

    @property
    def written(self) -> int:
        """How many units have been written, all of each."""
        return self._written

    async def write(self, units: Sequence[bytes]) -> None:
        """Write them in order."""
        first = 0
        while first < len(units):
            await self._wait()
            room = _room(self._descriptor) - len(units[first])
            last = first + 1
            while last < len(units) and (room := room - len(units[last])) >= 0:
                last += 1
            await self._write_whole(units[first:last])
            first = last

    async def _write_whole(self, units: Sequence[bytes]) -> None:
        data = b"".join(units)
        left = memoryview(data)
        try:
            while left:
                left = left[await self._write_some(left) :]
        except asyncio.CancelledError:
            if len(left) < len(data):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TO_FINISH):
                        while left:
                            left = left[await self._write_some(left) :]
            raise
        finally:
            if not left:
                self._written += len(units)

    async def _write_some(self, data: memoryview) -> int:
        await self._wait()
        try:
            return os.write(self._descriptor, data[: _room(self._descriptor)])
        except OSError as error:
            if is_closed_pipe(error):
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            raise

    async def _wait(self) -> None:
        if sys.platform != "win32" and not select.select((), (self._descriptor,), (), 0)[1]:
            loop = asyncio.get_running_loop()
            await until_ready(self._descriptor, loop.add_writer, loop.remove_writer)


if sys.platform == "linux":
    from fcntl import F_GETPIPE_SZ, fcntl, ioctl
    from termios import FIONREAD

    def _room(descriptor: int) -> int:
        """Return how many bytes it surely takes at once, now that it is ready: of an empty pipe all."""
        with contextlib.suppress(OSError):  # it is no pipe
            if not int.from_bytes(ioctl(descriptor, FIONREAD, bytes(4)), sys.byteorder):
                return int(fcntl(descriptor, F_GETPIPE_SZ))
        return PORTION

else:

    def _room(descriptor: int) -> int:
        """Return how many bytes it surely takes at once, now that it is ready."""
        return PORTION


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


@contextlib.contextmanager
def when_nobody_reads(act: Callable[[], object]) -> Iterator[None]:
    """Have `act` called as soon as nobody is left to read standard output, where that is a pipe."""
    loop = asyncio.get_running_loop()
    is_pipe = sys.platform != "win32" and stat.S_ISFIFO(os.fstat(STDOUT).st_mode)
    if is_pipe:  # this end of it becomes readable then
        loop.add_reader(STDOUT, act)
    try:
        yield
    finally:
        if is_pipe:
            loop.remove_reader(STDOUT)


def is_closed_pipe(error: OSError) -> bool:
    """Whether it says that nobody is left to read: on Windows it is EINVAL at the next write."""
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)


def say(line: object) -> None:
    """Write a line to standard error; nobody may be left to be told."""
    with contextlib.suppress(OSError):  # nobody is left to be told
        print(line, file=sys.stderr, flush=True)


def first_few(lines: Sequence[str], what: str) -> list[str]:
    """Return as many as one reads, and how many more of `what` there are."""
    shown = lines[:MOST_TOLD]
    return [*shown, f"and {len(lines) - MOST_TOLD} more {what}"] if len(lines) > MOST_TOLD else [*shown]


def drop_the_rest() -> None:
    """Have what standard output did not take go nowhere: at its end Python would try and fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)
