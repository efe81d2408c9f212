"""A socket in memory: its filter as a kernel keeps one, and a receive buffer that overflows."""

from __future__ import annotations

import errno
import itertools
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..errors import InconsistentError, RefusedError
from ..rfc3678.refusals import Limit, Shortage, refusal
from ..system.planner import Action, Step, plan
from ..values.filters import SourceFilter, Sources, filter_for
from ..values.interface import Interface
from .refusing import Call, error_of
from .station import Station
from .wire import Datagram

__all__ = ["Arrival", "MemorySocket"]

_OVERHEAD = 256  # bytes of buffer that a datagram takes beside its payload
_FIRST_NUMBER = 1 << 20  # of descriptors: no process has one of these
_numbers = itertools.count(_FIRST_NUMBER)

_CALLS: dict[Action, Call] = {
    Action.JOIN_GROUP: "join",
    Action.JOIN_SOURCE: "join",
    Action.SET_FILTER: "set",
    Action.LEAVE_GROUP: "leave",
}


class Arrival(NamedTuple):
    """A datagram in a buffer, when it came, and how many the socket had dropped up to then."""

    datagram: Datagram
    stamp_ns: int
    drops: int


class MemorySocket:
    """Keeps `reading.contract.Socket`. It is made by opening a reader and is a member of nothing yet.

    The filter judges what arrives, and what is in the buffer stays there. A datagram that finds no
    room is dropped and counted in `drops`; an empty buffer takes one of any size.
    """

    def __init__(
        self, station: Station, group: str, port: int, interface: Interface, receive_buffer: int
    ) -> None:
        self.group: str = group
        self.port: int = port
        self.interface: Interface = interface
        self.filter: SourceFilter = SourceFilter.none()
        self.is_buffer_whole: bool | None = None
        self.receive_buffer: int = receive_buffer
        """Bytes of buffer, 256 for each datagram beside its payload included; 0 once it is closed."""
        self.drops: int = 0
        self.wake: Callable[[], None] | None = None
        """Called when there is something to read, and was not before."""
        self.drained: Callable[[], None] | None = None
        """Called, once, when there may be room for what had none: much was read, or less is let in."""
        self._station = station
        self._number = next(_numbers)
        self._buffer: deque[Arrival] = deque()
        self._used = 0
        self._errors: deque[OSError] = deque()
        station.sockets[self] = None

    # The filter

    def fileno(self) -> int:
        """Return a number of its own, that is no file's; -1 once it is closed."""
        return self._number

    def held(self) -> SourceFilter:
        """Return `filter`: nothing ever hides what holds."""
        return self.filter

    def kernel_filter(self) -> SourceFilter:
        """Return the filter that is in force; of an interface that is gone, the last one there."""
        return self.filter

    def set_filter(self, sources: Sources) -> None:
        """Hold what `sources` means, or raise a `RefusedError` and go on holding what was held.

        LimitError beyond the network's limit of sources, InterfaceGoneError when the interface is
        no longer there, AddressError or FilterError for what the group cannot have.
        """
        wanted, held = filter_for(self.group, sources), self.filter
        try:
            for step in plan(held, wanted):
                self._make(step)
        except RefusedError as error:
            self._undo(held, error)
            raise

    def replace(self, wanted: SourceFilter) -> None:
        """Hold `wanted`, of the mode of what is held, neither empty, or raise a `RefusedError`."""
        self._make(Step(Action.SET_FILTER, wanted))

    def leave(self) -> None:
        """Be a member no more, also where the host has forgotten that it is one."""
        if self.filter.is_none:
            return
        try:
            self._make(Step(Action.LEAVE_GROUP, SourceFilter.none()))
        except RefusedError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                raise
            self.filter = SourceFilter.none()

    def rejoin(self) -> None:
        """Leave and join again with the same filter."""
        held = self.filter
        self.leave()
        try:
            self.set_filter(held)
        except RefusedError as error:
            self._undo(held, error)
            raise

    def _undo(self, held: SourceFilter, error: RefusedError) -> None:
        try:
            for step in plan(self.filter, held):
                self._make(step)
        except RefusedError as again:
            raise InconsistentError(
                f"after {error} the filter {held} could not be put back ({again}); "
                f"{self.group} holds {self.filter} now",
                "leave it and join again",
            ) from error

    def _make(self, step: Step) -> None:
        call = _CALLS[step.action]
        doing = f"{step.action.value} for {self.group} on {self.interface.name}"
        limit = self._station.wire.source_limit
        is_too_long = limit is not None and len(step.after.sources) > limit
        attachment = self._station.at(self.interface.index)
        try:
            if self._number < 0:
                raise error_of(errno.EBADF)
            self._station.wire.refusing.meet(call, self.interface.name)
            if attachment is None:
                raise error_of(errno.ENODEV)
            if is_too_long:
                raise error_of(errno.ENOBUFS)
        except OSError as error:
            met = (Limit("the number of sources per socket", limit, None),) if is_too_long else ()
            raise refusal(error, doing, lambda: Shortage(met, is_too_long)) from error
        if step.after.is_none:
            attachment.leave(self.group, self.port, self)
        else:
            attachment.join(self.group, self.port, self)
        self.filter = step.after
        self._tell_drained()

    # The buffer

    def arrive(self, datagram: Datagram, stamp_ns: int) -> None:
        """Keep a datagram of the group that the filter lets in, or drop and count it."""
        if (datagram.source in self.filter.sources) is not self.filter.is_include:
            return
        size = len(datagram.data) + _OVERHEAD
        if self._buffer and self._used + size > self.receive_buffer:
            self.drops += 1
            return
        was_readable = self.is_readable
        self._buffer.append(Arrival(datagram, stamp_ns, self.drops))
        self._used += size
        if not was_readable:
            self._wake()

    def lose(self, source: str, count: int) -> None:
        """Count datagrams of `source` that were lost on the way, where the filter would have let them in."""
        if (source in self.filter.sources) is self.filter.is_include:
            self.drops += count

    def has_room(self, datagram: Datagram) -> bool:
        """Whether `arrive` would drop nothing."""
        return (
            not self._buffer
            or self._used + len(datagram.data) + _OVERHEAD <= self.receive_buffer
            or (datagram.source in self.filter.sources) is not self.filter.is_include
        )

    def fail(self, error: OSError) -> None:
        """Report `error` at the next read, before what is in the buffer."""
        self._errors.append(error)
        self._wake()

    @property
    def is_readable(self) -> bool:
        """Whether a read would return something, or report an error."""
        return bool(self._buffer or self._errors)

    def receive(self, most: int) -> list[Arrival]:
        """Take out the oldest, one at least. BlockingIOError if there is none, or what is to be reported."""
        if self._number < 0:
            raise error_of(errno.EBADF)
        if self._errors:
            raise self._errors.popleft()
        if not self._buffer:
            raise error_of(errno.EAGAIN)
        buffer = self._buffer
        if len(buffer) <= most:
            arrivals = list(buffer)
            buffer.clear()
            self._used = 0
        else:
            arrivals = [buffer.popleft() for _ in range(most)]
            self._used -= sum(len(one.datagram.data) for one in arrivals) + _OVERHEAD * most
        if self.drained is not None and 2 * self._used <= self.receive_buffer:
            self._tell_drained()
        return arrivals

    def close(self) -> None:
        """Leave, and drop what is in the buffer. Closing twice is fine."""
        attachment = self._station.at(self.interface.index)
        if attachment is not None:
            attachment.leave(self.group, self.port, self)
        self._station.sockets.pop(self, None)
        self._number, self.receive_buffer, self.wake = -1, 0, None
        self._buffer.clear()
        self._errors.clear()
        self._tell_drained()

    def _tell_drained(self) -> None:
        drained, self.drained = self.drained, None
        if drained is not None:
            drained()

    def _wake(self) -> None:
        if self.wake is not None:
            self.wake()
