"""Why nothing comes to a membership: what is asked about, and what it knows of what comes."""

from __future__ import annotations

import asyncio
import os
from typing import final

from ..diagnosis.examining import Case, Window, examine
from ..diagnosis.verdicts import Diagnosis
from ..errors import StateError, UnsupportedError
from ..reading.contract import Network
from ..values.statistics import Tally
from .presence import Presence
from .shards import Shards

__all__ = ["diagnose"]


@final
class _Received:
    """What has come to the sockets of a membership on one interface. See `diagnosis.arrivals.Arrivals`."""

    is_witness = False
    heard = ()  # it is counted by source only where that was asked for

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def count(self) -> int:
        """Return how many datagrams were read and let in."""
        counted = Tally()
        self._shards.count(counted)
        return counted.received - counted.filtered

    @property
    def inodes(self) -> frozenset[int]:
        """The inodes of its sockets."""
        open_now = (reader.sock.fileno() for reader in self._shards.readers)
        return frozenset(os.fstat(number).st_ino for number in open_now if number >= 0)


async def diagnose(network: Network, presence: Presence, window: Window, *, probe: bool) -> Diagnosis:
    """Do what `Membership.diagnose` says, for as long as `window` takes."""
    group, port, wanted = presence.binding.group, presence.binding.port, presence.filter
    if wanted.is_none:
        raise StateError("no source is let in, so nothing can come", "swap to those that are to come")
    if network.look(presence.shards[0].interface, group, port) is None:
        raise UnsupportedError("this network has no system to look at", "diagnose a receiver of the system's")
    found = await asyncio.gather(
        *(
            examine(
                Case(group, port, wanted, shards.interface),
                _Received(shards),
                network.doubts(shards.interface, group, wanted),
                window,
                probe=probe,
            )
            for shards in presence.shards
        )
    )
    return min(found, key=lambda one: (not one.verdict.is_flowing, not one.verdict.is_cause))
