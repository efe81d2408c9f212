"""What was told of each membership, to be told again where it has not changed.

A thousand memberships have nine thousand numbers, most of which stand still from one look to the next. To
make what a library takes for each, with its labels, is what would cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, Generic, Protocol, TypeVar, final

from ..values.statistics import Tally
from .quantities import QUANTITIES, Quantity
from .snapshot import Name

__all__ = ["Points"]

_REASONS = [reason for quantity in QUANTITIES for reason, _ in quantity.values]


class _Point(Protocol):
    @property
    def value(self) -> float:
        """The number."""


L = TypeVar("L")
P = TypeVar("P", bound=_Point)


class _Untold:
    """What stands for the points of a membership that is told for the first time: no number is its own."""

    value: Final = math.nan


class _Row(Generic[L, P]):
    """The labels and the points of one membership, one for each number of all quantities."""

    __slots__ = ("labels", "points")

    def __init__(self, labels: tuple[L, ...]) -> None:
        self.labels: tuple[L, ...] = labels
        self.points: tuple[P | _Untold, ...] = (_Untold(),) * len(labels)


@final
class Points(Generic[L, P]):
    """Makes points of snapshots: `label` the labels of a membership, for a reason.

    `maker` returns what makes a point of a quantity.

    Several threads may ask at once.
    """

    def __init__(
        self, label: Callable[[Name, str | None], L], maker: Callable[[Quantity], Callable[[L, float], P]]
    ) -> None:
        self._label = label
        self._makers = {quantity: maker(quantity) for quantity in QUANTITIES}
        self._rows: dict[Name, _Row[L, P]] = {}  # of the memberships of the last snapshot

    def of(self, names: Sequence[Name], tallies: Sequence[Tally]) -> dict[Quantity, list[P]]:
        """Return the points of each quantity, of all memberships that have one."""
        if not names:
            self._rows = {}
            return {quantity: [] for quantity in QUANTITIES}
        known = self._rows
        rows = [known.get(name) or self._row(name) for name in names]
        labels = zip(*[row.labels for row in rows], strict=True)
        before = zip(*[row.points for row in rows], strict=True)
        told: dict[Quantity, list[P]] = {}
        columns: list[list[P]] = []
        for quantity, make in self._makers.items():
            for _, value in quantity.values:
                columns.append(
                    [
                        point if point.value == number else make(label, number)
                        for label, point, number in zip(
                            next(labels), next(before), map(value, tallies), strict=True
                        )
                    ]
                )
            points = list(chain(*columns[-len(quantity.values) :]))
            if quantity.is_missing_at_first:
                points = [point for point in points if not math.isnan(point.value)]
            told[quantity] = points
        for row, made in zip(rows, zip(*columns, strict=True), strict=True):
            row.points = made
        self._rows = dict(zip(names, rows, strict=True))
        return told

    def _row(self, name: Name) -> _Row[L, P]:
        plain = self._label(name, None)  # one for all without a reason
        return _Row(tuple([plain if reason is None else self._label(name, reason) for reason in _REASONS]))
