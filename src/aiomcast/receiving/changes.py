"""Changing the filters of memberships, all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Self, TypeAlias, final

from ..errors import ArgumentError, InconsistentError, LimitError, RefusedError
from ..reading.contract import Reader
from ..rfc3678 import holdings
from ..values.filters import SourceFilter
from ..values.shown import shown
from .shards import Shards

__all__ = ["Change", "Pending", "Wanted", "make_all", "make_straight"]

Pending: TypeAlias = Literal["discard", "deliver"]
"""What becomes of packets that a removed source had sent before the swap, and that wait still."""
Wanted: TypeAlias = tuple[Shards, SourceFilter]
"""The shards of one membership, on one interface, and what they are to hold together."""
_Call: TypeAlias = tuple[Shards, SourceFilter, Reader, SourceFilter]  # its one socket, and what that holds


def make_straight(wanted: Sequence[Wanted], pending: Pending) -> bool:
    """Make all changes if one call each is all they take, as most do; say so, or that nothing was done.

    What is said of `make_all` holds: where a call is refused, it goes on as that would.
    """
    if pending != "discard" or not wanted or holdings.of_process is not None:
        return False  # the systems of these need more: see `Holdings`
    calls: list[_Call] = []
    try:
        for shards, to in wanted:
            reader = shards.straight(to)
            if reader is None:
                return False
            calls.append((shards, to, reader, shards.filter))
    except RefusedError:  # a look at what a socket holds: by the other way it says where
        return False
    if len(calls) > 1:  # those that let in more can be refused
        calls.sort(key=lambda call: call[1].sources <= call[3].sources)
    stands, call = False, calls[0]
    try:
        for call in calls:
            call[2].sock.replace(call[1])
        stands = True
        for shards, to, reader, _ in calls:
            shards.set_straight(to, reader)
    except BaseException as error:
        _go_on(calls, call, error, stands)
    return True


def _go_on(calls: list[_Call], failed: _Call, error: BaseException, stand: bool) -> None:
    """Go on where one of the `calls` has raised `error`; unless they `stand`, not all of them were made."""
    changes = [Change.begun(*each, stand) for each in calls]
    _finish(changes, False, lambda: _call_again(changes, changes[calls.index(failed)], error))


def make_all(wanted: Sequence[Wanted], pending: Pending = "discard") -> None:
    """Make all changes, or raise with none of them made. ArgumentError for another `pending`.

    What can be refused without a membership being touched comes first; then the sockets there are
    are set, close together. Nothing after the last call of the system can be refused.
    """
    deliver = pending == "deliver"
    if not deliver and pending != "discard":
        raise ArgumentError(f"pending={shown(pending)}", "choose 'discard' or 'deliver'")
    changes = [Change(shards, to) for shards, to in wanted]
    if changes:
        _finish(changes, deliver, lambda: _call(changes))


def _finish(changes: Sequence[Change], deliver: bool, call: Callable[[], None]) -> None:
    """Make the calls of `changes`, by `call`, and let the new filters judge."""
    try:
        with holdings.keeping():
            call()
        _commit(changes, deliver)
    except BaseException:
        # A signal handler may raise anywhere: where the calls stand, the rest of it is done first.
        if all(change.stands for change in changes):
            _commit(changes, deliver)
        raise


def _commit(changes: Sequence[Change], deliver: bool) -> None:
    # After the last call: all that is stamped later, the new sockets see.
    cut_ns = changes[0].shards.time_ns()
    for change in changes:
        change.commit(cut_ns, deliver)


def _call_again(changes: Sequence[Change], failed: Change, error: BaseException) -> None:
    """Make the system's calls, all or none, where that of `failed` has raised."""
    _recover(changes, failed, error)
    _call(changes)


def _call(changes: Sequence[Change]) -> None:
    """Make the system's calls, all or none."""
    while True:
        try:
            for change in changes:  # the name tells below whose call was refused
                change.open()
            for change in changes:
                change.join()
            for change in changes:
                change.set(growing=True)
            for change in changes:
                change.set(growing=False)
            return
        except BaseException as error:
            _recover(changes, change, error)


def _recover(changes: Sequence[Change], failed: Change, error: BaseException) -> None:
    """Undo everything and raise `error`, or return where the calls are to be planned anew."""
    if isinstance(error, RefusedError):
        failed.name(error)
    # The limit may be another than when it was asked for last. Then what is done already is
    # not undone, which the new limit may not allow: the rest is spread anew.
    if isinstance(error, LimitError) and sum(one.shards.ask_limit() for one in changes):
        for change in changes:
            change.begin_again()
        return
    if not all(change.stands for change in changes):
        _undo_all(changes, error)
    raise error


def _undo_all(changes: Sequence[Change], error: BaseException) -> None:
    failed = [refused for change in reversed(changes) for refused in change.undo()]
    if failed:
        raise InconsistentError(
            f"after {error} the old filters could not all be put back: "
            + "; ".join(str(one) for one in failed),
            "leave these memberships and join again, or swap once more",
        ) from error
    if isinstance(error, InconsistentError) and error.__cause__ is not None:
        raise error.__cause__ from None  # a second attempt has put back what a first could not


@final
class Change:
    """The shards of one membership, on one interface, on their way from the filter in force to another."""

    __slots__ = (
        "_before",
        "_begun_ns",
        "_hands_over",
        "_opened",
        "_parts",
        "_sets",
        "_wanted",
        "shards",
        "stands",
    )

    def __init__(self, shards: Shards, wanted: SourceFilter) -> None:
        self.shards: Shards = shards
        self._wanted = wanted
        self._hands_over = False
        self._begun_ns = 0
        self._opened: list[Reader] = []
        self._parts: tuple[SourceFilter, ...] = ()
        self._sets: list[tuple[Reader, SourceFilter, bool]] = []  # and whether it lets in more
        self._before: list[tuple[Reader, SourceFilter]] = []
        self.stands: bool = False
        """Whether all its calls were made."""

    @classmethod
    def begun(
        cls, shards: Shards, wanted: SourceFilter, reader: Reader, before: SourceFilter, stands: bool
    ) -> Self:
        """Return one whose call on `reader`, which held `before`, may have been made, or `stands`."""
        change = cls(shards, wanted)
        change._before.append((reader, before))
        change.stands = stands
        return change

    def open(self) -> None:
        """Make a plan, and the sockets it needs, which are members of nothing yet."""
        shards = self.shards
        self._hands_over, parts = shards.plan(self._wanted)
        readers = () if self._hands_over else shards.readers
        self._parts = parts[len(readers) :]
        for part in self._parts:
            shards.open(part, self._opened)
        # Where the mode changes in place, the first may come to let all in: last.
        for number in range(len(readers) - 1, -1, -1):
            part, now = parts[number], readers[number].sock.filter
            if part != now:
                grows = part.mode is now.mode and not part.sources <= now.sources
                self._sets.append((readers[number], part, grows))

    def join(self) -> None:
        """Have the new sockets join."""
        if not self._opened:
            return
        self._begun_ns = self.shards.time_ns()
        for reader, part in zip(self._opened, self._parts, strict=True):
            reader.sock.set_filter(part)

    def set(self, growing: bool) -> None:
        """Set the sockets there are: those that let in more, which can be refused, or the others."""
        for reader, part, grows in self._sets:
            if grows is growing:
                self._before.append((reader, reader.sock.filter))
                reader.sock.set_filter(part)
        self.stands = not growing

    def name(self, error: RefusedError) -> None:
        """Have what the system has refused say on which interface, by its name."""
        name = self.shards.interface.name
        if f" on {name}: " not in error.detail:
            error.detail = f"{name}: {error.detail}"

    def begin_again(self) -> None:
        """Drop the plan and its new sockets, for another one that begins at what the others hold now."""
        self.stands = False
        for reader in self._opened:
            self.shards.drop(reader)
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
            self.shards.hand_over(self._wanted, self._opened, self._begun_ns, cut_ns, deliver)
        else:
            self.shards.set_filter(self._wanted, self._opened, cut_ns if deliver else None)
