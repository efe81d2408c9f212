"""`FilterManager`: swaps the source lists of memberships, whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from .errors import ArgumentError, InconsistentError, RefusedError, StateError
from .events import EventKind
from .filters import SourceFilter, Sources, filter_for
from .planner import needs_handover, spread
from .reading import Reader

if TYPE_CHECKING:
    from .membership import Membership

__all__ = ["Change", "FilterManager", "Key", "Pending", "make_all"]

Key: TypeAlias = tuple[str, int, int]
"""(group, port, interface index) of a membership."""

Pending: TypeAlias = Literal["discard", "deliver"]
"""What becomes of packets that a removed source had sent before the swap, and that wait still."""


class FilterManager(Mapping["Membership", SourceFilter]):
    """The source filters of a receiver's memberships: a read-only mapping, and how to change it.

    Every change happens without a pause in which other tasks could run: it is done, or it has
    raised and nothing has changed. So it cannot be cancelled half-way, and swaps of one
    membership take effect in the order in which they were called.
    """

    def __init__(self, memberships: Mapping[Key, Membership]) -> None:
        self._memberships = memberships

    def __getitem__(self, membership: Membership) -> SourceFilter:
        if self._memberships.get(membership.key) is not membership:
            raise KeyError(membership)
        return membership.filter

    def __iter__(self) -> Iterator[Membership]:
        return iter(list(self._memberships.values()))

    def __len__(self) -> int:
        return len(self._memberships)

    async def swap(self, membership: Membership, sources: Sources, pending: Pending = "discard") -> None:
        """Let `sources` in from now on, in the place of the filter in force.

        Accepted forms are those of `Receiver.join`. With `pending` "discard" no iterator
        yields a packet from a source that the new filter refuses once this has returned, also
        none that was queued before; with "deliver" what had arrived before still comes, and
        nothing that arrived after. A source that both filters allow loses no packet and gets
        none twice.

        Raises AddressError or FilterError for sources that cannot be meant, StateError after
        `leave`, RefusedError when the system refuses: then the old filter is in force.
        """
        self._apply({membership: sources}, pending)

    async def apply(self, changes: Mapping[Membership, Sources], pending: Pending = "discard") -> None:
        """Swap several memberships together: all take effect, or none and it raises.

        Arguments and errors are as for `swap`.
        """
        self._apply(changes, pending)

    def _apply(self, changes: Mapping[Membership, Sources], pending: Pending) -> None:
        deliver = pending == "deliver"
        if not deliver and pending != "discard":
            raise ArgumentError(f"pending={pending!r}", "choose 'discard' or 'deliver'")
        for membership in changes:
            if self._memberships.get(membership.key) is not membership:
                raise StateError(f"{membership!r} is not joined here", "join it first; it may have been left")
        made = make_all([Change(one, filter_for(one.group, sources)) for one, sources in changes.items()])
        now = time.time_ns()  # after the last call: all that is stamped later, the new sockets see
        for change in made:
            change.commit(now, deliver)
            change.membership.announce(EventKind.SWAPPED)


def make_all(changes: list[Change]) -> list[Change]:
    """Make the system's calls of all `changes` and return them, or raise with none of them made."""
    begun: list[Change] = []
    try:
        for change in changes:
            begun.append(change)
            change.make()
    except BaseException as error:
        failed = [refused for change in reversed(begun) for refused in change.undo()]
        if failed:
            raise InconsistentError(
                f"after {error} the old filters could not all be put back: "
                + "; ".join(str(one) for one in failed),
                "leave these memberships and join again, or swap once more",
            ) from error
        if isinstance(error, InconsistentError) and error.__cause__ is not None:
            raise error.__cause__ from None  # a second attempt has put back what a first could not
        raise
    return changes


class Change:
    """One membership on its way from the filter in force to another."""

    __slots__ = ("_before", "_hands_over", "_opened", "_wanted", "membership")

    def __init__(self, membership: Membership, wanted: SourceFilter) -> None:
        self.membership = membership
        self._wanted = wanted
        self._hands_over = needs_handover(membership.filter, wanted) and membership.can_hand_over
        self._opened: list[Reader] = []
        self._before: list[tuple[Reader, SourceFilter]] = []

    def make(self) -> None:
        """Make the system's calls. When one is refused, `undo` takes back those before it."""
        membership, wanted = self.membership, self._wanted
        readers = () if self._hands_over else membership.readers
        held = [reader.sock.filter for reader in readers]
        parts = spread(held, wanted, membership.source_limit(wanted))
        for part in parts[len(readers) :]:
            reader = membership.open_reader(part)
            self._opened.append(reader)
            reader.sock.set_filter(part)
        for number in range(len(readers) - 1, -1, -1):  # the first may come to let all in: last
            self._before.append((readers[number], held[number]))
            readers[number].sock.set_filter(parts[number])

    def undo(self) -> list[RefusedError | InconsistentError]:
        """Put back what `make` has changed, as far as the system lets; return what it refused."""
        failed: list[RefusedError | InconsistentError] = []
        for reader in self._opened:
            reader.close()
        for reader, before in reversed(self._before):
            try:
                reader.sock.set_filter(before)
            except (RefusedError, InconsistentError) as refused:
                failed.append(refused)
        return failed

    def commit(self, now_ns: int, deliver: bool) -> None:
        """Flip the gates to what the sockets now hold, and drop what is no longer wanted.

        `now_ns` is the time after the last call; with `deliver` what arrived up to then is
        still judged by the filter before.
        """
        if self._hands_over:
            self.membership.hand_over(self._wanted, self._opened, now_ns, deliver)
        else:
            self.membership.take_filter(self._wanted, self._opened, now_ns if deliver else None)
