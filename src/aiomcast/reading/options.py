"""What a socket is asked to tell with every datagram, and what its counters say. Both readers use it."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import UnsupportedError
from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..rfc3678.refusals import refusals
from ..system.sockets import MulticastSocket
from ..values.addresses import family

__all__ = [
    "HARDWARE_KINDS",
    "NANOSECONDS",
    "SHARED_STAMPS",
    "STAMPS",
    "TIME_KIND",
    "Granted",
    "are_stamps_told",
    "ask",
    "ask_coalescing",
    "ask_time",
    "drops_and_buffer",
    "set_receive_buffer",
]

ABI = native()
NANOSECONDS = ABI.facts.time_in_nanoseconds
"""Whether the time of arrival is a struct timespec; else it is a struct timeval."""
_TIME_OPTIONS = dict.fromkeys((ABI.facts.time_option, ABI.SO_TIMESTAMPNS))  # before 5.1 there is no newer one
TIME_KIND = ABI.facts.time_kind
"""The type of the control message that the time of arrival comes in."""
STAMPS = ABI.facts.time_option is not None
"""Whether the system tells the time of arrival, unless its kernel is too old."""
SHARED_STAMPS = ABI.facts.shared_stamps
"""Whether two sockets see the same time of arrival for the same packet."""

HARDWARE_KINDS = frozenset({ABI.SO_TIMESTAMPING, ABI.SO_TIMESTAMPING_NEW} - {None})
"""The types of the control messages that may hold a time of arrival by the interface's clock."""
_HARDWARE = (ABI.SOF_TIMESTAMPING_RX_HARDWARE or 0) | (ABI.SOF_TIMESTAMPING_RAW_HARDWARE or 0)
_BY_HARDWARE = (ABI.SOL_SOCKET, ABI.facts.hardware_time_option, _HARDWARE)

# name -> {family: (level, option that asks, what the platform lacks is None, its value)}
# Windows asks for IPv6's hop limit by the number that it is told by.
_ASKING: dict[str, dict[int, tuple[int, int | None, int]]] = {
    "hop_limit": {
        4: (ABI.IPPROTO_IP, ABI.IP_RECVTTL, 1),
        6: (ABI.IPPROTO_IPV6, ABI.IPV6_RECVHOPLIMIT or ABI.IPV6_HOPLIMIT, 1),
    },
    "traffic_class": {4: (ABI.IPPROTO_IP, ABI.IP_RECVTOS, 1), 6: (ABI.IPPROTO_IPV6, ABI.IPV6_RECVTCLASS, 1)},
    "hardware_timestamp": {4: _BY_HARDWARE, 6: _BY_HARDWARE},
}
_NEARLY = 1024  # bytes: how near to the largest buffer the search for it ends
_MEMINFO = struct.Struct("=4xI24xI")  # linux/sock_diag.h: SK_MEMINFO_RCVBUF and SK_MEMINFO_DROPS


class Granted(NamedTuple):
    """What the kernel has granted a socket: times of arrival, and coalesced datagrams."""

    stamps: bool
    coalesces: bool


def ask(sock: MulticastSocket, ancillary: Iterable[str], gro: bool | None) -> Granted:
    """Make the kernel tell time of arrival, drops and the `ancillary` tags; say if it stamps and coalesces.

    An old kernel may do without the first two, `capabilities` tells.

    `gro` None uses UDP_GRO where the kernel has it, True insists, False leaves it off.
    Both are as in `Options`, which has checked them. UnsupportedError for a tag that this platform
    cannot tell.
    """
    version = family(sock.group)
    asked = {name: _ASKING[name][version] for name in ancillary}
    for name, (_, option, _) in asked.items():
        if option is None:
            raise UnsupportedError(
                f"this platform does not tell the {name} of IPv{version}", "leave it out of ancillary"
            )
    with refusals("asking for packet information"):
        stamps = ask_time(sock)
        kernel.offer(sock, ABI.SOL_SOCKET, ABI.SO_RXQ_OVFL, 1)
        for level, option, value in asked.values():
            kernel.setsockopt(sock, level, option, value)
    return Granted(stamps, gro is not False and ask_coalescing(sock, insist=gro is True))


def ask_time(sock: socket.socket) -> bool:
    """Make the kernel tell the time of arrival; say whether it can."""
    return any(kernel.offer(sock, ABI.SOL_SOCKET, option, 1) for option in _TIME_OPTIONS)


def are_stamps_told() -> bool:
    """Whether the running kernel tells times of arrival. OSError when it gives no socket to ask."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return ask_time(sock)


def ask_coalescing(sock: socket.socket, *, insist: bool = False) -> bool:
    """Make the kernel coalesce; say whether it can. With `insist` it is an UnsupportedError if not."""
    if ABI.UDP_GRO is None or ABI.SOL_UDP is None:
        if insist:
            raise UnsupportedError("this platform has no UDP_GRO", "leave gro=None")
        return False
    try:
        kernel.setsockopt(sock, ABI.SOL_UDP, ABI.UDP_GRO, 1)
    except OSError as error:
        if insist:
            raise UnsupportedError(f"UDP_GRO: {error.strerror}", "leave gro=None") from error
        return False
    return True


def set_receive_buffer(sock: socket.socket, size: int) -> None:
    """Ask the kernel for a receive buffer of `size` bytes, by force where that is allowed.

    Where it refuses as many it is the most that it grants: Linux cuts by itself, FreeBSD and macOS say
    ENOBUFS. `size` is as in `Options`, which has checked it.
    """
    with refusals("setting the receive buffer"):
        if ABI.SO_RCVBUFFORCE is not None:
            try:
                kernel.setsockopt(sock, ABI.SOL_SOCKET, ABI.SO_RCVBUFFORCE, size)
            except PermissionError:
                pass  # not forced: what is granted then is in the statistics
            else:
                return
        try:
            kernel.setsockopt(sock, ABI.SOL_SOCKET, socket.SO_RCVBUF, size)
        except OSError as error:
            if error.errno != errno.ENOBUFS or not _set_most(sock, size):
                raise


def _set_most(sock: socket.socket, refused: int) -> bool:
    """Give `sock` the largest buffer that is granted, below `refused` bytes; say if any was."""
    granted = 0
    while refused - granted > _NEARLY:
        size = (granted + refused) // 2
        try:
            kernel.setsockopt(sock, ABI.SOL_SOCKET, socket.SO_RCVBUF, size)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            refused = size
        else:
            granted = size
    return granted > 0


def drops_and_buffer(sock: socket.socket) -> tuple[int | None, int]:
    """Return how many datagrams the kernel has dropped at this socket, and the bytes of its receive buffer.

    One question for both (SO_MEMINFO), where the kernel has it. Drops are modulo 2**32, None where unknown.
    The buffer is what was granted, the kernel's own overhead included; 0 for a socket that somebody has
    closed.
    """
    try:
        if ABI.SO_MEMINFO is not None:
            answer = sock.getsockopt(ABI.SOL_SOCKET, ABI.SO_MEMINFO, _MEMINFO.size)
            if len(answer) == _MEMINFO.size:
                buffer, dropped = _MEMINFO.unpack(answer)
                return dropped, buffer
    except OSError:
        pass  # before Linux 4.12, or closed
    try:
        return None, sock.getsockopt(ABI.SOL_SOCKET, socket.SO_RCVBUF)
    except OSError:
        return None, 0
