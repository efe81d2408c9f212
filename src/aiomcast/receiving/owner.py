"""Who a presence asks and tells, and what: a membership of a receiver, and what happens to it."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

from ..errors import MulticastError
from ..values.events import EventKind
from ..values.interface import Interface

__all__ = ["Followed", "Owner", "Refusals"]

Refusals: TypeAlias = list[tuple[Interface, MulticastError]]


class Followed(NamedTuple):
    """The interfaces that a membership has come to and those it has left, and what has refused it."""

    came: list[Interface]
    gone: list[Interface]
    refusals: Refusals

    @property
    def is_empty(self) -> bool:
        """Whether nothing has happened."""
        return not (self.came or self.gone or self.refusals)


class Owner(Protocol):
    """What is asked and told."""

    def check_free(self, interface: Interface) -> None:
        """Raise a StateError where another membership is joined on `interface`."""

    def tag(self, interface: Interface) -> None:
        """Packets come in on `interface` from now on."""

    def untag(self, interface: Interface) -> None:
        """No more packets come in on `interface`, where it has left; what has come may be queued."""

    def tell(
        self,
        kind: EventKind,
        interface: Interface,
        error: MulticastError | None = None,
        *,
        cause: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Something happened on one interface."""

    def lost(self, interface: Interface, count: int) -> None:
        """The kernel has dropped `count` datagrams more that came in on `interface`."""
