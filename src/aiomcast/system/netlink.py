"""rtnetlink(7): its messages as bytes, in and out, and a socket that asks the kernel. No policy.

What is read is the kernel's, and still trusted in nothing: a length that does not fit is a MalformedMessage.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Container, Iterator
from typing import NamedTuple, Self

from ..errors import UnsupportedError

__all__ = [
    "MalformedMessage",
    "Message",
    "Netlink",
    "attribute",
    "attributes",
    "each_attribute",
    "messages",
    "number",
    "request",
]

# linux/netlink.h
_NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_DROP_MEMBERSHIP = 2
_NETLINK_GET_STRICT_CHK = 12
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_ENDS = (_NLMSG_ERROR, _NLMSG_DONE)
_MAX_ERRNO = 4095
_NLM_F_REQUEST = 0x1
_NLM_F_DUMP_INTR = 0x10
_NLM_F_DUMP = 0x300
# The upper two bits say that an attribute is nested, or in network order.
_NLA_TYPE_MASK = 0x3FFF
_ALL = range(_NLA_TYPE_MASK + 1)

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_NUMBER = struct.Struct("=I")
_ERRNO = struct.Struct("=i")

# The kernel cuts a dump into datagrams of 32 KiB at the most.
_DATAGRAM = 1 << 16
# A list that changes while it is told is told again, but not for ever.
_DUMPS = 4
# How a system, or what guards a process, says that there is none.
_WITHOUT = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EPERM, errno.EACCES, errno.ENOSYS)


class MalformedMessage(OSError):
    """What was read is no netlink message: a length lies, or something is missing (EBADMSG)."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EBADMSG, what)


class Message(NamedTuple):
    """A message: its type, its flags, the number of the question it answers, and what it holds."""

    kind: int
    flags: int
    sequence: int
    payload: bytes


def request(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Return the bytes of a message to the kernel."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags | _NLM_F_REQUEST, sequence, 0) + payload


def attribute(kind: int, value: bytes) -> bytes:
    """Return the bytes of an attribute, with what fills it up to a multiple of 4."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def messages(datagram: bytes) -> Iterator[Message]:
    """Yield the messages of one datagram. MalformedMessage when it reaches one whose length lies."""
    at, end = 0, len(datagram)
    while at < end:
        if end - at < _HEADER.size:
            raise MalformedMessage(f"{end - at} bytes are no netlink message")
        length, kind, flags, sequence, _ = _HEADER.unpack_from(datagram, at)
        if not _HEADER.size <= length <= end - at:
            raise MalformedMessage(f"a netlink message of {end - at} bytes gives its length as {length}")
        yield Message(kind, flags, sequence, datagram[at + _HEADER.size : at + length])
        at += length + -length % 4


def attributes(payload: bytes, start: int = 0, wanted: Container[int] = _ALL) -> dict[int, bytes]:
    """Return the attributes from `start` on, by their type. MalformedMessage when a length lies.

    Of several of one type the last is kept: `each_attribute` has them all.
    """
    return dict(each_attribute(payload, start, wanted))


def each_attribute(payload: bytes, start: int = 0, wanted: Container[int] = _ALL) -> list[tuple[int, bytes]]:
    """Return the attributes from `start` on of the `wanted` types, in order.

    MalformedMessage when a length lies, that of another type too.
    """
    found: list[tuple[int, bytes]] = []
    end = len(payload)
    unpack, head = _ATTRIBUTE.unpack_from, _ATTRIBUTE.size
    while end - start >= head:  # fewer are no attribute, but padding
        length, kind = unpack(payload, start)
        if not head <= length <= end - start:
            raise MalformedMessage(f"an attribute in {end - start} bytes gives its length as {length}")
        kind &= _NLA_TYPE_MASK
        if kind in wanted:
            found.append((kind, payload[start + head : start + length]))
        start += (length + 3) & -4
    return found


def number(value: bytes) -> int:
    """Return the 32 bits of an attribute. MalformedMessage if it has others."""
    if len(value) != _NUMBER.size:
        raise MalformedMessage(f"an attribute has {len(value)} bytes instead of 4")
    return int.from_bytes(value, sys.byteorder)


class Netlink:
    """A socket to the routing part of the kernel, in the network namespace of the thread that makes it.

    Needs no privilege and never blocks: the kernel answers before a question has been sent.
    A context manager; not for several threads at a time. UnsupportedError where there is no AF_NETLINK
    (other systems, sandboxes); every other refusal is an OSError, the kernel's own.
    """

    __slots__ = ("_sequence", "_socket")

    def __init__(self) -> None:
        self._socket = _opened()
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket. Harmless when it is closed."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor, which is readable when something has been announced."""
        return self._socket.fileno()

    def ask(self, kind: int, payload: bytes) -> bytes:
        """Send a question that has one answer, and return what the answer holds."""
        self._send(kind, 0, payload)
        for answer in self._answers():
            if answer.kind not in _ENDS:
                return answer.payload
        raise MalformedMessage("the kernel ended its answer before it gave one")

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """Send a question whose answer is a list, and return what each of its messages holds.

        When the list changed while it was told it is asked for again; one that always changes is
        returned as it is after some times.
        """
        answers: list[Message] = []
        for _ in range(_DUMPS):
            self._send(kind, _NLM_F_DUMP, payload)
            answers = list(self._answers())
            if not any(answer.flags & _NLM_F_DUMP_INTR for answer in answers):
                break
        return [answer.payload for answer in answers if answer.kind not in _ENDS]

    def join(self, group: int) -> None:
        """Have what is announced to `group` (RTNLGRP_...) sent to this socket."""
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def leave(self, group: int) -> None:
        """Have nothing more of `group` sent."""
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_DROP_MEMBERSHIP, group)

    def make_room(self, size: int) -> None:
        """Let `size` bytes wait here unread, or what the system allows of it (net.core.rmem_max)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def receive(self) -> bytes:
        """Return the next datagram from the kernel. BlockingIOError when there is none.

        OSError ENOBUFS when there was no room for some, once for each time that happened.
        """
        while True:
            datagram, _, flags, sender = self._socket.recvmsg(_DATAGRAM)
            if flags & socket.MSG_TRUNC:
                raise MalformedMessage(f"a netlink datagram is longer than {_DATAGRAM} bytes")
            if sender[0] == 0:  # the kernel's port: nobody else is listened to
                return datagram

    def _send(self, kind: int, flags: int, payload: bytes) -> None:
        self._sequence += 1
        self._socket.send(request(kind, flags, self._sequence, payload))

    def _answers(self) -> Iterator[Message]:
        """Yield what answers the last question, to the message that ends a list. OSError for a refusal."""
        while True:
            for message in messages(self.receive()):
                if message.sequence != self._sequence:
                    continue
                if message.kind in _ENDS:
                    _raise_for(message)
                    yield message
                    return
                yield message


def _raise_for(message: Message) -> None:
    # NLMSG_DONE has the error of a list that broke off, in the same place.
    refused = -1
    if len(message.payload) >= _ERRNO.size:
        refused = -_ERRNO.unpack_from(message.payload)[0]
    if not 0 <= refused <= _MAX_ERRNO:
        raise MalformedMessage(f"a netlink message of type {message.kind} holds no error number")
    if refused:
        raise OSError(refused, os.strerror(refused))


def _opened() -> socket.socket:
    if sys.platform != "linux":  # FreeBSD's netlink has other numbers
        raise UnsupportedError("this system has no rtnetlink", "it is Linux's")
    opened = None
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE)
        opened.bind((0, 0))  # at a port that the kernel chooses: without one nothing is announced to it
    except OSError as error:
        if opened is not None:
            opened.close()
        if error.errno in _WITHOUT:
            raise UnsupportedError(
                f"a socket of AF_NETLINK: {error.strerror}", "a sandbox may keep it from this process"
            ) from error
        raise
    # Without it, before Linux 4.20, a list is told whole where a part of it was asked for.
    with contextlib.suppress(OSError):
        opened.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
    return opened
