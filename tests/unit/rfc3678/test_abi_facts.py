"""The facts of the ABI tables agree with their numbers, and what is made from them is what calls take."""

from __future__ import annotations

import struct

import pytest

from aiomcast.errors import UnsupportedError
from aiomcast.rfc3678.abi import FREEBSD, LINUX_32, LINUX_64, MACOS, TABLES, WINDOWS, Abi
from aiomcast.rfc3678.abi.facts import Setting

SOURCE4 = bytes((192, 0, 2, 10))

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


@every_table
def test_the_time_of_arrival_is_told_by_options_of_the_table(table: Abi) -> None:
    facts = table.facts
    option, kind = {
        "linux-64": (table.SO_TIMESTAMPNS, table.SCM_TIMESTAMPNS),
        "linux-32": (table.SO_TIMESTAMPNS_NEW, table.SO_TIMESTAMPNS_NEW),
    }.get(table.name, (table.SO_TIMESTAMP, table.SCM_TIMESTAMP))
    assert (facts.time_option, facts.time_kind) == (option, kind)
    assert facts.time_in_nanoseconds is (table.SO_TIMESTAMPNS is not None)
    assert not facts.shared_stamps or facts.time_option is not None


@every_table
def test_facts_need_only_what_the_table_has(table: Abi) -> None:
    facts = table.facts
    assert not facts.reuse_port or table.SO_REUSEPORT is not None
    assert facts.option_memory_sysctl is None or table.SO_MEMINFO is not None
    assert facts.empty_set_clears is (table.full_state != "bsd")
    assert facts.binds_to_group is (table.full_state != "windows")
    for family, sysctl in ((4, "ip"), (6, "ip6")):
        setting = facts.sources(family)
        assert (setting.sysctl is None) is (setting.default is None)
        assert setting.sysctl is None or "ipv" in setting.sysctl or f".{sysctl}." in setting.sysctl
    assert facts.sources(4) is facts.sources_ipv4
    assert facts.host_sources(6) is facts.host_sources_ipv6


# IGMP_MAX_MSF and MLD_MAX_MSF of Linux, IP_MAX_SOCK_SRC_FILTER of FreeBSD and macOS.
LINUX_SOURCES = Setting("net.ipv4.igmp_max_msf", 10), Setting("net.ipv6.mld_max_msf", 64)
BSD_SOURCES = Setting("net.inet.ip.mcast.maxsocksrc", 128), Setting("net.inet6.ip6.mcast.maxsocksrc", 128)
NO_LIMIT = Setting(None, None), Setting(None, None)


@every_table
def test_the_limits_of_sources(table: Abi) -> None:
    expected = {"linux": LINUX_SOURCES, "bsd": BSD_SOURCES, "windows": NO_LIMIT}[table.full_state]
    assert (table.facts.sources(4), table.facts.sources(6)) == expected


@every_table
def test_what_freebsd_and_macos_have_alone(table: Abi) -> None:
    """As recorded on FreeBSD 13.0; xnu's source is the same in this."""
    facts, is_bsd = table.facts, table.full_state == "bsd"
    bsd = {
        4: Setting("net.inet.ip.mcast.maxgrpsrc", 512),
        6: Setting("net.inet6.ip6.mcast.maxgrpsrc", 512),
    }
    for family in (4, 6):
        assert facts.host_sources(family) == (bsd[family] if is_bsd else Setting(None, None))
    assert facts.groups == (4095 if is_bsd else None)
    assert facts.rejoin_pause == (0.25 if is_bsd else 0.0)
    assert facts.excludes_block is not is_bsd
    assert facts.lists_add_up is facts.hears_unjoined is facts.sysctls_by_name is is_bsd


@every_table
def test_how_a_platform_behaves(table: Abi) -> None:
    """What no number of the table shows: a port is shared by both options, where there are both."""
    facts, is_linux = table.facts, table.full_state == "linux"
    assert facts.reuse_port is (table.SO_REUSEPORT is not None)
    assert facts.reuse_port_groups is is_linux
    assert facts.shared_stamps is is_linux
    assert facts.hides_sysctls is facts.doubles_buffers is is_linux
    limit = {"linux": "net.core.rmem_max", "bsd": "kern.ipc.maxsockbuf"}.get(table.full_state)
    assert facts.receive_buffer_sysctl == limit
    assert (not facts.interface_gone) is is_linux
    assert facts.groups_ipv4_sysctl == ("net.ipv4.igmp_max_memberships" if is_linux else None)
    assert facts.option_memory_sysctl == ("net.core.optmem_max" if is_linux else None)


@every_table
def test_the_interface_to_send_from(table: Abi) -> None:
    value = table.outgoing(SOURCE4, 7)
    expected = bytes((0, 0, 0, 7)) if table is WINDOWS else bytes(4) + SOURCE4 + struct.pack("=I", 7)
    assert value == expected


@pytest.mark.parametrize("table", [LINUX_64, LINUX_32, FREEBSD, MACOS], ids=lambda t: t.name)
def test_the_flags_of_an_interface(table: Abi) -> None:
    asked = table.ifreq(b"enp0s31f6")
    assert len(asked) == (40 if table is LINUX_64 else 32)
    assert asked == b"enp0s31f6".ljust(len(asked), b"\0")
    request = table.SIOCGIFFLAGS
    assert request is not None
    if request >> 16:  # the BSDs' requests hold the size of what they take
        assert request >> 16 & 0x1FFF == len(asked)
    answer = asked[:16] + struct.pack("=H", 0x9049) + asked[18:]
    assert table.parse_ifreq(answer) == (b"enp0s31f6", 0x9049)
    with pytest.raises(ValueError, match="15"):
        table.ifreq(bytes(16))
    with pytest.raises(UnsupportedError, match="windows"):
        WINDOWS.ifreq(b"lo")
