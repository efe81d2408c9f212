"""The options that a user may give a socket: which ones are refused, and how they are set."""

from __future__ import annotations

import enum
import socket
from collections.abc import Iterable

import attrs

from ..errors import ArgumentError
from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..rfc3678.abi.constants import Constants
from ..rfc3678.refusals import refusals
from ..values import socket_options as values
from ..values.shown import shown
from ..values.socket_options import SocketOption, SocketOptions

__all__ = ["acceptable", "give", "names_filter"]

ABI = native()


class _Only(enum.Enum):
    """The values that an option may be given."""

    ON = "on"
    OFF = "off"
    NONE = "none"


_SHARED = (_Only.ON, "the group's other sockets, of this program too, share the port by it")
_GROUPED = (_Only.NONE, "the port is shared without, and packets would be dealt out among those that set it")
_FILTERED = (_Only.OFF, "what other sockets have joined would come in past the source filter")
_TIMED = (_Only.NONE, "the reader asks for them, for the interface's by ancillary={'hardware_timestamp'}")
_JOINED = (_Only.NONE, "joins and source filters are made by sources=, swap and set_filter")
_PLACED = (_Only.NONE, "name the interface by interface=")

_REFUSED: dict[tuple[int, int | None], tuple[_Only, str]] = {
    (ABI.SOL_SOCKET, socket.SO_REUSEADDR): _SHARED,
    (ABI.SOL_SOCKET, ABI.SO_REUSEPORT): _GROUPED if ABI.facts.reuse_port_groups else _SHARED,
    (ABI.SOL_SOCKET, ABI.SO_EXCLUSIVEADDRUSE): (_Only.OFF, _SHARED[1]),
    (ABI.IPPROTO_IP, ABI.IP_MULTICAST_ALL): _FILTERED,
    (ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_ALL): _FILTERED,
    (ABI.IPPROTO_IPV6, ABI.IPV6_V6ONLY): (_Only.ON, "an IPv6 group has no IPv4 senders"),
    (ABI.SOL_SOCKET, ABI.SO_RXQ_OVFL): (_Only.ON, "the reader counts drops by it"),
    (ABI.SOL_SOCKET, ABI.SO_TIMESTAMP): _TIMED,
    (ABI.SOL_SOCKET, ABI.SO_TIMESTAMP_NEW): _TIMED,
    (ABI.SOL_SOCKET, ABI.SO_TIMESTAMPNS): _TIMED,
    (ABI.SOL_SOCKET, ABI.SO_TIMESTAMPNS_NEW): _TIMED,
    (ABI.SOL_SOCKET, ABI.SO_TIMESTAMPING): _TIMED,
    (ABI.SOL_SOCKET, ABI.SO_TIMESTAMPING_NEW): _TIMED,
    (ABI.SOL_UDP or 0, ABI.UDP_GRO): (_Only.NONE, "say it by gro="),
    (ABI.SOL_SOCKET, ABI.SO_BINDTODEVICE): _PLACED,
    (ABI.SOL_SOCKET, ABI.SO_BINDTOIFINDEX): _PLACED,
    (ABI.IPPROTO_IP, ABI.IP_ADD_MEMBERSHIP): _JOINED,
    (ABI.IPPROTO_IP, ABI.IP_DROP_MEMBERSHIP): _JOINED,
    (ABI.IPPROTO_IP, ABI.IP_ADD_SOURCE_MEMBERSHIP): _JOINED,
    (ABI.IPPROTO_IP, ABI.IP_DROP_SOURCE_MEMBERSHIP): _JOINED,
    (ABI.IPPROTO_IP, ABI.IP_BLOCK_SOURCE): _JOINED,
    (ABI.IPPROTO_IP, ABI.IP_UNBLOCK_SOURCE): _JOINED,
    (ABI.IPPROTO_IP, ABI.IP_MSFILTER): _JOINED,
    (ABI.IPPROTO_IPV6, ABI.IPV6_JOIN_GROUP): _JOINED,
    (ABI.IPPROTO_IPV6, ABI.IPV6_LEAVE_GROUP): _JOINED,
    (ABI.IPPROTO_IPV6, ABI.IPV6_MSFILTER): _JOINED,
    **{
        (level, option): _JOINED
        for level in (ABI.IPPROTO_IP, ABI.IPPROTO_IPV6)
        for option in (
            ABI.MCAST_JOIN_GROUP, ABI.MCAST_LEAVE_GROUP, ABI.MCAST_JOIN_SOURCE_GROUP,
            ABI.MCAST_LEAVE_SOURCE_GROUP, ABI.MCAST_BLOCK_SOURCE, ABI.MCAST_UNBLOCK_SOURCE,
            ABI.MCAST_MSFILTER,
        )
    },
}  # fmt: skip
_FILTERS = {(ABI.SOL_SOCKET, ABI.SO_ATTACH_FILTER), (ABI.SOL_SOCKET, ABI.SO_ATTACH_BPF)}
_PREFIXES = {ABI.SOL_SOCKET: "SO_", ABI.IPPROTO_IP: "IP_", ABI.IPPROTO_IPV6: "IPV6_", ABI.SOL_UDP: "UDP_"}


def acceptable(given: SocketOptions) -> tuple[SocketOption, ...]:
    """Return the options as a value. ArgumentError for one that would break what the library promises."""
    made = values.socket_options(given)
    for level, option, value in made:
        only, hint = _REFUSED.get((level, option), (None, ""))
        is_on = any(value) if isinstance(value, bytes) else value != 0
        if only is None or (only is _Only.ON and is_on) or (only is _Only.OFF and not is_on):
            continue
        raise ArgumentError(f"socket option {_named(level, option)} as {shown(value)}", hint)
    return made


def names_filter(options: Iterable[SocketOption]) -> bool:
    """Whether a filter of packets is among them."""
    return any((level, option) in _FILTERS for level, option, _ in options)


def give(sock: socket.socket, options: Iterable[SocketOption]) -> None:
    """Set the options in order. RefusedError, which names the option, when the system refuses."""
    for level, option, value in options:
        with refusals(f"setting the socket option {_named(level, option)}"):
            kernel.setsockopt(sock, level, option, value)


def _named(level: int, option: int) -> str:
    prefix = _PREFIXES.get(level)
    known = {name: getattr(ABI, name) for name in attrs.fields_dict(Constants)}
    if level == ABI.SOL_SOCKET:  # of the other levels, the module has numbers that are no options
        known.update(vars(socket))
    for name, number in known.items():
        if prefix is not None and name.startswith(prefix) and number == option:
            return name
    return f"{option} of level {level}"
