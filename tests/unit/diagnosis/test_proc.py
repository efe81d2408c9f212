"""What /proc/net tells, from files as Linux 6.18 has written them.

Two groups were joined on v0, 7 datagrams had come to port 5000 of each and 1 to port 5001. The buffer of
the IPv4 socket was full.
"""

from pathlib import Path

import pytest

from aiomcast.diagnosis import proc
from aiomcast.diagnosis.facts import PortSocket

RECORDED = Path(__file__).parents[2] / "data/proc"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def test_counters_of_ipv4() -> None:
    found = proc.paired(recorded("snmp")) | proc.paired(recorded("netstat"))
    wanted = {"IpInReceives": 8, "IpInDelivers": 8, "UdpIgnoredMulti": 1, "UdpRcvbufErrors": 2}
    wanted |= {"IpExtInMcastPkts": 8, "IpExtOutMcastPkts": 2, "TcpExtIPReversePathFilter": 0}
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize("name", ["snmp6", "dev_snmp6-v0"])
def test_counters_of_ipv6(name: str) -> None:
    found = proc.single(recorded(name))
    assert (found["Ip6InReceives"], found["Ip6InDiscards"], found["Icmp6OutMLDv2Reports"]) == (13, 0, 4)


def test_counters_of_udp_over_ipv6() -> None:
    assert proc.single(recorded("snmp6"))["Udp6IgnoredMulti"] == 1


def test_counters_of_an_interface() -> None:
    found = proc.interface_counters(recorded("dev"), "v0")
    assert found == {"rx_packets": 21, "rx_dropped": 0, "lo_packets": 0}
    assert proc.interface_counters(recorded("dev"), "v") == {"lo_packets": 0}
    odd = recorded("dev").replace("v0:", "v:0:").replace(" 21    0    0    0 ", " 21    0    4    0 ")
    assert proc.interface_counters(odd, "v:0") == {"rx_packets": 21, "rx_dropped": 4, "lo_packets": 0}


def test_the_version_of_igmp() -> None:
    table = recorded("igmp")
    assert (proc.igmp_version(table, 1), proc.igmp_version(table, 2), proc.igmp_version(table, 3)) == (
        3,
        3,
        None,
    )
    older = table.replace("v0        :     2      V3", "v0        :     2      V2")
    assert (proc.igmp_version(older, 1), proc.igmp_version(older, 2)) == (3, 2)


@pytest.mark.parametrize(
    ("name", "found"), [("udp", PortSocket(2065576, 0x1040, 2)), ("udp6", PortSocket(2065578, 0x16C0, 0))]
)
def test_sockets_of_a_port(name: str, found: PortSocket) -> None:
    assert list(proc.port_sockets(recorded(name), 5000)) == [found]
    assert list(proc.port_sockets(recorded(name), 5001)) == []
