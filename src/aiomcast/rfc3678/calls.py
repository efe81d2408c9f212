"""One function per call of RFC 3678, on the running platform. No policy, and no state but `holdings`.

Groups and sources are any accepted address form; an interface is an index, or for the
IPv4-only forms one of its addresses. A refusal is a `RefusedError` with the system's errno, a
wrong argument an `ArgumentError` (AddressError, FilterError, InterfaceError), before any call.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeAlias

from ..errors import (
    AddressError,
    ArgumentTypeError,
    FilterTypeError,
    InterfaceError,
    InterfaceTypeError,
    LimitError,
    RefusedError,
)
from ..values.addresses import Address, canonical, family, group_address, pack, source_address, unpack
from ..values.filters import FilterMode, SourceFilter
from ..values.shown import shown
from . import full_state, holdings, kernel, shortage
from .abi import native
from .holdings import Change, Place, added, left, removed, replaced
from .limits import most_sources, source_sysctl
from .refusals import Shortage, refusal

__all__ = [
    "add_membership",
    "add_source_membership",
    "block_ipv4_source",
    "block_source",
    "drop_membership",
    "drop_source_membership",
    "getipv4sourcefilter",
    "getsourcefilter",
    "join_group",
    "join_source_group",
    "leave_group",
    "leave_source_group",
    "setipv4sourcefilter",
    "setsourcefilter",
    "unblock_ipv4_source",
    "unblock_source",
]

ABI = native()
_INCLUDE = FilterMode.INCLUDE  # looked up for every swap

_GroupCause: TypeAlias = Callable[[socket.socket, bytes], Shortage]
_SourceCause: TypeAlias = Callable[[socket.socket, bytes, Callable[[], int | None]], Shortage]


_MORE = shortage.of_source, added
_LESS = shortage.of_less, removed
_UNNOTED = contextlib.nullcontext()


def _noted(
    sock: socket.socket, interface: int | bytes, group: bytes, change: Callable[..., Change], *what: object
) -> AbstractContextManager[None]:
    """Make a call in this context that changes what `sock` lists: see `Holdings.changing`."""
    known = holdings.of_process
    return _UNNOTED if known is None else known.changing(sock, Place(interface, group), change(*what))


def _level(group: bytes) -> int:
    return ABI.IPPROTO_IP if len(group) == 4 else ABI.IPPROTO_IPV6


def _group_call(
    sock: socket.socket,
    option: int,
    ifindex: int,
    group: Address,
    verb: str,
    cause: _GroupCause,
    change: Callable[[], Change],
) -> None:
    packed = pack(group_address(group))
    try:
        value = ABI.group_req(_index(ifindex), packed)
        with _noted(_socket(sock), ifindex, packed, change):
            kernel.setsockopt(sock, _level(packed), option, value)
    except RefusedError:
        raise
    except OSError as error:
        doing = f"{verb} {canonical(group)} on interface {ifindex}"
        raise refusal(error, doing, lambda: cause(sock, packed), ifindex=ifindex) from error


def _source_call(
    sock: socket.socket,
    option: int,
    ifindex: int,
    group: Address,
    source: Address,
    verb: str,
    cause: _SourceCause,
    change: Callable[[bytes], Change],
) -> None:
    packed = pack(group_address(group))
    sender = pack(source_address(source, canonical(group)))
    try:
        value = ABI.group_source_req(_index(ifindex), packed, sender)
        with _noted(_socket(sock), ifindex, packed, change, sender):
            kernel.setsockopt(sock, _level(packed), option, value)
    except RefusedError:
        raise
    except OSError as error:
        doing = f"{verb} source {canonical(source)} of {canonical(group)} on interface {ifindex}"
        held = partial(full_state.count_by_index, sock, ifindex, packed)
        raise refusal(error, doing, lambda: cause(sock, packed, held), ifindex=ifindex) from error


def join_group(sock: socket.socket, ifindex: int, group: Address) -> None:
    """MCAST_JOIN_GROUP: any source of `group` on the interface (RFC 3678, 5.1.1)."""
    _group_call(sock, ABI.MCAST_JOIN_GROUP, ifindex, group, "joining", shortage.of_join, added)


def leave_group(sock: socket.socket, ifindex: int, group: Address) -> None:
    """MCAST_LEAVE_GROUP: drop the whole membership, whatever its filter (RFC 3678, 5.1.1)."""
    _group_call(sock, ABI.MCAST_LEAVE_GROUP, ifindex, group, "leaving", shortage.of_less, left)


def join_source_group(sock: socket.socket, ifindex: int, group: Address, source: Address) -> None:
    """MCAST_JOIN_SOURCE_GROUP: add one source to an INCLUDE list (RFC 3678, 5.1.2)."""
    _source_call(sock, ABI.MCAST_JOIN_SOURCE_GROUP, ifindex, group, source, "joining", *_MORE)


def leave_source_group(sock: socket.socket, ifindex: int, group: Address, source: Address) -> None:
    """MCAST_LEAVE_SOURCE_GROUP: take one source out of an INCLUDE list (RFC 3678, 5.1.2)."""
    _source_call(sock, ABI.MCAST_LEAVE_SOURCE_GROUP, ifindex, group, source, "leaving", *_LESS)


def block_source(sock: socket.socket, ifindex: int, group: Address, source: Address) -> None:
    """MCAST_BLOCK_SOURCE: add one source to an EXCLUDE list (RFC 3678, 5.1.1)."""
    _source_call(sock, ABI.MCAST_BLOCK_SOURCE, ifindex, group, source, "blocking", *_MORE)


def unblock_source(sock: socket.socket, ifindex: int, group: Address, source: Address) -> None:
    """MCAST_UNBLOCK_SOURCE: take one source out of an EXCLUDE list (RFC 3678, 5.1.1)."""
    _source_call(sock, ABI.MCAST_UNBLOCK_SOURCE, ifindex, group, source, "unblocking", *_LESS)


def setsourcefilter(sock: socket.socket, ifindex: int, group: Address, wanted: SourceFilter) -> None:
    """Set mode and list of a membership in one call (RFC 3678, 5.2.1; sourcefilter(3)).

    The socket must be a member of `group` on the interface already. INCLUDE of nothing leaves; on FreeBSD
    and macOS an empty list changes the mode alone.
    """
    packed = pack(group_address(group))
    _of_one_family(wanted, group, packed)
    with _noted(_socket(sock), _index(ifindex), packed, replaced, wanted.sources):
        replace_filter(sock, ifindex, packed, wanted)


def replace_filter(sock: socket.socket, ifindex: int, group: bytes, wanted: SourceFilter) -> None:
    """Do what `setsourcefilter` does with arguments that were checked, and take note of nothing.

    For the sockets of this package: it is no call of the standard, and not public.
    """
    try:
        full_state.set_by_index(sock, ifindex, group, _mode(wanted), wanted.sources)
    except RefusedError:
        raise
    except OSError as error:
        count = len(wanted.sources)
        size = partial(full_state.size_by_index, group, count)
        together = partial(_together, partial(full_state.get_by_index, sock, ifindex, group), wanted)
        raise refusal(
            error,
            f"{_setting(wanted, unpack(group))} on interface {ifindex}",
            lambda: shortage.of_list(sock, group, count, size, together),
            ifindex=ifindex,
        ) from error


def getsourcefilter(sock: socket.socket, ifindex: int, group: Address) -> SourceFilter:
    """Return mode and list of a membership as the kernel holds them (RFC 3678, 5.2.2).

    LimitError where the kernel lists less than it holds (FreeBSD, macOS: 128 sources).
    """
    packed = pack(group_address(group))
    try:
        state = full_state.get_by_index(_socket(sock), _index(ifindex), packed)
    except OSError as error:
        raise refusal(error, f"reading the filter of {canonical(group)} on interface {ifindex}") from error
    return _whole(state, group)


# The IPv4 forms that name the interface by its address (RFC 3678, 4).


def _ipv4_call(
    sock: socket.socket,
    option: int,
    interface: Address,
    group: Address,
    source: Address,
    verb: str,
    cause: _SourceCause,
    change: Callable[[bytes], Change],
) -> None:
    packed = _ipv4(group_address(group))
    sender = pack(source_address(source, canonical(group)))
    local = _ipv4(interface)
    value = ABI.ip_mreq_source(packed, local, sender)
    try:
        with _noted(_socket(sock), local, packed, change, sender):
            kernel.setsockopt(sock, ABI.IPPROTO_IP, option, value)
    except RefusedError:
        raise
    except OSError as error:
        doing = f"{verb} source {canonical(source)} of {canonical(group)} on {canonical(interface)}"
        held = partial(full_state.count_ipv4, sock, local, packed)
        raise refusal(error, doing, lambda: cause(sock, packed, held)) from error


def _ipv4_group_call(
    sock: socket.socket,
    option: int,
    interface: Address,
    group: Address,
    verb: str,
    cause: _GroupCause,
    change: Callable[[], Change],
) -> None:
    packed, local = _ipv4(group_address(group)), _ipv4(interface)
    value = ABI.ip_mreq(packed, local)
    try:
        with _noted(_socket(sock), local, packed, change):
            kernel.setsockopt(sock, ABI.IPPROTO_IP, option, value)
    except RefusedError:
        raise
    except OSError as error:
        doing = f"{verb} {canonical(group)} on {canonical(interface)}"
        raise refusal(error, doing, lambda: cause(sock, packed)) from error


def add_membership(sock: socket.socket, interface: Address, group: Address) -> None:
    """IP_ADD_MEMBERSHIP: any source of `group` (RFC 3678, 4.1.1)."""
    _ipv4_group_call(sock, ABI.IP_ADD_MEMBERSHIP, interface, group, "joining", shortage.of_join, added)


def drop_membership(sock: socket.socket, interface: Address, group: Address) -> None:
    """IP_DROP_MEMBERSHIP: drop the whole membership, whatever its filter (RFC 3678, 4.1.1)."""
    _ipv4_group_call(sock, ABI.IP_DROP_MEMBERSHIP, interface, group, "leaving", shortage.of_less, left)


def add_source_membership(sock: socket.socket, interface: Address, group: Address, source: Address) -> None:
    """IP_ADD_SOURCE_MEMBERSHIP (RFC 3678, 4.1.2)."""
    _ipv4_call(sock, ABI.IP_ADD_SOURCE_MEMBERSHIP, interface, group, source, "joining", *_MORE)


def drop_source_membership(sock: socket.socket, interface: Address, group: Address, source: Address) -> None:
    """IP_DROP_SOURCE_MEMBERSHIP (RFC 3678, 4.1.2)."""
    _ipv4_call(sock, ABI.IP_DROP_SOURCE_MEMBERSHIP, interface, group, source, "leaving", *_LESS)


def block_ipv4_source(sock: socket.socket, interface: Address, group: Address, source: Address) -> None:
    """IP_BLOCK_SOURCE (RFC 3678, 4.1.1)."""
    _ipv4_call(sock, ABI.IP_BLOCK_SOURCE, interface, group, source, "blocking", *_MORE)


def unblock_ipv4_source(sock: socket.socket, interface: Address, group: Address, source: Address) -> None:
    """IP_UNBLOCK_SOURCE (RFC 3678, 4.1.1)."""
    _ipv4_call(sock, ABI.IP_UNBLOCK_SOURCE, interface, group, source, "unblocking", *_LESS)


def setipv4sourcefilter(
    sock: socket.socket, interface: Address, group: Address, wanted: SourceFilter
) -> None:
    """Set mode and list of an IPv4 membership (RFC 3678, 4.2.1; sourcefilter(3))."""
    packed, local = _ipv4(group_address(group)), _ipv4(interface)
    _of_one_family(wanted, group, packed)
    try:
        with _noted(_socket(sock), local, packed, replaced, wanted.sources):
            full_state.set_ipv4(sock, local, packed, _mode(wanted), wanted.sources)
    except RefusedError:
        raise
    except OSError as error:
        count = len(wanted.sources)
        size = partial(full_state.size_ipv4, packed, count)
        together = partial(_together, partial(full_state.get_ipv4, sock, local, packed), wanted)
        raise refusal(
            error,
            f"{_setting(wanted, group)} on {canonical(interface)}",
            lambda: shortage.of_list(sock, packed, count, size, together),
        ) from error


def getipv4sourcefilter(sock: socket.socket, interface: Address, group: Address) -> SourceFilter:
    """Return mode and list of an IPv4 membership (RFC 3678, 4.2.2; sourcefilter(3))."""
    packed, local = _ipv4(group_address(group)), _ipv4(interface)
    try:
        state = full_state.get_ipv4(_socket(sock), local, packed)
    except OSError as error:
        raise refusal(error, f"reading the filter of {canonical(group)} on {canonical(interface)}") from error
    return _whole(state, group)


def _whole(state: full_state.State, group: Address) -> SourceFilter:
    mode, count, sources = state
    if count > len(sources):
        raise LimitError(
            errno.ENOBUFS,
            f"{canonical(group)} has {count} sources, of which the system lists {len(sources)}",
            "list no more than one call can",
            limit="sources per group and socket",
            value=most_sources(canonical(group)),
            sysctl=source_sysctl(canonical(group)),
        )
    return full_state.filter_of(mode, count, sources)


def _together(ask: Callable[[], full_state.State], wanted: SourceFilter) -> int | None:
    """Return how many sources those of `wanted` and those held are, None for no member."""
    try:
        return len(wanted.sources.union(map(unpack, ask()[2])))
    except OSError:
        return None


def _mode(wanted: SourceFilter) -> int:
    return ABI.MCAST_INCLUDE if wanted.mode is _INCLUDE else ABI.MCAST_EXCLUDE


def _setting(wanted: SourceFilter, group: Address) -> str:
    return f"setting {wanted.mode.value} of {len(wanted.sources)} sources for {canonical(group)}"


def _index(ifindex: int) -> int:
    if isinstance(ifindex, bool) or not isinstance(ifindex, int):
        raise InterfaceTypeError(f"{shown(ifindex)} is no interface index", "see aiomcast.list_interfaces()")
    if not 0 <= ifindex < 1 << 32:
        raise InterfaceError(f"{shown(ifindex)} is no interface index", "see aiomcast.list_interfaces()")
    return ifindex


def _socket(sock: socket.socket) -> socket.socket:
    if not isinstance(sock, socket.socket) and not hasattr(sock, "setsockopt"):
        raise ArgumentTypeError(f"{shown(sock)} is no socket", "give a UDP socket of the group's family")
    return sock


def _ipv4(address: Address) -> bytes:
    if family(address) != 4:
        raise AddressError(
            f"{canonical(address)} is an IPv6 address", "this call is IPv4's: use the one by interface index"
        )
    return pack(address)


def _of_one_family(wanted: SourceFilter, group: Address, packed: bytes) -> None:
    if not isinstance(wanted, SourceFilter):
        raise FilterTypeError(f"{shown(wanted)} is no source filter", "give an aiomcast.SourceFilter")
    for source in wanted.sources:
        if (":" in source) is not (len(packed) == 16):
            source_address(source, canonical(group))  # which says what is wrong
        break  # the others are of the same family
