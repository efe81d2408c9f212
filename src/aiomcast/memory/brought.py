"""Reading what is brought from elsewhere, and may end: a capture, what relays have stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from ..loops.in_loop import weakly
from ..reading.contract import Reader, Timer
from .reader import MemoryReader
from .reading import MemoryReading
from .station import Station

__all__ = ["BroughtReading"]


class BroughtReading(MemoryReading, ABC):
    """Reads what is brought to its sockets. Timers are the loop's: only what is received has another time.

    Whoever brings says in `_has_ended`, `_is_cut_off` and `_end_error` what has ended, and calls
    `look_for_end` when that may have changed.
    """

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        self._ended: Callable[[Exception | None], None] | None = None
        self._looks_for_end = False

    # What whoever brings says

    @property
    @abstractmethod
    def _has_ended(self) -> bool:
        """Whether any reader may be cut off."""

    @property
    @abstractmethod
    def _end_error(self) -> Exception | None:
        """By what it has ended, where that is an error."""

    @abstractmethod
    def _is_cut_off(self, reader: MemoryReader) -> bool:
        """Whether nothing more is brought to `reader`."""

    # What is the same whoever brings

    def monotonic(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call once `seconds` have really passed."""
        return self._loop.call_later(seconds, call)

    def follow_end(self, ended: Callable[[Exception | None], None]) -> None:
        """Call `ended` when something has ended, and whenever more of it was read after that."""
        self._ended = weakly(ended)

    def is_over(self, reader: Reader) -> bool:
        """Whether nothing more can come to `reader`, and all that came was read."""
        assert isinstance(reader, MemoryReader)
        holds = reader.lanes is not None and len(reader.lanes) > 0
        return self._is_cut_off(reader) and not holds and not reader.sock.is_readable

    def look_for_end(self) -> None:
        """See in the next loop turn to those who are to be told of the end."""
        if self._has_ended and not self._looks_for_end and self._ended is not None:
            self._looks_for_end = True
            self.call_soon(self._tell_end)

    def add(self, reader: MemoryReader) -> None:
        """Read `reader` from the next loop turn on."""
        super().add(reader)
        self.look_for_end()

    def discard(self, reader: MemoryReader) -> None:
        """Read `reader` no more for now."""
        super().discard(reader)
        self.look_for_end()

    def forget(self, reader: MemoryReader) -> None:
        """Give up its place."""
        super().forget(reader)
        self.look_for_end()

    def close(self) -> None:
        """Stop for good. The sockets stay open."""
        super().close()
        self._ended = None

    def _tell_end(self) -> None:
        self._looks_for_end = False
        if self._ended is not None:
            self._ended(self._end_error)

    def _next_turn(self) -> None:
        super()._next_turn()
        self.look_for_end()
