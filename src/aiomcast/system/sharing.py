"""Binding a port that others may have too, and sharing it with every program that shares at all.

A port is shared where both have set SO_REUSEADDR, or both SO_REUSEPORT and are of one user. Where it takes
both options (`Facts.reuse_port`) both are set. On Linux, SO_REUSEPORT does more: sockets that have it when
they are bound, to one address, are a group (`Facts.reuse_port_groups`), and a packet of IPv4 multicast
from the wire that a single one of them is to have may be given to any of the group instead: to one that
has not joined that source, or has joined on another interface. (The early demultiplexing finds the one,
and the choice among the group is made after it.) So on Linux a socket has the option from its binding on,
but not while it is bound, unless somebody is there already who shares by nothing else; and then its
siblings, sockets of this process with the same group and port, do without it for that moment.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import Any

from ..rfc3678 import kernel
from ..rfc3678.abi import native

__all__ = ["bind_shared", "share"]

ABI = native()


def share(sock: socket.socket) -> None:
    """Share the port of a bound socket with those that are bound later."""
    kernel.setsockopt(sock, ABI.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _reuse_port(sock, 1)


def bind_shared(
    sock: socket.socket, address: tuple[Any, ...], siblings: Iterable[socket.socket] = ()
) -> None:  # Any: an address as the socket module takes it
    """Bind `sock` to an address and a port that others may have too. OSError where one does not share.

    `siblings` are the open sockets of this process that are bound to the same, or more of them.
    """
    kernel.setsockopt(sock, ABI.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not ABI.facts.reuse_port_groups:
        _reuse_port(sock, 1)
        sock.bind(address)
        return
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _bind_apart(sock, address, [one for one in siblings if one.fileno() >= 0])
    _reuse_port(sock, 1)


def _bind_apart(sock: socket.socket, address: tuple[Any, ...], siblings: list[socket.socket]) -> None:
    done: list[socket.socket] = []
    try:
        for one in siblings:
            _reuse_port(one, 0)
            done.append(one)
        _reuse_port(sock, 1)
        sock.bind(address)
    finally:
        for one in done:
            _reuse_port(one, 1)


def _reuse_port(sock: socket.socket, value: int) -> None:
    if ABI.facts.reuse_port:
        kernel.setsockopt(sock, ABI.SOL_SOCKET, ABI.SO_REUSEPORT, value)
