"""Sockets that leave to join again: what each held, and when it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import final

from ..reading.contract import Reader
from ..values.filters import SourceFilter

__all__ = ["Anew"]


@final
class Anew:
    """What the sockets on one interface are to hold again, and how they have last joined.

    `at` is when they have last joined anew, by the clock `now`; `joined_with` the filter that they joined
    with then, or at first. It may have been changed since.
    """

    __slots__ = ("_now", "_withdrawn", "at", "joined_with")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._withdrawn: dict[Reader, SourceFilter] = {}
        self.at: float = -math.inf
        self.joined_with: SourceFilter | None = None

    def withdraw(self, members: Iterable[Reader], in_force: Iterable[Reader]) -> None:
        """Leave with all `members`; those `in_force` are to hold again what they hold now."""
        for reader in members:
            held = reader.sock.held()
            if reader in in_force and not held.is_none:
                self._withdrawn.setdefault(reader, held)
            reader.sock.leave()

    def forget(self) -> None:
        """Restore nothing."""
        self._withdrawn.clear()

    @property
    def is_withdrawn(self) -> bool:
        """Whether one has left, and has not joined again."""
        return bool(self._withdrawn)

    def rejoin(self, in_force: Iterable[Reader]) -> None:
        """Leave and join with one after the other. What is refused stays to be restored."""
        for reader in in_force:
            held = reader.sock.held()
            try:
                reader.sock.rejoin()
            except BaseException:
                if not held.is_none and reader.sock.held().is_none:
                    self._withdrawn.setdefault(reader, held)
                raise

    def restore(self, in_force: Iterable[Reader]) -> None:
        """Join again with those that have withdrawn, and are `in_force` still. RefusedError when refused."""
        while self._withdrawn:
            reader, held = next(iter(self._withdrawn.items()))
            if reader in in_force and reader.sock.held().is_none:
                reader.sock.set_filter(held)
            del self._withdrawn[reader]

    def note(self, held: SourceFilter) -> None:
        """Take note that they have joined anew, with `held`."""
        self.joined_with, self.at = held, self._now()

    def changed(self, wanted: SourceFilter) -> None:
        """Take note of another filter, which they hold already: nothing is to be restored."""
        if self._withdrawn:
            self._withdrawn.clear()
        if self.joined_with is None:
            self.joined_with = wanted
