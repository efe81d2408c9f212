"""What Windows' calls for messages and readiness take, as bytes: mswsock.h, ws2def.h, winsock2.h, 64 bit.

Pure: any of it packs and parses on any host.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "POLLFD_SIZE",
    "POLLRDNORM",
    "RECVMSG_ID",
    "SIO_GET_EXTENSION_FUNCTION_POINTER",
    "WSAEMSGSIZE",
    "WSAMSG_SIZE",
    "Arrival",
    "Told",
    "arrival",
    "control_messages",
    "parse_pollfds",
    "parse_wsamsg",
    "pollfds",
    "wsabuf",
    "wsamsg",
]

SIO_GET_EXTENSION_FUNCTION_POINTER = 0xC8000006
RECVMSG_ID = struct.pack("<IHH8B", 0xF689D7C8, 0x6F1F, 0x436B, 0x8A, 0x53, 0xE5, 0x4F, 0xE3, 0x51, 0xC3, 0x22)
"""WSAID_WSARECVMSG, the GUID by which that ioctl gives WSARecvMsg."""
WSAEMSGSIZE = 10040
"""The error of a read that has cut a datagram short: there is no other answer then."""
POLLRDNORM = 0x0100

_WSABUF = struct.Struct("=I4xQ")  # len, buf
_WSAMSG = struct.Struct("=Qi4xQI4x16sI4x")  # name, namelen, lpBuffers, dwBufferCount, Control, dwFlags
_CMSGHDR = struct.Struct("=Qii")  # cmsg_len with this header, cmsg_level, cmsg_type
_ALIGNMENT = 8
_POLLFD = struct.Struct("=Qhh4x")  # fd, events, revents
_IN_PKTINFO = struct.Struct("=4sI")  # the address comes first here, unlike on Linux
_IN6_PKTINFO = struct.Struct("=16sI")

WSAMSG_SIZE = _WSAMSG.size
POLLFD_SIZE = _POLLFD.size


class Told(NamedTuple):
    """What WSARecvMsg has written into a WSAMSG: two lengths in bytes, and flags."""

    name_length: int
    control_length: int
    flags: int


class Arrival(NamedTuple):
    """Where a datagram came to: the packed address it was sent to, and the index of the interface."""

    address: bytes
    ifindex: int


def wsabuf(length: int, pointer: int) -> bytes:
    """Return a WSABUF (16 bytes)."""
    return _WSABUF.pack(length, pointer)


def wsamsg(name: tuple[int, int], buffer: int, control: tuple[int, int]) -> bytes:
    """Return a WSAMSG (56 bytes) of one WSABUF, which is at `buffer`. The others are (length, pointer)."""
    return _WSAMSG.pack(name[1], name[0], buffer, 1, wsabuf(*control), 0)


def parse_wsamsg(data: bytes) -> Told:
    """Return what was written. struct.error for less than 56 bytes."""
    _, name_length, _, _, control, flags = _WSAMSG.unpack_from(data)
    return Told(name_length, _WSABUF.unpack(control)[0], flags)


def control_messages(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return (level, type, content) of each control message, up to the first that is no whole one."""
    found = []
    at = 0
    while at + _CMSGHDR.size <= len(data):
        length, level, kind = _CMSGHDR.unpack_from(data, at)
        if not _CMSGHDR.size <= length <= len(data) - at:
            break
        found.append((level, kind, data[at + _CMSGHDR.size : at + length]))
        at += -(-length // _ALIGNMENT) * _ALIGNMENT
    return found


def arrival(content: bytes) -> Arrival | None:
    """Return what an in_pktinfo or in6_pktinfo says, None where the content is neither."""
    for layout in (_IN_PKTINFO, _IN6_PKTINFO):
        if len(content) == layout.size:
            return Arrival(*layout.unpack(content))
    return None


def pollfds(sockets: Iterable[int]) -> bytes:
    """Return WSAPOLLFDs (16 bytes each) that ask whether there is something to read."""
    return b"".join([_POLLFD.pack(one, POLLRDNORM, 0) for one in sockets])


def parse_pollfds(data: bytes) -> list[int]:
    """Return the sockets of which anything was told, errors too."""
    return [number for number, _, told in _POLLFD.iter_unpack(data) if told]
