"""Binding a port that others may have too, and sharing it with every program that shares at all.

A port is shared where both have set SO_REUSEADDR, or both SO_REUSEPORT and are of one user. Where it takes
both options (`Facts.reuse_port`) both are set. On Linux, SO_REUSEPORT does more: sockets that have it when
one of them is bound, to one address and one device, are a group from then on (`Facts.reuse_port_groups`).
A packet of IPv4 multicast from the wire that a single one of them is to have is dealt out among the group
instead, and may come to one that has not joined that source, or has joined on another interface: the early
demultiplexing finds the one, and the choice among the group is made after it.

So there a socket is bound without that option, and set to share with those that come later. Only where
somebody is there already who shares by nothing else, it takes the option to be bound; then it is bound to
its interface, so that it is in no group with those that are not, and gives the option up again, so that
nobody who comes later is either.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..values.interface import Interface

__all__ = ["bind_alone", "bind_shared", "device_of", "share"]

ABI = native()


def share(sock: socket.socket) -> None:
    """Share the port of a bound socket with those that are bound later."""
    kernel.setsockopt(sock, ABI.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _reuse_port(sock, 1)


# Any: an address as the socket module takes it
def bind_alone(sock: socket.socket, address: tuple[Any, ...]) -> None:
    """Bind `sock` to an address and a port that nobody else is to have. OSError where somebody has.

    On Windows whoever sets SO_REUSEADDR has any port, but for those that are claimed by an option.
    """
    if ABI.SO_EXCLUSIVEADDRUSE is not None:
        kernel.setsockopt(sock, ABI.SOL_SOCKET, ABI.SO_EXCLUSIVEADDRUSE, 1)
    sock.bind(address)


def bind_shared(sock: socket.socket, address: tuple[Any, ...], interface: Interface) -> None:
    """Bind `sock` to an address and a port that others may have too. OSError where one does not share.

    It comes to be bound to the device of `interface`, where it is to join, if there is no other way.
    """
    kernel.setsockopt(sock, ABI.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not ABI.facts.reuse_port_groups:
        _reuse_port(sock, 1)
        sock.bind(address)
        return
    try:
        sock.bind(address)
        _reuse_port(sock, 1)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_apart(sock, interface):
            raise
        _reuse_port(sock, 1)
        sock.bind(address)
        _reuse_port(sock, 0)


def _is_apart(sock: socket.socket, interface: Interface) -> bool:
    """Bind it to the device, and say if the system has let it be: before Linux 5.7 that takes privilege."""
    if ABI.SO_BINDTOIFINDEX is None:
        return False
    if device_of(sock) == interface.index:  # to say it again takes privilege
        return True
    try:
        kernel.setsockopt(sock, ABI.SOL_SOCKET, ABI.SO_BINDTOIFINDEX, interface.index)
    except OSError:
        return False
    return True


def device_of(sock: socket.socket) -> int:
    """Return the index of the interface that a socket is bound to, 0 for none."""
    if ABI.SO_BINDTOIFINDEX is None:
        return 0
    try:
        return sock.getsockopt(ABI.SOL_SOCKET, ABI.SO_BINDTOIFINDEX)
    except OSError:  # before Linux 5.0
        return 0


def _reuse_port(sock: socket.socket, value: int) -> None:
    if ABI.facts.reuse_port:
        kernel.setsockopt(sock, ABI.SOL_SOCKET, ABI.SO_REUSEPORT, value)
