"""The command `aiomcast`: arguments in, lines out. It uses the public names of the package only.

Importing this module where the extra `cli` is missing says so in one line and exits with 2.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.util
import os
import select
import socket
import stat
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiomcast

from .arguments import LONGEST, WrongUsage, parser
from .formats import FORMATS, Format
from .running import run

if importlib.util.find_spec("rich") is None:
    print("aiomcast: the command line is an extra: pip install 'aiomcast[cli]'", file=sys.stderr)
    raise SystemExit(2)

__all__ = ["main"]

STDIN, STDOUT, STDERR = range(3)
_FOREVER = 1e9  # seconds: longer than any wait, and what a clock can still add


def listen(given: Namespace) -> int:
    """Do what `aiomcast listen` is for, with the arguments of its parser, and return the status."""
    if given.source and given.exclude:
        raise aiomcast.ArgumentError("--source and --exclude together", "give one of the two")
    sources = aiomcast.SourceFilter.exclude(given.exclude) if given.exclude else given.source or None
    ancillary = ("hop_limit", "traffic_class") if given.form is Format.JSON else ()
    interface = _interface(given.interface)
    feed = aiomcast.listen(given.group, given.port, sources=sources, interface=interface, ancillary=ancillary)
    run(_listen(feed, FORMATS[given.form], given.count, given.seconds))
    return 0


def send(given: Namespace) -> int:
    """The same for `aiomcast send`."""
    if given.stdin and given.size is not None:
        raise aiomcast.ArgumentError("--size with --stdin", "it pads numbered packets only")
    payloads = _lines(STDIN) if given.stdin else _numbered(given.size)
    rate = (0 if given.stdin else 1) if given.rate is None else given.rate
    interface = _interface(given.interface)
    sender = aiomcast.Sender(given.group, given.port, interface=interface, ttl=given.ttl, source=given.source)
    run(_send(sender, payloads, rate, given.count))
    return 0


def interfaces(given: Namespace) -> int:
    """The same for `aiomcast interfaces`."""
    capable = {True: "yes", False: "no", None: "unknown"}
    rows = [(str(i.index), i.name, i.addresses, capable[i.multicast]) for i in aiomcast.list_interfaces()]
    if not os.isatty(STDOUT):
        lines = ("\t".join((index, name, ",".join(held), can)) for index, name, held, can in rows)
        print("\n".join(lines), flush=True)
        return 0
    import rich  # as late as can be: it takes longer than the rest of what most commands do
    from rich.table import Table

    table = Table("index", "name", "addresses", "multicast", header_style="bold")
    table.columns[0].justify = "right"
    for index, name, held, can in rows:
        table.add_row(index, name, "\n".join(held), can, style="dim" if can == "no" else None)
    rich.print(table)
    return 0


def demo(given: Namespace) -> int:
    """The same for `aiomcast demo`."""
    from . import demo as demonstration  # which draws with rich

    return run(demonstration.run(given.seconds))


_COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "listen": listen,
    "send": send,
    "interfaces": interfaces,
    "demo": demo,
}


async def _listen(
    listener: aiomcast.Listener,
    written_as: Callable[[list[aiomcast.Packet], str], bytes],
    count: int | None,
    seconds: float | None,
) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    watched = sys.platform != "win32" and stat.S_ISFIFO(os.fstat(STDOUT).st_mode)
    packets = octets = 0
    async with listener as joined, joined.batches() as batches:
        started = time.monotonic()
        listed = ", ".join(sorted(joined.filter.sources))
        if joined.filter.mode is aiomcast.FilterMode.EXCLUDE:
            listed = f"any source but {listed}" if listed else "any source"
        _say(f"listening to {joined.group} port {joined.port} on {joined.interface.name}, from {listed}")
        with contextlib.suppress(asyncio.CancelledError, BrokenPipeError):
            if watched:  # this end of a pipe becomes readable when nobody is left at the other
                loop.add_reader(STDOUT, task.cancel)
            if seconds is not None:
                loop.call_later(min(_FOREVER, seconds), task.cancel)
            async for batch in batches:
                taken = batch if count is None else batch[: count - packets]
                await _write(STDOUT, written_as(taken, joined.interface.name))
                packets += len(taken)
                octets += sum(len(packet.data) for packet in taken)
                if packets == count:
                    break
        if watched:
            loop.remove_reader(STDOUT)
        passed = time.monotonic() - started
    total = listener.receiver.statistics()
    _say(
        f"{packets} packets, {octets} bytes written in {passed:.1f} s; "
        f"{total.received} received, {total.filtered} filtered, {total.truncated} truncated, "
        f"{total.received - total.filtered - packets} left over, {total.kernel_drops} dropped by the kernel"
    )


async def _send(
    sender: aiomcast.Sender, payloads: AsyncIterator[bytes], rate: float, count: int | None
) -> None:
    packets = octets = 0
    started = time.monotonic()
    async with sender:
        with contextlib.suppress(asyncio.CancelledError):
            async for payload in payloads:
                ahead = started + packets / rate - time.monotonic() if rate else 0.0
                await asyncio.sleep(min(_FOREVER, max(0.0, ahead)))  # also by 0: signals have their turn
                await sender.send(payload)
                packets += 1
                octets += len(payload)
                if packets == count:
                    break
        passed, source = time.monotonic() - started, sender.source
    _say(
        f"sent {packets} packets, {octets} bytes in {passed:.1f} s "
        f"to {sender.group} port {sender.port} from {source} on {sender.interface.name}"
    )


async def _numbered(size: int | None) -> AsyncIterator[bytes]:
    number = 0
    while True:
        number += 1
        payload = b"%d" % number
        yield payload if size is None else payload.ljust(size)[:size]


async def _lines(descriptor: int) -> AsyncIterator[bytes]:
    loop, rest = asyncio.get_running_loop(), b""
    while True:
        await _until_ready(descriptor, loop.add_reader, loop.remove_reader)
        read = os.read(descriptor, LONGEST)
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r") if sys.platform == "win32" else line
        if rest and (not read or len(rest) > LONGEST):  # too long for a datagram: sending it says so
            yield rest
            rest = b""
        if not read:
            return


async def _write(descriptor: int, data: bytes) -> None:
    """Write all of it; who reads slowly stops this task, but not the loop with its signals and timers."""
    loop, left = asyncio.get_running_loop(), memoryview(data)
    portion = len(data) if sys.platform == "win32" else select.PIPE_BUF  # what a ready pipe surely takes
    while left:
        if sys.platform != "win32" and not select.select((), (descriptor,), (), 0)[1]:
            await _until_ready(descriptor, loop.add_writer, loop.remove_writer)
        try:
            left = left[os.write(descriptor, left[:portion]) :]
        except OSError as error:
            if sys.platform == "win32" and error.errno == errno.EINVAL:  # so Windows says it of a pipe
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            raise


async def _until_ready(descriptor: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    ready = asyncio.Event()
    try:
        add(descriptor, ready.set)
    except (OSError, NotImplementedError):  # a file, which is always ready, or a loop that cannot wait
        return
    try:
        await ready.wait()
    finally:
        remove(descriptor)


def _interface(given: str | None) -> str | int | None:
    if given is None or not given.isdecimal():
        return given
    try:
        socket.if_nametoindex(given)  # an interface may be called by a number
    except OSError:
        return int(given)
    return given


def _say(line: object) -> None:
    with contextlib.suppress(OSError):  # nobody is left to be told
        print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: the process's) and return its exit status.

    0: done, also when ended by Ctrl-C or a closed pipe. 1: the system refused. 2: wrong usage.
    For 1 and 2 there is one line on standard error that says what to do.
    """
    for number in (STDIN, STDOUT, STDERR):  # one that is closed would soon be another file's number
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: _say(f"aiomcast: {message}")
            return _run(arguments)
    except aiomcast.MulticastError as error:
        line, status = str(error), 2 if isinstance(error, aiomcast.ArgumentError) else 1
    except WrongUsage as error:
        line, status = f"{error}: see {error.prog} --help", 2
    except (BrokenPipeError, SystemExit):  # SystemExit: rich's answer to a closed pipe
        _drop_the_rest()
        return 0
    except OSError as error:
        _drop_the_rest()
        line, status = error.strerror or str(error), 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130
    _say("aiomcast: " + " ".join(line.split()))
    return status


def _drop_the_rest() -> None:
    """Have what standard output did not take go nowhere: at its end Python would try and fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        given = parser().parse_args(arguments)
    except SystemExit:  # --help and --version have been answered
        sys.stdout.flush()
        return 0
    if given.command is None:
        raise WrongUsage("Missing command", "aiomcast")
    return _COMMANDS[given.command](given)
