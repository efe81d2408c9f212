"""Which of any number of sockets can be read, for a thread that waits: poll, on Windows WSAPoll."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Iterable

from ..rfc3678.abi import winsock

__all__ = ["alarm", "ready"]

if sys.platform == "win32":
    import ctypes

    _wsa_poll = ctypes.WinDLL("ws2_32", use_last_error=True).WSAPoll

    def ready(descriptors: Iterable[int], seconds: float | None = 0) -> list[int]:
        """Return those that can be read from, or that report an error, within so many seconds (None: ever).

        OSError when the system refuses, as it does where all are closed.
        """
        asked = list(descriptors)
        buffer = ctypes.create_string_buffer(winsock.pollfds(asked))
        wait = ctypes.c_int(-1 if seconds is None else round(seconds * 1000))
        if _wsa_poll(buffer, ctypes.c_ulong(len(asked)), wait) < 0:
            raise ctypes.WinError(ctypes.get_last_error())
        return winsock.parse_pollfds(buffer.raw[: winsock.POLLFD_SIZE * len(asked)])

else:

    def ready(descriptors: Iterable[int], seconds: float | None = 0) -> list[int]:
        """Return those that can be read from, or that report an error, within so many seconds (None: ever).

        OSError when the system refuses.
        """
        poll = select.poll()
        for one in descriptors:
            poll.register(one, select.POLLIN)
        return [number for number, _ in poll.poll(None if seconds is None else seconds * 1000)]


def alarm() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets: a byte sent to the one makes the other, which never waits, readable."""
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    return one, other
