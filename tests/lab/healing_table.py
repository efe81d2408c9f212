"""How long each fault took to heal, kept as JSON and shown as a table.

`AIOMCAST_HEALING_TABLE=FILE python -m pytest tests/lab/test_healing.py` writes the file, and
`python -m tests.lab.healing_table FILE` prints it in Markdown.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

__all__ = ["FILE", "Table"]

FILE: Final = os.environ.get("AIOMCAST_HEALING_TABLE")
"""Where a run writes what it has measured, None where nobody wants it."""


class Table:
    """Seconds by row and family, 4 and 6, several where there were several runs."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, list[float]]] = {}

    def add(self, row: str, family: int, seconds: float) -> None:
        """Note how long one run took."""
        self.rows.setdefault(row, {4: [], 6: []})[family].append(seconds)

    def write(self, file: Path) -> None:
        """Write it as a list of {"row", "ipv4", "ipv6"}."""
        rows = [{"row": row, "ipv4": of[4], "ipv6": of[6]} for row, of in self.rows.items()]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows, indent=1) + "\n")


def _shown(seconds: list[float]) -> str:
    return f"{max(seconds):.3f}" if seconds else ""


def _main(file: str) -> None:
    print("| | IPv4, s | IPv6, s |\n|---|---|---|")
    for row in json.loads(Path(file).read_text()):
        print(f"| {row['row']} | {_shown(row['ipv4'])} | {_shown(row['ipv6'])} |")


if __name__ == "__main__":
    _main(*sys.argv[1:])
