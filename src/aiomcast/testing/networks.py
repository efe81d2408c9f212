"""A network in memory: hosts on links, a clock that stands still, and whoever sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, final
from weakref import WeakSet

from ..errors import ArgumentError, ArgumentTypeError
from ..memory.clock import Clock, nanoseconds
from ..memory.host import IN_MEMORY
from ..memory.impairments import Impairments
from ..memory.reading import MemoryReading
from ..memory.refusing import Call
from ..memory.station import Station
from ..memory.wire import SentDatagram, Wire
from ..reading.contract import Reading
from ..values.addresses import Address, check_port, group_address, source_address
from ..values.capabilities import Capabilities
from ..values.doubts import Doubt
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface, InterfacesLike
from ..values.links import DeviceGroup, Link
from ..values.shown import shown
from .hosts import MemoryHost

__all__ = ["DEFAULT_LINK", "MemoryNetwork"]

DEFAULT_LINK: Final = "eth0"
"""The link on which every host has its first interface, and on which is sent unless another is named."""
_EPOCH_NS = 1_700_000_000_000_000_000  # 14 November 2023, 22:13:20 UTC
_SOURCE_LIMIT = 10  # Linux: net.ipv4.igmp_max_msf
_RECEIVE_BUFFER = 212_992  # bytes; Linux: net.core.rmem_default
_SOURCE_PORT = 49152  # the first of RFC 6335's dynamic ports
_QUIET_TURNS = 8  # of the loop, after which those that await packets have taken them
_PATIENCE_NS = 10_000_000  # a handover lets the old sockets be read out after half of that
_LARGEST = 65507  # bytes of payload: what UDP over IPv4 can carry


@final
class MemoryNetwork:
    """A network in memory: `Receiver(network=MemoryNetwork())` receives what `send` sends.

    It has one host, `host`, with one interface, "eth0"; `add_host` adds others. To a receiver the
    network itself stands for that host.

    `latency` is how many seconds a datagram takes; with 0 it is at the sockets when `send` returns.
    `loss`, `duplication` and `reordering` are probabilities for each datagram, drawn from `seed`:
    equal seeds have equal fates. One that is reordered arrives after the next on its link; that
    one is waited for until the clock moves, `settle`, or the end of a `send_many`.

    `start_ns` is where the clock begins, in nanoseconds since the epoch. It stands still between
    calls of `advance` and `run_for`. Timers of receivers go by it, but at the latest as long as
    really passes: so nobody waits for ever who does not move it. With `real_timers=False` they go
    by it alone.

    `source_limit` is how many sources a socket can list (None: any number), `receive_buffer` how
    many bytes it holds where the receiver asks for nothing; each datagram takes 256 beside its payload.

    ArgumentError for a number out of range. It belongs to the thread of the event loop.
    """

    def __init__(
        self,
        *,
        latency: float = 0.0,
        loss: float = 0.0,
        duplication: float = 0.0,
        reordering: float = 0.0,
        seed: int = 0,
        start_ns: int = _EPOCH_NS,
        source_limit: int | None = _SOURCE_LIMIT,
        receive_buffer: int = _RECEIVE_BUFFER,
        real_timers: bool = True,
    ) -> None:
        impairments = Impairments(loss, duplication, reordering, seed)
        self._clock = Clock(_whole("start_ns", start_ns, 0))
        size = _whole("receive_buffer", receive_buffer, 1)
        limit = _limit(source_limit)
        self._wire = Wire(self._clock, impairments, nanoseconds(latency), limit, size, real_timers)
        self._hosts: dict[str, MemoryHost] = {}
        self._running: WeakSet[MemoryReading] = WeakSet()
        self._host = self.add_host("host", "192.0.2.1", "2001:db8::1")

    # Hosts

    @property
    def host(self) -> MemoryHost:
        """The host that is always there: "host", 192.0.2.1 and 2001:db8::1 on "eth0"."""
        return self._host

    @property
    def hosts(self) -> Mapping[str, MemoryHost]:
        """All hosts by name."""
        return MappingProxyType(self._hosts)

    def add_host(self, name: str, *addresses: Address) -> MemoryHost:
        """Add a host that has `addresses` on "eth0". ArgumentError if the name is taken."""
        if name in self._hosts:
            raise ArgumentError(f"there is a host {shown(name)}", "choose another name")
        host = MemoryHost(Station(name, self._wire), self._running)
        host.add_interface(DEFAULT_LINK, *addresses)
        self._hosts[name] = host
        return host

    # Sending

    def send(
        self,
        source: Address,
        group: Address,
        port: int,
        data: bytes,
        *,
        link: str = DEFAULT_LINK,
        source_port: int = _SOURCE_PORT,
        hop_limit: int = 1,
        traffic_class: int = 0,
    ) -> None:
        """Put one datagram from `source` on `link`: any address, whether a host has it or not.

        It arrives at every socket that is bound to `group` and `port`, has joined on an interface
        of that link, and lets the source in. Nobody is told where there is none.

        `data` is at most 65507 bytes. AddressError, ArgumentError or ArgumentTypeError for what
        cannot be sent.
        """
        text = group_address(group)
        if isinstance(data, str) or not isinstance(data, (bytes, bytearray, memoryview)):
            raise ArgumentTypeError(f"data {shown(data)}", "give bytes")
        if len(data) > _LARGEST:
            raise ArgumentError(f"{len(data)} bytes are no datagram", f"give {_LARGEST} at most")
        datagram = SentDatagram(
            bytes(data),
            source_address(source, text),
            check_port(source_port),
            text,
            check_port(port),
            _whole("hop_limit", hop_limit, 0, 255),
            _whole("traffic_class", traffic_class, 0, 255),
        )
        self._wire.send(link, datagram)

    def send_many(
        self,
        source: Address,
        group: Address,
        port: int,
        payloads: Iterable[bytes],
        *,
        link: str = DEFAULT_LINK,
        source_port: int = _SOURCE_PORT,
        hop_limit: int = 1,
        traffic_class: int = 0,
    ) -> None:
        """Send one datagram for each of `payloads`, in order. Arguments and errors are those of `send`."""
        for data in payloads:
            self.send(
                source,
                group,
                port,
                data,
                link=link,
                source_port=source_port,
                hop_limit=hop_limit,
                traffic_class=traffic_class,
            )
        self._wire.release()

    # Time

    def time_ns(self) -> int:
        """Return the clock's time in nanoseconds: that of the latest packet, or of the last advance."""
        return self._clock.time_ns()

    def advance(self, seconds: float) -> None:
        """Move the clock on: what is due until then arrives, timers come, each at its time.

        No task runs meanwhile; see `run_for`. What a timer's call raises comes out here.
        """
        self._wire.release()
        self._clock.advance_to(self._clock.reached_ns + nanoseconds(seconds))

    async def settle(self) -> None:
        """Let the loop turn until all that has arrived was read, and taken by those that await it.

        The clock stays where it is, but for a swap that has changed the mode, or moved sources
        between sockets: packets after it wait until the old sockets are read out, and a timer of a
        few milliseconds says when. What stays in a socket or a stream then is what nobody takes.
        Never returns while somebody goes on sending.
        """
        self._wire.release()
        patience_ns = self._clock.reached_ns + _PATIENCE_NS
        await self._turn()
        while (due_ns := self._waited_for()) is not None and due_ns <= patience_ns:
            self._clock.advance_to(max(due_ns, self._clock.reached_ns))
            await self._turn()

    def _waited_for(self) -> int | None:
        waits = [due_ns for one in tuple(self._running) if (due_ns := one.waits_until_ns) is not None]
        return min(waits, default=None)

    async def _turn(self) -> None:
        quiet = 0
        while quiet < _QUIET_TURNS:
            before = self._wire.happened
            await asyncio.sleep(0)
            is_busy = self._wire.happened != before or any(one.is_pending for one in tuple(self._running))
            quiet = 0 if is_busy else quiet + 1

    async def run_for(self, seconds: float) -> None:
        """Move the clock on step by step, and let the loop settle at each time something is due."""
        end_ns = self._clock.reached_ns + nanoseconds(seconds)
        await self.settle()
        while (due_ns := self._clock.next_ns) is not None and due_ns <= end_ns:
            self._clock.advance_to(max(due_ns, self._clock.reached_ns))
            await self.settle()
        self._clock.advance_to(end_ns)

    # Limits and faults

    def refuse(self, call: Call, errno: int, times: int = 1, *, interface: str | None = None) -> None:
        """Refuse the next `times` calls of a kind, on whichever host, as a system does with `errno`.

        `call` is "open" (a socket), "join" (a group, or its first source), "set" (another list) or
        "leave"; with `interface` only those on interfaces of this name count. The receiver raises the
        `RefusedError` that the errno stands for.
        """
        number, count = _whole("errno", errno, 1), _whole("times", times, 1)
        self._wire.refusing.add(call, number, count, interface)

    def set_source_limit(self, limit: int | None) -> None:
        """Let a socket list `limit` sources from now on, None: any number. What is held stays."""
        self._wire.source_limit = _limit(limit)

    # What a receiver asks of a network

    @property
    def capabilities(self) -> Capabilities:
        """Everything but coalescing."""
        return IN_MEMORY

    @property
    def rejoin_pause(self) -> float:
        """0: what is left can be joined again at once."""
        return 0.0

    def join_wait(self, group: str, indexes: Iterable[int]) -> float:
        """Return 0: nothing has to pass before a join."""
        return 0.0

    def open(self) -> Reading:
        """Return what opens readers on `host`. See `MemoryHost.open`."""
        return self._host.open()

    def place(
        self, group: Address, sources: Sources, interface: InterfacesLike
    ) -> tuple[SourceFilter, tuple[Interface, ...]]:
        """Return what a join on `host` means. See `MemoryHost.place`."""
        return self._host.place(group, sources, interface)

    def find(self, wanted: str | int) -> Interface:
        """Return the interface of `host` with this name or index. InterfaceError where there is none."""
        return self._host.find(wanted)

    def link(self, wanted: str | int) -> Link | None:
        """Return how an interface of `host` is now. See `MemoryHost.link`."""
        return self._host.link(wanted)

    def links(self) -> list[Link]:
        """Return how all interfaces of `host` are now, by index."""
        return self._host.links()

    def device_groups(self, family: int) -> frozenset[DeviceGroup]:
        """Return the groups that interfaces of `host` have members of."""
        return self._host.device_groups(family)

    def doubts(self, interface: Interface, group: str, wanted: SourceFilter) -> tuple[Doubt, ...]:
        """Return nothing: what can be joined here can come."""
        return ()

    def look(self, interface: Interface, group: str, port: int) -> None:
        """Return None: there is no system behind it."""

    def report_again(self, index: int, family: int) -> bool:
        """Say that it is done. See `MemoryHost.report_again`."""
        return self._host.report_again(index, family)

    def source_limit(self, group: str) -> int | None:
        """Return how many sources one socket may hold, None for any number."""
        return self._host.source_limit(group)


def _whole(name: str, given: int, least: int, most: int | None = None) -> int:
    hint = f"give a whole number, {least} or more" + (f", {most} at most" if most is not None else "")
    if isinstance(given, bool) or not isinstance(given, int):
        raise ArgumentTypeError(f"{name} {shown(given)}", hint)
    if given < least or (most is not None and given > most):
        raise ArgumentError(f"{name} {shown(given)}", hint)
    return given


def _limit(given: int | None) -> int | None:
    return None if given is None else _whole("source_limit", given, 1)
