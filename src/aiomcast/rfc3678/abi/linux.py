"""Linux: include/uapi/linux/in.h, in6.h, udp.h, socket.h and asm-generic/socket.h. Data only.

Where a 32-bit Linux has two numbers by the width of time_t, the table holds the one that the
kernel calls _OLD (SO_TIMESTAMP, SO_TIMESTAMPNS and their SCM twins, whose message has the
width of a long); SO_TIMESTAMPNS_NEW always brings two 64-bit integers.
"""

from __future__ import annotations

import struct

import attrs

from .facts import Facts, Setting
from .table import Abi

__all__ = ["LINUX_32", "LINUX_64"]

LINUX_64 = Abi(
    name="linux-64",
    AF_INET=2,
    AF_INET6=10,
    IPPROTO_IP=0,
    IPPROTO_IPV6=41,
    SOL_SOCKET=1,
    SOL_UDP=17,
    IP_MULTICAST_IF=32,
    IP_MULTICAST_TTL=33,
    IP_MULTICAST_LOOP=34,
    IP_MULTICAST_ALL=49,
    IPV6_MULTICAST_IF=17,
    IPV6_MULTICAST_HOPS=18,
    IPV6_MULTICAST_LOOP=19,
    IPV6_MULTICAST_ALL=29,
    IP_ADD_MEMBERSHIP=35,
    IP_DROP_MEMBERSHIP=36,
    IPV6_JOIN_GROUP=20,
    IPV6_LEAVE_GROUP=21,
    IP_ADD_SOURCE_MEMBERSHIP=39,
    IP_DROP_SOURCE_MEMBERSHIP=40,
    IP_BLOCK_SOURCE=38,
    IP_UNBLOCK_SOURCE=37,
    IP_MSFILTER=41,
    IPV6_MSFILTER=None,
    MCAST_MSFILTER=48,
    MCAST_JOIN_GROUP=42,
    MCAST_LEAVE_GROUP=45,
    MCAST_JOIN_SOURCE_GROUP=46,
    MCAST_LEAVE_SOURCE_GROUP=47,
    MCAST_BLOCK_SOURCE=43,
    MCAST_UNBLOCK_SOURCE=44,
    MCAST_INCLUDE=1,
    MCAST_EXCLUDE=0,
    SIO_SET_MULTICAST_FILTER=None,
    SIO_GET_MULTICAST_FILTER=None,
    SIOCSMSFILTER=None,
    SIOCGMSFILTER=None,
    IPV6_V6ONLY=26,
    SO_TIMESTAMP=29,
    SCM_TIMESTAMP=29,
    SO_TIMESTAMP_NEW=63,
    SO_TIMESTAMPNS=35,
    SCM_TIMESTAMPNS=35,
    SO_TIMESTAMPNS_NEW=64,
    SO_TIMESTAMPING=37,
    SO_TIMESTAMPING_NEW=65,
    SOF_TIMESTAMPING_RX_HARDWARE=4,  # linux/net_tstamp.h
    SOF_TIMESTAMPING_RAW_HARDWARE=64,
    SO_ATTACH_FILTER=26,
    SO_DETACH_FILTER=27,
    SO_ATTACH_BPF=50,
    SO_RXQ_OVFL=40,
    SO_MEMINFO=55,
    SO_BINDTODEVICE=25,
    SO_BINDTOIFINDEX=62,  # asm-generic/socket.h, since Linux 5.0
    SO_RCVBUFFORCE=33,
    SO_REUSEPORT=15,
    SO_NETNS_COOKIE=71,  # since Linux 5.14
    SO_EXCLUSIVEADDRUSE=None,
    SIOCGIFFLAGS=0x8913,
    IFF_UP=0x1,
    IFF_LOOPBACK=0x8,
    IFF_MULTICAST=0x1000,
    IP_RECVTTL=12,
    IP_TTL=2,
    IP_RECVTOS=13,
    IP_TOS=1,
    IPV6_RECVHOPLIMIT=51,
    IPV6_HOPLIMIT=52,
    IPV6_RECVTCLASS=66,
    IPV6_TCLASS=67,
    IP_PKTINFO=8,
    IPV6_RECVPKTINFO=49,
    IPV6_PKTINFO=50,
    IP_RECVDSTADDR=None,
    IP_RECVIF=None,
    MSG_TRUNC=0x20,
    MSG_CTRUNC=0x8,
    UDP_GRO=104,
    UDP_SEGMENT=103,
    full_state="linux",
    sockaddr_in_head=struct.pack("=H", 2),
    sockaddr_in6_head=struct.pack("=H", 10),
    sockaddr_family=struct.Struct("=H"),
    ip_mreq_source_fields=("imr_multiaddr", "imr_interface", "imr_sourceaddr"),
    ip_mreqn_layout=struct.Struct("=4s4sI"),
    # sockaddr_storage is aligned like a long: 8 bytes here, 4 in LINUX_32.
    group_req_layout=struct.Struct("=I4x128s"),
    group_source_req_layout=struct.Struct("=I4x128s128s"),
    ip_msfilter_layout=struct.Struct("=4s4sII"),
    group_filter_layout=struct.Struct("=I4x128sII"),
    msfilterreq_layout=None,
    ifreq_layout=struct.Struct("=16sH22x"),
    index_as_address=False,
    facts=Facts(
        reuse_port=True,
        reuse_port_groups=True,
        binds_to_group=True,
        empty_set_clears=True,
        excludes_block=True,
        hears_unjoined=False,
        rejoin_pause=0.0,
        time_option=35,  # SO_TIMESTAMPNS
        time_kind=35,
        time_in_nanoseconds=True,
        shared_stamps=True,
        hardware_time_option=37,  # SO_TIMESTAMPING
        # In a network namespace /proc does not show IPv6's: the kernel's MLD_MAX_MSF still holds.
        sources_ipv4=Setting("net.ipv4.igmp_max_msf", 10),
        sources_ipv6=Setting("net.ipv6.mld_max_msf", 64),
        lists_add_up=False,
        host_sources_ipv4=Setting(None, None),
        host_sources_ipv6=Setting(None, None),
        groups=None,
        groups_ipv4_sysctl="net.ipv4.igmp_max_memberships",  # IPv6 has no such limit
        option_memory_sysctl="net.core.optmem_max",
        doubles_buffers=True,
        receive_buffer_sysctl="net.core.rmem_max",
        sysctls_by_name=False,
        hides_sysctls=True,
    ),
)

LINUX_32 = attrs.evolve(
    LINUX_64,
    name="linux-32",
    group_req_layout=struct.Struct("=I128s"),
    group_source_req_layout=struct.Struct("=I128s128s"),
    group_filter_layout=struct.Struct("=I128sII"),
    ifreq_layout=struct.Struct("=16sH14x"),
    # SO_TIMESTAMPNS_NEW and SO_TIMESTAMPING_NEW, whose stamps hold 64-bit seconds everywhere.
    facts=attrs.evolve(LINUX_64.facts, time_option=64, time_kind=64, hardware_time_option=65),
)
