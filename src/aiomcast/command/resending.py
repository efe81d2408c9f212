"""The run of `aiomcast replay`: a sender for each flow of a capture, and each datagram when it is due."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

import aiomcast
from aiomcast.feeds import Capture, Captured, CaptureStatistics

from .channels import Asked
from .output import say
from .pacing import PASSING, Pace, exact_sleeps

__all__ = ["Resending", "Way"]

MOST_SENDERS = 256  # sockets that are open at a time: of more flows, the one used longest ago closes
AT_A_TIME = 1 << 11  # bytes of the file: read between two datagrams, which that delays


@attrs.frozen
class Way:
    """Where to and how: `source` is None for the capture's own, "" for one that the system chooses."""

    to_all: Asked | None
    mapped: Mapping[tuple[str, int], Asked]
    source: str | None
    interface: str | int | None
    ttl: int | None

    def to(self, one: Captured) -> tuple[str, int]:
        """Return the group and port that a datagram goes to."""
        to = self.mapped.get((one.group, one.port), self.to_all)
        return (one.group, one.port) if to is None else (to.group, to.port)


class Resending:
    """One run."""

    def __init__(
        self,
        capture: Capture,
        wanted: Sequence[Asked],
        way: Way,
        speed: float | None,
        rounds: int,
        count: int | None,
    ) -> None:
        self._capture = capture
        self._wanted: dict[tuple[str, int], frozenset[str]] = {}
        for one in wanted:
            known = self._wanted.get((one.group, one.port), frozenset())
            self._wanted[one.group, one.port] = known | frozenset(one.sources)
        self._way = way
        self._speed = speed
        self._rounds = rounds
        self._count = count
        self._senders: dict[tuple[str, int, str, int], aiomcast.Sender] = {}
        self._on: dict[str, None] = {}
        self._groups: dict[tuple[str, int], None] = {}
        self._sources: dict[str, None] = {}
        self._packets = self._octets = self._tried = 0
        self._refused = Counter[int]()
        self._pace = Pace()

    async def run(self) -> int:
        """Return the exit status: 1 where the system refused datagrams."""
        started = time.monotonic()
        try:
            with contextlib.suppress(asyncio.CancelledError), exact_sleeps():
                number = 0
                while number != self._rounds or not self._rounds:
                    number += 1
                    if not await self._round():
                        break
        finally:
            while self._senders:
                await self._senders.popitem()[1].aclose()
        self._say(time.monotonic() - started, self._capture.statistics())
        return 1 if self._refused else 0

    async def _round(self) -> bool:
        """Send the file once; say whether there was something to send, and more may be."""
        before, begun, first_ns = self._tried, time.monotonic(), None
        for batch in self._capture.batches(octets=AT_A_TIME):
            if not batch:
                await asyncio.sleep(0)  # the signals have their turn also where nothing is sent
            for one in batch:
                stamp_ns = one.timestamp_ns
                if not self._is_wanted(one):
                    continue
                due = 0.0
                if self._speed is not None and stamp_ns is not None:
                    first_ns = stamp_ns if first_ns is None else first_ns
                    due = begun + (stamp_ns - first_ns) / 1e9 / self._speed
                await self._pace.until(due)
                await self._send(one)
                if self._tried == self._count:
                    return False
        return self._tried > before

    def _is_wanted(self, one: Captured) -> bool:
        if not self._wanted:
            return True
        sources = self._wanted.get((one.group, one.port))
        return sources is not None and (not sources or one.source in sources)

    async def _send(self, one: Captured) -> None:
        self._tried += 1
        sender = await self._sender(one)
        ttl = one.hop_limit if self._way.ttl is None else self._way.ttl
        if sender.ttl != ttl:
            sender.ttl = ttl
        try:
            await sender.send(one.data)
        except aiomcast.RefusedError as error:
            if error.errno not in PASSING:
                raise
            if error.errno not in self._refused:
                say(f"aiomcast: {error}; more of them are counted")
            self._refused[error.errno] += 1
        else:
            self._packets += 1
            self._octets += len(one.data)

    async def _sender(self, one: Captured) -> aiomcast.Sender:
        way = self._way
        group, port = way.to(one)
        is_own = way.source is not None
        key = (way.source or "", 0, group, port) if is_own else (one.source, one.source_port, group, port)
        sender = self._senders.pop(key, None)
        if sender is None:
            if len(self._senders) >= MOST_SENDERS:
                await self._senders.pop(next(iter(self._senders))).aclose()
            sender = self._opened(key)
            self._on[sender.interface.name] = self._groups[group, port] = self._sources[sender.source] = None
        self._senders[key] = sender  # last: the one used longest ago is the first
        return sender

    def _opened(self, key: tuple[str, int, str, int]) -> aiomcast.Sender:
        source, source_port, group, port = key
        on = self._way.interface
        if self._way.source is not None:
            return aiomcast.Sender(group, port, interface=on, source=source or None)
        try:  # as an address of this host, if it is one: that takes no privilege
            return aiomcast.Sender(group, port, interface=on, source=source, source_port=source_port)
        except (aiomcast.RefusedError, aiomcast.InterfaceError):
            pass
        try:
            return aiomcast.Sender(
                group, port, interface=on, source=source, source_port=source_port, foreign=True
            )
        except (aiomcast.NoPermissionError, aiomcast.UnsupportedError) as error:
            error.hint += ", with --source A or --to GROUP:PORT"
            raise

    def _say(self, seconds: float, told: CaptureStatistics) -> None:
        def many(names: Mapping[str, None], word: str) -> str:
            return next(iter(names)) if len(names) == 1 else f"{len(names)} {word}"

        groups = {f"{group} port {port}": None for group, port in self._groups}
        left_out = [
            f"{count} {what}"
            for count, what in (
                (told.other, "other packets"),
                (told.cut, "cut by the capture"),
                (told.malformed, "malformed"),
                (told.unknown_link, "of an unknown link type"),
                (told.incomplete, "incomplete of fragments"),
            )
            if count
        ]
        say(
            f"sent {self._packets} packets, {self._octets} bytes in {seconds:.1f} s"
            + f" to {many(groups, 'groups')} from {many(self._sources, 'sources')}"
            f" on {many(self._on, 'interfaces')}"
            * bool(self._groups)
            + f"; the system refused {self._refused.total()} more" * bool(self._refused)
            + f"; not sent: {', '.join(left_out)}" * bool(left_out)
        )
