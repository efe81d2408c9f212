"""What the running system has, found by asking it."""

from __future__ import annotations

import socket

from ..rfc3678 import kernel
from ..rfc3678.refusals import refusals
from ..system.keeping_out import keep_out
from ..values.capabilities import Capabilities
from ..values.interface import Interface
from .options import ABI, SHARED_STAMPS, ask_coalescing, ask_time, drops_and_buffer

__all__ = ["capabilities"]

_SOMEWHERE = Interface(1, "", ())  # loopback where there is one, and no socket here receives


def capabilities() -> Capabilities:
    """Return what this system has. RefusedError when it gives no socket to ask."""
    with refusals("looking what the system has"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        timed = ask_time(sock)
        tells = kernel.offer(sock, ABI.SOL_SOCKET, ABI.SO_RXQ_OVFL, 1)
        kept = ABI.facts.binds_to_group and keep_out(sock, _SOMEWHERE)
        return Capabilities(
            timestamps=timed,
            lossless_switch=timed and SHARED_STAMPS,
            kernel_drops=tells or drops_and_buffer(sock)[0] is not None,
            coalescing=ask_coalescing(sock),
            kept_out_by_kernel=kept and _ipv6_is_kept_out(),
        )


def _ipv6_is_kept_out() -> bool:
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    except OSError:  # a system without IPv6
        return True
    with sock:
        return keep_out(sock, _SOMEWHERE)
