"""Sockets for everyone alike: joined ones to read, one to fill them from. Loopback only."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

import aiomcast

from . import baseline

__all__ = [
    "BUFFER",
    "LOOPBACK",
    "PORT",
    "SOURCE",
    "channels",
    "dropped",
    "fill",
    "fitting",
    "joined",
    "sender",
]

SOURCE = "127.0.0.2"
BUFFER = 1 << 30
"""Bytes of receive buffer asked for: a limit, of which nothing is allocated ahead."""
PORT = 20000 + os.getpid() % 20000
"""A port that other processes of the same run do not use, so that channels may repeat."""
LOOPBACK = aiomcast.Interface(socket.if_nametoindex("lo"), "lo", ("127.0.0.1",), multicast=True)

# Linux, asm-generic/socket.h, linux/in.h, linux/udp.h: not all in Python's socket module
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS, _SO_RXQ_OVFL, _SO_MEMINFO = 33, 35, 40, 55
_IP_ADD_SOURCE_MEMBERSHIP, _IP_MULTICAST_ALL = 39, 49
_SOL_UDP, _UDP_SEGMENT = 17, 103
_MEMINFO = struct.Struct("=9I")


def channels(count: int) -> list[str]:
    """Return `count` source-specific groups."""
    return [f"232.{1 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in range(count)]


def joined(group: str, *, port: int = PORT, buffer: int = BUFFER, tagged: bool = False) -> socket.socket:
    """Return a socket that receives `group` from SOURCE, as the library's own would.

    `tagged` asks for kernel timestamps and drop counts with every datagram.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    sock.bind((group, port))
    set_buffer(sock, buffer)
    if tagged:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
    addresses = map(socket.inet_aton, (group, "127.0.0.1", SOURCE))
    sock.setsockopt(socket.IPPROTO_IP, _IP_ADD_SOURCE_MEMBERSHIP, b"".join(addresses))
    return sock


def set_buffer(sock: socket.socket, size: int) -> None:
    """Give `sock` a receive buffer of `size` bytes, or what an unprivileged process is granted."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def dropped(sock: socket.socket) -> int:
    """Return how many datagrams the kernel has dropped for want of buffer."""
    return int(_MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8])


def sender() -> socket.socket:
    """Return a socket that sends to groups on loopback from SOURCE."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    sock.bind((SOURCE, 0))
    return sock


def fill(
    groups: Sequence[str],
    count: int,
    size: int,
    *,
    port: int = PORT,
    per_send: int = 1,
    sock: socket.socket | None = None,
) -> None:
    """Send `count` datagrams of `size` bytes to the groups in turn, `per_send` in each send.

    The same `sock` again is the same flow again; without it every call is a new sender.
    """
    if sock is None:
        with sender() as once:
            fill(groups, count, size, port=port, per_send=per_send, sock=once)
        return
    if per_send > 1:
        sock.setsockopt(_SOL_UDP, _UDP_SEGMENT, size)
    to = baseline.destinations(groups, port)
    sent = baseline.library().fill(sock.fileno(), to, len(groups), count, size, per_send)
    if sent != count:
        raise RuntimeError(f"{sent} of {count} datagrams could be sent")


def fitting(count: int, size: int, *, per_send: int = 1) -> int:
    """Return how many of `count` datagrams fit into the receive buffer this process is granted."""
    count -= count % per_send
    group = channels(1)[0]
    with joined(group) as sock:
        fill([group], count, size, per_send=per_send)
        lost = dropped(sock)
    if not lost:
        return count
    fits = (count - lost) * 9 // 10  # some room: the kernel's own overhead per datagram varies
    return max(per_send, fits - fits % per_send)
