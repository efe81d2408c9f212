"""Sockets to send to a group from, and waiting until one of them may be written to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from typing import final

from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    InterfaceError,
    NoPermissionError,
    NoRouteError,
    RefusedError,
)
from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..rfc3678.limits import with_open_files
from ..rfc3678.refusals import refusals
from ..system.interfaces import find_interface, list_interfaces
from ..system.port_holders import why_in_use
from ..system.sharing import bind_alone, bind_shared
from ..values.addresses import canonical, family, pack
from ..values.interface import Interface
from ..values.lookup import needs_zone
from ..values.shown import shown

__all__ = [
    "Writable",
    "check_foreign",
    "check_loop",
    "check_source_port",
    "check_ttl",
    "datagram_of",
    "explained",
    "is_left_behind",
    "loop_of",
    "open_sending",
    "set_loop",
    "set_ttl",
    "ttl_of",
]

ABI = native()
_WILDCARD = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
_TTL = {
    socket.AF_INET: (ABI.IPPROTO_IP, ABI.IP_MULTICAST_TTL),
    socket.AF_INET6: (ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_HOPS),
}
_LOOP = {
    socket.AF_INET: (ABI.IPPROTO_IP, ABI.IP_MULTICAST_LOOP),
    socket.AF_INET6: (ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_LOOP),
}
# linux/in.h and linux/in6.h; Python has the first of them, on Linux.
_TRANSPARENT = {
    socket.AF_INET: (ABI.IPPROTO_IP, getattr(socket, "IP_TRANSPARENT", None)),
    socket.AF_INET6: (ABI.IPPROTO_IPV6, 75 if hasattr(socket, "IP_TRANSPARENT") else None),
}
_FIRST_TRY = 0.001  # seconds until a full buffer is tried again where no loop watches it, then doubled
_LONGEST_TRY = 0.064


def check_ttl(ttl: int) -> int:
    """Return `ttl` if it is a TTL or hop limit, 0 to 255, else raise ArgumentError or ArgumentTypeError."""
    return _number(ttl, "ttl", 255)


def check_source_port(port: int) -> int:
    """Return `port` if it is a port or 0, which lets the system choose, else raise the like."""
    return _number(port, "source_port", 65535)


def _number(given: int, name: str, most: int) -> int:
    hint = f"give a whole number from 0 to {most}"
    if isinstance(given, bool) or not isinstance(given, int):
        raise ArgumentTypeError(f"{name} {shown(given)}", hint)
    if not 0 <= given <= most:
        raise ArgumentError(f"{name} {shown(given)}", hint)
    return given


def check_loop(loop: bool) -> bool:
    """Return `loop` if it is a truth value, else raise ArgumentTypeError."""
    if not isinstance(loop, bool):
        raise ArgumentTypeError(f"loop {shown(loop)}", "give True or False")
    return loop


def check_foreign(foreign: bool) -> bool:
    """Return `foreign` if it is a truth value, else raise ArgumentTypeError."""
    if not isinstance(foreign, bool):
        raise ArgumentTypeError(f"foreign {shown(foreign)}", "give True or False")
    return foreign


def datagram_of(data: bytes | bytearray | memoryview) -> memoryview:
    """Return a view of a contiguous buffer, else raise ArgumentTypeError."""
    with contextlib.suppress(TypeError, ValueError, BufferError):
        content = memoryview(data)
        if content.c_contiguous:
            return content
    raise ArgumentTypeError(f"{shown(data)} is no datagram", "give bytes; text has to be encoded first")


def open_sending(
    group: str,
    port: int,
    interface: Interface,
    *,
    ttl: int,
    loop: bool,
    source: str | None,
    source_port: int,
    foreign: bool = False,
) -> socket.socket:
    """Return a non-blocking socket that sends to `group` and `port` on `interface`, bound, not connected.

    It is bound to `source`, or where that is None to the address that the system chooses for the group on
    that interface (on lo it would choose another interface's: then to one of its own), so that the answers
    to what is sent come to no other socket; and to `source_port`, shared with whoever else shares it, or
    with 0 to one that the system chooses. It is a member of
    nothing, and gets nothing that is sent to a group. RefusedError when the system refuses.
    """
    with explained(group, interface, source):
        return with_open_files(
            lambda: _opened(group, port, interface, ttl, loop, source, source_port, foreign)
        )


@contextlib.contextmanager
def explained(group: str, interface: Interface, source: str | None) -> Iterator[None]:
    """Give a RefusedError the better hint, where the interface tells more than the number of the error."""
    try:
        yield
    except RefusedError as error:
        own = [one for one in interface.addresses if family(one) == family(group)]
        if isinstance(error, NoRouteError) and interface.is_loopback and family(group) == 6:
            error.hint = f"there is no IPv6 multicast on {interface.name}: take another interface, or IPv4"
        elif error.errno == errno.EADDRNOTAVAIL and source is not None and own and source not in own:
            error.hint = f"send from an address of this host: {interface.name} has {', '.join(own)}"
        raise


def _opened(
    group: str,
    port: int,
    interface: Interface,
    ttl: int,
    loop: bool,
    source: str | None,
    source_port: int,
    foreign: bool,
) -> socket.socket:
    kind = socket.AF_INET if family(group) == 4 else socket.AF_INET6
    chosen = source or _WILDCARD[kind]
    with refusals(
        f"opening a socket to send to {group} from {source or interface.name}",
        sends=True,
        in_use=lambda: why_in_use(chosen, source_port),
    ):
        sock = socket.socket(kind, socket.SOCK_DGRAM)
        try:
            _prepare(sock, interface, None if foreign else source)
            if foreign and source is not None:
                _let_be_foreign(sock, source)
            set_ttl(sock, ttl)
            set_loop(sock, loop)
            chosen = source or _source_to(group, port, interface) or chosen
            six = kind == socket.AF_INET6
            zone = interface.index * needs_zone(chosen)  # else FreeBSD and Windows refuse it
            address = (chosen, source_port, 0, zone) if six else (chosen, source_port)
            bind_shared(sock, address, interface) if source_port else bind_alone(sock, address)
        except BaseException:
            sock.close()
            raise
    return sock


def _prepare(sock: socket.socket, interface: Interface, source: str | None) -> None:
    sock.setblocking(False)
    if sock.family == socket.AF_INET6:
        kernel.setsockopt(sock, ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_IF, interface.index)
        kernel.setsockopt(sock, ABI.IPPROTO_IPV6, ABI.IPV6_V6ONLY, 1)
        kernel.offer(sock, ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_ALL, 0)
        return
    outgoing = ABI.outgoing(pack(source or "0.0.0.0"), interface.index)
    kernel.setsockopt(sock, ABI.IPPROTO_IP, ABI.IP_MULTICAST_IF, outgoing)
    kernel.offer(sock, ABI.IPPROTO_IP, ABI.IP_MULTICAST_ALL, 0)


def _let_be_foreign(sock: socket.socket, source: str) -> None:
    try:
        kernel.setsockopt(sock, *_TRANSPARENT[socket.AddressFamily(sock.family)], 1)
    except PermissionError as error:
        raise NoPermissionError(
            error.errno or 0,
            f"sending from {source}, which is no address of this host",
            "take CAP_NET_ADMIN or CAP_NET_RAW, or send from an address of this host",
        ) from error


def _source_to(group: str, port: int, interface: Interface) -> str | None:
    """Return the address to send to `group` from on `interface`, None if there is none. OSError."""
    six = family(group) == 6
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as asked:
        _prepare(asked, interface, None)
        asked.connect((group, port, 0, interface.index) if six else (group, port))  # sends nothing
        chosen = str(asked.getsockname()[0])
    if chosen in interface.addresses:
        return chosen
    now = [one for one in list_interfaces() if one.index == interface.index]  # they may have changed
    own = [address for one in now for address in one.addresses if family(address) == family(group)]
    if not own:  # the system borrows another's, until there is one
        return None
    return chosen if chosen in own else own[0]


def is_left_behind(group: str, port: int, index: int, source: str) -> bool:
    """Whether the interface has `source` no more, and the system would choose another address now.

    False where the interface is gone, or the system tells nothing: there is nothing better then.
    """
    with contextlib.suppress(InterfaceError, OSError):
        interface = find_interface(index)
        before = canonical(source)
        if before not in interface.addresses:
            chosen = _source_to(group, port, interface)
            return chosen is not None and chosen != before
    return False


def set_ttl(sock: socket.socket, ttl: int) -> None:
    """Set the TTL or hop limit of what is sent to groups."""
    kernel.setsockopt(sock, *_TTL[socket.AddressFamily(sock.family)], ttl)


def ttl_of(sock: socket.socket) -> int:
    """Return it."""
    return sock.getsockopt(*_TTL[socket.AddressFamily(sock.family)])


def set_loop(sock: socket.socket, loop: bool) -> None:
    """Set whether receivers on this host hear what is sent to groups."""
    kernel.setsockopt(sock, *_LOOP[socket.AddressFamily(sock.family)], int(loop))


def loop_of(sock: socket.socket) -> bool:
    """Return it."""
    return bool(sock.getsockopt(*_LOOP[socket.AddressFamily(sock.family)]))


@final
class Writable:
    """Calls `then` whenever a socket may be written to, from `watch` to `stop`.

    By the loop's `add_writer`, or on a loop that has none by looking now and then.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, then: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._then = then
        self._watched = -1
        self._timer: asyncio.TimerHandle | None = None
        self._wait = _FIRST_TRY

    def watch(self) -> None:
        """Begin, if it has not begun. RefusedError when the system refuses to watch one more."""
        if self._watched >= 0 or self._timer is not None:
            return
        number = self._sock.fileno()
        try:
            with refusals("watching a socket to send from", sends=True):
                self._loop.add_writer(number, self._then)
            self._watched = number
        except NotImplementedError:
            self._wait = _FIRST_TRY
            self._timer = self._loop.call_later(self._wait, self._look)

    def _look(self) -> None:
        self._wait = min(2 * self._wait, _LONGEST_TRY)
        self._timer = self._loop.call_later(self._wait, self._look)
        self._then()

    def stop(self) -> None:
        """End. Call it before the socket closes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watched >= 0:
            self._loop.remove_writer(self._watched)
            self._watched = -1
