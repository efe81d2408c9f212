"""`RelayNetwork`: what relays have stored, in the place of the system's network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import ArgumentError, ArgumentTypeError
from ..memory.clock import Clock
from ..memory.host import Host
from ..memory.station import Station
from ..memory.wire import Wire
from ..reading.contract import Reading
from ..values.closing import Closing
from ..values.shown import shown
from .broker import Broker, Start, StartAt, check_start
from .once import Once, SubscriptionStatistics
from .reading import RelayReading
from .subjects import DEFAULT_SUBJECT, Subject

__all__ = ["Readable", "RelayNetwork"]

_RECEIVE_BUFFER: Final = 212_992  # bytes; Linux: net.core.rmem_default


class RelayNetwork(Host):
    """What relays have stored as a network: `Receiver(network=JetStream(url).network(start=Start.FIRST))`.

    Made by `network` of a `JetStream` or a `RedisStreams`, which are such networks themselves, with its
    defaults. Joins, source filters, swaps, statistics and streams work on it as on the wire, and no socket
    is opened.

    Each receiver has a connection of its own, which ends when it closes, and in it a consumer of the
    server's for each group and port: from the first join of it, which returns when the server has it, to
    the last leave. It begins where `start` says, with each join anew. RelayError from a join that the
    server refuses, and from the iterations where nothing more can come.

    A packet has the payload, source, ports, and time stamp that it was received with, and where that is
    asked for (`ancillary`) the hop limit and traffic class; one that had no time stamp has the server's. It
    comes once, however many relays have stored it, and on the one interface there is.

    Nothing is dropped because a buffer is full: what is not received waits at the server. A membership that
    nobody receives from holds up no other. While the server is away all wait, and go on behind the last that
    came. What a relay had received and nobody has stored counts as `kernel_drops` of the membership, and is
    a DROPPED event.

    It can be shared by several receivers.
    """

    def __init__(
        self, name: str, dial: Callable[[], Broker], start: StartAt, subject: str, interface: str | None
    ) -> None:
        station = Station(name, Wire(Clock(0), None, 0, None, _RECEIVE_BUFFER, True))
        station.add(name if interface is None else interface, (), name)
        super().__init__(station)
        self._dial = dial
        self._start = start
        self._subject = Subject(subject)
        self._counting: dict[Once, None] = {}
        self._of_left = SubscriptionStatistics()

    def __repr__(self) -> str:
        return f"<RelayNetwork {self._station.name}>"

    def statistics(self) -> SubscriptionStatistics:
        """Return what has come to all receivers so far."""
        return sum((once.statistics() for once in tuple(self._counting)), self._of_left)

    def open(self) -> Reading:
        """Return what opens readers in the running event loop, by a connection of its own."""
        return RelayReading(
            self._station, self._dial(), self._start, self._subject, self._counts, self._counted
        )

    def _counts(self, once: Once) -> None:
        self._counting[once] = None

    def _counted(self, once: Once) -> None:
        if once in self._counting:
            del self._counting[once]
            self._of_left += once.statistics()


class Readable(RelayNetwork, Closing):
    """A server that is itself the network of what it holds, by another connection."""

    def __init__(self, name: str, dial: Callable[[], Broker]) -> None:
        super().__init__(name, dial, Start.LIVE, DEFAULT_SUBJECT, None)

    def network(
        self, *, start: StartAt = Start.LIVE, subject: str = DEFAULT_SUBJECT, interface: str | None = None
    ) -> RelayNetwork:
        """Return what relays have stored there as a network: `Receiver(network=...)`.

        - `start`: from where on each join receives: Start.LIVE, Start.FIRST, or a datetime with a zone, by
          the server's time.
        - `subject`: the template of the relays.
        - `interface`: what the one interface is called, for joins that name one; None is the server's name.

        ArgumentError for what cannot be.
        """
        if interface is not None and not isinstance(interface, str):
            raise ArgumentTypeError(f"interface {shown(interface)}", "give a name, or None")
        if interface == "":
            raise ArgumentError("an interface without a name", "give a name, or None")
        return RelayNetwork(self._station.name, self._dial, check_start(start), subject, interface)
