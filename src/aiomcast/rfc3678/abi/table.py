"""`Abi`: one platform's numbers and layouts, and the bytes they make. No sockets, no platform `if`.

Host-order fields are in the byte order of the machine this runs on.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, final

import attrs

from ...errors import UnsupportedError
from .constants import Constants
from .facts import Facts

__all__ = ["Abi"]

_STORAGE = 128  # sizeof(struct sockaddr_storage), on every platform

# These lie the same everywhere. A head is the family, with the length before it on the BSDs.
_SOCKADDR_IN = struct.Struct("=2s2s4s8x")
_SOCKADDR_IN6 = struct.Struct("=2s2s4x16sI")
_STORAGE_IN = struct.Struct("=2s2x4s120x")
_STORAGE_IN6 = struct.Struct("=2s6x16s104x")
_IPV6_MREQ = struct.Struct("=16sI")


@final
@attrs.frozen(kw_only=True, eq=False)
class Abi(Constants):
    """The multicast socket ABI of one platform (RFC 3678, 4 to 6, and its own headers).

    Addresses are packed network-order bytes, 4 (IPv4) or 16 (IPv6) of them; an interface is
    an index or, in the IPv4 calls, a packed address; a mode is the platform's MCAST_INCLUDE or
    MCAST_EXCLUDE. An address of another length, or of the other family where one is needed,
    is a ValueError; an integer too large for its field is a struct.error or OverflowError.
    A structure the platform lacks is an UnsupportedError. Parsing raises ValueError for
    everything else that is wrong with its input.
    """

    name: str
    """"linux-64", "linux-32", "freebsd", "macos" or "windows"."""

    full_state: Literal["linux", "bsd", "windows"]
    """How the full state is set: setsockopt with ip_msfilter or group_filter, setsockopt with
    __msfilterreq as libc's sourcefilter(3) does, or WSAIoctl with ip_msfilter or group_filter."""

    sockaddr_in_head: bytes
    sockaddr_in6_head: bytes
    sockaddr_family: struct.Struct
    ip_mreq_source_fields: tuple[str, str, str]
    ip_mreqn_layout: struct.Struct | None
    group_req_layout: struct.Struct
    group_source_req_layout: struct.Struct
    ip_msfilter_layout: struct.Struct | None  # up to the list of sources
    group_filter_layout: struct.Struct | None  # up to the list of sources
    msfilterreq_layout: struct.Struct | None
    ifreq_layout: struct.Struct | None  # with a name and flags
    index_as_address: bool
    facts: Facts

    # Socket addresses (RFC 3493, 3.3 and 3.10)

    def sockaddr(self, address: bytes, port: int = 0, scope_id: int = 0) -> bytes:
        """Return a sockaddr_in (16 bytes) or sockaddr_in6 (28); only IPv6 has a scope id."""
        network_port = port.to_bytes(2, "big")
        if len(address) == 4:
            return _SOCKADDR_IN.pack(self.sockaddr_in_head, network_port, address)
        if len(address) == 16:
            return _SOCKADDR_IN6.pack(self.sockaddr_in6_head, network_port, address, scope_id)
        raise ValueError(f"a packed address has 4 or 16 bytes, not {len(address)}")

    def sockaddr_storage(self, address: bytes) -> bytes:
        """Return a sockaddr_storage (128 bytes) of port 0 and scope 0."""
        return _storage(self.sockaddr_in_head, self.sockaddr_in6_head, address)

    def address_of(self, sockaddr: bytes) -> bytes:
        """Return the address in a sockaddr of any size; a BSD length byte is not looked at."""
        if len(sockaddr) >= _SOCKADDR_IN.size:
            (family,) = self.sockaddr_family.unpack_from(sockaddr)
            if family == self.AF_INET:
                return sockaddr[4:8]
            if family != self.AF_INET6:
                raise ValueError(f"{self.name} has no internet address family {family}")
            if len(sockaddr) >= _SOCKADDR_IN6.size:
                return sockaddr[8:24]
        raise ValueError(f"{len(sockaddr)} bytes are too short for a socket address")

    # Membership (RFC 3678, 4.1 and 5.1; RFC 3493, 5.2)

    def ip_mreq(self, group: bytes, interface: bytes) -> bytes:
        """Return the 8 bytes for IP_ADD_MEMBERSHIP and IP_DROP_MEMBERSHIP."""
        _only_ipv4(group, interface)
        return group + interface

    def ip_mreqn(self, group: bytes, address: bytes, ifindex: int) -> bytes:
        """Return the 12 bytes of the ip_mreq that also names the interface by index."""
        layout = self._has(self.ip_mreqn_layout, "ip_mreqn")
        _only_ipv4(group, address)
        return layout.pack(group, address, ifindex)

    def ipv6_mreq(self, group: bytes, ifindex: int) -> bytes:
        """Return the 20 bytes for IPV6_JOIN_GROUP and IPV6_LEAVE_GROUP."""
        if len(group) != 16:
            raise ValueError("ipv6_mreq takes an IPv6 group")
        return _IPV6_MREQ.pack(group, ifindex)

    def ip_mreq_source(self, group: bytes, interface: bytes, source: bytes) -> bytes:
        """Return the 12 bytes for the IPv4 source calls, in the platform's field order."""
        _only_ipv4(group, interface, source)
        fields = {"imr_multiaddr": group, "imr_interface": interface, "imr_sourceaddr": source}
        return b"".join([fields[name] for name in self.ip_mreq_source_fields])

    def group_req(self, ifindex: int, group: bytes) -> bytes:
        """Return the bytes for MCAST_JOIN_GROUP and MCAST_LEAVE_GROUP."""
        return self.group_req_layout.pack(ifindex, self.sockaddr_storage(group))

    def group_source_req(self, ifindex: int, group: bytes, source: bytes) -> bytes:
        """Return the bytes for the four MCAST_*_SOURCE(_GROUP) calls."""
        _one_family(group, (source,))
        return self.group_source_req_layout.pack(
            ifindex, self.sockaddr_storage(group), self.sockaddr_storage(source)
        )

    def interface_as_address(self, ifindex: int) -> bytes:
        """Return `ifindex` as the address in 0.0.0.0/8 that Windows takes for an interface.

        0 is 0.0.0.0, the system's choice. ValueError if the index does not fit in 24 bits.
        """
        if not self.index_as_address:
            raise UnsupportedError(f"{self.name} takes no interface index as an IPv4 address")
        if not 0 <= ifindex < 1 << 24:
            raise ValueError(f"interface index {ifindex} does not fit in 24 bits")
        return ifindex.to_bytes(4, "big")

    def outgoing(self, address: bytes, ifindex: int) -> bytes:
        """Return the value for IP_MULTICAST_IF that names an interface by its index.

        `address` is the one to send from, 0.0.0.0 for the system's choice, where there is room for it.
        """
        if self.index_as_address:
            return self.interface_as_address(ifindex)
        return self.ip_mreqn(bytes(4), address, ifindex)

    # The flags of an interface (net/if.h)

    def ifreq(self, name: bytes) -> bytes:
        """Return the question for SIOCGIFFLAGS. A name of more than 15 bytes is a ValueError."""
        layout = self._has(self.ifreq_layout, "ifreq")
        if len(name) > 15:
            raise ValueError(f"an interface's name has at most 15 bytes, not {len(name)}")
        return layout.pack(name, 0)

    def parse_ifreq(self, data: bytes) -> tuple[bytes, int]:
        """Return (name, the low 16 flags)."""
        layout = self._has(self.ifreq_layout, "ifreq")
        name, flags = _unpack(layout, data, "ifreq")
        return name.rstrip(b"\0"), flags

    # The full state, Linux and Windows (RFC 3678, 4.2 and 5.2, and its appendix)

    def ip_msfilter(self, group: bytes, interface: bytes, mode: int, sources: Sequence[bytes]) -> bytes:
        """Return IP_MSFILTER_SIZE(n) bytes: 16 and 4 for each source."""
        layout = self._has(self.ip_msfilter_layout, "ip_msfilter")
        _only_ipv4(group, interface, *sources)
        return layout.pack(group, interface, mode, len(sources)) + b"".join(sources)

    def parse_ip_msfilter(self, data: bytes) -> tuple[bytes, bytes, int, int, list[bytes]]:
        """Return (group, interface, mode, count, sources).

        `count` is how many sources the kernel has, which may be more than `data` had room for.
        """
        layout = self._has(self.ip_msfilter_layout, "ip_msfilter")
        group, interface, mode, count = _unpack(layout, data, "ip_msfilter")
        present = min(count, (len(data) - layout.size) // 4)
        end = layout.size + 4 * present
        return group, interface, mode, count, [data[i : i + 4] for i in range(layout.size, end, 4)]

    def group_filter(self, ifindex: int, group: bytes, mode: int, sources: Sequence[bytes]) -> bytes:
        """Return GROUP_FILTER_SIZE(n) bytes; every source must be of the group's family."""
        layout = self._has(self.group_filter_layout, "group_filter")
        _one_family(group, sources)
        head = layout.pack(ifindex, self.sockaddr_storage(group), mode, len(sources))
        return head + self.source_storage(sources)

    def parse_group_filter(self, data: bytes) -> tuple[int, bytes, int, int, list[bytes]]:
        """Return (ifindex, group, mode, count, sources); `count` as in parse_ip_msfilter."""
        layout = self._has(self.group_filter_layout, "group_filter")
        ifindex, group, mode, count = _unpack(layout, data, "group_filter")
        sources = self.parse_source_storage(data[layout.size :], count)
        return ifindex, self.address_of(group), mode, count, sources

    # The full state, FreeBSD and macOS (netinet/in.h)

    def msfilterreq(self, ifindex: int, group: bytes, mode: int, count: int, pointer: int) -> bytes:
        """Return a __msfilterreq: `pointer` is the address of `count` sockaddr_storage, or 0."""
        layout = self._has(self.msfilterreq_layout, "__msfilterreq")
        return layout.pack(ifindex, mode, count, self.sockaddr_storage(group), pointer)

    def parse_msfilterreq(self, data: bytes) -> tuple[int, bytes, int, int, int]:
        """Return (ifindex, group, mode, count, pointer)."""
        layout = self._has(self.msfilterreq_layout, "__msfilterreq")
        ifindex, mode, count, group, pointer = _unpack(layout, data, "__msfilterreq")
        return ifindex, self.address_of(group), mode, count, pointer

    def source_storage(self, sources: Sequence[bytes]) -> bytes:
        """Return the array of sockaddr_storage that a __msfilterreq or group_filter lists."""
        head4, head6 = self.sockaddr_in_head, self.sockaddr_in6_head
        return b"".join([_storage(head4, head6, source) for source in sources])

    def parse_source_storage(self, data: bytes, count: int) -> list[bytes]:
        """Return the first `count` addresses of such an array, or as many as `data` holds."""
        if count < 0:
            raise ValueError(f"there cannot be {count} sources")
        end = _STORAGE * min(count, len(data) // _STORAGE)
        return [self.address_of(data[i : i + _STORAGE]) for i in range(0, end, _STORAGE)]

    def _has(self, layout: struct.Struct | None, name: str) -> struct.Struct:
        if layout is None:
            raise UnsupportedError(f"{self.name} has no struct {name}")
        return layout


def _unpack(layout: struct.Struct, data: bytes, name: str) -> tuple[Any, ...]:
    if len(data) < layout.size:
        raise ValueError(f"{len(data)} bytes are too short for a {name} of {layout.size}")
    return layout.unpack_from(data)


@lru_cache(maxsize=16384)  # a swap of known sources costs look-ups, not packing
def _storage(head4: bytes, head6: bytes, address: bytes) -> bytes:
    if len(address) == 4:
        return _STORAGE_IN.pack(head4, address)
    if len(address) == 16:
        return _STORAGE_IN6.pack(head6, address)
    raise ValueError(f"a packed address has 4 or 16 bytes, not {len(address)}")


def _only_ipv4(*addresses: bytes) -> None:
    if any(len(address) != 4 for address in addresses):
        raise ValueError("this structure takes packed IPv4 addresses only")


def _one_family(group: bytes, sources: Sequence[bytes]) -> None:
    if sources and {len(group)} != set(map(len, sources)):
        raise ValueError("a source has to be of its group's address family")
