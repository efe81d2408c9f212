"""One round of one competitor, in a worker: fill the socket, then time how long seeing everything takes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TypedDict

from . import baseline, sockets
from .competitors import COMPETITORS
from .stopwatch import ATTEMPTS, Stopwatch

__all__ = ["Round", "fitted", "round_of"]

GROUP = sockets.channels(1)[0]

_PATIENCE = 3.0  # seconds on top of what the slowest would take: then datagrams have been lost


class Round(TypedDict):
    """Nanoseconds per datagram, of the competitor and of the C loop beside it, and how many were seen.

    `disturbed` is whether another process had the core meanwhile, in every attempt:
    then processor time counts.
    """

    ns: float
    baseline_ns: float
    seen: int
    disturbed: bool


def fitted(packets: int, size: int, per_send: int = 1) -> tuple[int, list[str]]:
    """Return how many of `packets` fit into the receive buffer granted here, and a note if not all do."""
    fits = sockets.fitting(packets, size, per_send=per_send)
    if fits == packets - packets % per_send:
        return fits, []
    return fits, [
        f"{fits:,} datagrams per round: more do not fit into the receive buffer that is granted here; "
        "as root (SO_RCVBUFFORCE), or with a greater net.core.rmem_max, they would"
    ]


async def round_of(name: str, packets: int, size: int, per_send: int, baseline_first: bool) -> Round:
    """Measure the competitor `name` and the C loop, each on fresh sockets of its own."""
    base = _baseline(packets, size, per_send) if baseline_first else None
    spent: Stopwatch | None = None
    for _ in range(ATTEMPTS):
        watch, seen = await _attempt(name, packets, size, per_send)
        spent = watch.or_better(spent)
        if spent.undisturbed or seen < packets:
            break
    assert spent is not None
    base = base or _baseline(packets, size, per_send)
    return Round(
        ns=spent.ns / packets,
        baseline_ns=base.ns / packets,
        seen=seen,
        disturbed=not (spent.undisturbed and base.undisturbed),
    )


async def _attempt(name: str, packets: int, size: int, per_send: int) -> tuple[Stopwatch, int]:
    receiving = COMPETITORS[name].make()
    await receiving.open(GROUP, sockets.BUFFER)
    try:
        sockets.fill([GROUP], packets, size, per_send=per_send)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE + packets * 50e-6):
                with Stopwatch() as watch:
                    await receiving.consume(packets)
        lost = receiving.dropped()
    finally:
        await receiving.close()
    if lost:
        raise RuntimeError(f"the receive buffer was too small by {lost} datagrams: ask for fewer")
    return watch, receiving.seen


def _baseline(packets: int, size: int, per_send: int) -> Stopwatch:
    """Measure the C loop on a socket without UDP_GRO."""
    drain = baseline.library().drain
    best: Stopwatch | None = None
    for _ in range(ATTEMPTS):
        with sockets.joined(GROUP, tagged=True) as sock:
            sockets.fill([GROUP], packets, size, per_send=per_send)
            with Stopwatch() as watch:
                seen = drain(sock.fileno(), packets, size)
        if seen != packets:
            raise RuntimeError(f"the baseline saw {seen} of {packets} datagrams")
        best = watch.or_better(best)
        if best.undisturbed:
            break
    assert best is not None
    return best
