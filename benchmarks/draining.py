"""One round of one competitor, in a worker: fill the socket, then time how long seeing everything takes."""

from __future__ import annotations

import asyncio
import time
from typing import TypedDict

from . import baseline, sockets
from .competitors import COMPETITORS

__all__ = ["Round", "baseline_round", "packets_that_fit", "round_of"]

_PATIENCE = 3.0  # seconds on top of what the slowest would take: then datagrams have been lost


class Round(TypedDict):
    """Nanoseconds per datagram, of the competitor and of the C loop beside it, and how many were seen."""

    ns: float
    baseline_ns: float
    seen: int


def packets_that_fit(packets: int, size: int, per_send: int) -> int:
    """Return how many of `packets` fit into the receive buffer this process may have."""
    return sockets.fitting(packets, size, per_send=per_send)


def baseline_round(packets: int, size: int, per_send: int) -> float:
    """Return the nanoseconds per datagram of the C loop on a fresh socket without UDP_GRO."""
    group = sockets.channels(1)[0]
    with sockets.joined(group, tagged=True) as sock:
        sockets.fill([group], packets, size, per_send=per_send)
        drain = baseline.library().drain
        start = time.perf_counter_ns()
        seen = drain(sock.fileno(), packets, size)
        spent = time.perf_counter_ns() - start
    if seen != packets:
        raise RuntimeError(f"the baseline saw {seen} of {packets} datagrams")
    return spent / packets


async def round_of(name: str, packets: int, size: int, per_send: int, baseline_first: bool) -> Round:
    """Measure the competitor `name` and the C loop, each on a fresh socket of its own."""
    before = baseline_round(packets, size, per_send) if baseline_first else 0.0
    receiving = COMPETITORS[name].make()
    await receiving.open(sockets.channels(1)[0], sockets.BUFFER)
    try:
        sockets.fill(sockets.channels(1), packets, size, per_send=per_send)
        spent = await _timed(receiving.consume(packets), packets)
        lost = receiving.dropped()
    finally:
        await receiving.close()
    if lost:
        raise RuntimeError(f"the receive buffer was too small by {lost} datagrams: ask for fewer")
    after = before or baseline_round(packets, size, per_send)
    return Round(ns=spent / packets, baseline_ns=after, seen=receiving.seen)


async def _timed(consuming, packets: int) -> int:
    deadline = _PATIENCE + packets * 50e-6
    start = time.perf_counter_ns()
    try:
        async with asyncio.timeout(deadline):
            await consuming
    except TimeoutError:
        pass
    return time.perf_counter_ns() - start
