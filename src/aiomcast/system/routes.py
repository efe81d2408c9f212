"""Which interface leads to an address, by the system's own routes and rules.

What to do with the answers, and what to say where several differ, is decided elsewhere.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from typing import Final, final

import attrs

from ..errors import NoRouteError, UnsupportedError
from ..rfc3678.refusals import refusals
from ..values.addresses import Address, canonical, pack, unpack
from ..values.sealed import sealed
from .netlink import MalformedMessage, Netlink, attribute, attributes, number

__all__ = ["Route", "parse_route", "routes_to"]

# linux/rtnetlink.h
_RTM_GETROUTE = 26
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, lengths of destination and source, tos, ..., type, flags
_RTA_DST = 1
_RTA_OIF = 4
_RTA_PREFSRC = 7
_RTN_LOCAL = 2
# Before Linux 4.11 a route that refuses was no error, but told as what it is.
_REFUSING: Final = {
    6: errno.EINVAL,  # RTN_BLACKHOLE
    7: errno.EHOSTUNREACH,  # RTN_UNREACHABLE
    8: errno.EACCES,  # RTN_PROHIBIT
    9: errno.ENETUNREACH,  # RTN_THROW
}
_AF_INET = 2
_AF_INET6 = 10

_NAME_IT = "name the interface, or add a route"
_HINTS = {
    errno.EINVAL: "a blackhole route covers it: name the interface, or add a better route",
    errno.EACCES: "a prohibit route covers it: name the interface, or add a better route",
    errno.EHOSTUNREACH: "an unreachable route covers it: name the interface, or add a better route",
}
_DISCARD = 9


@final
@sealed
@attrs.frozen(slots=True)
class Route:
    """Where an address lies, as seen from this host.

    `index` is the interface that leads there; `source` is the host's own address, as canonical text, that
    the system prefers for what is sent there, None where it has none. `index` is None where only `source` can
    tell the interface, which is then the one that has it: for the host's own addresses, whose routes
    are all by loopback, and on a system that tells no more.
    """

    index: int | None
    source: str | None


def routes_to(addresses: Iterable[Address], kernel: Netlink | None = None) -> list[Route]:
    """Return the route to each of `addresses` (unicast or groups), in their order, by `kernel` if given.

    It is what the kernel itself would choose, with its policy rules, for a packet of this process; a zone
    in an address counts for nothing. NoRouteError for the first that has none, its errno kept:
    RefusedError where the system refuses to say, AddressError for what is no address.
    """
    wanted = [canonical(address) for address in addresses]
    if kernel is not None:
        return [_asked(kernel, address) for address in wanted]
    try:
        with refusals("looking up routes"):
            kernel = Netlink()
    except UnsupportedError:
        return [_by_connecting(address) for address in wanted]
    with kernel:
        return [_asked(kernel, address) for address in wanted]


def _asked(kernel: Netlink, address: str) -> Route:
    packed = pack(address)
    doing = f"looking up the route to {address}"
    family = _AF_INET if len(packed) == 4 else _AF_INET6
    question = _RTMSG.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_DST, packed)
    with refusals(doing):
        try:
            return parse_route(kernel.ask(_RTM_GETROUTE, question), address)
        except MalformedMessage:
            raise
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # a kernel without this family, or that answers links only
                return _by_connecting(address)
            raise _no_route(error, doing) from error


def parse_route(payload: bytes, address: str) -> Route:
    """Return the route to `address` that a RTM_NEWROUTE tells.

    OSError for one that leads nowhere, which is a MalformedMessage if it cannot be read.
    """
    if len(payload) < _RTMSG.size:
        raise MalformedMessage(f"{len(payload)} bytes tell of no route")
    kind = _RTMSG.unpack_from(payload)[7]
    if kind in _REFUSING:
        raise OSError(_REFUSING[kind], "the route leads nowhere")
    told = attributes(payload, _RTMSG.size)
    preferred = told.get(_RTA_PREFSRC)
    if preferred is not None and len(preferred) not in (4, 16):
        raise MalformedMessage(f"{len(preferred)} bytes are no source address")
    source = None if preferred is None else unpack(preferred)
    if kind == _RTN_LOCAL:
        return Route(None, source or address)
    if _RTA_OIF not in told:
        raise MalformedMessage("a route is told without its interface")
    return Route(number(told[_RTA_OIF]), source)


def _by_connecting(address: str) -> Route:
    kind = socket.AF_INET if len(pack(address)) == 4 else socket.AF_INET6
    doing = f"looking up the route to {address}"
    with refusals(doing):
        asked = socket.socket(kind, socket.SOCK_DGRAM)
    with asked:
        try:
            asked.connect((address, _DISCARD))  # sends nothing: it only makes the kernel choose a way
        except OSError as error:
            raise _no_route(error, doing) from error
        local = asked.getsockname()
    zone = local[3] if kind == socket.AF_INET6 else 0
    return Route(zone or None, canonical(local[0]))


def _no_route(error: OSError, doing: str) -> NoRouteError:
    number = error.errno or 0
    return NoRouteError(number, f"{doing}: {error.strerror}", _HINTS.get(number, _NAME_IT))
