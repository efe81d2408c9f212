"""Addresses of peers as the socket module and asyncio have them: what is received from, and sent to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ..errors import AddressError, ArgumentError, ArgumentTypeError
from ..values.addresses import check_port, family, split_zone
from ..values.interface import Interface
from ..values.lookup import check_zone
from ..values.packets import Flow
from ..values.shown import shown

__all__ = ["SocketAddress", "destination", "peer"]

SocketAddress: TypeAlias = tuple[Any, ...]  # Any: asyncio's own type for an address


def peer(flow: Flow) -> SocketAddress:
    """Return who has sent `flow`: (address, port), or (address, port, flowinfo, scope id) with IPv6.

    A link-local address has its zone in the scope id (RFC 4007), so that it can be answered.
    """
    if ":" not in flow.source:
        return flow.source, flow.source_port
    return flow.source, flow.source_port, 0, flow.interface_index if _is_link_local(flow.source) else 0


def destination(addr: object, group: str, interfaces: Sequence[Interface]) -> SocketAddress:
    """Return `addr`, in any form that asyncio takes, as what a socket of the group's family sends to.

    A link-local or multicast address without a zone gets that of the first of `interfaces`. AddressError
    for an address of the other family, or that is a name: looking it up would block. InterfaceError for
    the zone of none of them, ArgumentTypeError and ArgumentError for what is no address at all.
    """
    hint = "give (address, port), or with IPv6 (address, port, flowinfo, scope id)"
    if not isinstance(addr, (tuple, list)) or not 2 <= len(addr) <= 4:
        raise ArgumentTypeError(f"{shown(addr)} is no address to send to", hint)
    host, port, *rest = addr
    if not isinstance(host, str) or not all(type(one) is int for one in rest):
        raise ArgumentTypeError(f"{shown(addr)} is no address to send to", hint)
    text, zone = split_zone(host)
    check_port(port)
    if family(text) != family(group):
        raise AddressError(
            f"{text} cannot be sent to from an IPv{family(group)} endpoint", f"it is of {group}"
        )
    if family(text) == 4:
        if rest:
            raise ArgumentTypeError(f"{shown(addr)} is no address to send to", hint)
        return text, port
    interface = interfaces[0]
    if zone is not None:
        named = [one for one in interfaces if zone in (one.name, str(one.index))]
        interface = named[0] if named else interface
        check_zone(host, interface)
    flow_info, scope = (*rest, 0, 0)[:2]
    if not (0 <= flow_info < 1 << 20 and 0 <= scope < 1 << 32):
        raise ArgumentError(f"{shown(addr)} is no address to send to", "flowinfo has 20 bits, a scope id 32")
    if not scope and (zone is not None or _is_link_local(text) or text[:2] == "ff"):
        scope = interface.index
    return text, port, flow_info, scope


def _is_link_local(address: str) -> bool:
    """Whether a canonical IPv6 address is in fe80::/10 (RFC 4291, 2.5.6)."""
    return address[:3] in ("fe8", "fe9", "fea", "feb") and address[3] != ":" and address[4] == ":"
