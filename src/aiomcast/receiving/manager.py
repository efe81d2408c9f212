"""`FilterManager`: swaps the source lists of memberships, whole or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from ..errors import ArgumentTypeError, RefusedError, StateError
from ..reading.contract import Reading
from ..streams.pausing import pass_pause
from ..values.filters import SourceFilter, Sources
from ..values.shown import shown
from .changes import Pending, Wanted, make_all, make_straight
from .membership import Membership, without_lost
from .shards import Shards

__all__ = ["FilterManager"]


class FilterManager(Mapping[Membership, SourceFilter]):
    """The source filters of a receiver's memberships: a read-only mapping, and how to change it.

    Every change happens without a pause in which other tasks could run: it is done, or it has raised
    and nothing has changed, on none of the interfaces of any of them. So it cannot be cancelled half-
    way, and swaps of one membership take effect in the order in which they were called. Only where a
    group was left a moment ago, and the system needs a pause before it is joined again (FreeBSD, macOS: 250
    ms), a swap waits for that first.
    """

    def __init__(self, memberships: Collection[Membership]) -> None:
        self._memberships = memberships

    def __repr__(self) -> str:
        return f"<FilterManager of {len(self)} memberships>"

    def __getitem__(self, membership: Membership) -> SourceFilter:
        if not isinstance(membership, Membership) or membership not in self._memberships:
            raise KeyError(membership)
        return membership.filter

    def __iter__(self) -> Iterator[Membership]:
        return iter(list(self._memberships))

    def __len__(self) -> int:
        return len(self._memberships)

    async def swap(self, membership: Membership, sources: Sources, pending: Pending = "discard") -> None:
        """Let `sources` in from now on, in the place of the filter in force.

        `sources` is as in `Receiver.join`. With `pending` "discard", no iterator yields a packet from a
        source that the new filter refuses once this has returned, not even one that was queued before.
        With "deliver", what had arrived before still comes, and nothing that arrived after. A source that
        both filters allow loses no packet and gets none twice.

        On an interface that is gone, or has lost the group, the filter is joined with once that is mended,
        and the event SWAPPED says so; without healing it is refused (InterfaceGoneError).

        Raises AddressError or FilterError for wrong sources, InterfaceError for one in the zone of
        an interface that the membership is not on, StateError after `leave` and in
        another thread or event loop than the receiver's, RefusedError when the system refuses:
        then the old filter is in force. ArgumentTypeError for what is no membership.
        """
        await self._apply({membership: sources}, pending)

    async def apply(self, changes: Mapping[Membership, Sources], pending: Pending = "discard") -> None:
        """Swap several memberships together: all take effect, or none and it raises.

        Arguments and errors are as for `swap`.
        """
        if changes.__class__ is not dict and not isinstance(changes, Mapping):
            raise ArgumentTypeError(f"{shown(changes)} is no mapping", "give {membership: sources, ...}")
        await self._apply(changes, pending)

    async def _apply(self, changes: Mapping[Membership, Sources], pending: Pending) -> None:
        self._check(changes)
        wanted = {one: one._filter_for(to) for one, to in changes.items()}
        lost: Mapping[Membership, Sequence[Shards]] = {}
        try:
            if not make_straight(_all(wanted), pending):
                await pass_pause(
                    lambda: max((one._presence.join_wait(to) for one, to in wanted.items()), default=0.0),
                    lambda: self._check(wanted),
                )
                make_all(_all(wanted), pending)
        except RefusedError:
            lost = without_lost(wanted, pending)
        for membership in wanted:
            membership._tell_swapped(lost.get(membership, ()))

    def _check(self, changes: Collection[Membership]) -> None:
        checked: Reading | None = None
        for membership in changes:
            if not isinstance(membership, Membership):
                raise ArgumentTypeError(f"{shown(membership)} is no membership", "give what join() returned")
            if membership not in self._memberships:
                raise StateError(f"{membership!r} is not joined here", "join it first; it may have been left")
            if membership._reading is not checked:
                checked = membership._reading
                checked.check()


def _all(wanted: Mapping[Membership, SourceFilter]) -> list[Wanted]:
    return [change for one, to in wanted.items() for change in one._changes(to)]
