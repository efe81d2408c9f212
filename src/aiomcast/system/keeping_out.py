"""What keeps from a socket what other sockets have joined, and what came in elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Callable

from ..errors import UnsupportedError
from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..values.interface import Interface

__all__ = ["Give", "keep_out"]

ABI = native()

Give = Callable[[socket.socket, int, int | None, int], bool]
"""Sets an option, by level, number and value, and says whether the kernel has it. See `kernel.offer`."""


def keep_out(sock: socket.socket, interface: Interface, give: Give = kernel.offer) -> bool:
    """Have `sock` hear what it joins on `interface` alone; return whether the kernel sees to it.

    An old kernel does not (IPv6 before Linux 5.1, without privilege before 5.7, or IPv4 before 2.6.31).
    Then the socket tells with every datagram where that came in, for a reader to judge by.
    UnsupportedError when it cannot do that either.
    """
    if sock.family == socket.AF_INET6:
        if ABI.IPV6_MULTICAST_ALL is not None:  # of another group of its own address there is none
            give(sock, ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_ALL, 0)
        # Linux's IPv6 source filter does not look at the interface a packet came in on.
        option = ABI.SO_BINDTOIFINDEX
        try:
            kept = option is None or give(sock, ABI.SOL_SOCKET, option, interface.index)
        except PermissionError:  # before 5.7
            kept = False
        level, tells = ABI.IPPROTO_IPV6, ABI.IPV6_RECVPKTINFO
    else:
        kept = ABI.IP_MULTICAST_ALL is None or give(sock, ABI.IPPROTO_IP, ABI.IP_MULTICAST_ALL, 0)
        level, tells = ABI.IPPROTO_IP, ABI.IP_PKTINFO
    if not kept and not give(sock, level, tells, 1):
        raise UnsupportedError(
            "this kernel neither keeps out what other sockets have joined nor tells where a packet came in",
            "a kernel from Linux 5.7 on does the one",
        )
    return kept
