"""A network that breaks and is mended: what can happen to a receiver's cable, and undoes it.

The receiver is on v0, a cable to a switch that snoops and whose router asks once in 125 s, so that nobody
asks after a fault; and on v1, a cable to s1 that nothing happens to.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

from .flows import Flow
from .network import ADDRESSES, BRIDGE, PROBE_GROUPS, SWITCH, Network, execute, unique_name, wait_until
from .queriers import Querier

__all__ = [
    "CABLE",
    "CARRIER",
    "DOWN",
    "FAULTS",
    "MORE_SOURCES",
    "NEIGHBOUR",
    "NEW_INDEX",
    "OTHER",
    "REMOTE",
    "SAME_INDEX",
    "SOURCES",
    "Fault",
    "Scene",
]

CABLE, OTHER, MACVLAN, RENAMED = "v0", "v1", "m0", "v9"
PORT = "p-rcv"  # the switch's end of the cable
SOURCES: Final = {
    (CABLE, 4): "192.0.2.11",
    (CABLE, 6): "2001:db8::11",
    (OTHER, 4): "198.51.100.11",
    (OTHER, 6): "2001:db8:1::11",
}
"""The addresses of s1."""
MORE_SOURCES: Final = ("192.0.2.101", "192.0.2.115", "192.0.2.130")
"""More of them, on the cable."""
NEIGHBOUR: Final = dict(zip((4, 6), ADDRESSES["s2"], strict=True))
"""Those of s2."""
REMOTE: Final = {4: "203.0.113.9", 6: "2001:db8:9::9"}
"""Those of a source beyond s1, in networks of their own, which the receiver reaches by v0."""

_ADDRESSED = (
    f"addr replace 192.0.2.1/24 dev {CABLE}",
    f"addr replace 2001:db8::1/64 dev {CABLE} nodad",
)
_ROUTES = {4: "203.0.113.0/24", 6: "2001:db8:9::/64"}
# Longer than any test takes: the switch would flood again.
_LASTING = "mcast_querier_interval 90000 mcast_membership_interval 90000"


class Scene:
    """The network, and what is done to it. A context manager. Nothing here needs to be on an event loop."""

    def __init__(self) -> None:
        self.network = Network()
        self.changed_at = 0.0
        """When something was done last, by time.monotonic(): just before."""
        self._elsewhere = unique_name()
        self._index = 0
        self._numbers = itertools.count(1)
        # No end of the cable has the other's index: Linux takes that for one interface with nothing below
        # it, whose carrier it makes known up to a second late.
        self._indexes = itertools.count(1000)
        self._undoing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as building:
            building.enter_context(self.network)
            execute(["ip", "netns", "add", self._elsewhere])
            building.callback(execute, ["ip", "netns", "del", self._elsewhere])
            self._lay_other_cable()
            self._ask()
            self._undoing = building.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undoing.close()

    def ip(self, name: str, *commands: str) -> None:
        """Run each as `ip COMMAND` on a host or the switch, all in one process."""
        self._run(["ip", "-n", self.network.namespace(name), "-batch", "-"], commands)

    def bridge(self, *commands: str) -> None:
        """Run each as `bridge COMMAND` on the switch, all in one process."""
        self._run(["bridge", "-n", self.network.namespace(SWITCH), "-batch", "-"], commands)

    def forget(self) -> None:
        """Have the switch forget what the receiver has joined."""
        groups = {entry["grp"] for entry in self.network.mdb() if entry["port"] == PORT}
        self.bridge(*(f"mdb del dev {BRIDGE} port {PORT} grp {group}" for group in groups))

    def delete(self) -> None:
        """Delete the interface."""
        self._index = self.index()
        self.ip("rcv", f"link del {CABLE}")

    def make(self, is_same_index: bool) -> None:
        """Make it again under its name; the carrier comes last."""
        index = self._index if is_same_index else next(self._indexes)
        there = self.network.namespace(SWITCH)
        self.ip(
            "rcv",
            f"link add {CABLE} index {index} type veth peer name {PORT} netns {there}",
            f"link set {CABLE} up",
            *_ADDRESSED,
        )
        self.ip(SWITCH, f"link set {PORT} master {BRIDGE} up")

    def move(self) -> None:
        """Move the interface to another network namespace."""
        self.ip("rcv", f"link set {CABLE} netns {self._elsewhere}")

    def move_back(self) -> None:
        """Move it back, where it has the index that it had, and set it up."""
        execute(["ip", "-n", self._elsewhere, "link", "set", CABLE, "netns", self.network.namespace("rcv")])
        self.ip("rcv", f"link set {CABLE} up", *_ADDRESSED)

    def lead(self, interface: str) -> None:
        """Have the receiver's routes to the remote source lead by this interface."""
        hops = [(_ROUTES[family], SOURCES[interface, family]) for family in (4, 6)]
        self.ip("rcv", *(f"route replace {route} via {hop} dev {interface}" for route, hop in hops))

    @contextmanager
    def macvlan(self) -> Iterator[None]:
        """Meanwhile the receiver has a macvlan, m0, on its cable."""
        self.ip(
            "rcv",
            f"link add {MACVLAN} link {CABLE} type macvlan mode bridge",
            f"link set {MACVLAN} up",
            f"addr add 192.0.2.2/24 dev {MACVLAN}",
            f"addr add 2001:db8::2/64 dev {MACVLAN} nodad",
        )
        try:
            yield
        finally:
            self.ip("rcv", f"link del {MACVLAN}")

    def flow(self, interface: str, family: int) -> Flow:
        """A flow of s1 on this interface, to a group of its own where sources have to be named."""
        number = next(self._numbers)
        group = f"232.4.{number >> 8}.{number & 255}" if family == 4 else f"ff3e::8004:{number:x}"
        return Flow(interface, SOURCES[interface, family], group)

    def _lay_other_cable(self) -> None:
        self.ip(
            "s1",
            f"link add {OTHER} type veth peer name {OTHER} netns {self.network.namespace('rcv')}",
            f"link set {OTHER} up",
            f"addr add {SOURCES[OTHER, 4]}/24 dev {OTHER}",
            f"addr add {SOURCES[OTHER, 6]}/64 dev {OTHER} nodad",
            *(f"addr add {source}/24 dev {CABLE}" for source in MORE_SOURCES),
            f"addr add {REMOTE[4]}/32 dev lo",
            f"addr add {REMOTE[6]}/128 dev lo nodad",
        )
        self.ip(
            "rcv",
            f"link set {OTHER} up",
            f"addr add 198.51.100.1/24 dev {OTHER}",
            f"addr add 2001:db8:1::1/64 dev {OTHER} nodad",
        )

    def _ask(self) -> None:
        # Down and up, or the bridge would wait for the time of its own next query, and until then
        # heed only a router with a lower address.
        self.ip(
            SWITCH,
            f"link set {BRIDGE} down type bridge mcast_querier 0 {_LASTING}",
            f"link set {BRIDGE} up",
        )
        with self.network.inside("s3"), Querier() as querier:

            def is_heeded() -> bool:
                if not any(self.network.reaches("s1", group) for group in PROBE_GROUPS):
                    return True
                querier.query()
                return False

            wait_until(is_heeded, 20, "the switch heeds the router, and floods no more")

    def index(self) -> int:
        """The index that the interface has."""
        with self.network.inside("rcv"):
            return socket.if_nametoindex(CABLE)

    def _run(self, command: list[str], lines: Iterable[str]) -> None:
        self.changed_at = time.monotonic()
        execute(command, input="\n".join(lines))


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the cable, and what undoes it completely; nothing where it is over at once."""

    name: str
    breaks: Callable[[Scene], None]
    mends: Callable[[Scene], None] | None = None
    kills: frozenset[int] = frozenset({4, 6})
    """The families of which nothing would ever come again, if nobody did something about it."""
    is_announced: bool = True
    """Whether the system tells of it; else nothing but silence does."""
    interface: str = CABLE
    """What is joined on."""
    admits_others: bool = False
    """Whether other faults can happen while it lasts."""

    def __str__(self) -> str:
        return self.name


def _receiver(*commands: str) -> Callable[[Scene], None]:
    return lambda scene: scene.ip("rcv", *commands)


def _switch(*commands: str) -> Callable[[Scene], None]:
    return lambda scene: scene.ip(SWITCH, *commands)


def _flushed_and_forgotten(scene: Scene) -> None:
    scene.ip("rcv", f"addr flush dev {CABLE} scope global")
    scene.forget()
    scene.ip("rcv", *_ADDRESSED)


def _down_with_a_passing_address(scene: Scene) -> None:
    # Linux puts the lists of sources aside meanwhile, and loses those of IPv6 when it has repeated what it
    # tells of another group there, as that of an address (RFC 4291, 2.7.1).
    address = f"2001:db8:77::77/64 dev {CABLE} nodad"
    for command in (f"link set {CABLE} down", f"addr add {address}", f"addr del {address}"):
        scene.ip("rcv", command)
        time.sleep(_REPEATED)


def _renamed_and_deleted(scene: Scene) -> None:
    scene.ip("rcv", f"link set {CABLE} name {RENAMED}")
    time.sleep(_KNOWN)
    scene.ip("rcv", f"link set {RENAMED} name {CABLE}", f"link del {CABLE}")


def _unblocked(scene: Scene) -> None:
    bridge = f"link set {BRIDGE} type bridge"
    scene.ip(SWITCH, f"{bridge} stp_state 0", f"{bridge} forward_delay 0")
    scene.bridge(f"link set dev {PORT} state 3")  # forwarding


_KNOWN = 0.1  # seconds: longer than it takes a receiver to have heard of it
_REPEATED = 0.2  # seconds: the lab's interval of unsolicited reports, twice
_FLAP = (f"link set {PORT} down", f"link set {PORT} up")
_NONE: frozenset[int] = frozenset()
_SNOOPING = f"link set {BRIDGE} type bridge mcast_snooping"
_others_added = (
    f"addr add 192.0.2.77/24 dev {CABLE}",
    f"addr add 10.77.0.1/16 dev {CABLE}",
    f"addr add 2001:db8:77::1/64 dev {CABLE} nodad",
    f"addr add 198.51.100.1/32 dev {CABLE}",  # it is v1's, too
)

DOWN = Fault(
    "set down and up",
    _receiver(f"link set {CABLE} down"),
    _receiver(f"link set {CABLE} up", *_ADDRESSED),
    _NONE,
    admits_others=True,
)
CARRIER = Fault(
    "carrier lost and back",
    _switch(f"link set {PORT} down"),
    _switch(f"link set {PORT} up"),
    admits_others=True,
)
NEW_INDEX = Fault("deleted, made again: new index", Scene.delete, partial(Scene.make, is_same_index=False))
SAME_INDEX = Fault("deleted, made again: same index", Scene.delete, partial(Scene.make, is_same_index=True))

FAULTS: Final = (
    DOWN,
    Fault(
        "set down and up, an IPv6 address added and removed meanwhile",
        _down_with_a_passing_address,
        DOWN.mends,
        frozenset({6}),
    ),
    CARRIER,
    Fault(
        "carrier lost for less than 10 ms",
        _switch(*_FLAP),
    ),
    Fault(
        "addresses flushed and added again",
        _receiver(f"addr flush dev {CABLE} scope global"),
        _receiver(*_ADDRESSED),
        _NONE,
    ),
    Fault(
        "a route added and removed",
        _receiver(f"route add 192.0.2.128/25 dev {OTHER}"),
        _receiver(f"route del 192.0.2.128/25 dev {OTHER}"),
        _NONE,
    ),
    Fault(
        "other addresses added and removed",
        _receiver(*_others_added),
        _receiver(*(one.replace(" add ", " del ") for one in reversed(_others_added))),
        _NONE,
    ),
    Fault(
        "MULTICAST flag off and on",
        _receiver(f"link set {CABLE} multicast off"),
        _receiver(f"link set {CABLE} multicast on"),
        _NONE,
        admits_others=True,
    ),
    Fault(
        "renamed and renamed back",
        _receiver(f"link set {CABLE} name {RENAMED}"),
        _receiver(f"link set {RENAMED} name {CABLE}"),
        _NONE,
    ),
    NEW_INDEX,
    SAME_INDEX,
    Fault("renamed, renamed back and deleted at once, made again", _renamed_and_deleted, NEW_INDEX.mends),
    Fault("moved to another network namespace and back", Scene.move, Scene.move_back),
    Fault(
        "MTU below 1280 and back",
        _receiver(f"link set {CABLE} mtu 1000"),
        _receiver(f"link set {CABLE} mtu 1500", *_ADDRESSED),
        frozenset({6}),
    ),
    Fault(
        "macvlan: its parent's carrier lost and back",
        CARRIER.breaks,
        CARRIER.mends,
        interface=MACVLAN,
    ),
    Fault("macvlan: its parent set down and up", DOWN.breaks, DOWN.mends, interface=MACVLAN),
    Fault(
        "the switch's port out of its bridge and in, carrier kept",
        _switch(f"link set {PORT} nomaster", f"link set {PORT} master {BRIDGE}"),
        is_announced=False,
    ),
    Fault(
        "snooping off and on",
        _switch(f"{_SNOOPING} 0", f"{_SNOOPING} 1"),
        is_announced=False,
    ),
    Fault("the switch forgets", Scene.forget, is_announced=False),
    Fault(
        "addresses flushed, the switch forgets, added again",
        _flushed_and_forgotten,
        is_announced=False,
    ),
    Fault(
        "carrier lost and back, then the port blocked (STP)",
        _switch(
            f"link set {BRIDGE} type bridge stp_state 1 forward_delay 200",
            *_FLAP,
        ),
        _unblocked,
        is_announced=False,
    ),
)
"""All that the page on healing names of what happens to an interface or its switch, and can be undone."""
