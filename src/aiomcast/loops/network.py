"""`SystemNetwork`: the system's own sockets, read in the running event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from ..diagnosis import gathering
from ..diagnosis.facts import Look
from ..errors import UnsupportedError
from ..reading.capabilities import capabilities
from ..reading.contract import Reading
from ..rfc3678.abi import native
from ..rfc3678.holdings import join_wait
from ..rfc3678.limits import source_limit
from ..system import looking
from ..system.device_groups import device_groups
from ..system.doubts import look
from ..system.interfaces import find_interface, placed
from ..system.queries import report_again
from ..values.addresses import Address
from ..values.capabilities import Capabilities
from ..values.doubts import Doubt
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface, InterfacesLike
from ..values.links import DeviceGroup, Link
from .read_loop import ReadLoop

__all__ = ["SystemNetwork"]


class SystemNetwork:
    """See `contract.Network`. All of them are equal: there is one system."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SystemNetwork)

    def __hash__(self) -> int:
        return hash(SystemNetwork)

    @property
    def capabilities(self) -> Capabilities:
        """What the running system has. See `values.capabilities`."""
        return capabilities()

    rejoin_pause: float = native().facts.rejoin_pause

    def join_wait(self, group: str, indexes: Iterable[int]) -> float:
        """Return how many seconds have to pass before a join is reported. See `holdings.join_wait`."""
        return join_wait(group, indexes)

    def open(self) -> Reading:
        """Return what opens readers in the running event loop. RefusedError when the system refuses."""
        return ReadLoop(asyncio.get_running_loop())

    def place(
        self, group: Address, sources: Sources, interface: InterfacesLike
    ) -> tuple[SourceFilter, tuple[Interface, ...]]:
        """See `system.interfaces.placed`."""
        return placed(group, sources, interface)

    def find(self, wanted: str | int) -> Interface:
        """Return the interface that has this name or index now. InterfaceError where there is none."""
        return find_interface(wanted)

    def link(self, wanted: str | int) -> Link | None:
        """Return how the interface with this name or index is now, None where there is none."""
        return looking.link(wanted)

    def links(self) -> list[Link]:
        """Return how all interfaces are now, by index."""
        return looking.links()

    def device_groups(self, family: int) -> frozenset[DeviceGroup] | None:
        """Return the groups that interfaces are members of, None where the system does not tell."""
        try:
            return device_groups(family)
        except UnsupportedError:
            return None

    def doubts(self, interface: Interface, group: str, wanted: SourceFilter) -> Sequence[Doubt]:
        """Return why nothing can come to a member of `group` there. See `system.doubts.look`."""
        return look(interface.index, group, wanted)

    def look(self, interface: Interface, group: str, port: int) -> Look:
        """Return what the system tells of why something comes there. See `diagnosis.gathering.look`."""
        return gathering.look(interface, group, port)

    def report_again(self, index: int, family: int) -> bool:
        """Have the host report its groups on an interface, if it can. See `system.queries.report_again`."""
        return report_again(index, family)

    def source_limit(self, group: str) -> int | None:
        """Return how many sources one socket may hold for `group`, None where nobody says."""
        return source_limit(group)
