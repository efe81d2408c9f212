"""The command `aiomcast`: arguments in, lines out. It uses the public names of the package only.

Importing this module where the extra `cli` is missing says so in one line and exits with 2.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import select
import socket
import stat
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any

import aiomcast

try:
    import rich
    import typer
    from rich.table import Table

    from . import demo as demonstration
    from .formats import FORMATS, Format
    from .running import run
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] not in ("rich", "typer"):
        raise
    print("aiomcast: the command line is an extra: pip install 'aiomcast[cli]'", file=sys.stderr)
    raise SystemExit(2) from None

__all__ = ["main"]

STDIN, STDOUT, STDERR = range(3)
_WRONG_USAGE: type[Exception] = typer.BadParameter.__mro__[2]  # its module differs among typer's versions
_LONGEST = 65535  # bytes: no datagram is longer
_FOREVER = 1e9  # seconds: longer than any wait, and what a clock can still add

app: typer.Typer = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


def _version(asked: bool) -> None:
    if asked:
        print("aiomcast", aiomcast.__version__)
        raise typer.Exit


Group = Annotated[str, typer.Argument(metavar="GROUP", help="Multicast group, IPv4 or IPv6.")]
Port = Annotated[int, typer.Argument(metavar="PORT", help="UDP port.")]
On = Annotated[
    str | None, typer.Option("--interface", metavar="I", help="Name, index or address; else by the route.")
]
Count = Annotated[int | None, typer.Option(metavar="N", min=1, help="End after N packets.")]
Only = Annotated[list[str] | None, typer.Option(metavar="A", help="Let source A in; repeat it for more.")]
But = Annotated[list[str] | None, typer.Option(metavar="A", help="Let all in but A; repeat it for more.")]
Rate = Annotated[
    float | None, typer.Option(metavar="N", min=0, help="Packets per second; 0: as fast as can be.")
]
Size = Annotated[
    int | None, typer.Option(metavar="BYTES", min=0, max=_LONGEST, help="Pad the numbers with spaces.")
]


@app.callback()
def _aiomcast(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Receive and send multicast, with the source filters of RFC 3678."""


@app.command()
def listen(
    group: Group,
    port: Port,
    source: Only = None,
    exclude: But = None,
    interface: On = None,
    count: Count = None,
    seconds: Annotated[float | None, typer.Option(metavar="S", min=0, help="End after S seconds.")] = None,
    form: Annotated[Format, typer.Option("--format", help="What is written.")] = Format.TEXT,
) -> None:
    """Write the packets of a group to standard output, what is going on to standard error.

    text: a line per packet. json: an object per line with every tag, "data" is the payload in
    base64 and "size" its length. hex: a hex dump. raw: the payloads, nothing between them.

    Ends with Ctrl-C, SIGTERM, --count, --seconds or a closed pipe, each with status 0.
    """
    if source and exclude:
        raise aiomcast.ArgumentError("--source and --exclude together", "give one of the two")
    sources = aiomcast.SourceFilter.exclude(exclude) if exclude else source or None
    ancillary = ("hop_limit", "traffic_class") if form is Format.JSON else ()
    feed = aiomcast.listen(group, port, sources=sources, interface=_interface(interface), ancillary=ancillary)
    run(_listen(feed, FORMATS[form], count, seconds))


@app.command()
def send(
    group: Group,
    port: Port,
    source: Annotated[str | None, typer.Option(metavar="A", help="Local address to send from.")] = None,
    interface: On = None,
    rate: Rate = None,
    count: Count = None,
    size: Size = None,
    ttl: Annotated[int, typer.Option(metavar="N", help="TTL or hop limit; 1 stays on the link.")] = 1,
    stdin: Annotated[bool, typer.Option("--stdin", help="Send the lines of standard input.")] = False,
) -> None:
    """Send numbered packets, "1", "2" and so on, or the lines of standard input.

    Numbers go out once per second unless --rate is given; lines as they come, without their
    line feed. Ends with Ctrl-C, SIGTERM, --count or the end of the input, and says on standard
    error what was sent.
    """
    if stdin and size is not None:
        raise aiomcast.ArgumentError("--size with --stdin", "it pads numbered packets only")
    payloads = _lines(STDIN) if stdin else _numbered(size)
    if rate is None:
        rate = 0 if stdin else 1
    with_options = functools.partial(aiomcast.Sender, interface=_interface(interface), ttl=ttl, source=source)
    run(_send(with_options(group, port), payloads, rate, count))


@app.command()
def interfaces() -> None:
    """List the interfaces: index, name, addresses, and whether they can multicast.

    A table on a terminal; elsewhere lines with tabs between the four, commas between addresses.
    """
    capable = {True: "yes", False: "no", None: "unknown"}
    rows = [(str(i.index), i.name, i.addresses, capable[i.multicast]) for i in aiomcast.list_interfaces()]
    if not os.isatty(STDOUT):
        lines = ("\t".join((index, name, ",".join(held), can)) for index, name, held, can in rows)
        print("\n".join(lines), flush=True)
        return
    table = Table("index", "name", "addresses", "multicast", header_style="bold")
    table.columns[0].justify = "right"
    for index, name, held, can in rows:
        table.add_row(index, name, "\n".join(held), can, style="dim" if can == "no" else None)
    rich.print(table)


@app.command()
def demo(seconds: Annotated[float, typer.Option(metavar="S", min=0.3, help="How long.")] = 6.0) -> int:
    """Watch source filters at work, on loopback alone and without privileges.

    Three sources send to one group, and a receiver swaps its source list every second. The
    verdict is computed from the packets that came in; the status is 1 when it is not "ok".
    """
    return run(demonstration.run(seconds))


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
        read = os.read(descriptor, _LONGEST)
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r") if sys.platform == "win32" else line
        if rest and (not read or len(rest) > _LONGEST):  # too long for a datagram: sending it says so
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
            return app(arguments, prog_name="aiomcast", standalone_mode=False) or 0
    except aiomcast.MulticastError as error:
        line, status = str(error), 2 if isinstance(error, aiomcast.ArgumentError) else 1
    except _WRONG_USAGE as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "aiomcast")
        message: str = error.format_message()  # type: ignore[attr-defined]
        line, status = f"{message.rstrip('.')}: see {command} --help", 2
    except SystemExit:  # typer's and rich's answer to a closed pipe
        return 0
    except OSError as error:
        line, status = error.strerror or str(error), 1
    except (asyncio.CancelledError, KeyboardInterrupt, typer.Abort):
        return 130
    _say("aiomcast: " + " ".join(line.split()))
    return status
