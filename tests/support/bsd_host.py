"""A FreeBSD host behind `aiomcast.rfc3678.kernel`: it takes the calls' bytes, and answers by the model.

`bsd` puts it, and FreeBSD's table, in the place of the running system's.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import ref

import pytest

from aiomcast import FilterMode
from aiomcast.rfc3678 import calls, full_state, holdings, limits, refusals, shortage, sysctls
from aiomcast.rfc3678.abi import FREEBSD, Abi
from aiomcast.system import keeping_out, sharing, sockets
from aiomcast.system.planner import Rules
from aiomcast.system.sockets import MulticastSocket

from .bsd_model import BSD, BsdLimits, BsdSocket, BsdState
from .seam import refusal

__all__ = ["BsdHost", "Call", "KernelDown", "bsd", "in_place"]

MODES = {FREEBSD.MCAST_INCLUDE: FilterMode.INCLUDE, FREEBSD.MCAST_EXCLUDE: FilterMode.EXCLUDE}
_GROUP_CALLS: dict[int, Callable[[BsdSocket, str], None]] = {
    FREEBSD.MCAST_JOIN_GROUP: BsdSocket.join_group,
    FREEBSD.MCAST_LEAVE_GROUP: BsdSocket.leave_group,
}
_SOURCE_CALLS: dict[int, Callable[[BsdSocket, str, str], None]] = {
    FREEBSD.MCAST_JOIN_SOURCE_GROUP: BsdSocket.join_source,
    FREEBSD.MCAST_LEAVE_SOURCE_GROUP: BsdSocket.leave_source,
    FREEBSD.MCAST_BLOCK_SOURCE: BsdSocket.block,
    FREEBSD.MCAST_UNBLOCK_SOURCE: BsdSocket.unblock,
}
_TICK = 0.2  # seconds within which the report of a leave goes out: PR_FASTHZ


class KernelDown(AssertionError):
    """What would have brought the kernel down."""


class Call(NamedTuple):
    """One setsockopt(2) as the kernel gets it; `listed` is what the pointer in its value points to."""

    level: int
    option: int
    value: bytes
    listed: bytes = b""


class _Open:
    """An open socket: what it holds on each interface, and the options it was given."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = ref(sock)
        self.descriptor = sock.fileno()
        self.on: dict[int, BsdSocket] = {}
        self.options: dict[tuple[int, int], int | bytes] = {}

    @property
    def is_closed(self) -> bool:
        sock = self.sock()
        return sock is None or sock.fileno() != self.descriptor


class BsdHost:
    """Takes the calls of `aiomcast.rfc3678.kernel`, and answers as FreeBSD does.

    `made` are the calls as the kernel has got them. `deaf` are the groups, by interface, that were joined
    before the report of the last leave was out: nothing is reported of them any more. KernelDown where
    sockets come to list more than 512 sources of a group on an interface.
    """

    def __init__(
        self,
        interfaces: Sequence[int] = (2, 3),
        *,
        socket_limits: BsdLimits = BSD,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interfaces = interfaces
        self.limits = socket_limits
        self.sysctls = {
            "net.inet.ip.mcast.maxsocksrc": socket_limits.sources,
            "net.inet6.ip6.mcast.maxsocksrc": socket_limits.sources,
            "net.inet.ip.mcast.maxgrpsrc": 512,
            "net.inet6.ip6.mcast.maxgrpsrc": 512,
        }
        self.made: list[Call] = []
        self.deaf: set[tuple[int, str]] = set()
        self.now = now
        self._open: dict[int, _Open] = {}
        self._guard = threading.RLock()
        self._left: dict[tuple[int, str], float] = {}

    # What is there

    def state(self, sock: socket.socket, index: int, group: str) -> BsdState | None:
        """Return what `sock` holds, None if it is no member."""
        return self._of(sock).on.get(index, BsdSocket()).held.get(group)

    def members(self, index: int, group: str) -> list[BsdState]:
        """Return what the host's sockets hold of a group."""
        there = (opened.on.get(index) for opened in self._open.values() if not opened.is_closed)
        return [model.held[group] for model in there if model is not None and group in model.held]

    def sources(self, index: int, group: str) -> set[str]:
        """Return the sources of a group that the host's sockets list."""
        return set().union(*(state.entries for state in self.members(index, group)))

    def name_of(self, index: int) -> str:
        """Return the name of an interface, as if_indextoname(3) does."""
        if index not in self.interfaces:
            raise refusal(errno.ENXIO)
        return f"em{index - self.interfaces[0]}"

    def option(self, sock: socket.socket, level: int, option: int) -> int | bytes | None:
        """Return what an option of `sock` was set to."""
        return self._of(sock).options.get((level, option))

    def closed(self, sock: socket.socket) -> None:
        """Take note that `sock` is about to be closed, which leaves its groups."""
        with self._guard:
            self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        opened = self._open.get(sock.fileno())
        if opened is not None and opened.sock() is sock:
            held = [(index, group) for index, model in opened.on.items() for group in model.held]
            del self._open[sock.fileno()]
            for one in held:
                self._note_leave(*one)

    # The functions of `kernel`

    def setsockopt(self, sock: socket.socket, level: int, option: int | None, value: int | bytes) -> None:
        """setsockopt(2)."""
        assert option is not None
        with self._guard:
            self._set_option(sock, level, option, value)

    def _set_option(self, sock: socket.socket, level: int, option: int, value: int | bytes) -> None:
        opened = self._of(sock)
        if isinstance(value, int):
            opened.options[level, option] = value
            return
        self.made.append(Call(level, option, value))
        assert level == (FREEBSD.IPPROTO_IPV6 if self._is_v6(value, 8) else FREEBSD.IPPROTO_IP)
        if option in _GROUP_CALLS:
            assert len(value) == FREEBSD.group_req_layout.size
            index, packed = FREEBSD.group_req_layout.unpack(value)
            group = self._group(packed)
            self._check_interface(index)
            self._make(opened, index, group, lambda model: _GROUP_CALLS[option](model, group))
        else:
            assert len(value) == FREEBSD.group_source_req_layout.size
            index, packed, sender = FREEBSD.group_source_req_layout.unpack(value)
            group, source = self._group(packed), self._source(sender, packed)
            self._check_interface(index)
            self._make(opened, index, group, lambda model: _SOURCE_CALLS[option](model, group, source))

    def getsockopt(self, sock: socket.socket, level: int, option: int | None, value: bytes) -> bytes:
        """Refuse: nothing here is asked by getsockopt(2) itself."""
        raise AssertionError(f"getsockopt({level}, {option})")

    def libc_call(self, name: str, *arguments: Any) -> None:  # Any: what ctypes takes
        """A function of libc: what sourcefilter(3) does with its arguments, or sysctlbyname(3)."""
        with self._guard:
            getattr(self, "_" + name)(*arguments)

    # libc

    def _sysctlbyname(
        self, name: bytes, old: Any, size: Any, new: Any, new_size: Any
    ) -> None:  # Any: ctypes'
        assert (new, new_size.value) == (None, 0)
        value = self.sysctls.get(name.decode())
        if value is None:
            raise refusal(errno.ENOENT)
        data = value.to_bytes(ctypes.sizeof(ctypes.c_ulong), "little")  # CTLFLAG_ULONG
        assert size._obj.value >= len(data)
        ctypes.memmove(old, data, len(data))
        size._obj.value = len(data)

    def _setsourcefilter(
        self,
        descriptor: int,
        index: Any,  # Any: ctypes' integers, here and below
        address: bytes,
        length: Any,
        mode: Any,
        count: Any,
        listed: bytes | None,
    ) -> None:
        group = FREEBSD.address_of(address)
        assert address == FREEBSD.sockaddr(group)
        assert length.value == len(address)
        assert len(listed or b"") == 128 * count.value
        value = FREEBSD.msfilterreq(index.value, group, mode.value, count.value, 0)
        opened = self._open[descriptor]
        sock = opened.sock()
        assert sock is not None
        self.set_filter(sock, value, listed or b"")

    def set_filter(self, sock: socket.socket, value: bytes, listed: bytes) -> None:
        """setsockopt(2) of a __msfilterreq, whose pointer leads to `listed`: inp_set_source_filters()."""
        is_v6 = self._is_v6(value, 16)
        self.made.append(Call(*self._msfilter(is_v6), value, listed))
        index, mode, count, packed, _ = FREEBSD.msfilterreq_layout.unpack(value)  # type: ignore[union-attr]
        if count > self.limits.sources:
            raise refusal(errno.ENOBUFS)
        if mode not in MODES:
            raise refusal(errno.EINVAL)
        group = self._group(packed)
        if index not in self.interfaces:
            raise refusal(errno.EADDRNOTAVAIL)
        sources = [self._source(listed[at : at + 128], packed) for at in range(0, 128 * count, 128)]
        self._make(self._of(sock), index, group, lambda model: model.set(group, MODES[mode], sources))

    def _getsourcefilter(
        self,
        descriptor: int,
        index: Any,  # Any: ctypes' integers, here and below
        address: bytes,
        length: Any,
        mode: Any,
        count: Any,
        listed: Any,
    ) -> None:
        room = count._obj.value
        group = str(ipaddress.ip_address(FREEBSD.address_of(address)))
        if index.value not in self.interfaces and ":" not in group:
            raise refusal(errno.EINVAL)
        opened = self._open.get(descriptor)
        state = None if opened is None else opened.on.get(index.value, BsdSocket()).held.get(group)
        if state is None:
            raise refusal(errno.EADDRNOTAVAIL)
        mode._obj.value = next(number for number, meant in MODES.items() if meant is state.mode)
        count._obj.value = len(state.sources)
        told = [ipaddress.ip_address(one).packed for one in state.sources][: min(room, self.limits.sources)]
        data = FREEBSD.source_storage(told)
        ctypes.memmove(listed, data, len(data))

    # Inside

    def _make(self, opened: _Open, index: int, group: str, call: Callable[[BsdSocket], None]) -> None:
        model = opened.on.setdefault(index, BsdSocket(self.limits, v6=":" in group))
        was_held = bool(self.members(index, group))
        before = self.sources(index, group)
        call(model)
        if len(before | self.sources(index, group)) > 512:
            raise KernelDown(f"more than 512 sources of {group} on interface {index}")
        is_held = bool(self.members(index, group))
        if was_held and not is_held:
            self._left[index, group] = self.now()
        elif is_held and not was_held:
            if self.now() - self._left.get((index, group), -1.0) < _TICK:
                self.deaf.add((index, group))
            else:
                self.deaf.discard((index, group))
        self.changed(opened.sock(), index, group)

    def changed(self, sock: socket.socket | None, index: int, group: str) -> None:
        """Something was set: for who delivers packets."""

    def _note_leave(self, index: int, group: str) -> None:
        if not self.members(index, group):
            self._left[index, group] = self.now()

    def _of(self, sock: socket.socket) -> _Open:
        opened = self._open.get(sock.fileno())
        if opened is None or opened.sock() is not sock:
            opened = self._open[sock.fileno()] = _Open(sock)
        return opened

    def _check_interface(self, index: int) -> None:
        if index not in self.interfaces:
            raise refusal(errno.EADDRNOTAVAIL)

    @staticmethod
    def _is_v6(value: bytes, at: int) -> bool:
        return value[at + 1] == FREEBSD.AF_INET6

    @staticmethod
    def _msfilter(is_v6: bool) -> tuple[int, int]:
        number = FREEBSD.IPV6_MSFILTER if is_v6 else FREEBSD.IP_MSFILTER
        assert number is not None
        return (FREEBSD.IPPROTO_IPV6 if is_v6 else FREEBSD.IPPROTO_IP), number

    @staticmethod
    def _group(packed: bytes) -> str:
        group = ipaddress.ip_address(FREEBSD.address_of(packed))
        if not group.is_multicast:
            raise refusal(errno.EINVAL)
        return str(group)

    @staticmethod
    def _source(packed: bytes, group: bytes) -> str:
        if packed[1] != group[1]:
            raise refusal(errno.EAFNOSUPPORT)
        source = ipaddress.ip_address(FREEBSD.address_of(packed))
        if packed[0] != group[0] or (source.version == 6 and source.is_multicast):
            raise refusal(errno.EINVAL)
        return str(source)


def in_place(monkeypatch: pytest.MonkeyPatch, host: BsdHost, table: Abi = FREEBSD) -> None:
    """Have the package's calls, sockets and limits go to `host`, by its `table`."""
    monkeypatch.setattr(full_state, "set_by_index", full_state._set_bsd)
    monkeypatch.setattr(full_state, "_get_by_index", full_state._get_bsd)
    for module in (
        calls,
        full_state,
        holdings,
        limits,
        refusals,
        shortage,
        sysctls,
        keeping_out,
        sharing,
        sockets,
    ):
        monkeypatch.setattr(module, "ABI", table)
        if hasattr(module, "kernel"):
            monkeypatch.setattr(module, "kernel", host)
    monkeypatch.setattr(holdings, "of_process", holdings.Holdings(table.facts.rejoin_pause, host.now))
    monkeypatch.setattr(sockets, "_RULES", Rules(empty_set_clears=table.facts.empty_set_clears))
    monkeypatch.setattr(socket, "if_indextoname", host.name_of)
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(one, host.name_of(one)) for one in host.interfaces])
    close = MulticastSocket.close

    def closing(sock: MulticastSocket) -> None:
        host.closed(sock)
        close(sock)

    monkeypatch.setattr(MulticastSocket, "close", closing)


@pytest.fixture
def bsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[BsdHost]:
    """Give a FreeBSD host in the place of the running system."""
    host = BsdHost()
    in_place(monkeypatch, host)
    yield host
    assert not host.deaf
