"""The full-state calls as each family of systems makes them; `calls` is their face.

Linux: setsockopt and getsockopt with ip_msfilter or group_filter. FreeBSD and macOS: libc's
sourcefilter(3) functions. Windows: WSAIoctl. Groups and interface addresses
are packed, sources are canonical text, modes the platform's own.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from ..values.addresses import pack, unpack
from ..values.filters import FilterMode, SourceFilter
from . import kernel
from .abi import native
from .sysctls import setting_value

__all__ = [
    "count_by_index",
    "count_ipv4",
    "filter_of",
    "get_by_index",
    "get_ipv4",
    "set_by_index",
    "set_ipv4",
    "size_by_index",
    "size_ipv4",
]

ABI = native()
_FIRST_GUESS = 64  # sources there is room for in the first question

State = tuple[int, int, list[bytes]]
"""(mode, how many sources there are, those that there was room for)."""


def filter_of(mode: int, count: int, sources: Sequence[bytes]) -> SourceFilter:
    """Return the value that (mode, sources) of this platform stand for."""
    meant = FilterMode.INCLUDE if mode == ABI.MCAST_INCLUDE else FilterMode.EXCLUDE
    return SourceFilter(meant, {unpack(source) for source in sources})


@lru_cache(maxsize=256)  # a feed is often swapped between the same few lists
def _group_filter(ifindex: int, group: bytes, mode: int, sources: frozenset[str]) -> bytes:
    return ABI.group_filter(ifindex, group, mode, _packed(sources))


def _packed(sources: frozenset[str]) -> list[bytes]:
    return [pack(source) for source in sources]


def _level(group: bytes) -> int:
    return ABI.IPPROTO_IP if len(group) == 4 else ABI.IPPROTO_IPV6


def _set_linux(sock: socket.socket, ifindex: int, group: bytes, mode: int, sources: frozenset[str]) -> None:
    value = _group_filter(ifindex, group, mode, sources)
    kernel.setsockopt(sock, _level(group), ABI.MCAST_MSFILTER, value)


def _get_linux(sock: socket.socket, ifindex: int, group: bytes, room: int) -> State:
    question = ABI.group_filter(ifindex, group, 0, [bytes(len(group))] * room)
    answer = kernel.getsockopt(sock, _level(group), ABI.MCAST_MSFILTER, question)
    return ABI.parse_group_filter(answer)[2:]


def _set_ipv4_linux(
    sock: socket.socket, interface: bytes, group: bytes, mode: int, sources: frozenset[str]
) -> None:
    kernel.setsockopt(
        sock, ABI.IPPROTO_IP, ABI.IP_MSFILTER, ABI.ip_msfilter(group, interface, mode, _packed(sources))
    )


def _get_ipv4_linux(sock: socket.socket, interface: bytes, group: bytes, room: int) -> State:
    question = ABI.ip_msfilter(group, interface, 0, [bytes(4)] * room)
    return ABI.parse_ip_msfilter(kernel.getsockopt(sock, ABI.IPPROTO_IP, ABI.IP_MSFILTER, question))[2:]


def _set_bsd(sock: socket.socket, ifindex: int, group: bytes, mode: int, sources: frozenset[str]) -> None:
    address = ABI.sockaddr(group)
    kernel.libc_call(
        "setsourcefilter",
        sock.fileno(),
        ctypes.c_uint32(ifindex),
        address,
        ctypes.c_uint32(len(address)),
        ctypes.c_uint32(mode),
        ctypes.c_uint32(len(sources)),
        ABI.source_storage(_packed(sources)) if sources else None,
    )


def _get_bsd(sock: socket.socket, ifindex: int, group: bytes, room: int) -> State:
    address = ABI.sockaddr(group)
    mode, count = ctypes.c_uint32(), ctypes.c_uint32(room)
    listed = ctypes.create_string_buffer(128 * room)
    kernel.libc_call(
        "getsourcefilter",
        sock.fileno(),
        ctypes.c_uint32(ifindex),
        address,
        ctypes.c_uint32(len(address)),
        ctypes.byref(mode),
        ctypes.byref(count),
        listed,
    )
    return mode.value, count.value, ABI.parse_source_storage(listed.raw, _listed(count.value, room, group))


def _set_ipv4_bsd(
    sock: socket.socket, interface: bytes, group: bytes, mode: int, sources: frozenset[str]
) -> None:
    kernel.libc_call(
        "setipv4sourcefilter",
        sock.fileno(),
        _in_addr(interface),
        _in_addr(group),
        ctypes.c_uint32(mode),
        ctypes.c_uint32(len(sources)),
        b"".join(_packed(sources)) if sources else None,
    )


def _get_ipv4_bsd(sock: socket.socket, interface: bytes, group: bytes, room: int) -> State:
    mode, count = ctypes.c_uint32(), ctypes.c_uint32(room)
    listed = ctypes.create_string_buffer(4 * room)
    kernel.libc_call(
        "getipv4sourcefilter",
        sock.fileno(),
        _in_addr(interface),
        _in_addr(group),
        ctypes.byref(mode),
        ctypes.byref(count),
        listed,
    )
    present = range(_listed(count.value, room, group))
    return mode.value, count.value, [listed.raw[4 * i : 4 * i + 4] for i in present]


def _listed(count: int, room: int, group: bytes) -> int:
    """Return how many of `count` sources were listed: no more than one call may set."""
    most = setting_value(ABI.facts.sources(4 if len(group) == 4 else 6))
    return min(count, room) if most is None else min(count, room, most)


class _InAddr(ctypes.Structure):  # struct in_addr, which these calls take by value
    _fields_ = [("s_addr", ctypes.c_uint8 * 4)]


def _in_addr(packed: bytes) -> _InAddr:
    return _InAddr.from_buffer_copy(packed)


def _set_windows(sock: socket.socket, ifindex: int, group: bytes, mode: int, sources: frozenset[str]) -> None:
    kernel.wsa_ioctl(sock, ABI.SIOCSMSFILTER, _group_filter(ifindex, group, mode, sources), 0)


def _get_windows(sock: socket.socket, ifindex: int, group: bytes, room: int) -> State:
    question = ABI.group_filter(ifindex, group, 0, [bytes(len(group))] * room)
    return ABI.parse_group_filter(kernel.wsa_ioctl(sock, ABI.SIOCGMSFILTER, question, len(question)))[2:]


def _set_ipv4_windows(
    sock: socket.socket, interface: bytes, group: bytes, mode: int, sources: frozenset[str]
) -> None:
    value = ABI.ip_msfilter(group, interface, mode, _packed(sources))
    kernel.wsa_ioctl(sock, ABI.SIO_SET_MULTICAST_FILTER, value, 0)


def _get_ipv4_windows(sock: socket.socket, interface: bytes, group: bytes, room: int) -> State:
    question = ABI.ip_msfilter(group, interface, 0, [bytes(4)] * room)
    answer = kernel.wsa_ioctl(sock, ABI.SIO_GET_MULTICAST_FILTER, question, len(question))
    return ABI.parse_ip_msfilter(answer)[2:]


_FORMS = {
    "linux": (_set_linux, _get_linux, _set_ipv4_linux, _get_ipv4_linux),
    "bsd": (_set_bsd, _get_bsd, _set_ipv4_bsd, _get_ipv4_bsd),
    "windows": (_set_windows, _get_windows, _set_ipv4_windows, _get_ipv4_windows),
}
set_by_index: Callable[[socket.socket, int, bytes, int, frozenset[str]], None]
set_ipv4: Callable[[socket.socket, bytes, bytes, int, frozenset[str]], None]
set_by_index, _get_by_index, set_ipv4, _get_ipv4 = _FORMS[ABI.full_state]


def get_by_index(sock: socket.socket, ifindex: int, group: bytes) -> State:
    """Return the whole state, or as much of it as the system lists."""
    return _with_room(partial(_get_by_index, sock, ifindex, group))


def get_ipv4(sock: socket.socket, interface: bytes, group: bytes) -> State:
    """Return the whole state, or as much of it as the system lists."""
    return _with_room(partial(_get_ipv4, sock, interface, group))


def _with_room(ask: Callable[[int], State]) -> State:
    """Ask again with more room where there was too little. FreeBSD lists no more than one call may set."""
    room = _FIRST_GUESS
    state = ask(room)
    while state[1] > room:
        room = state[1]
        state = ask(room)
    return state


def count_by_index(sock: socket.socket, ifindex: int, group: bytes) -> int | None:
    """Return how many sources `sock` has listed for a group, None if it is no member.

    With index 0 it is the interface with the most of them: the kernel takes 0 for one of its
    choice in a join, and for none in a question.
    """
    indexes = [ifindex] if ifindex else [index for index, _ in socket.if_nameindex()]
    counts = [_count(partial(_get_by_index, sock, index, group, 0)) for index in indexes]
    return max((count for count in counts if count is not None), default=None)


def count_ipv4(sock: socket.socket, interface: bytes, group: bytes) -> int | None:
    """Return how many sources `sock` has listed for a group, None if it is no member."""
    return _count(partial(_get_ipv4, sock, interface, group, 0))


def _count(ask: Callable[[], State]) -> int | None:
    try:
        return ask()[1]
    except OSError:
        return None


def size_by_index(group: bytes, count: int) -> int:
    """Return the bytes of `set_by_index`'s value for so many sources, where it is one value."""
    return len(ABI.group_filter(0, group, 0, [group] * count))


def size_ipv4(group: bytes, count: int) -> int:
    """Return the bytes of `set_ipv4`'s value for so many sources, where it is one value."""
    return len(ABI.ip_msfilter(group, bytes(4), 0, [group] * count))
