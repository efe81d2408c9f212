"""Which interfaces a membership means by their names, through what becomes of these. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import attrs

from ..values.interface import Interface

__all__ = ["Named", "among", "came", "renamed"]


@final
@attrs.frozen(slots=True)
class Named:
    """An interface to be on: what it is called, and its index when it was last there."""

    name: str
    index: int


def among(named: Iterable[Named], present: Sequence[Interface]) -> list[Interface]:
    """Return those of `present` that are meant: by the index, or by the name where the index is gone.

    So a name that another interface takes is not followed.
    """
    indexes = {one.index for one in present}
    held = {one.index for one in named} & indexes
    names = {one.name for one in named if one.index not in indexes}
    return [one for one in present if one.index in held or one.name in names]


def renamed(named: Iterable[Named], index: int, name: str) -> list[Named]:
    """Return `named` once the interface with this index has another name."""
    return [Named(name, index) if one.index == index else one for one in named]


def came(named: Iterable[Named], interface: Interface) -> list[Named]:
    """Return `named` once what is meant by the name of `interface` is there."""
    return [Named(one.name, interface.index) if one.name == interface.name else one for one in named]
