"""Having this host report its groups once more, by a query that nobody else hears (Linux). No policy."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_address

from ..errors import UnsupportedError
from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..rfc3678.refusals import refusals

__all__ = ["igmp_query", "mld_query", "report_again"]

ABI = native()

# Linux's numbers, where the tables have none: linux/in.h, in6.h, igmp.h and net/mld.h.
_IPPROTO_IGMP = 2
_IPPROTO_ICMPV6 = 58
_IP_OPTIONS = 4
_IPV6_HOPOPTS = 54
_IGMP_MEMBERSHIP_QUERY = 0x11
_MLD_LISTENER_QUERY = 130

# Type, maximum response code, checksum, group, robustness, interval, number of sources; with MLD also a code,
# and 16 bits after the response code that are left free.
_IGMP_QUERY = struct.Struct("!BBH4sBBH")
_MLD_QUERY = struct.Struct("!BBHH2x16sBBH")

# Hosts answer after a random time of up to this long.
_AT_ONCE = 0
# "Nothing is said of it", which leaves the host with its own.
_ROBUSTNESS = 0
# In seconds, the standards' default: a code below 128 is the number itself. 0 would be taken for 0 with MLD.
_INTERVAL = 125

# The router alert, as an option of IPv4 (RFC 2113) and in a hop-by-hop header of IPv6 (RFC 2711). A host may
# ignore what has none (RFC 3376, 9.1). Linux does so with MLD, and with what has another hop limit than 1, or
# a source that is not link-local (RFC 3810, 6.2).
_ROUTER_ALERT = bytes((0x94, 4, 0, 0))
_HOP_BY_HOP = bytes((_IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0))

# By these the system says that it cannot be done there, or not by this process.
_CANNOT = (
    errno.EPERM,  # no CAP_NET_RAW, or a firewall
    errno.EACCES,
    errno.ENODEV,  # no such interface
    errno.ENETUNREACH,  # it is down, or does not have this family
    errno.EADDRNOTAVAIL,  # no address to send from
    errno.EAFNOSUPPORT,
    errno.ENOPROTOOPT,  # no SO_BINDTOIFINDEX, before Linux 5.0
)


def report_again(index: int, family: int) -> bool:
    """Have this host report the groups of `family` (4 or 6) that the interface `index` is a member of.

    Return whether it was asked to. It then does so within four ticks of the kernel (16 ms where that has 250
    in a second), as current state with the whole source lists (RFC 3376, 5.2; RFC 3810, 6.2). It leaves
    nothing, so no packet is lost, and the query does not go out. Where an older querier, force_igmp_version
    or force_mld_version has it speak an older version, it reports in that, with IGMPv1 within 10 s; such a
    state neither begins nor lasts longer by this.

    False where the process has no CAP_NET_RAW (capabilities(7)), on other systems than Linux, and where the
    interface is not there, is down, does not have this family, or has no IPv6 link-local address; IPv4 needs
    none. A carrier that is lost, or a firewall that swallows what comes in, is not noticed. RefusedError for
    want of open files or memory. The interface is one of the calling thread's network namespace.

    The system does not tell what the last querier said. Until the next one asks, the robustness of an IPv4
    interface is net.ipv4.igmp_qrv (IPv6 keeps what it has), and the query interval is taken to be 125 s.
    """
    if not 0 < index < 1 << 31:  # 0 would be any
        return False
    with refusals(f"asking this host for its groups of IPv{family} on interface {index}"):
        try:
            return _ASKED[family](index)
        except UnsupportedError:
            return False
        except OSError as error:
            if error.errno in _CANNOT:
                return False
            raise


def igmp_query() -> bytes:
    """Return an IGMPv3 general query to be answered at once, with its checksum (RFC 3376, 4.1)."""

    def packed(checksum: int) -> bytes:
        return _IGMP_QUERY.pack(
            _IGMP_MEMBERSHIP_QUERY, _AT_ONCE, checksum, bytes(4), _ROBUSTNESS, _INTERVAL, 0
        )

    return packed(_checksum(packed(0)))


def mld_query() -> bytes:
    """Return an MLDv2 general query to be answered at once (RFC 3810, 5.1).

    Its checksum is 0: it is over the addresses too, and the kernel fills it in (RFC 3542, 3.1).
    """
    return _MLD_QUERY.pack(_MLD_LISTENER_QUERY, 0, 0, _AT_ONCE, bytes(16), _ROBUSTNESS, _INTERVAL, 0)


def _checksum(message: bytes) -> int:
    """Return the internet checksum of a message of even length (RFC 1071)."""
    words: tuple[int, ...] = struct.unpack(f"!{len(message) // 2}H", message)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _ask_ipv4(index: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, _IPPROTO_IGMP) as sock:
        kernel.setsockopt(sock, ABI.SOL_SOCKET, ABI.SO_BINDTOIFINDEX, index)
        # What has no hops left is looped back, as every multicast is, and not sent.
        kernel.setsockopt(sock, ABI.IPPROTO_IP, ABI.IP_MULTICAST_TTL, 0)
        kernel.setsockopt(sock, ABI.IPPROTO_IP, _IP_OPTIONS, _ROUTER_ALERT)
        sock.sendto(igmp_query(), ("224.0.0.1", 0))
    return True


def _ask_ipv6(index: int) -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, _IPPROTO_ICMPV6) as sock:
        kernel.setsockopt(sock, ABI.SOL_SOCKET, ABI.SO_BINDTOIFINDEX, index)
        kernel.setsockopt(sock, ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_HOPS, 1)
        kernel.setsockopt(sock, ABI.IPPROTO_IPV6, _IPV6_HOPOPTS, _HOP_BY_HOP)
        # All nodes, in the scope that ends at the interface (RFC 4291, 2.7.1): looped back, and not sent.
        sock.connect(("ff01::1", 0, 0, index))
        if not ip_address(sock.getsockname()[0]).is_link_local:
            return False
        sock.send(mld_query())
    return True


_ASKED = {4: _ask_ipv4, 6: _ask_ipv6}
