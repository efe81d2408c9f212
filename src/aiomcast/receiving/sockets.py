"""The sockets of one membership: opened, read out, left, closed, and counted."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Sequence
from typing import Protocol, final

from ..errors import RefusedError
from ..reading.contract import Reader, Reading
from ..reading.counted import count
from ..rfc3678.refusals import refusal
from ..streams.outlet import Outlet
from ..values.filters import SourceFilter
from ..values.interface import Interface
from ..values.options import Options
from ..values.packets import Packet
from ..values.statistics import NOTHING, Statistics, Tally

__all__ = ["Binding", "Sockets", "Told"]

_AT_ONCE = 64  # datagrams read at a time when a socket is read out
_MOST_READS = 65536  # a bound far beyond what any buffer holds


class Told(Protocol):
    """What is told of sockets."""

    def failed(self, error: RefusedError) -> None:
        """A socket has reported an error."""

    def lost(self, count: int) -> None:
        """The kernel has dropped `count` datagrams more."""


@final
class Binding:
    """What all sockets of a membership are bound to: `group` and `port`.

    The first that is opened is made of `adopted`, where there is one, and finds the port where that is 0.
    """

    __slots__ = ("_adopted", "group", "port")

    def __init__(self, group: str, port: int, adopted: socket.socket | int | None = None) -> None:
        self._adopted = adopted
        self.group: str = group
        self.port: int = port

    def open(
        self,
        reading: Reading,
        interface: Interface,
        wanted: SourceFilter,
        options: Options,
        into: list[Reader],
    ) -> None:
        """Append to `into` a reader of a new socket. See `Reading.open`."""
        reading.open(self.group, self.port, interface, wanted, options, into, self._adopted)
        self.port, self._adopted = into[-1].sock.port, None


@final
class Sockets:
    """Opens, reads out and closes the sockets of (group, port, interface), whichever are in force.

    What is read goes to `outlet`; what is told, to `told`.
    """

    __slots__ = ("_binding", "_of_closed", "_options", "_reading", "_told", "interface", "outlet")

    def __init__(
        self,
        reading: Reading,
        options: Options,
        binding: Binding,
        interface: Interface,
        outlet: Outlet,
        told: Told,
    ) -> None:
        self._reading = reading
        self._options = options
        self._binding = binding
        self._told = told
        self._of_closed: Statistics = NOTHING  # of sockets that were closed
        self.interface: Interface = interface
        self.outlet: Outlet = outlet

    def open(self, wanted: SourceFilter, into: list[Reader]) -> None:
        """Append to `into` a reader of a new socket, which is a member of nothing yet and has a place."""
        self._binding.open(self._reading, self.interface, wanted, self._options, into)
        reader = into[-1]
        reader.sink = self.outlet.sink
        reader.failed = self._failed
        reader.lost = self._told.lost

    def count(self, open_readers: Iterable[Reader], into: Tally) -> None:
        """Add the counters of `open_readers` and of what was closed."""
        if self._of_closed is not NOTHING:
            into.add(self._of_closed)
        for reader in open_readers:
            count(reader, into)

    def received(self, open_readers: Iterable[Reader]) -> int:
        """Return how many datagrams were read, without asking the system for anything."""
        return self._of_closed.received + sum(reader.received for reader in open_readers)

    # Every method below can be gone through once more: a signal handler may raise between any two lines.

    def read_some(self, readers: tuple[Reader, ...]) -> bool:
        """Hand over a read's worth of what is in the sockets; say if they are empty now."""
        packets, is_all = _some(readers)
        if packets:
            self.outlet.sink(packets)
        self._report(readers)
        return is_all

    def flush(self, readers: tuple[Reader, ...]) -> None:
        """Hand over what was read together and waits for nothing any more."""
        lanes = readers[0].lanes if readers else None
        if lanes is not None and (held := lanes.take_all()):
            self.outlet.sink(held)

    def leave(self, readers: Sequence[Reader]) -> None:
        """Have these sockets be members no more."""
        for reader in readers:
            if reader.sock.fileno() >= 0:
                with contextlib.suppress(RefusedError):  # closing leaves too
                    reader.sock.leave()

    def retire(self, readers: tuple[Reader, ...]) -> None:
        """Leave with these sockets, hand over or count what they hold, and close them."""
        readers = tuple(reader for reader in readers if not reader.is_retired)
        alive = tuple(reader for reader in readers if reader.sock.fileno() >= 0)
        self.leave(alive)
        for _ in range(_MOST_READS if alive else 0):
            if self.outlet.is_received:
                if self.read_some(alive):
                    break
            else:
                packets, is_all = _some(alive)
                self.outlet.dropped(packets)
                if is_all:
                    break
        for reader in readers:
            self._close(reader)

    def drop(self, reader: Reader) -> None:
        """Close a socket that is not to be read any more."""
        if reader.place is not None:
            reader.place.forget()
        reader.close()

    def _close(self, reader: Reader) -> None:
        """Keep the counters of a reader and close its socket, read out or not."""
        last = Tally()
        count(reader, last)
        last.receive_buffer = 0
        self.drop(reader)
        if not reader.is_retired:
            reader.is_retired = True
            last.add(self._of_closed)
            self._of_closed = last.statistics()

    def _report(self, readers: tuple[Reader, ...]) -> None:
        for reader in readers:
            error, reader.error = reader.error, None
            if isinstance(error, OSError):
                self._failed(error)
            elif error is not None:
                raise error

    def _failed(self, error: OSError) -> None:
        what = f"receiving {self._binding.group} port {self._binding.port} on {self.interface.name}"
        self._told.failed(refusal(error, what))


def _some(readers: tuple[Reader, ...]) -> tuple[list[Packet], bool]:
    """Return a read's worth of what is in the sockets, and whether that was all."""
    lanes = readers[0].lanes
    if lanes is not None:
        return lanes.read(_AT_ONCE)[0], lanes.is_dry
    packets: list[Packet] = []
    for reader in readers:
        packets += reader.read(_AT_ONCE)[0]
        reader.count_drops()
    return packets, all(reader.dry for reader in readers)
