"""`Replay`: a capture in the place of the system's network."""

from __future__ import annotations

import math
import os
from typing import Final, Literal, final

from ..errors import ArgumentError, ArgumentTypeError
from ..memory.brought import BroughtReading
from ..memory.clock import Clock
from ..memory.host import Host
from ..memory.lookup import placed
from ..memory.reader import MemoryReader
from ..memory.station import Station
from ..memory.wire import Wire
from ..reading.contract import Reading
from ..values.addresses import Address
from ..values.filters import SourceFilter, Sources
from ..values.interface import ALL_INTERFACES, Interface, InterfacesLike
from ..values.lookup import wanted_by, zones_of
from ..values.shown import shown
from .capture import Capture
from .captured import CaptureStatistics
from .player import PaceClock, Player

__all__ = ["Replay"]

_RECEIVE_BUFFER: Final = 212_992  # bytes; Linux: net.core.rmem_default


@final
class Replay(Host):
    """A capture as a network: `Receiver(network=Replay("feed.pcapng"))` receives what was captured.

    Joins, source filters, swaps and merges work on it as on the wire, and nothing is opened or sent. A
    packet has the payload, addresses, ports, and time stamp that it was captured with, and where that
    is asked for the hop limit and traffic class; it comes in on the interface that it was captured on,
    whatever its direction there, and only there. Without `interface=` a join is on all of the
    capture's.

    - `file`: what `Capture` takes, with its errors.
    - `speed`: 1.0 is the pace of the capture, 2.0 twice that, and so on. A packet that finds the buffer of
      its membership full is dropped and counted, as on the wire. "fast" is as fast as it is received:
      then a full buffer stops the replay, and nothing is dropped. So "fast" waits for every
      membership that is joined; where nobody receives from one, a log line says so.
    - `interface`: what an interface is called that the capture gives no name, as pcap never does.
    - `wait`: whether `start()` begins it. Else it begins when first somebody receives from a membership:
      what is joined before that misses nothing, what is joined later misses what was before it.
    - `clock`: what the pace goes by, for tests; None is the event loop.

    When the file has ended, iterations end after what is queued, and new ones at once. A broken file is
    a CaptureError in the iterations, after what came before it.

    It is one playing, in one event loop, and can be shared by several receivers there. A receiver made
    when it is over is refused with a StateError. ArgumentError for a wrong `speed`.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        *,
        speed: float | Literal["fast"] = 1.0,
        interface: str | None = None,
        wait: bool = False,
        clock: PaceClock | None = None,
    ) -> None:
        pace = _speed(speed)
        self._capture = Capture(file, nameless=interface)
        station = Station("capture", Wire(Clock(0), None, 0, None, _RECEIVE_BUFFER, True))
        for name in self._capture.interfaces() or (interface or "interface 0",):
            station.add(name, (), name)
        super().__init__(station)
        self._player = Player(self._capture, station, pace, clock)
        self._waits = wait

    def __repr__(self) -> str:
        return f"<Replay of {self._capture.path}>"

    def start(self) -> None:
        """Begin, where it was made to `wait`. StateError outside of its event loop, or when it is over."""
        self._player.bind()
        self._player.begin()

    @property
    def is_over(self) -> bool:
        """Whether all of the file was read, or nobody is left to receive it."""
        return self._player.is_over

    def statistics(self) -> CaptureStatistics:
        """Return what was read of the file so far, and what of it could not be used."""
        return self._capture.statistics()

    # What a receiver asks of a network

    def open(self) -> Reading:
        """Return what opens readers in the running event loop. StateError when the replay is over."""
        self._player.bind()
        return _ReplayReading(self._station, self._player, self._waits)

    def place(
        self, group: Address, sources: Sources, interface: InterfacesLike
    ) -> tuple[SourceFilter, tuple[Interface, ...]]:
        """Return the filter that `sources` means for `group`, and the interfaces to join on.

        Without one named these are all that the capture has, unless a zone names one: there are no
        routes. Errors as of a join.
        """
        if interface is None and not zones_of([*wanted_by(group, sources)[1], group]):
            interface = ALL_INTERFACES
        return placed(self.interfaces, group, sources, interface)


class _ReplayReading(BroughtReading):
    """Reads what a capture brings."""

    def __init__(self, station: Station, player: Player, waits: bool) -> None:
        super().__init__(station)
        self._player = player
        self._waits = waits
        player.readings.add(self)

    def add(self, reader: MemoryReader) -> None:
        """Read `reader` from the next loop turn on; the first of all begins the replay."""
        if not self._waits:
            self._player.begin()
        super().add(reader)

    def close(self) -> None:
        """Stop for good. The sockets stay open."""
        super().close()
        self._player.left(self)

    @property
    def _has_ended(self) -> bool:
        return self._player.is_over

    @property
    def _end_error(self) -> Exception | None:
        return self._player.error

    def _is_cut_off(self, reader: MemoryReader) -> bool:
        return self._player.is_over


def _speed(given: float | Literal["fast"]) -> float | None:
    hint = 'give a number above 0, where 1.0 is the pace of the capture, or "fast"'
    if given == "fast":
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise (ArgumentError if isinstance(given, str) else ArgumentTypeError)(f"speed {shown(given)}", hint)
    if not (math.isfinite(given) and given > 0):
        raise ArgumentError(f"speed {shown(given)}", hint)
    return float(given)
