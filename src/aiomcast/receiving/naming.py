"""Which interfaces a membership means by their names, through what becomes of these. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar, final

import attrs

from ..values.interface import Interface

__all__ = ["Called", "Named", "among", "came", "named", "renamed", "waiting"]


class Called(Protocol):
    """An interface, or what a system tells of one."""

    @property
    def index(self) -> int:
        """Its index."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def alternative_names(self) -> tuple[str, ...]:
        """What it is called, too."""


C = TypeVar("C", bound=Called)


@final
@attrs.frozen(slots=True)
class Named:
    """An interface to be on: what it is called, and its index when it was last there."""

    name: str
    index: int
    others: tuple[str, ...] = ()
    """Its alternative names: whoever has given one means what has it."""


def named(interface: Interface) -> Named:
    """Return what is meant where `interface` was named."""
    return Named(interface.name, interface.index, interface.alternative_names)


def waiting(each: Iterable[Named], present: Sequence[C]) -> dict[int, C]:
    """Return, by the index that it had, what of `present` is meant by those whose index is gone.

    By the name that it had, else by an alternative one. So a name that another interface takes while its
    own is there is not followed.
    """
    indexes = {one.index for one in present}
    found: dict[int, C] = {}
    for one in each:
        if one.index not in indexes:
            names = {one.name, *one.others}
            meant = [other for other in present if other.name == one.name] or [
                other for other in present if not names.isdisjoint((other.name, *other.alternative_names))
            ]
            if meant:
                found[one.index] = meant[0]
    return found


def among(each: Iterable[Named], present: Sequence[Interface]) -> list[Interface]:
    """Return those of `present` that are meant: by the index, or by the names where the index is gone."""
    meant = list(each)
    held = {one.index for one in meant} | {one.index for one in waiting(meant, present).values()}
    return [one for one in present if one.index in held]


def renamed(each: Iterable[Named], index: int, name: str) -> list[Named]:
    """Return `each` once the interface with this index has another name."""
    return [attrs.evolve(one, name=name) if one.index == index else one for one in each]


def came(each: Iterable[Named], interface: Interface) -> list[Named]:
    """Return `each` once what is meant by the names of `interface` is there."""
    meant = list(each)
    before = waiting([one for one in meant if one.index != interface.index], [interface])
    return [
        attrs.evolve(one, name=interface.name, index=interface.index) if one.index in before else one
        for one in meant
    ]
