"""`Relay`: what is received here, stored where everybody can read it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Final, Protocol, final

from ..errors import ArgumentError, ArgumentTypeError, StateError
from ..receiving.receiver import Receiver
from ..streams.packet_stream import PacketBatches, PacketStream
from ..values import bounds
from ..values.packets import Flow, Packet
from ..values.sealed import sealed
from ..values.shown import shown
from ..values.statistics import Statistics, StreamStatistics
from .broker import Broker, Demand, Outcome
from .cancelling import check_cancelled
from .counters import FlowCounter, RelayStatistics
from .errors import UnreachableError
from .identity import Identify, PayloadIdentity
from .messages import Message
from .subjects import DEFAULT_SUBJECT, Subject

__all__ = ["Relay"]

_log = logging.getLogger("aiomcast.relay")

_CHUNK: Final = 256  # messages that are handed to the server at a time
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds, after a refusal
_KEPT: Final = 3.0  # seconds after its acknowledgement, for which a message can be sent again
_LOOK: Final = 0.05  # seconds between looks whether a receiver has joined something
_LARGEST: Final = 65_507  # bytes: what a datagram can carry


class _Source(Protocol):
    """A receiver, a membership or a stream of packets."""

    def batches(self) -> PacketBatches:
        """What it yields, by lists."""

    def statistics(self) -> Statistics | StreamStatistics:
        """What was dropped so far."""


@final
@sealed
class Relay:
    """Stores what `source` yields on a server: `await Relay(membership, JetStream(url)).run()`.

    `source` is a receiver, a membership, a stream, or several of them. A receiver may have nothing joined
    for a while, as where `Sharing` joins on it: give the receiver itself then, not a stream of it. Each
    packet becomes a message with its payload untouched, under a subject made from the template `subject`,
    and with all its tags: source, source port, group, port, interface, kernel time, hop limit and traffic
    class where they were asked for, the relay's `name` (this host's, if None) and a counter for each flow.

    Two messages with the same identity are stored once: so several relays on several hosts receive the
    same channels, and nothing is stored twice. `identity` is a function of the packet: PayloadIdentity()
    where nothing is given; `SequenceIdentity(Sequence.parse("rtp"))` where the feed has numbers, which
    needs no clocks. The server must remember identities for `window` seconds.

    What was acknowledged last, in 3 seconds, is sent once more when the server comes back, as one that is
    killed can have lost it. At most `pending` packets wait for the server. While it is away, or full, they
    wait in memory and are sent again until it has said that each is stored; with that many waiting nothing
    is taken from the source, and its overflow policy decides: it waits (then the kernel drops) or drops,
    and counts.
    Packets with more than `largest` bytes of payload are not sent, and counted.

    ArgumentError for what cannot be. It belongs to one event loop.
    """

    def __init__(
        self,
        source: _Source | Iterable[_Source],
        broker: Broker,
        *,
        name: str | None = None,
        subject: str = DEFAULT_SUBJECT,
        identity: Identify | None = None,
        window: float = 60.0,
        pending: int = 8192,
        largest: int = _LARGEST,
        drain: float = 5.0,
    ) -> None:
        self._sources = _sources(source)
        self._broker = broker
        self._name = _name(socket.gethostname() if name is None else name)
        self._run = secrets.token_hex(4)
        self._subject = Subject(subject)
        self._identity = PayloadIdentity() if identity is None else identity
        if not callable(self._identity):
            raise ArgumentTypeError(f"identity {shown(identity)}", "give a function of the packet")
        self._window = _number("window", window, 1.0, 86_400.0)
        self._most_pending = int(_number("pending", pending, 1, 1_000_000))
        self._largest = int(_number("largest", largest, 1, _LARGEST))
        self._drain = _number("drain", drain, 0.0, 3600.0)
        self._flows: dict[Flow, FlowCounter] = {}
        self._interfaces: dict[int, str] = {}
        self._received = self._stored = self._merged = self._pending = 0
        self._retried = self._refused = self._too_long = 0
        self._dropped_before = 0
        self._room = asyncio.Condition()
        self._kept: deque[tuple[float, list[Message]]] = deque()  # acknowledged, and when
        self._has_sent_again = asyncio.Event()
        self._has_sent_again.set()
        self._is_away = False
        self._is_running = False

    def __repr__(self) -> str:
        return f"<Relay {self._name} to {self._broker!r}: {self._pending} pending>"

    @property
    def name(self) -> str:
        """What its messages say whose they are."""
        return self._name

    def statistics(self) -> RelayStatistics:
        """Return what it has done so far."""
        return RelayStatistics(
            self._received, self._stored, self._merged, self._pending,
            self._retried, self._refused, self._too_long, self._dropped() - self._dropped_before,
        )  # fmt: skip

    async def run(self) -> RelayStatistics:
        """Relay until every source has ended, and all is stored; return the statistics.

        RelayError before the first packet where the server is not there, or does not fit, and later
        where it will never take what is sent. StateError for a second call at a time. When it is
        cancelled it takes no more, and waits `drain` seconds at the most for what is pending.
        """
        if self._is_running:
            raise StateError(f"{self!r} runs already", "run it in one task")
        self._is_running = True
        self._dropped_before = self._dropped()
        try:
            async with AsyncExitStack() as opened:  # so that what comes during the look is not missed
                sources = [await opened.enter_async_context(one.batches()) for one in self._sources]
                await self._broker.check(Demand(self._subject.matching(), self._window, self._largest))
                await self._run_all(sources)
        finally:
            self._is_running = False
        return self.statistics()

    async def _run_all(self, sources: Sequence[PacketBatches]) -> None:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reading: set[asyncio.Task[None]] = set()
        storing: set[asyncio.Task[None]] = set()
        watching: set[asyncio.Task[None]] = set()
        try:
            for source, batches in zip(self._sources, sources, strict=True):
                _start(self._read(_lists(source, batches), storing, failed), reading, failed)
            _start(self._store_again(), watching, failed)
            await _end_of(reading, failed)
            await _end_of(storing, failed)
        finally:
            await _cancel(reading)
            if not failed.done():
                deadline = asyncio.get_running_loop().time() + self._drain
                if storing:
                    await asyncio.wait(storing, timeout=self._drain)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await self._has_sent_again.wait()
            await _cancel(watching)
            await _cancel(storing)

    async def _read(
        self,
        batches: AsyncIterator[list[Packet]],
        storing: set[asyncio.Task[None]],
        failed: asyncio.Future[None],
    ) -> None:
        async for batch in batches:
            size = min(_CHUNK, self._most_pending)
            for first in range(0, len(batch), size):
                chunk = batch[first : first + size]
                await self._wait_for_room(len(chunk))
                _start(self._store(self._messages(chunk)), storing, failed)

    async def _wait_for_room(self, wanted: int) -> None:
        async with self._room:
            await self._room.wait_for(lambda: self._pending + wanted <= self._most_pending)

    def _messages(self, chunk: Sequence[Packet]) -> list[tuple[Message, FlowCounter, int]]:
        made = []
        for packet in chunk:
            self._received += 1
            if len(packet.data) > self._largest:
                self._too_long += 1
                continue
            counter = self._flows.get(packet.flow)
            if counter is None:
                counter = self._counter(packet.flow)
            number, tags = counter.next(packet)
            message = Message(counter.subject, tags, packet.data, self._identity(packet))
            made.append((message, counter, number))
        self._pending += len(made)
        return made

    def _counter(self, flow: Flow) -> FlowCounter:
        if len(self._flows) >= bounds.FLOWS_RELAYED:
            del self._flows[next(iter(self._flows))]
            self._run = secrets.token_hex(4)  # its counter would begin anew: that is another run
        made = FlowCounter(
            flow, self._subject.of(flow), self._interface(flow.interface_index), self._name, self._run
        )
        self._flows[flow] = made
        return made

    def _interface(self, index: int) -> str:
        try:
            return socket.if_indextoname(index)
        except OSError:  # it is gone, or of a network in memory
            return str(index)

    async def _store(self, left: list[tuple[Message, FlowCounter, int]]) -> None:
        """Have these stored, however long that takes."""
        pause = _SHORTEST_PAUSE
        try:
            while left:
                try:
                    outcomes = await self._broker.store([message for message, _, _ in left])
                except UnreachableError as error:
                    if not self._is_away:
                        self._is_away = True
                        _log.warning("%s; packets wait", error.detail)
                    await self._broker.reachable()
                    self._retried += len(left)
                    continue
                if self._is_away:
                    self._is_away = False
                    _log.info("%r is back; %d packets wait", self._broker, self._pending)
                left = await self._settle(left, outcomes)
                if left:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    self._retried += len(left)
        finally:
            if left:  # cancelled, or failed for good: they stay pending, and are told of as such
                _log.error("%d packets of %s are not known to be stored", len(left), self._name)

    async def _settle(
        self, sent: list[tuple[Message, FlowCounter, int]], outcomes: Sequence[Outcome]
    ) -> list[tuple[Message, FlowCounter, int]]:
        refused, known = [], []
        for one, outcome in zip(sent, outcomes, strict=True):
            if outcome is Outcome.REFUSED:
                refused.append(one)
                continue
            message, counter, number = one
            known.append(message)
            counter.settle(number, outcome)
            if outcome is Outcome.MERGED:
                self._merged += 1
            else:
                self._stored += 1
        self._pending -= len(known)
        self._keep(known)
        if refused:
            if not self._refused:
                _log.warning("%r refused to store: %s", self._broker, self._broker.refusal)
            self._refused += len(refused)
        async with self._room:
            self._room.notify_all()
        return refused

    def _keep(self, known: list[Message]) -> None:
        """Keep for a while what was acknowledged: a server that is killed can lose the last of it.

        While nothing is acknowledged nothing is forgotten, however long the server is full, or away.
        """
        if not known:
            return
        now = asyncio.get_running_loop().time()
        while self._kept and self._kept[0][0] < now - _KEPT:
            self._kept.popleft()
        self._kept.append((now, known))

    async def _store_again(self) -> None:
        """Whenever the server is back, send again what it acknowledged last: what it has, it merges."""
        while True:
            self._has_sent_again.set()
            await self._broker.returned()
            self._has_sent_again.clear()
            kept = [messages for _, messages in self._kept]
            for messages in kept:
                with suppress(UnreachableError):  # it is away again, and will be back
                    await self._broker.store(messages)
                    self._retried += len(messages)
                check_cancelled()

    def _dropped(self) -> int:
        dropped = 0
        for source in self._sources:
            counted = source.statistics()
            dropped += counted.queue_drops + (counted.kernel_drops if isinstance(counted, Statistics) else 0)
        return dropped


async def _lists(source: _Source, batches: PacketBatches) -> AsyncIterator[list[Packet]]:
    """Yield what comes, and wait for a receiver that has nothing joined now."""
    while True:
        try:
            async for batch in batches:
                yield batch
            return
        except StateError:  # it would be in vain to wait, as far as the receiver knows
            if not isinstance(source, Receiver) or source.memberships:
                raise
        await asyncio.sleep(_LOOK)


def _start(
    work: Coroutine[None, None, None], among: set[asyncio.Task[None]], failed: asyncio.Future[None]
) -> None:
    """Have a task do it, and `failed` tell what it raises."""

    def done(task: asyncio.Task[None]) -> None:
        among.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not failed.done():
            failed.set_exception(error)

    task = asyncio.create_task(work)
    among.add(task)
    task.add_done_callback(done)


async def _end_of(tasks: set[asyncio.Task[None]], failed: asyncio.Future[None]) -> None:
    """Return when all have ended, or raise what one of them raises."""
    while tasks:
        await asyncio.wait((*tasks, failed), return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _sources(given: _Source | Iterable[_Source]) -> tuple[_Source, ...]:
    hint = "give a Receiver, a Membership, a PacketStream, or several"
    if isinstance(given, PacketStream) or callable(getattr(given, "batches", None)):
        return (given,)  # type: ignore[return-value]  # looked at above
    try:
        sources = tuple(given)  # type: ignore[arg-type]  # what is none is refused
    except TypeError:
        raise ArgumentTypeError(f"{shown(given)} has no packets", hint) from None
    for one in sources:
        if not callable(getattr(one, "batches", None)):
            raise ArgumentTypeError(f"{shown(one)} has no packets", hint)
    if not sources or len({id(one) for one in sources}) < len(sources):
        raise ArgumentError("no sources" if not sources else "a source stands there twice", hint)
    return sources


def _name(name: str) -> str:
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 255:
        raise ArgumentError(f"name {shown(name)}", "give the relay a name of 1 to 255 characters")
    return name


def _number(name: str, given: float, least: float, most: float) -> float:
    hint = f"give a number from {least:,} to {most:,}"
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise ArgumentTypeError(f"{name} {shown(given)}", hint)
    if not least <= given <= most:
        raise ArgumentError(f"{name} {shown(given)}", hint)
    return given
