"""The names of the constants that a table holds, spelled as in the C headers. No numbers here."""

from __future__ import annotations

import attrs

__all__ = ["Constants"]


@attrs.frozen(kw_only=True, eq=False)
class Constants:
    """The numbers of one platform; None where its headers do not define the name."""

    AF_INET: int
    AF_INET6: int

    # Levels.
    IPPROTO_IP: int
    IPPROTO_IPV6: int
    SOL_SOCKET: int
    SOL_UDP: int | None

    # Sending, and whose groups reach a socket.
    IP_MULTICAST_IF: int
    IP_MULTICAST_TTL: int
    IP_MULTICAST_LOOP: int
    IP_MULTICAST_ALL: int | None
    IPV6_MULTICAST_IF: int
    IPV6_MULTICAST_HOPS: int
    IPV6_MULTICAST_LOOP: int
    IPV6_MULTICAST_ALL: int | None

    # Any-source membership (RFC 1112, RFC 3493 5.2).
    IP_ADD_MEMBERSHIP: int
    IP_DROP_MEMBERSHIP: int
    IPV6_JOIN_GROUP: int
    IPV6_LEAVE_GROUP: int

    # The IPv4 delta and full-state calls (RFC 3678, 4.1).
    IP_ADD_SOURCE_MEMBERSHIP: int
    IP_DROP_SOURCE_MEMBERSHIP: int
    IP_BLOCK_SOURCE: int
    IP_UNBLOCK_SOURCE: int
    IP_MSFILTER: int | None

    # The protocol-independent calls (RFC 3678, 5.1). IPV6_MSFILTER is the BSDs' IP_MSFILTER.
    IPV6_MSFILTER: int | None
    MCAST_MSFILTER: int | None
    MCAST_JOIN_GROUP: int
    MCAST_LEAVE_GROUP: int
    MCAST_JOIN_SOURCE_GROUP: int
    MCAST_LEAVE_SOURCE_GROUP: int
    MCAST_BLOCK_SOURCE: int
    MCAST_UNBLOCK_SOURCE: int

    # Filter modes: every family of systems numbers them its own way.
    MCAST_INCLUDE: int
    MCAST_EXCLUDE: int

    # The full state by WSAIoctl.
    SIO_SET_MULTICAST_FILTER: int | None
    SIO_GET_MULTICAST_FILTER: int | None
    SIOCSMSFILTER: int | None
    SIOCGMSFILTER: int | None

    # The socket itself.
    IPV6_V6ONLY: int
    SO_TIMESTAMP: int | None
    SCM_TIMESTAMP: int | None
    SO_TIMESTAMP_NEW: int | None
    SO_TIMESTAMPNS: int | None
    SCM_TIMESTAMPNS: int | None
    SO_TIMESTAMPNS_NEW: int | None
    SO_TIMESTAMPING: int | None
    SO_TIMESTAMPING_NEW: int | None
    SOF_TIMESTAMPING_RX_HARDWARE: int | None
    SOF_TIMESTAMPING_RAW_HARDWARE: int | None
    SO_ATTACH_FILTER: int | None
    SO_DETACH_FILTER: int | None
    SO_ATTACH_BPF: int | None
    SO_RXQ_OVFL: int | None
    SO_MEMINFO: int | None
    SO_BINDTODEVICE: int | None
    SO_BINDTOIFINDEX: int | None
    SO_RCVBUFFORCE: int | None
    SO_REUSEPORT: int | None
    SO_NETNS_COOKIE: int | None
    SO_EXCLUSIVEADDRUSE: int | None

    # What an interface can do (ioctl).
    SIOCGIFFLAGS: int | None
    IFF_UP: int | None
    IFF_LOOPBACK: int | None
    IFF_MULTICAST: int | None

    # Ancillary data (RFC 3542, 6).
    IP_RECVTTL: int
    IP_TTL: int
    IP_RECVTOS: int
    IP_TOS: int
    IPV6_RECVHOPLIMIT: int | None
    IPV6_HOPLIMIT: int
    IPV6_RECVTCLASS: int
    IPV6_TCLASS: int
    IP_PKTINFO: int | None
    IPV6_RECVPKTINFO: int | None
    IPV6_PKTINFO: int
    IP_RECVDSTADDR: int | None
    IP_RECVIF: int | None
    MSG_TRUNC: int
    MSG_CTRUNC: int
    UDP_GRO: int | None
    UDP_SEGMENT: int | None
