"""What a command hands to the table, the file and the plot. Pure values."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import attrs

__all__ = ["Bar", "Panel", "Result", "Samples", "Table"]


@attrs.frozen
class Samples:
    """Values of the same thing, one per round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def spread(self, digits: int = 0) -> str:
        """Return smallest to largest, as text."""
        return f"{min(self.values):,.{digits}f}-{max(self.values):,.{digits}f}"


@attrs.frozen
class Table:
    """A title, headings, and rows of text. The first column is left-aligned."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@attrs.frozen
class Bar:
    """One measured value; `ours` is highlighted."""

    label: str
    series: str
    value: float
    ours: bool = False


@attrs.frozen
class Panel:
    """One diagram of horizontal bars. `log` when the values are orders of magnitude apart.

    `reference` is a value to draw a line at.
    """

    title: str
    axis: str
    bars: list[Bar]
    log: bool = False
    reference: float | None = None


@attrs.define
class Result:
    """All that one command found.

    `measured` are the figures by name and loop, compared with what is to be reached;
    `data` is what goes into the file, `notes` what the reader must know.
    """

    command: str
    tables: list[Table] = attrs.field(factory=list)
    panels: list[Panel] = attrs.field(factory=list)
    measured: dict[tuple[str, str], float] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)
    data: dict[str, Any] = attrs.field(factory=dict)  # Any: JSON
