"""Have the kernel stamp what arrives, from before the first test on.

A kernel begins to stamp some milliseconds after the first socket has asked, and ends with the last.
"""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stamping"]

_SO_TIMESTAMPNS = 35
_SECONDS = 10


@contextmanager
def stamping() -> Iterator[None]:
    """Keep the kernel stamping; elsewhere than on Linux it always does."""
    if sys.platform != "linux":
        yield
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(_SECONDS)
        end = time.monotonic() + _SECONDS
        while _is_stamped_late(sock):
            if time.monotonic() > end:
                raise TimeoutError("the kernel does not begin to stamp")
        yield


def _is_stamped_late(sock: socket.socket) -> bool:
    sock.sendto(b"", sock.getsockname())
    read = time.time_ns()
    _, control, _, _ = sock.recvmsg(1, 64)
    ((_, _, data),) = control
    half = len(data) // 2  # a long, as the option is the old one
    whole, fraction = (int.from_bytes(part, sys.byteorder) for part in (data[:half], data[half:]))
    return whole * 1_000_000_000 + fraction > read
