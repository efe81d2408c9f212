"""`Sharing`: several hosts divide many channels among them, and take over from one that dies."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol, final

import attrs

from ..errors import ArgumentError, ArgumentTypeError, MulticastError, StateError
from ..receiving.membership import Membership
from ..receiving.receiver import Receiver
from ..values.addresses import Address, check_port, group_address, split_zone
from ..values.filters import SourceFilter, Sources, filter_for
from ..values.interface import InterfacesLike
from ..values.sealed import sealed
from ..values.shown import shown
from .cancelling import check_cancelled
from .errors import RelayError
from .placing import Holding, owners

__all__ = ["Leases", "SharedChannel", "Sharing"]

_log = logging.getLogger("aiomcast.relay")

_RENEWALS: Final = 4  # in a lease
_SHORTEST_LEASE: Final = 0.2  # seconds


class Leases(Protocol):
    """Where members say that they live, and what they hold. What is not renewed within a term is gone."""

    async def renew(self, name: str, holding: bytes) -> None:
        """Say that `name` is alive, and holds this. RelayError where that cannot be said now."""

    async def members(self) -> Mapping[str, bytes]:
        """Return who is alive, and what each said last that it holds. RelayError where that is not known."""

    async def give_up(self, name: str) -> None:
        """Say that `name` is alive no more."""


@final
@sealed
@attrs.frozen(slots=True)
class SharedChannel:
    """What is shared out: the arguments of a join. `sources` None is any source."""

    group: str
    port: int
    filter: SourceFilter = SourceFilter.any()
    interface: InterfacesLike = None

    @classmethod
    def of(
        cls, group: Address, port: int, *, sources: Sources = None, interface: InterfacesLike = None
    ) -> SharedChannel:
        """Return that of the arguments that `Receiver.join` takes. ArgumentError as there."""
        text, zone = group_address(group), split_zone(group)[1]
        return cls(
            text, check_port(port), filter_for(text, sources), zone if interface is None else interface
        )

    @property
    def key(self) -> str:
        """By what all members know it: whatever interface it is received on."""
        listed = ",".join(sorted(self.filter.sources))
        return f"{'' if self.filter.is_include else '!'}{listed}@{self.group}:{self.port}"


@final
@sealed
class Sharing:
    """Shares `channels` out among all that run one with the same `leases`, each channel to `copies` of them.

    Every member is given the same channels. It joins on its receiver those that are its own, by rendezvous
    hashing over the members that are alive: a member that comes takes its share of all, the channels of
    one that goes are divided among the rest, nothing else moves. One that dies is replaced within `lease`
    seconds, joins not counted. What moves to another member is kept until that says that it has joined it,
    and for half a lease longer: it is received twice rather than not at all, and relays store it once.
    While the leases cannot be asked, what is joined stays joined; once they can, who was a member before
    has half a lease to say that it is alive.

    `name` tells members apart (this host's, if None). ArgumentError for what cannot be.
    """

    def __init__(
        self,
        leases: Leases,
        channels: Iterable[SharedChannel],
        *,
        name: str | None = None,
        copies: int = 1,
        lease: float = 3.0,
    ) -> None:
        self._leases = leases
        self._channels = {channel.key: channel for channel in channels}
        self._name = socket.gethostname() if name is None else name
        if not isinstance(self._name, str) or not self._name:
            raise ArgumentError(f"name {shown(name)}", "give each member a name of its own")
        if isinstance(copies, bool) or not isinstance(copies, int):
            raise ArgumentTypeError(f"copies {shown(copies)}", "give a whole number, 1 or more")
        if copies < 1:
            raise ArgumentError(f"copies {copies}", "give a whole number, 1 or more")
        if isinstance(lease, bool) or not isinstance(lease, (int, float)):
            raise ArgumentTypeError(f"lease {shown(lease)}", "give a number of seconds")
        if not _SHORTEST_LEASE <= lease <= 3600:
            raise ArgumentError(
                f"lease {shown(lease)}", f"give a number of seconds from {_SHORTEST_LEASE} to 3600"
            )
        self._copies = copies
        self._lease = lease
        self._members: frozenset[str] = frozenset()
        self._owners: dict[str, tuple[str, ...]] = {}
        self._joined: dict[str, Membership] = {}
        self._moved: dict[str, float] = {}  # to others that have joined it, and until when it is kept
        self._has_joined = asyncio.Event()
        self._cannot: set[str] = set()  # "renew", "look": so that each is told of once
        self._presumed_until = 0.0  # by the loop's clock: who was a member is taken for one
        self._is_running = False

    def __repr__(self) -> str:
        return f"<Sharing {self._name}: {len(self._joined)} of {len(self._channels)} channels>"

    @property
    def members(self) -> frozenset[str]:
        """Who was alive at the last look."""
        return self._members

    @property
    def joined(self) -> frozenset[str]:
        """The keys of the channels that are joined here now."""
        return frozenset(self._joined)

    async def run(self, receiver: Receiver) -> None:
        """Join and leave on `receiver`, until it is cancelled: then the others are told at once.

        Memberships stay joined at the end, until the receiver closes. A channel that cannot be joined is
        tried again at each look. StateError for a second call at a time.
        """
        if self._is_running:
            raise StateError(f"{self!r} runs already", "run it in one task")
        self._is_running = True
        loop = asyncio.get_running_loop()
        renewing = asyncio.create_task(self._renew(loop))
        try:
            while True:
                began = loop.time()
                await self._look(receiver, loop)
                check_cancelled()
                if renewing.done():
                    await renewing
                await asyncio.sleep(max(0.0, began + self._lease / _RENEWALS - loop.time()))
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            self._is_running = False
            try:
                async with asyncio.timeout(self._lease / 2):
                    await self._leases.give_up(self._name)
            except (RelayError, TimeoutError) as error:
                _log.warning("%s did not say that it goes: %s", self._name, error)

    async def _renew(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say again and again what is held: in time while many channels are joined, and once they are."""
        while True:
            began = loop.time()
            self._has_joined.clear()
            try:
                async with asyncio.timeout(self._lease / 2):
                    await self._leases.renew(self._name, Holding.of(self._joined))
            except (RelayError, TimeoutError) as error:
                self._failed("renew", error)
            else:
                self._cannot.discard("renew")
            check_cancelled()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(began + self._lease / _RENEWALS):
                    await self._has_joined.wait()

    def _failed(self, what: str, error: Exception) -> None:
        if not self._cannot:
            _log.warning("%s keeps what it has: %s", self._name, error or "no answer in time")
        self._cannot.add(what)

    async def _look(self, receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        try:
            async with asyncio.timeout(self._lease / 2):
                alive = await self._leases.members()
        except (RelayError, TimeoutError) as error:
            self._failed("look", error)
            return
        if "look" in self._cannot:
            self._cannot.remove("look")
            self._presumed_until = loop.time() + self._lease / 2
            _log.info("%s knows again who is alive", self._name)
        members = frozenset(alive) | {self._name}
        if loop.time() < self._presumed_until:
            members |= self._members
        self._place(members)
        await self._join(receiver)
        await self._leave(alive, loop.time())

    def _place(self, members: frozenset[str]) -> None:
        if members == self._members:
            return
        _log.info("%s shares with %s", self._name, ", ".join(sorted(members - {self._name})) or "nobody")
        self._members = members
        self._owners = {key: owners(key, members, self._copies) for key in self._channels}

    async def _join(self, receiver: Receiver) -> None:
        """Join what is this member's own."""
        missing = [key for key, its in self._owners.items() if self._name in its and key not in self._joined]
        for key in missing:
            channel = self._channels[key]
            try:
                self._joined[key] = await receiver.join(
                    channel.group, channel.port, sources=channel.filter, interface=channel.interface
                )
            except MulticastError as error:
                _log.warning("%s cannot join %s: %s", self._name, key, error)
            await asyncio.sleep(0)  # a join does not wait: others have their turn, and what renews above all
        if missing:
            self._has_joined.set()

    async def _leave(self, alive: Mapping[str, bytes], now: float) -> None:
        """Leave what others have: all of its owners have said so, for half a lease."""
        held = {name: Holding(said) for name, said in alive.items()}
        for key in tuple(self._joined):
            others = self._owners[key]
            if self._name in others or not all(other in held and key in held[other] for other in others):
                self._moved.pop(key, None)
            elif now >= self._moved.setdefault(key, now + self._lease / 2):
                del self._moved[key]
                await self._joined.pop(key).leave()
