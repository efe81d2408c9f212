"""Which receive buffer a socket is given, and how much of what comes it holds."""

from __future__ import annotations

import contextlib
import socket

from ..errors import MulticastError
from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..rfc3678.sysctls import sysctl_value
from ..system.sockets import MulticastSocket
from ..values import bounds
from ..values.options import Options
from .options import drops_and_buffer, set_receive_buffer

__all__ = ["BUFFER_SYSCTL", "DEFAULT_GRANT", "give_buffer", "room_for"]

ABI = native()
BUFFER_SYSCTL = ABI.facts.receive_buffer_sysctl
"""The sysctl that limits what is granted, where there is one."""
_TIMES = 2 if ABI.facts.doubles_buffers else 1
DEFAULT_GRANT = bounds.RECEIVE_BUFFER * _TIMES
"""Bytes of receive buffer that a socket has whose default was granted whole."""

# What Linux keeps beside each datagram (struct sk_buff, and at the end of its memory struct
# skb_shared_info and room for headers); memory comes in powers of two.
_SK_BUFF, _BESIDE, _LEAST = 256, 384, 576


def give_buffer(sock: MulticastSocket, options: Options, *, is_adopted: bool = False) -> None:
    """Have `sock` ask for the receive buffer that `options` say.

    By default it asks for one that holds a burst, by force where that is allowed, and never for less than
    it has; what is refused is no error, `is_buffer_whole` tells. One that was adopted keeps its own then,
    as does one that was given a size by `socket_options`. RefusedError as of `set_receive_buffer`.
    """
    size = options.receive_buffer
    if size == "system":
        return
    if size is not None:
        set_receive_buffer(sock, size)
    elif not is_adopted and not _is_sized(options):
        _ask_for_default(sock)
        sock.is_buffer_whole = drops_and_buffer(sock)[1] >= DEFAULT_GRANT


def _is_sized(options: Options) -> bool:
    sizes = (socket.SO_RCVBUF, ABI.SO_RCVBUFFORCE)
    return any(level == ABI.SOL_SOCKET and option in sizes for level, option, _ in options.socket_options)


def _ask_for_default(sock: socket.socket) -> None:
    before = drops_and_buffer(sock)[1]
    if before >= DEFAULT_GRANT:
        return
    with contextlib.suppress(OSError, MulticastError):
        if kernel.offer(sock, ABI.SOL_SOCKET, ABI.SO_RCVBUFFORCE, bounds.RECEIVE_BUFFER):
            return
    # Linux grants no more than its limit, be it less than there is already.
    most = None if BUFFER_SYSCTL is None else sysctl_value(BUFFER_SYSCTL)
    if most is None or most * _TIMES > before:
        with contextlib.suppress(OSError, MulticastError):
            set_receive_buffer(sock, bounds.RECEIVE_BUFFER)


def room_for(octets: float) -> float:
    """Return about how many bytes of buffer a datagram of so many bytes takes."""
    if not ABI.facts.doubles_buffers:
        return octets
    return _SK_BUFF + max(_LEAST, 1 << (int(octets) + _BESIDE - 1).bit_length())
