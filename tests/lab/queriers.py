"""A querier of IGMP and MLD beside a switch, as a router is one, which asks only when it is told to."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Self

from .network import BRIDGE, PROBE_GROUPS, SWITCH, LabError, Network, wait_until

__all__ = ["Querier", "querier_outside"]

# The router alert, which both families' messages carry (RFC 3376, 4; RFC 3810, 5).
_IP_ROUTER_ALERT = bytes.fromhex("94040000")
_HOP_BY_HOP_ROUTER_ALERT = bytes.fromhex("3a00 0502 0000 0100")

# General queries, to be answered within 0.1 s; those of the newest version say robustness 2, interval 125 s.
_IGMP = {
    3: bytes.fromhex("1101 ec81 00000000 027d 0000"),  # RFC 3376, 4.1
    2: bytes.fromhex("1101 eefe 00000000"),  # RFC 2236, 2
    1: bytes.fromhex("1100 eeff 00000000"),  # RFC 1112, appendix I
}
# The kernel fills in the checksum, which stands over the source too (RFC 3542, 3.1).
_MLD = {
    2: bytes.fromhex("8200 0000 0064 0000" + 16 * "00" + "027d 0000"),  # RFC 3810, 5.1
    1: bytes.fromhex("8200 0000 0064 0000" + 16 * "00"),  # RFC 2710, 3
}


class Querier:
    """Sends general queries from an interface in the network namespace of the thread that makes it.

    The interface has an IPv4 and an IPv6 link-local address. It asks nothing by itself. A context manager.
    """

    def __init__(self, interface: str = "v0") -> None:
        with ExitStack() as undo:
            self._igmp = undo.enter_context(
                socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
            )
            self._mld = undo.enter_context(
                socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            )
            index = socket.if_nametoindex(interface)
            mreqn = struct.pack("=8xi", index)
            self._igmp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
            self._igmp.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, _IP_ROUTER_ALERT)
            self._igmp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            self._mld.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            self._mld.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, _HOP_BY_HOP_ROUTER_ALERT)
            self._mld.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            self._open = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ask no more."""
        self._open.close()

    def query(self, version: int = 3) -> None:
        """Send one general query of each family, IGMPv3 and MLDv2 unless told otherwise.

        2 is IGMPv2 and MLDv1; 1 is IGMPv1 alone, as old as which there is no MLD.
        """
        self.send(_IGMP[version], _MLD.get(version - 1))

    def send(self, igmp: bytes | None = None, mld: bytes | None = None) -> None:
        """Send general queries with these bytes; the checksum of that of MLD is filled in."""
        if igmp is not None:
            self._igmp.sendto(igmp, ("224.0.0.1", 0))
        if mld is not None:
            self._mld.sendto(mld, ("ff02::1", 0))


@contextmanager
def querier_outside(network: Network, host: str = "s3") -> Iterator[Querier]:
    """Have a host of the network be its querier instead of the switch, and ask.

    From then on nobody asks unless it is told to, as behind a router that asks once in 125 s. The switch has
    forgotten what it knew, has learned it again, takes that host's port as a router's, and snoops.
    """
    # Snooping anew ends the timer of the switch's own next query, which would keep it the querier until then.
    for option in ("mcast_querier 0", "mcast_snooping 0", "mcast_snooping 1"):
        network.ip(SWITCH, f"link set {BRIDGE} type bridge {option}")
    with network.inside(host):
        querier = Querier()

    def floods() -> bool:
        try:
            return any(network.reaches("s1", group) for group in PROBE_GROUPS)
        except TimeoutError:
            return True

    def is_heeded() -> bool:
        querier.query()  # in vain while that timer has not quite ended
        with suppress(LabError):
            wait_until(lambda: not floods(), 0.5, "the bridge floods nothing")
            return True
        return False

    with querier:
        wait_until(is_heeded, 20, f"{host} is the querier")
        yield querier
