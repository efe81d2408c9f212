"""A system that grants nobody more than a few bytes of receive buffer."""

from __future__ import annotations

import errno
import socket

import pytest

from aiomcast.reading import buffers
from aiomcast.rfc3678 import kernel
from aiomcast.rfc3678.abi import native

from .seam import refusal

__all__ = ["grant_little"]

ABI = native()
_MOST = 2048  # bytes, of which the system makes a few datagrams' room


def grant_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it grant no more: some datagrams a second are too many then."""
    real = kernel.setsockopt

    def setsockopt(sock: socket.socket, level: int, option: int | None, value: int | bytes) -> None:
        if level == socket.SOL_SOCKET and option == ABI.SO_RCVBUFFORCE:
            raise refusal(errno.EPERM)
        if level == socket.SOL_SOCKET and option == socket.SO_RCVBUF:
            assert isinstance(value, int)
            value = min(value, _MOST)
        real(sock, level, option, value)

    monkeypatch.setattr(kernel, "setsockopt", setsockopt)
    monkeypatch.setattr(buffers, "sysctl_value", lambda name: None)
