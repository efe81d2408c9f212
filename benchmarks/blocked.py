"""blocked: what is lost while the event loop does something else, by the size of the receive buffer."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Literal

import aiomcast

from . import live_worker, sockets
from .live_worker import Heard
from .results import Result, Samples, Table
from .worker import Worker

__all__ = ["HELP", "add_arguments", "join", "run", "suffer"]

HELP = "datagrams lost while the event loop is blocked, by the size of the receive buffer"
_BUFFERS: dict[str, int | Literal["system"] | None] = {
    "the system's own": "system",
    "1 MiB": 1 << 20,
    "by default (4 MiB)": None,
    "16 MiB": 16 << 20,
}
_FREE = 0.1  # seconds between two times that the loop is blocked: enough to read what waits
_LAG = 0.2  # seconds to read what is left

_receiver: aiomcast.Receiver | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the rate and the times."""
    parser.add_argument("--rate", type=float, default=20_000, help="datagrams a second (%(default)g)")
    parser.add_argument("--size", type=int, default=1472, help="bytes of payload (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="trials of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each trial (%(default)g)")
    parser.add_argument(
        "--busy", type=float, nargs="+", default=[0.01, 0.05, 0.2, 0.5], help="seconds (0.01 0.05 0.2 0.5)"
    )


def run(options: argparse.Namespace) -> Result:
    """Try each size with each time, on the first loop asked for: the loops do not differ in this."""
    result = Result("blocked")
    found = []
    rows = []
    with Worker("asyncio") as sender, Worker(options.loops[0]) as worker:
        sender.call(live_worker.take_other_core)
        to = worker.call(live_worker.port)
        for name, buffer in _BUFFERS.items():
            cells, granted = [], 0
            for busy in options.busy:
                shares = []
                for _ in range(options.rounds):
                    granted = worker.call(join, buffer=buffer)
                    worker.start(suffer, busy=busy, seconds=options.seconds + _LAG)
                    sent = sender.call(
                        live_worker.send,
                        to_port=to,
                        rate=options.rate,
                        seconds=options.seconds,
                        size=options.size,
                    )
                    heard: Heard = worker.answer()
                    shares.append((sent - heard["seen"]) / sent)
                    found.append({"buffer": name, "granted": granted, "busy": busy, "sent": sent, **heard})
                lost = Samples(tuple(shares))
                cells.append(f"{lost.median:.1%} ({lost.spread(2)})" if max(shares) else "0")
            rows.append((name, f"{granted:,}", *cells))
    result.data = {"rate": options.rate, "size": options.size, "trials": found}
    headings = ("asked for", "granted", *(f"{busy * 1000:g} ms" for busy in options.busy))
    what = f"{options.rate:,.0f} datagrams/s of {options.size} bytes"
    title = f"lost while the loop is blocked, {what}: median (least-most)"
    result.tables.append(Table(title, headings, rows))
    return result


async def join(buffer: int | Literal["system"] | None) -> int:
    """Join: from here on the kernel's buffer fills. Return the bytes that were granted."""
    global _receiver
    _receiver = aiomcast.Receiver(receive_buffer=buffer, gro=False)
    await _receiver.join(
        live_worker.GROUP, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK
    )
    return _receiver.statistics().receive_buffer


async def suffer(busy: float, seconds: float) -> Heard:
    """Receive for `seconds`, while the loop is blocked for `busy` seconds again and again; then close."""
    assert _receiver is not None
    async with _receiver as receiver:
        counting = asyncio.create_task(_count(receiver.batches()))
        end = time.monotonic() + seconds
        while time.monotonic() + busy + _LAG < end:
            await asyncio.sleep(_FREE)
            _block(busy)
        await asyncio.sleep(max(end - time.monotonic(), 0) + _LAG)
        dropped = receiver.statistics().kernel_drops
    return Heard(seen=await counting, dropped=dropped)


def _block(seconds: float) -> None:
    time.sleep(seconds)


async def _count(batches: aiomcast.PacketBatches) -> int:
    return sum([len(batch) async for batch in batches])
