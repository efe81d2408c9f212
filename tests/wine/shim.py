"""The Windows half of the shim: under Wine, the multicast calls that it lacks go to `preload.c`.

Python's `socket` and what `ctypes` gives of ws2_32 are replaced for the whole process. What real Windows
refuses and Linux does not (to bind to a group) is refused here. Imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from typing import Any

__all__ = ["install"]

_REQUEST = struct.Struct("<8s8i")  # magic, what, level, option, length, error, room, two unused
_MAGIC = b"aiomcst\0"
_SET_OPTION, _FILTER_CALL, _NOTHING_LEAKS = 1, 2, 3
_PASSED_UNREAD = 15  # IP_ADD_SOURCE_MEMBERSHIP, of which Wine looks at nothing
_OPTIONS = {0: {9, 12, 13, 15, 16, 17, 18, *range(41, 47)}, 41: set(range(41, 47))}  # by level
_FILTER_CODES = range(0x8004747C, 0x80047480)

# errno of Linux -> winerror.h
_WINSOCK = {
    1: 10013, 9: 10038, 12: 10055, 13: 10013, 14: 10014, 19: 10049, 22: 10022, 24: 10024, 92: 10042,
    95: 10045, 97: 10047, 98: 10048, 99: 10049, 101: 10051, 105: 10055,
}  # fmt: skip
_INVALID, _NO_ADDRESS = 10022, 10049

if sys.platform == "win32":
    _real_dll = ctypes.WinDLL
    _winsock = _real_dll("ws2_32", use_last_error=True)
    _winsock.setsockopt.argtypes = [
        ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_int
    ]  # fmt: skip
    _setsockopt, _bind = socket.socket.setsockopt, socket.socket.bind

    def _ask(
        handle: int, what: int, level: int, option: int, value: bytes, room: int = 0
    ) -> tuple[int, bytes]:
        """Return the error that Windows would give, 0 for none, and the answer."""
        size = _REQUEST.size + max(len(value), room)
        number = ctypes.c_int32(option).value
        head = _REQUEST.pack(_MAGIC, what, level, number, len(value), 0, room, 0, 0)
        box = ctypes.create_string_buffer(head + value, size)
        if _winsock.setsockopt(handle, 0, _PASSED_UNREAD, box, size):
            return ctypes.get_last_error(), b""
        error, got = _REQUEST.unpack_from(box.raw)[5:7]
        return _WINSOCK.get(error, _INVALID) if error else 0, box.raw[_REQUEST.size :][: min(got, room)]

    # Any: as socket.socket has them
    def _set(sock: socket.socket, level: int, option: int, *value: Any) -> None:
        if level == socket.SOL_SOCKET and option == socket.SO_REUSEADDR:
            _ask(sock.fileno(), _NOTHING_LEAKS, 0, 0, b"")
        if option not in _OPTIONS.get(level, ()):
            _setsockopt(sock, level, option, *value)
            return
        given = value[0] if len(value) == 1 else bytes(value[1])
        packed = given.to_bytes(4, "little") if isinstance(given, int) else bytes(given)
        error, _ = _ask(sock.fileno(), _SET_OPTION, level, option, packed)
        if error:
            raise ctypes.WinError(error)

    def _bound(sock: socket.socket, address: Any) -> None:
        if _is_group(address[0]):
            raise ctypes.WinError(_NO_ADDRESS)
        _bind(sock, address)

    def _is_group(host: str) -> bool:
        if host.lower().startswith("ff"):
            return True
        first = host.split(".")[0]
        return first.isdecimal() and 224 <= int(first) <= 239

    @ctypes.WINFUNCTYPE(
        ctypes.c_int, ctypes.c_size_t, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p,
        ctypes.c_ulong, ctypes.POINTER(ctypes.c_ulong), ctypes.c_void_p, ctypes.c_void_p, use_last_error=True,
    )  # fmt: skip
    def _ioctl(
        handle: int, code: int, value: int, length: int, out: int, room: int, got: Any, *overlapped: Any
    ) -> int:
        if code not in _FILTER_CODES:
            failed: int = _winsock.WSAIoctl(
                ctypes.c_size_t(handle), ctypes.c_ulong(code), ctypes.c_void_p(value), ctypes.c_ulong(length),
                ctypes.c_void_p(out), ctypes.c_ulong(room), got, None, None,
            )  # fmt: skip
            return failed
        error, answer = _ask(handle, _FILTER_CALL, 0, code, ctypes.string_at(value, length), room)
        ctypes.set_last_error(error)
        ctypes.memmove(out, answer, len(answer))
        got[0] = len(answer)
        return -1 if error else 0

    class _Winsock:
        """ws2_32 with its own WSAIoctl."""

        WSAIoctl = staticmethod(_ioctl)

        def __getattr__(self, name: str) -> Any:
            return getattr(_winsock, name)

    def _dll(name: str, *arguments: Any, **options: Any) -> Any:
        return _Winsock() if name.lower().startswith("ws2_32") else _real_dll(name, *arguments, **options)

    def install() -> None:
        """Put the replacements in their places."""
        socket.socket.setsockopt = _set  # type: ignore[method-assign]  # that is what it is for
        socket.socket.bind = _bound  # type: ignore[method-assign]
        ctypes.WinDLL = _dll  # type: ignore[misc, assignment]
        sys.modules["_wmi"] = None  # type: ignore[assignment]  # Wine's hangs

else:

    def install() -> None:
        """Do nothing: there is no Wine."""
