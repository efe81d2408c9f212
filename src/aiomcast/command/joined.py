"""What is joined of the channels that a run is for, and how it comes to be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aiomcast import Membership, Receiver, Sources

__all__ = ["AllJoined", "Joined"]


class Joined(Protocol):
    """Joins channels, and knows which are joined."""

    async def begin(self, receiver: Receiver) -> None:
        """Join on `receiver` what is to be joined from the start."""

    def now(self) -> Mapping[tuple[str, int], Membership]:
        """Return what is joined now, by group and port as they were asked for."""

    async def attend(self) -> None:
        """Join and leave what is due, until it is cancelled."""


class AllJoined:
    """Joins all, by the same interface."""

    def __init__(self, filters: Mapping[tuple[str, int], Sources], interface: str | int | None) -> None:
        self._filters = filters
        self._interface = interface
        self._joined: dict[tuple[str, int], Membership] = {}

    async def begin(self, receiver: Receiver) -> None:
        """Join them."""
        for (group, port), sources in self._filters.items():
            joined = await receiver.join(group, port, sources=sources, interface=self._interface)
            self._joined[group, port] = joined

    def now(self) -> Mapping[tuple[str, int], Membership]:
        """Return all of them."""
        return self._joined

    async def attend(self) -> None:
        """Nothing, for ever."""
        await asyncio.Event().wait()
