"""The write side of a datagram transport over one socket: what waits to be sent, and its limits."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import final

from ..errors import ArgumentError, ArgumentTypeError, RefusedError
from ..rfc3678.refusals import refusal
from ..values.shown import shown
from .peers import SocketAddress
from .sending import Writable, datagram_of

__all__ = ["Outgoing", "write_buffer_limits"]

_HIGH = 64 * 1024  # bytes, as asyncio's own transports
_OVERHEAD = 8  # bytes counted for each datagram beside its payload, a UDP header's: empty ones take room too


def write_buffer_limits(high: int | None = None, low: int | None = None) -> tuple[int, int]:
    """Return (low, high), completed as asyncio does. ArgumentError unless 0 <= low <= high."""
    for given in (high, low):
        if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
            raise ArgumentTypeError(f"a limit of {shown(given)} bytes", "give a whole number, or None")
    if high is None:
        high = _HIGH if low is None else 4 * low
    if low is None:
        low = high // 4
    if not 0 <= low <= high:
        raise ArgumentError(f"high {high} and low {low} bytes", "give 0 <= low <= high")
    return low, high


@final
class Outgoing:
    """Sends datagrams in the order given: at once, or when there is room, as asyncio's transports do.

    `pause_writing` is called when more than the high limit waits, `resume_writing` when it has fallen to the
    low one; `error_received` with what the system has refused: that datagram is gone, the others are not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        *,
        pause_writing: Callable[[], None],
        resume_writing: Callable[[], None],
        error_received: Callable[[OSError], None],
    ) -> None:
        self._sock = sock
        self._pause_writing = pause_writing
        self._resume_writing = resume_writing
        self._error_received = error_received
        self._writable = Writable(loop, sock, self._send_on)
        self._queue: deque[tuple[bytes, SocketAddress]] = deque()
        self._size = 0
        self._is_paused = self._is_aborted = False
        self._low, self._high = write_buffer_limits()
        self._then: Callable[[], object] | None = None
        self.dropped: int = 0
        """Datagrams that waited at an `abort`."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait, a few for each datagram included."""
        return self._size

    def set_write_buffer_limits(self, low: int, high: int) -> None:
        """Pause above `high`, resume at `low`: those that `write_buffer_limits` returns."""
        self._low, self._high = low, high
        self._look_at_size()

    def sendto(self, data: bytes | bytearray | memoryview, addr: SocketAddress) -> None:
        """Send a datagram now if none waits, else after those that do; a copy waits.

        ArgumentTypeError for what is no contiguous buffer.
        """
        content = datagram_of(data)
        if self._is_aborted:
            self.dropped += 1
        elif self._queue or not self._sent(content, addr):
            try:
                self._writable.watch()
            except RefusedError as error:  # it would wait for ever
                self._error_received(error)
                return
            self._queue.append((bytes(content), addr))
            self._size += content.nbytes + _OVERHEAD
            self._look_at_size()

    def close(self, then: Callable[[], object]) -> None:
        """Call `then` once nothing waits any more."""
        self._then = then
        if not self._queue:
            self._end()

    def abort(self) -> None:
        """Drop and count what waits, and whatever comes still."""
        self._is_aborted = True
        self.dropped += len(self._queue)
        self._queue.clear()
        self._size = 0
        self._writable.stop()
        self._end()

    def _sent(self, data: bytes | memoryview, addr: SocketAddress) -> bool:
        """Whether a datagram has gone, to the system or to `error_received`, rather than has to wait."""
        try:
            self._sock.sendto(data, addr)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            size = memoryview(data).nbytes
            self._error_received(
                refusal(error, f"sending {size} bytes to {addr[0]} port {addr[1]}", sends=True)
            )
        return True

    def _send_on(self) -> None:
        while self._queue:
            data, addr = self._queue.popleft()  # first: whoever is told of an error may do anything
            self._size -= len(data) + _OVERHEAD
            if not self._sent(data, addr):
                self._queue.appendleft((data, addr))
                self._size += len(data) + _OVERHEAD
                break
        if not self._queue:
            self._writable.stop()
        self._look_at_size()
        if not self._queue:
            self._end()

    def _look_at_size(self) -> None:
        if not self._is_paused and self._size > self._high:
            self._is_paused = True
            self._pause_writing()
        elif self._is_paused and self._size <= self._low:
            self._is_paused = False
            self._resume_writing()

    def _end(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()
