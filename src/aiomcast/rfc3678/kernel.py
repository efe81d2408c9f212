"""The one seam to the system: every option a socket is given goes through here.

Nothing is decided here. Tests put their faults in the place of these functions.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys

from ..errors import UnsupportedError

__all__ = ["getsockopt", "libc_call", "offer", "setsockopt", "wsa_ioctl"]


def setsockopt(sock: socket.socket, level: int, option: int | None, value: int | bytes) -> None:
    """setsockopt(2). OSError as the system gives it; UnsupportedError for an option it lacks (None)."""
    if option is None:
        raise _missing()
    sock.setsockopt(level, option, value)


def offer(sock: socket.socket, level: int, option: int | None, value: int) -> bool:
    """Set an option that an old kernel may not have; say whether it has.

    OSError for any other refusal. An option that the platform lacks (None) is not set.
    """
    if option is None:
        return False
    try:
        setsockopt(sock, level, option, value)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return False
    return True


def getsockopt(sock: socket.socket, level: int, option: int | None, value: bytes) -> bytes:
    """getsockopt(2) with `value` in the buffer as the question, which CPython's cannot do.

    Errors are as for `setsockopt`.
    """
    if option is None:
        raise _missing()
    buffer = ctypes.create_string_buffer(value, len(value))
    length = ctypes.c_uint32(len(value))
    libc_call("getsockopt", sock.fileno(), level, option, buffer, ctypes.byref(length))
    return buffer.raw[: length.value]


def _missing() -> UnsupportedError:
    return UnsupportedError("this platform has no such socket option")


if sys.platform == "win32":

    def libc_call(name: str, *arguments: object) -> None:
        """Refuse: there is no libc with the RFC 3678 functions on Windows."""
        raise UnsupportedError(f"{name}() is not there on Windows")

    def wsa_ioctl(sock: socket.socket, code: int | None, value: bytes, room: int) -> bytes:
        """WSAIoctl(code) with `value` in and up to `room` bytes out (socket.ioctl refuses these codes)."""
        call = ctypes.WinDLL("ws2_32", use_last_error=True).WSAIoctl
        out = ctypes.create_string_buffer(max(room, 1))
        got = ctypes.c_ulong(0)
        handle = ctypes.c_size_t(sock.fileno())
        if call(handle, ctypes.c_ulong(code), value, len(value), out, room, ctypes.byref(got), None, None):
            raise ctypes.WinError(ctypes.get_last_error())
        return out.raw[: got.value]

else:
    _libc = ctypes.CDLL(None, use_errno=True)

    def libc_call(name: str, *arguments: object) -> None:
        """Call a libc function that returns 0 or -1 with errno. OSError on -1."""
        ctypes.set_errno(0)
        if getattr(_libc, name)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def wsa_ioctl(sock: socket.socket, code: int | None, value: bytes, room: int) -> bytes:
        """Refuse: WSAIoctl is Windows'."""
        raise UnsupportedError("WSAIoctl is only there on Windows")
