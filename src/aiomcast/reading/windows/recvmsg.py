"""WSARecvMsg in the shape of Python's `recvmsg`, which is not there on Windows."""

from __future__ import annotations

import ctypes
import socket
import sys
from functools import lru_cache
from typing import TypeAlias

from ...errors import UnsupportedError
from ...rfc3678 import kernel
from ...rfc3678.abi import WINDOWS, winsock
from ...values.addresses import unpack

__all__ = ["Message", "Receiving"]

Message: TypeAlias = tuple[bytes, list[tuple[int, int, bytes]], int, tuple[str, int]]
"""(data, control messages, flags, (source, port))."""

_ROOM = 65536  # more than any datagram
_NAME_ROOM = 128


class _Buffers:
    """Where one read puts what it gets."""

    def __init__(self, control_size: int) -> None:
        self.data = ctypes.create_string_buffer(_ROOM)
        self.control = ctypes.create_string_buffer(control_size)
        self.name = ctypes.create_string_buffer(_NAME_ROOM)
        self.buffer = ctypes.create_string_buffer(16)
        self.message = ctypes.create_string_buffer(winsock.WSAMSG_SIZE)
        self.asked = winsock.wsamsg(
            (_NAME_ROOM, ctypes.addressof(self.name)),
            ctypes.addressof(self.buffer),
            (control_size, ctypes.addressof(self.control)),
        )

    def prepare(self, size: int) -> None:
        """Be ready for a datagram of `size` bytes: what is written into lengths and flags is undone."""
        ctypes.memmove(self.buffer, winsock.wsabuf(size, ctypes.addressof(self.data)), 16)
        ctypes.memmove(self.message, self.asked, winsock.WSAMSG_SIZE)


@lru_cache(maxsize=4096)
def _source(sockaddr: bytes) -> tuple[str, int]:
    return unpack(WINDOWS.address_of(sockaddr)), int.from_bytes(sockaddr[2:4], "big")


if sys.platform == "win32":
    _prototype = ctypes.WINFUNCTYPE(
        ctypes.c_int,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_ulong),
        ctypes.c_void_p,
        ctypes.c_void_p,
        use_last_error=True,
    )

    class Receiving:
        """Receives from one non-blocking socket. OSError when Windows does not tell how."""

        def __init__(self, sock: socket.socket, control_size: int) -> None:
            code = winsock.SIO_GET_EXTENSION_FUNCTION_POINTER
            pointer = kernel.wsa_ioctl(sock, code, winsock.RECVMSG_ID, ctypes.sizeof(ctypes.c_void_p))
            self._call = _prototype(int.from_bytes(pointer, sys.byteorder))
            self._handle = sock.fileno()
            self._control_size = control_size
            self._free: list[_Buffers] = []  # a signal handler may read while a read goes on

        def recvmsg(self, size: int, control_size: int) -> Message:
            """Return the next datagram, cut to `size` bytes. BlockingIOError where there is none.

            `control_size` is not asked: it is that of the buffers there are.
            """
            buffers = self._free.pop() if self._free else _Buffers(self._control_size)
            try:
                return self._received(buffers, size)
            finally:
                self._free.append(buffers)

        def _received(self, buffers: _Buffers, size: int) -> Message:
            buffers.prepare(size)
            got = ctypes.c_ulong()
            if self._call(self._handle, ctypes.addressof(buffers.message), ctypes.byref(got), None, None):
                error = ctypes.get_last_error()
                if error != winsock.WSAEMSGSIZE:
                    raise ctypes.WinError(error)
                told = winsock.parse_wsamsg(buffers.message.raw)
                length, flags = size, told.flags | WINDOWS.MSG_TRUNC
            else:
                told = winsock.parse_wsamsg(buffers.message.raw)
                length, flags = got.value, told.flags
            return (
                ctypes.string_at(buffers.data, length),
                winsock.control_messages(buffers.control.raw[: told.control_length]),
                flags,
                _source(buffers.name.raw[: told.name_length]),
            )

else:

    class Receiving:
        """Refuses: WSARecvMsg is Windows'."""

        def __init__(self, sock: socket.socket, control_size: int) -> None:
            raise UnsupportedError("WSARecvMsg is only there on Windows")

        def recvmsg(self, size: int, control_size: int) -> Message:
            """Never called."""
            raise NotImplementedError
