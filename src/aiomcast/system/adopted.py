"""A socket that somebody else has made and bound becomes one of the library's: looked at, and made ready."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import ParamSpec

from ..errors import ArgumentError, ArgumentTypeError, StateError, UnsupportedError
from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..values.addresses import canonical, family
from ..values.interface import Interface
from ..values.shown import shown
from ..values.socket_options import SocketOption
from . import destination
from .keeping_out import keep_out
from .sharing import device_of
from .socket_options import give, names_filter

__all__ = ["bound_port", "handle_of", "make_ready"]

P = ParamSpec("P")

ABI = native()
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_WILDCARDS = ("0.0.0.0", "::")
_MOST_WAITING = 65536  # datagrams: a bound far beyond what any buffer holds


def handle_of(given: socket.socket | int) -> socket.socket:
    """Return another object with the same descriptor. ArgumentError unless it is an open socket's."""
    if isinstance(given, socket.socket):
        descriptor = given.fileno()
    elif isinstance(given, int) and not isinstance(given, bool):
        descriptor = int(given)
    else:
        raise ArgumentTypeError(f"sock {shown(given)}", "give a bound UDP socket, or its descriptor")
    if descriptor < 0:
        raise ArgumentError(f"sock {shown(given)} is closed", "give an open socket")
    try:
        return socket.socket(fileno=descriptor)
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ENOTSOCK):
            raise
        raise ArgumentError(
            f"sock {shown(given)}: {error.strerror}", "give a bound UDP socket, or its descriptor"
        ) from error


def bound_port(sock: socket.socket, group: str, port: int | None, interface: Interface) -> int:
    """Return the port of `sock` if it can serve `group`, `port` and `interface`, else raise ArgumentError.

    Any port will do where `port` is None or 0.
    """
    if sock.type != socket.SOCK_DGRAM or sock.proto not in (0, socket.IPPROTO_UDP):
        raise ArgumentError("the socket is no UDP socket", "make it with SOCK_DGRAM")
    version = family(group)
    if sock.family != _FAMILIES[version]:
        kind = {4: "AF_INET", 6: "AF_INET6"}[version]
        raise ArgumentError(f"the socket is none of IPv{version}, but {group} is", f"make it with {kind}")
    host, bound = sock.getsockname()[:2]
    if bound == 0:
        raise ArgumentError("the socket is not bound", f"bind it to {group} and a port")
    address = canonical(host)
    if address != group and address not in _WILDCARDS:
        raise ArgumentError(
            f"the socket is bound to {address}, where nothing sent to {group} arrives", f"bind it to {group}"
        )
    if port and bound != port:
        raise ArgumentError(
            f"the socket is bound to port {bound}, not {port}", "leave the port out, or name the socket's"
        )
    if _is_connected(sock):
        raise ArgumentError(
            "the socket is connected, and would hear one sender alone",
            "leave it unconnected: sources= says whom to hear",
        )
    device = device_of(sock)
    if device not in (0, interface.index):
        raise ArgumentError(
            f"the socket is bound to the interface with index {device}, not to {interface.name}",
            "join on that interface",
        )
    return int(bound)


def make_ready(
    sock: socket.socket, group: str, interface: Interface, options: Sequence[SocketOption], undo: ExitStack
) -> None:
    """Make `sock`, which `bound_port` has passed, a socket as `open_socket` makes them; give it `options`.

    What undoes it is pushed to `undo`. What it has received is thrown away: nobody can tell where that
    was sent to. OSError, StateError and UnsupportedError when it cannot be.
    """
    is_wild = canonical(sock.getsockname()[0]) in _WILDCARDS
    if is_wild:
        _check_filter(sock, group, options)
    with socket.socket(sock.family, sock.type, sock.proto) as other:
        give(other, options)  # what is refused is so before anything has changed
    undo.callback(os.set_blocking, sock.fileno(), os.get_blocking(sock.fileno()))
    sock.setblocking(False)
    _set(sock, ABI.SOL_SOCKET, socket.SO_REUSEADDR, 1, undo=undo)
    if ABI.facts.reuse_port:
        _set(sock, ABI.SOL_SOCKET, ABI.SO_REUSEPORT, 1, undo=undo)
    keep_out(sock, interface, functools.partial(_set, undo=undo))
    if family(group) == 6 and ABI.facts.hears_unjoined:  # until it has had an option of multicast, any value
        looped = sock.getsockopt(ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_LOOP)
        kernel.setsockopt(sock, ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_LOOP, looped)
    if is_wild:
        destination.attach(sock, group)
        undo.callback(_quietly, destination.detach, sock)
    give(sock, options)
    _throw_away(sock)


def _check_filter(sock: socket.socket, group: str, options: Sequence[SocketOption]) -> None:
    hint = f"bind it to {group}" if ABI.facts.binds_to_group else "leave sock out"
    if not destination.CAN_ATTACH:
        raise UnsupportedError(
            "on this platform a socket of the wildcard address also hears what was sent elsewhere", hint
        )
    if names_filter(options) or destination.has_filter(sock):
        raise StateError(
            "the socket is bound to the wildcard address and has a filter of its own, "
            f"in the place of the one that lets in what is sent to {group} alone",
            hint,
        )


def _set(sock: socket.socket, level: int, option: int | None, value: int, *, undo: ExitStack) -> bool:
    """Set an option and push what undoes it to `undo`; say whether the kernel has it, as `kernel.offer`."""
    if option is None:
        return False
    try:
        before = sock.getsockopt(level, option)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return False
    if before != value:
        if not kernel.offer(sock, level, option, value):
            return False
        undo.callback(_quietly, kernel.setsockopt, sock, level, option, before)
    return True


def _quietly(call: Callable[P, None], *arguments: P.args, **keywords: P.kwargs) -> None:
    with contextlib.suppress(OSError):  # to be bound to no interface again, say, takes privilege
        call(*arguments, **keywords)


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _throw_away(sock: socket.socket) -> None:
    for _ in range(_MOST_WAITING):
        try:
            sock.recv(1)
        except BlockingIOError:
            return
        except OSError:  # what the socket had to report is thrown away too
            continue
