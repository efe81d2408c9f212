"""Noticing that a socket of an endpoint holds too little of what comes. Told once, of the whole endpoint."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol, final

from ..loops.in_loop import weakly
from ..reading import Reader, held
from ..reading.contract import Reading, Timer
from ..reading.counted import count
from ..values.events import EventKind
from ..values.interface import Interface
from ..values.statistics import Tally

__all__ = ["Tightness"]


class Endpoint(Protocol):
    """What is looked at, and told."""

    @property
    def members(self) -> Sequence[Reader]:
        """What receives, one on each interface."""

    def changed(self, interface: Interface, kind: EventKind, cause: str | None) -> None:
        """Something is to be told of an interface."""


@final
class Tightness:
    """Compares the buffers that were asked for by default with the rate of what comes.

    It looks now and then where less was granted, and otherwise only once after something was dropped.
    It is the small form of what receivers have: each socket is judged by itself. `endpoint` is held as
    it is given.
    """

    def __init__(self, endpoint: Endpoint, reading: Reading) -> None:
        self._endpoint = endpoint
        self._reading = reading
        self._come: dict[Reader, held.Come] = {}
        self._timer: Timer | None = None
        self._is_over = False

    def follow(self, reader: Reader) -> None:
        """Look at one more socket, or never where it has not asked for the default."""
        if held.are_default([reader]):
            reader.lost = weakly(self._dropped)
            if held.are_short([reader]):
                self._await()

    def end(self) -> None:
        """Look no more."""
        self._is_over = True
        self._come.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _dropped(self, _more: int) -> None:
        """Look what comes in the next second: something was dropped. It may be another thread that counts."""
        if not self._is_over and self._timer is None:
            self._reading.call_soon(weakly(self._await))

    def _await(self) -> None:
        if self._is_over or self._timer is not None:
            return
        self._timer = self._reading.call_later(held.BETWEEN, weakly(self._look))
        now = self._reading.monotonic()
        for reader in self._endpoint.members:
            if held.are_default([reader]):
                self._come[reader] = _come(reader, now)

    def _look(self) -> None:
        self._timer = None
        before, self._come = self._come, {}
        now = self._reading.monotonic()
        for reader in self._endpoint.members:
            if reader in before and not self._is_over:
                self._judge(reader, before[reader], _come(reader, now))
        if held.are_short(self._endpoint.members):
            self._await()

    def _judge(self, reader: Reader, before: held.Come, after: held.Come) -> None:
        said = held.told([reader], before, after)
        if said is None:
            return
        self.end()
        sock = reader.sock
        self._endpoint.changed(sock.interface, EventKind.TIGHT, said)
        where = f"{sock.group} port {sock.port} on {sock.interface.name}"
        warnings.warn(f"{where}: {said}", RuntimeWarning, stacklevel=1)


def _come(reader: Reader, now: float) -> held.Come:
    tally = Tally()
    count(reader, tally)
    return held.come(tally, now)
