"""What has been lost of each membership, and since when, and the telling of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple, final

from ..errors import MulticastError
from ..values.events import EventKind
from ..values.interface import Interface
from .membership import Membership

__all__ = ["Loss", "Losses"]


class Loss(NamedTuple):
    """Why nothing comes on an interface, and since when."""

    cause: str
    since: float


@final
class Losses:
    """The losses of memberships, by the interface's index. `now` is the clock, in seconds."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = float
        self._losses: dict[Membership, dict[int, Loss]] = {}
        self._complained: set[tuple[Membership, str]] = set()

    def knows(self, membership: Membership, index: int) -> bool:
        """Whether something is lost there."""
        return index in self._losses.get(membership, ())

    def note(self, membership: Membership, index: int, cause: str) -> bool:
        """Take note of a loss, or of another cause of it; say whether it is a new one."""
        of = self._losses.setdefault(membership, {})
        known = of.get(index)
        of[index] = Loss(cause, self.now() if known is None else known.since)
        return known is None

    def pop(self, membership: Membership, index: int) -> Loss | None:
        """Forget a loss, and return it."""
        of = self._losses.get(membership)
        loss = None if of is None else of.pop(index, None)
        if of is not None and not of:
            del self._losses[membership]
        return loss

    def move(self, membership: Membership, before: int, index: int) -> None:
        """Have a loss be that of an interface made anew with another index."""
        loss = self.pop(membership, before)
        if loss is not None:
            self._losses.setdefault(membership, {})[index] = loss

    def forget(self, membership: Membership, interfaces: Iterable[Interface] | None = None) -> None:
        """Forget what was lost of a membership: on these interfaces, None: everywhere."""
        if interfaces is None:
            self._losses.pop(membership, None)
            self._complained = {one for one in self._complained if one[0] is not membership}
        else:
            for interface in interfaces:
                self.pop(membership, interface.index)

    def heal(self, membership: Membership, interface: Interface, found: Loss | None = None) -> None:
        """Tell that it is mended: what was lost, else what was `found` just now."""
        loss = self.pop(membership, interface.index) or found
        if loss is not None:
            self._complained.discard((membership, interface.name))
            seconds = self.now() - loss.since
            membership._tell(EventKind.HEALED, interface, cause=loss.cause, seconds=seconds)

    def allow(self, membership: Membership, interfaces: Iterable[Interface]) -> None:
        """Take note that these refuse no longer."""
        for interface in interfaces:
            self._complained.discard((membership, interface.name))

    def are_told(self, membership: Membership, interfaces: Iterable[Interface]) -> None:
        """Take note that these refuse, which was told."""
        self._complained |= {(membership, one.name) for one in interfaces}

    def are_there(self, membership: Membership, interfaces: Collection[Interface]) -> None:
        """Forget what others than these, of all that a membership is to be on, have refused."""
        names = {one.name for one in interfaces}
        self._complained = {one for one in self._complained if one[0] is not membership or one[1] in names}

    def complain(self, membership: Membership, interface: Interface, error: MulticastError) -> None:
        """Tell what the system refuses: once, until it is healed."""
        key = (membership, interface.name)
        if key not in self._complained:
            self._complained.add(key)
            membership._tell(EventKind.FAILED, interface, error)
