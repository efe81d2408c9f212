"""`FilterManager`: swaps the source lists of memberships, whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import ArgumentError, InconsistentError, LimitError, RefusedError, StateError
from ..reading import Reader
from ..system.planner import moves, needs_handover, spread
from ..values.events import EventKind
from ..values.filters import SourceFilter, Sources, filter_for

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
        wanted = [(one, filter_for(one.group, sources)) for one, sources in changes.items()]
        make_all([Change(*one) for one in wanted], deliver)
        for membership in changes:
            membership.announce(EventKind.SWAPPED)


def make_all(changes: list[Change], deliver: bool = False) -> None:
    """Make all `changes`, or raise with none of them made.

    What can be refused without a membership being touched comes first; then the sockets there are
    are set, close together. Nothing after the last call of the system can be refused.
    """
    try:
        _call(changes)
        cut_ns = time.time_ns()  # after the last call: all that is stamped later, the new sockets see
        for change in changes:
            change.commit(cut_ns, deliver)
    except BaseException:
        # A signal handler may raise anywhere: where the calls stand, the rest of it is done first.
        if all(change.stands for change in changes):
            cut_ns = time.time_ns()
            for change in changes:
                change.commit(cut_ns, deliver)
        raise


def _call(changes: list[Change]) -> None:
    """Make the system's calls, all or none."""
    while True:
        try:
            for change in changes:
                change.open()
            for change in changes:
                change.join()
            for change in changes:
                change.set(growing=True)
            for change in changes:
                change.set(growing=False)
            return
        except BaseException as error:
            # The limit may be another than when it was asked for last. Then what is done already is
            # not undone, which the new limit may not allow: the rest is spread anew.
            if isinstance(error, LimitError) and sum(one.membership.ask_limit() for one in changes):
                for change in changes:
                    change.begin_again()
                continue
            if not all(change.stands for change in changes):
                _undo_all(changes, error)
            raise


def _undo_all(changes: list[Change], error: BaseException) -> None:
    failed = [refused for change in reversed(changes) for refused in change.undo()]
    if failed:
        raise InconsistentError(
            f"after {error} the old filters could not all be put back: "
            + "; ".join(str(one) for one in failed),
            "leave these memberships and join again, or swap once more",
        ) from error
    if isinstance(error, InconsistentError) and error.__cause__ is not None:
        raise error.__cause__ from None  # a second attempt has put back what a first could not


class Change:
    """One membership on its way from the filter in force to another."""

    __slots__ = (
        "_before",
        "_begun_ns",
        "_hands_over",
        "_opened",
        "_parts",
        "_sets",
        "_wanted",
        "membership",
        "stands",
    )

    def __init__(self, membership: Membership, wanted: SourceFilter) -> None:
        self.membership: Membership = membership
        self._wanted = wanted
        self._hands_over = False
        self._begun_ns = 0
        self._opened: list[Reader] = []
        self._parts: tuple[SourceFilter, ...] = ()
        self._sets: list[tuple[Reader, SourceFilter, bool]] = []  # and whether it lets in more
        self._before: list[tuple[Reader, SourceFilter]] = []
        self.stands: bool = False
        """Whether all its calls were made."""

    def open(self) -> None:
        """Make a plan, and the sockets it needs, which are members of nothing yet."""
        membership, wanted = self.membership, self._wanted
        readers = membership.readers
        limit = membership.source_limit(wanted)
        held = [reader.sock.held() for reader in readers]
        parts = spread(held, wanted, limit)
        if len(parts) > 1 or not readers or membership.filter.is_include is not wanted.is_include:
            self._hands_over = membership.can_hand_over and (
                needs_handover(membership.filter, wanted) or moves(held, parts)
            )
            if self._hands_over:
                readers, parts = (), spread((), wanted, limit)
            self._parts = parts[len(readers) :]
            for part in self._parts:
                membership.open_reader(part, self._opened)
        # Where the mode changes in place, the first may come to let all in: last.
        for number in range(len(readers) - 1, -1, -1):
            part, now = parts[number], held[number]
            if part != now:
                grows = part.is_include is now.is_include and not part.sources <= now.sources
                self._sets.append((readers[number], part, grows))

    def join(self) -> None:
        """Have the new sockets join."""
        if not self._opened:
            return
        self._begun_ns = time.time_ns()
        for reader, part in zip(self._opened, self._parts, strict=True):
            reader.sock.set_filter(part)

    def set(self, growing: bool) -> None:
        """Set the sockets there are: those that let in more, which can be refused, or the others."""
        for reader, part, grows in self._sets:
            if grows is growing:
                self._before.append((reader, reader.sock.filter))
                reader.sock.set_filter(part)
        self.stands = not growing

    def begin_again(self) -> None:
        """Drop the plan and its new sockets, for another one that begins at what the others hold now."""
        self.stands = False
        for reader in self._opened:
            self.membership.drop_reader(reader)
        self._opened, self._parts, self._sets = [], (), []

    def undo(self) -> list[RefusedError | InconsistentError]:
        """Put back what was changed, as far as the system lets; return what it refused."""
        failed: list[RefusedError | InconsistentError] = []
        self.begin_again()
        for reader, before in reversed(self._before):
            try:
                reader.sock.set_filter(before)
            except (RefusedError, InconsistentError) as refused:
                failed.append(refused)
        self._before = []
        return failed

    def commit(self, cut_ns: int, deliver: bool) -> None:
        """Flip the gates to what the sockets now hold, and drop what is no longer wanted.

        `cut_ns` is the time after the last call; with `deliver` what arrived up to then may
        still come by the filter before. Can be gone through twice.
        """
        if self._hands_over:
            self.membership.hand_over(self._wanted, self._opened, self._begun_ns, cut_ns, deliver)
        else:
            self.membership.take_filter(self._wanted, self._opened, cut_ns if deliver else None)
