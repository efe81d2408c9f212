"""Interfaces and their addresses as Linux tells them: all, or one without the others. No policy.

Each question takes an open `Netlink`, so that several can be asked of one, and raises a RefusedError
where the kernel refuses it.
"""

from __future__ import annotations

import errno
import os
import struct
from functools import lru_cache
from typing import Final

from ..rfc3678.refusals import refusals
from ..values.addresses import Address, canonical, pack, unpack
from ..values.links import IFF_UP, Link, LinkAddress, Operstate
from .netlink import MalformedMessage, Netlink, attribute, attributes, each_attribute, number

__all__ = [
    "find_address",
    "find_label",
    "find_link",
    "list_addresses",
    "list_links",
    "parse_address",
    "parse_link",
]

# linux/rtnetlink.h
_RTM_GETLINK = 18
_RTM_GETADDR = 22
_RTEXT_FILTER_SKIP_STATS = 8
# linux/if_link.h
_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_MASTER = 10
_IFLA_OPERSTATE = 16
_IFLA_LINKINFO = 18
_IFLA_EXT_MASK = 29
_IFLA_CARRIER = 33
_IFLA_CARRIER_UP_COUNT = 47
_IFLA_PROP_LIST = 52
_IFLA_ALT_IFNAME = 53
_IFLA_INFO_SLAVE_KIND = 4
# The others, of which there are about 40, are not looked into: this is done at every join.
_OF_LINKS = frozenset(
    {
        _IFLA_ADDRESS,
        _IFLA_IFNAME,
        _IFLA_MTU,
        _IFLA_MASTER,
        _IFLA_OPERSTATE,
        _IFLA_LINKINFO,
        _IFLA_CARRIER,
        _IFLA_CARRIER_UP_COUNT,
        _IFLA_PROP_LIST,
    }
)
# linux/if_addr.h
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_LABEL = 3
# linux/if.h
_IFNAMSIZ = 16
_ALTIFNAMSIZ = 128

_AF_INET = 2
_AF_INET6 = 10
_LENGTHS = {_AF_INET: 4, _AF_INET6: 16}
_IP = (b"\x02", b"\x0a")

IFINFOMSG: Final = struct.Struct("=BxHiII")  # family, type, index, flags, change
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index

# EINVAL comes of a kernel that knows no alternative names (before Linux 5.5).
_ABSENT = (errno.ENODEV, errno.EINVAL)


def parse_link(payload: bytes) -> Link:
    """Return the interface that a RTM_NEWLINK or RTM_DELLINK tells of. MalformedMessage if it does not."""
    if len(payload) < IFINFOMSG.size:
        raise MalformedMessage(f"{len(payload)} bytes tell of no interface")
    _, _, index, flags, _ = IFINFOMSG.unpack_from(payload)
    told = attributes(payload, IFINFOMSG.size, _OF_LINKS)
    if _IFLA_IFNAME not in told:
        raise MalformedMessage(f"interface {index} is told without its name")
    mac, carrier = told.get(_IFLA_ADDRESS, b""), told.get(_IFLA_CARRIER)
    return Link(
        index=index,
        name=_text(told[_IFLA_IFNAME]),
        alternative_names=tuple(
            _text(value)
            for kind, value in each_attribute(told.get(_IFLA_PROP_LIST, b""))
            if kind == _IFLA_ALT_IFNAME
        ),
        flags=flags,
        mtu=_number(told, _IFLA_MTU),
        mac=mac.hex(":") if len(mac) == 6 else None,
        master=_number(told, _IFLA_MASTER),
        role=_role(told.get(_IFLA_LINKINFO, b"")),
        operstate=_operstate(told.get(_IFLA_OPERSTATE, b"")),
        has_carrier=None if not carrier or not flags & IFF_UP else carrier != b"\0",
        carrier_ups=_number(told, _IFLA_CARRIER_UP_COUNT),
    )


def parse_address(payload: bytes) -> LinkAddress:
    """Return the address that a RTM_NEWADDR or RTM_DELADDR tells of. MalformedMessage if it does not."""
    if len(payload) < _IFADDRMSG.size:
        raise MalformedMessage(f"{len(payload)} bytes tell of no address")
    family, prefix_length, _, _, index = _IFADDRMSG.unpack_from(payload)
    told = attributes(payload, _IFADDRMSG.size)
    # With a peer IFA_ADDRESS is the peer's, and IFA_LOCAL this host's; IPv6 has no IFA_LOCAL without one.
    packed = told.get(_IFA_LOCAL, told.get(_IFA_ADDRESS, b""))
    if len(packed) != _LENGTHS.get(family):
        raise MalformedMessage(f"{len(packed)} bytes are no address of family {family}")
    label = told.get(_IFA_LABEL)
    return LinkAddress(
        index=index,
        address=unpack(packed),
        prefix_length=prefix_length,
        label=None if label is None else _text(label),
    )


# The same answer means the same, and that of one interface seldom changes: taking it apart is most of what
# it costs to look one up.
_known_link = lru_cache(maxsize=64)(parse_link)
_known_address = lru_cache(maxsize=256)(parse_address)


def list_links(kernel: Netlink) -> list[Link]:
    """Return all interfaces of the network namespace, by index."""
    with refusals("listing the interfaces"):
        told = kernel.dump(_RTM_GETLINK, _ifinfomsg(0) + _WITHOUT_STATISTICS)
        return sorted((parse_link(one) for one in told), key=lambda link: link.index)


def find_link(kernel: Netlink, wanted: str | int) -> Link | None:
    """Return the interface with this index, name or alternative name, None if there is none.

    The others are not listed: the time does not grow with their number.
    """
    if isinstance(wanted, int):
        if not 0 < wanted < 1 << 31:
            return None
        index, named = wanted, b""
    else:
        encoded = _encoded(wanted)
        if encoded is None:
            return None
        # Both kinds of names are looked up whichever is asked for, but an IFLA_IFNAME cannot be long.
        kind = _IFLA_IFNAME if len(encoded) < _IFNAMSIZ else _IFLA_ALT_IFNAME
        index, named = 0, attribute(kind, encoded + b"\0")
    with refusals(f"looking for interface {wanted}"):
        try:
            return _known_link(kernel.ask(_RTM_GETLINK, _ifinfomsg(index) + named + _WITHOUT_STATISTICS))
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise


def list_addresses(kernel: Netlink, index: int = 0) -> list[LinkAddress]:
    """Return the addresses of the interface with this index (0: of all), by interface, IPv4 first.

    Empty where there is no such interface.
    """
    with refusals("listing the addresses of interfaces"):
        # The first byte is the family: there are others than those of IP.
        parse = _known_address if index else parse_address
        told = [parse(one) for one in _dumped(kernel, 0, index) if one[:1] in _IP]
    return sorted((one for one in told if index in (0, one.index)), key=lambda one: one.index)


def find_address(kernel: Netlink, address: Address) -> list[LinkAddress]:
    """Return where this host has `address`, by interface: an address can be on several.

    A zone in it counts for nothing. AddressError if it is none.
    """
    packed, text = pack(address), canonical(address)
    family = _AF_INET if len(packed) == 4 else _AF_INET6
    return [one for one in _containing(kernel, family, packed) if one.address == text]


def find_label(kernel: Netlink, label: str) -> list[LinkAddress]:
    """Return the IPv4 addresses with this label, by interface."""
    encoded = _encoded(label)
    if encoded is None:
        return []
    return [one for one in _containing(kernel, _AF_INET, encoded) if one.label == label]


def _containing(kernel: Netlink, family: int, part: bytes) -> list[LinkAddress]:
    """Return the addresses in whose messages `part` stands: taking all of them apart takes far longer."""
    with refusals("listing the addresses of interfaces"):
        found = [parse_address(one) for one in _dumped(kernel, family, 0) if part in one]
    return sorted(found, key=lambda one: one.index)


def _dumped(kernel: Netlink, family: int, index: int) -> list[bytes]:
    try:
        return kernel.dump(_RTM_GETADDR, _IFADDRMSG.pack(family, 0, 0, 0, index))
    except OSError as error:
        # A system without this family has none of its addresses.
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
            return []
        raise


def _encoded(name: str) -> bytes | None:
    """Return the bytes of a name, None where no interface and no address can have it."""
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        return None
    return encoded if 0 < len(encoded) < _ALTIFNAMSIZ and b"\0" not in encoded else None


def _ifinfomsg(index: int) -> bytes:
    return IFINFOMSG.pack(0, 0, index, 0, 0)


# Only they would be half of what is told.
_WITHOUT_STATISTICS = attribute(_IFLA_EXT_MASK, struct.pack("=I", _RTEXT_FILTER_SKIP_STATS))


def _text(value: bytes) -> str:
    return os.fsdecode(value.split(b"\0", 1)[0])


def _number(told: dict[int, bytes], kind: int) -> int | None:
    value = told.get(kind)
    return None if value is None else number(value)


def _role(linkinfo: bytes) -> str | None:
    role = attributes(linkinfo).get(_IFLA_INFO_SLAVE_KIND)
    return None if role is None else _text(role)


def _operstate(value: bytes) -> Operstate:
    try:
        return Operstate(int.from_bytes(value, "little"))
    except ValueError:
        return Operstate.UNKNOWN
