"""Addresses as values: any accepted form in, canonical text out. No sockets here.

Canonical text is lower case, compressed (RFC 5952), and without a zone; an IPv4-mapped IPv6
address is the IPv4 address it stands for.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias, Union

from ..errors import AddressError, AddressTypeError, ArgumentError, ArgumentTypeError
from . import bounds
from .shown import shown

__all__ = [
    "Address",
    "Scope",
    "canonical",
    "check_port",
    "family",
    "group_address",
    "is_ssm",
    "names_sources",
    "pack",
    "scope",
    "source_address",
    "split_zone",
    "unicast",
    "unpack",
]

Address: TypeAlias = Union[str, IPv4Address, IPv6Address]
"""What is accepted wherever an address is asked for: text (an IPv6 address may carry a zone,
`fe80::1%eth0`, and brackets) or an `ipaddress` object."""


class Scope(enum.IntEnum):
    """How far a group reaches: the scop values of RFC 4291, 2.7; for IPv4 after RFC 2365."""

    INTERFACE_LOCAL = 1
    LINK_LOCAL = 2
    REALM_LOCAL = 3
    ADMIN_LOCAL = 4
    SITE_LOCAL = 5
    ORGANIZATION_LOCAL = 8
    GLOBAL = 14


@lru_cache(maxsize=bounds.ADDRESSES)
def _parse(value: Address) -> tuple[str, str | None, bytes]:
    text = _hashable(value)
    if isinstance(text, str):
        text = text.strip()
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1]
    try:
        parsed = ip_address(text)
    except ValueError:
        raise AddressError(
            f"{shown(value)} is not an address",
            "give an IPv4 or IPv6 address in numbers; names are not looked up",
        ) from None
    if isinstance(parsed, IPv4Address):
        return str(parsed), None, parsed.packed
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped), None, parsed.ipv4_mapped.packed
    return str(IPv6Address(parsed.packed)), parsed.scope_id, parsed.packed


def _hashable(value: Address) -> Address:
    if not isinstance(value, (str, IPv4Address, IPv6Address)):
        raise _no_address(value)
    return value


def _no_address(value: object) -> AddressTypeError:
    return AddressTypeError(
        f"{shown(value)} is not an address",
        "give text such as '192.0.2.10' or an ipaddress.IPv4Address or IPv6Address",
    )


def _known(value: Address) -> tuple[str, str | None, bytes]:
    return _parse(_hashable(value))


def canonical(address: Address) -> str:
    """Return the canonical text of `address`, without its zone. AddressError if it is none."""
    return _known(address)[0]


def split_zone(address: Address) -> tuple[str, str | None]:
    """Return (canonical text, zone); the zone is a name or an index in text, or None."""
    text, zone, _ = _known(address)
    return text, zone


def family(address: Address) -> int:
    """Return 4 or 6."""
    return 4 if len(_known(address)[2]) == 4 else 6


@lru_cache(maxsize=bounds.ADDRESSES)
def pack(address: Address) -> bytes:
    """Return the 4 or 16 bytes of `address` in network order. It must be hashable."""
    return _known(address)[2]


@lru_cache(maxsize=bounds.ADDRESSES)
def unpack(packed: bytes) -> str:
    """Return the canonical text of 4 or 16 bytes in network order. AddressError otherwise."""
    if len(packed) == 4:
        return str(IPv4Address(packed))
    if len(packed) == 16:
        return canonical(IPv6Address(packed))
    raise AddressError(f"{len(packed)} bytes are not an address", "an address has 4 or 16 bytes")


def group_address(address: Address) -> str:
    """Return the canonical text of a multicast group. AddressError if it is not multicast."""
    return _group(_hashable(address))


@lru_cache(maxsize=bounds.ADDRESSES)
def _group(address: Address) -> str:
    text, _, packed = _parse(address)
    if not _is_multicast(packed):
        raise AddressError(
            f"{text} is not a multicast group",
            "a group is in 224.0.0.0/4 or ff00::/8; "
            "for source-specific multicast in 232.0.0.0/8 or ff3e::/32",
        )
    return text


def source_address(address: Address, group: str | None = None) -> str:
    """Return the canonical text of a source that `group` (canonical) can be received from.

    AddressError where it is multicast, unspecified, the limited broadcast address, or of the
    other family than the group: the kernel would accept some of these and deliver nothing.
    """
    text = unicast(_hashable(address))
    if group is not None and family(text) != family(group):
        raise AddressError(
            f"source {text} is IPv{family(text)}, but group {group} is IPv{family(group)}",
            "a source and its group are of one family",
        )
    return text


@lru_cache(maxsize=bounds.ADDRESSES)
def unicast(address: Address) -> str:
    """Return the canonical text of a source, or raise like `source_address`. It must be hashable."""
    text, _, packed = _parse(address)
    if _is_multicast(packed):
        raise AddressError(f"source {text} is a multicast address", "a source sends from a unicast address")
    if not any(packed):
        raise AddressError(f"source {text} is the unspecified address", "name the sender's address")
    if packed == b"\xff\xff\xff\xff":
        raise AddressError(f"source {text} is the broadcast address", "name the sender's address")
    return text


def check_port(port: int, *, lowest: int = 1) -> int:
    """Return `port` if it is a whole number from `lowest` to 65535, else raise ArgumentError.

    `lowest` is 0 where the system may be asked to choose.
    """
    chosen = ", or 0 for one that the system chooses" if lowest == 0 else ""
    hint = f"give a whole number from 1 to 65535{chosen}"
    if isinstance(port, bool) or not isinstance(port, int):
        raise ArgumentTypeError(f"port {shown(port)} is not a UDP port", hint)
    if not lowest <= port <= 65535:
        raise ArgumentError(f"port {shown(port)} is not a UDP port", hint)
    return port


def is_ssm(group: Address) -> bool:
    """Whether `group` lies in a source-specific range: 232.0.0.0/8, ff3x::/32 (RFC 4607, 1).

    False for an address that is no group; AddressError if it is no address.
    """
    return names_sources(_hashable(group))


@lru_cache(maxsize=bounds.ADDRESSES)
def names_sources(group: Address) -> bool:
    """Return what `is_ssm` does. It must be hashable."""
    packed = _parse(group)[2]
    if len(packed) == 4:
        return packed[0] == 232
    return packed[0] == 0xFF and packed[1] >> 4 == 3 and packed[2:4] == b"\0\0"


def scope(group: Address) -> Scope:
    """Return how far `group` reaches: RFC 4291, 2.7 and RFC 7346 for IPv6, RFC 2365 for IPv4.

    AddressError if it is not multicast.
    Scopes that RFC 7346 leaves unassigned count as the next wider one that is assigned.
    """
    packed = pack(group_address(group))
    if len(packed) == 16:
        wanted = packed[1] & 0x0F
        return next((known for known in Scope if known >= wanted), Scope.GLOBAL)
    if packed[:3] == b"\xe0\0\0":
        return Scope.LINK_LOCAL
    if packed[:2] == b"\xef\xff":
        return Scope.SITE_LOCAL
    if packed[0] == 239 and packed[1] & 0xFC == 192:
        return Scope.ORGANIZATION_LOCAL
    return Scope.GLOBAL


def _is_multicast(packed: bytes) -> bool:
    return packed[0] & 0xF0 == 0xE0 if len(packed) == 4 else packed[0] == 0xFF
