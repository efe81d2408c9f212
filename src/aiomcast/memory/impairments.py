"""What becomes of a datagram on its way: loss, duplication and reordering, the same for the same seed."""

from __future__ import annotations

import random
from typing import NamedTuple

from ..errors import ArgumentError, ArgumentTypeError
from ..values.shown import shown

__all__ = ["Fate", "Impairments"]


class Fate(NamedTuple):
    """How many copies arrive, and whether the next datagram overtakes them."""

    copies: int
    is_overtaken: bool


def _probability(name: str, given: float) -> float:
    hint = "give a probability from 0 to 1"
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise ArgumentTypeError(f"{name} {shown(given)}", hint)
    if not 0 <= given <= 1:
        raise ArgumentError(f"{name} {shown(given)}", hint)
    return given


class Impairments:
    """Draws what becomes of each datagram. ArgumentError for what is no probability.

    Every datagram takes the same number of draws, so that another loss rate leaves the duplicates
    of a seed where they were.
    """

    def __init__(self, loss: float, duplication: float, reordering: float, seed: int) -> None:
        self._loss = _probability("loss", loss)
        self._duplication = _probability("duplication", duplication)
        self._reordering = _probability("reordering", reordering)
        self._random = random.Random(seed)

    def draw(self) -> Fate:
        """Return what becomes of the next datagram."""
        lost, doubled, overtaken = (self._random.random() for _ in range(3))
        copies = 0 if lost < self._loss else 2 if doubled < self._duplication else 1
        return Fate(copies, overtaken < self._reordering)
