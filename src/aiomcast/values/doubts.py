"""Why nothing can come to a membership that the system has not refused: decided from what is known. Pure.

There is no rule where packets were seen to come.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final, final

import attrs

from .addresses import Scope, pack, scope
from .filters import SourceFilter
from .links import Link, Operstate
from .sealed import sealed

__all__ = ["IPV6_MTU", "Doubt", "DoubtKind", "doubts", "too_small"]

IPV6_MTU: Final = 1280
"""The least MTU that IPv6 works with (RFC 8200, 5). Below it Linux takes IPv6 off the interface."""

# As what a link gives all that comes in there to its master, before IP sees it. Measured for bridges.
_PORTS = ("bridge", "bond", "team")


@final
class DoubtKind(enum.Enum):
    """What stands in the way.

    DOWN: the interface is not set up. NO_CARRIER: nothing is at its other end. IPV6_OFF: it does not have
    IPv6, which the group is of. NO_LOOPBACK_ROUTE: a loopback interface without the route that IPv6 groups
    take to come back. REMOTE_SOURCE: loopback, for a source that is another host. SCOPE: the group ends at
    the interface, or nowhere. PORT: a bridge, a bond or a team takes what comes in. VRF: it belongs to a
    VRF, and sockets outside of it are given nothing.
    """

    DOWN = "down"
    NO_CARRIER = "no carrier"
    IPV6_OFF = "IPv6 off"
    NO_LOOPBACK_ROUTE = "no loopback route"
    REMOTE_SOURCE = "remote source"
    SCOPE = "scope"
    PORT = "port"
    VRF = "VRF"


@final
@sealed
@attrs.frozen(slots=True)
class Doubt:
    """Something for which nothing can come, as things stand."""

    kind: DoubtKind
    text: str
    """A sentence: what it is, and on which interface."""
    hint: str
    """What mends it, with the command where there is one."""


def doubts(
    link: Link,
    group: str,
    wanted: SourceFilter,
    *,
    remote: str | None = None,
    master: Link | None = None,
    has_ipv6: bool | None = None,
    loops_back: bool | None = None,
    enters_vrf: bool | None = None,
) -> list[Doubt]:
    """Return why nothing can come to a member of `group` (canonical) on `link` that wants `wanted`.

    Each has to be mended. Empty where packets can come as far as is known: a fact that is None is not
    known, and never a reason.

    `remote`: a source that `wanted` lists and that is no address of this host, None if there is none. Where
    all that it lists are this host's, what keeps other hosts out is no doubt: what this host sends is
    looped back on the interface it is sent on, even without a carrier, and on a port of a bridge.
    `master`: what the link is part of. `has_ipv6`: whether IPv6 is on there. `loops_back`: whether the
    route to an IPv6 group on a loopback interface brings it back. `enters_vrf`: whether an IPv4 socket of
    this process is given what comes in at a member of a VRF.
    """
    return list(_each(link, group, wanted, remote, master, has_ipv6, loops_back, enters_vrf))


def too_small(link: Link) -> str:
    """Return the hint for a link whose MTU leaves no room for IPv6, "" where it does or is not known."""
    if link.mtu is None or link.mtu >= IPV6_MTU:
        return ""
    return (
        f"{link.name} has an MTU of {link.mtu}, and IPv6 needs {IPV6_MTU}: "
        f"ip link set {link.name} mtu {IPV6_MTU}"
    )


def _each(
    link: Link,
    group: str,
    wanted: SourceFilter,
    remote: str | None,
    master: Link | None,
    has_ipv6: bool | None,
    loops_back: bool | None,
    enters_vrf: bool | None,
) -> Iterator[Doubt]:
    name, is_ipv6 = link.name, ":" in group
    if not link.is_up:
        yield Doubt(DoubtKind.DOWN, f"interface {name} is down", f"ip link set {name} up")
    if is_ipv6 and has_ipv6 is False:
        yield Doubt(DoubtKind.IPV6_OFF, f"IPv6 is off on interface {name}", too_small(link) or _enable(name))
    if is_ipv6 and pack(group)[1] & 0x0F == 0:  # seen to be dropped, whoever sends it
        yield Doubt(
            DoubtKind.SCOPE,
            f"{group} has the reserved scope 0, which every host drops, on {name} as elsewhere",
            "choose a group of another scope (RFC 4291, 2.7)",
        )
    elif link.is_loopback:
        yield from _of_loopback(name, is_ipv6, wanted, remote, loops_back)
    elif not wanted.is_include or not wanted.sources or remote is not None:
        yield from _of_the_wire(link, group, master, enters_vrf)


def _of_loopback(
    name: str, is_ipv6: bool, wanted: SourceFilter, remote: str | None, loops_back: bool | None
) -> Iterator[Doubt]:
    # By a route of another type nothing of IPv6 came on lo, whatever the scope, the table and the type.
    if is_ipv6 and loops_back is False:
        yield Doubt(
            DoubtKind.NO_LOOPBACK_ROUTE,
            f"no IPv6 group comes back on loopback interface {name}, for want of a route",
            f"name another interface, or ip -6 route add local ff00::/8 dev {name}",
        )
    if wanted.is_include and remote is not None:
        yield Doubt(
            DoubtKind.REMOTE_SOURCE,
            f"source {remote} is another host, and on loopback interface {name} none is heard but this one",
            "name the interface that leads to the source",
        )


def _of_the_wire(link: Link, group: str, master: Link | None, enters_vrf: bool | None) -> Iterator[Doubt]:
    name, is_ipv6 = link.name, ":" in group
    if _lacks_carrier(link):
        yield Doubt(
            DoubtKind.NO_CARRIER,
            f"interface {name} has no carrier",
            "look at the cable, and whether the other end, or the interface below it, is up",
        )
    if is_ipv6 and scope(group) is Scope.INTERFACE_LOCAL:
        yield Doubt(
            DoubtKind.SCOPE,
            f"{group} is interface-local, so nothing of it comes in on {name} from other hosts",
            "choose a group of a wider scope: ff02::/16 is the link's (RFC 4291, 2.7)",
        )
    if link.role in _PORTS:
        whole = master.name if master is not None else f"the {link.role}"
        yield Doubt(
            DoubtKind.PORT,
            f"interface {name} is a port of {whole}, which takes all that comes in there",
            f"join on {whole}",
        )
    # IPv6 sockets are bound to the interface, which lets them in.
    if link.role == "vrf" and not is_ipv6 and enters_vrf is False:
        whole = master.name if master is not None else "VRF"
        yield Doubt(
            DoubtKind.VRF,
            f"interface {name} is a member of {whole}, which gives nothing to sockets outside of it",
            f"sysctl -w net.ipv4.udp_l3mdev_accept=1, or run it inside: ip vrf exec {whole}",
        )


def _lacks_carrier(link: Link) -> bool:
    """Whether an interface that is up has nothing at its other end.

    The carrier decides where it is told, as the operational state follows it a moment later. That one
    is DORMANT is no reason: packets were seen to come in.
    """
    if not link.is_up:
        return False
    if link.has_carrier is None:
        return link.operstate is Operstate.LOWER_LAYER_DOWN
    return not link.has_carrier


def _enable(name: str) -> str:
    """Return what switches IPv6 on, as sysctl(8) has it: a dot in a name is written as a slash."""
    return f"sysctl -w net.ipv6.conf.{name.replace('.', '/')}.disable_ipv6=0"
