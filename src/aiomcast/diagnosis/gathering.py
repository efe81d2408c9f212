"""Looking: what the system tells without privilege of one interface, family and port, as a `Look`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ..errors import MulticastError, NoRouteError, UnsupportedError
from ..rfc3678.sysctls import sysctl_value
from ..system import looking
from ..system.device_groups import device_groups
from ..system.routes import routes_to
from ..values.addresses import family
from ..values.interface import Interface
from ..values.links import DeviceGroup
from . import proc
from .facts import Look, PortSocket

__all__ = ["counters", "forced_version", "look", "own_and_routes", "rp_filter"]

# Not /proc/net, which shows the namespace of the process's main thread.
_NET: Final = Path("/proc/thread-self/net")
_MOST_ROUTES: Final = 4  # a question of some 0.2 ms each


def look(interface: Interface, group: str, port: int) -> Look:
    """Return what is told now. Takes 1 to 3 ms and no privilege; what is not told is in `unseen`.

    It is about the network namespace of the calling thread.
    """
    name, number = interface.name, family(group)
    counted, unseen = counters(name, number)
    link = is_member = None
    try:
        link = looking.link(interface.index)
    except MulticastError as error:
        unseen.append(f"how interface {name} is: {error.detail}")
    try:
        is_member = DeviceGroup(interface.index, group) in device_groups(number)
    except (MulticastError, OSError) as error:
        unseen.append(f"whether interface {name} is a member of the group: {_why(error)}")
    sockets: tuple[PortSocket, ...] = ()
    version = None
    with contextlib.suppress(OSError, ValueError, IndexError):
        table = (_NET / ("udp" if number == 4 else "udp6")).read_text("ascii")
        sockets = tuple(proc.port_sockets(table, port))
    if number == 4:
        with contextlib.suppress(OSError, ValueError, IndexError):
            table = (_NET / "igmp").read_text("utf-8", "surrogateescape")
            version = proc.igmp_version(table, interface.index)
    return Look(
        link=link,
        is_member=is_member,
        igmp_version=version,
        counters=counted,
        sockets=sockets,
        unseen=tuple(unseen),
    )


def counters(name: str, number: int) -> tuple[dict[str, int], list[str]]:
    """Return the counters of IPv4, or of IPv6 too, with an interface of this name; and what is not told."""
    found: dict[str, int] = {}
    unseen: list[str] = []

    def read(file: str, parse: Callable[[str], dict[str, int]]) -> None:
        try:
            found.update(parse((_NET / file).read_text("utf-8", "surrogateescape")))
        except (OSError, ValueError, IndexError) as error:
            unseen.append(f"the counters of /proc/net/{file}: {_why(error)}")

    read("snmp", proc.paired)
    read("netstat", proc.paired)
    read("dev", lambda table: proc.interface_counters(table, name))
    if number == 6:
        read("snmp6", lambda table: _of_udp(proc.single(table)))
        read(f"dev_snmp6/{name}", proc.single)
    return found, unseen


def own_and_routes(sources: Iterable[str]) -> tuple[frozenset[str], dict[str, str | None]]:
    """Return which of `sources` are this host's own, and by which interface the others' routes lead.

    Some of the others, where there are many; None for one without a route.
    """
    own: set[str] = set()
    routes: dict[str, str | None] = {}
    names: dict[int, str] = {}
    for source in sorted(sources)[:_MOST_ROUTES]:
        try:
            (route,) = routes_to([source])
            if route.index is None:
                own.add(source)
                continue
            if route.index not in names:
                link = looking.link(route.index)
                names[route.index] = link.name if link else str(route.index)
            routes[source] = names[route.index]
        except NoRouteError:
            routes[source] = None
        except MulticastError:
            continue
    return frozenset(own), routes


def rp_filter(name: str) -> int | None:
    """Return the reverse path filter in force on an interface: the greater of its own and that of all."""
    return _setting(name, "rp_filter", 4)


def forced_version(name: str, number: int) -> int | None:
    """Return the version of IGMP or MLD that a sysctl forces on an interface, None for none."""
    return _setting(name, "force_igmp_version" if number == 4 else "force_mld_version", number) or None


def _setting(name: str, setting: str, number: int) -> int | None:
    told = [sysctl_value(f"net.ipv{number}.conf.{one}.{setting}") for one in ("all", name.replace(".", "/"))]
    return max((value for value in told if value is not None), default=None)


def _of_udp(told: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in told.items() if name.startswith("Udp6")}


def _why(error: Exception) -> str:
    if isinstance(error, UnsupportedError):
        return "this system does not tell"
    if isinstance(error, FileNotFoundError):
        return "there are none here"
    return str(error)
