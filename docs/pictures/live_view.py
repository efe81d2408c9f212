"""Draws docs/pictures/live-view.svg: the live view of `aiomcast listen`, of a report made up here.

`python docs/pictures/live_view.py [COLUMNS]`, from anywhere.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from aiomcast import SourceFilter, Statistics
from aiomcast.command.report import ChannelReport, Report, SourceReport, Traffic
from aiomcast.command.view import View
from aiomcast.feeds import SequenceStatistics

NOW = 1_700_000_000_000_000_000
COMMAND = "aiomcast listen 232.1.1.1+2:5000 10.0.7.9@232.9.9.1:5004 --sequence rtp -i eth1"


def source(
    address: str,
    rate: int,
    size: int,
    jitter_ns: float,
    *,
    lost: int = 0,
    reordered: int = 0,
    age: float = 0.0,
) -> SourceReport:
    """Return what came of a source in 42 seconds at a steady rate."""
    counted = SequenceStatistics(received=rate * 42, lost=lost, reordered=reordered)
    latest = NOW - round(age * 1e9)
    traffic = Traffic(
        rate * 42, rate * 42 * size, 0 if age > 1 else rate, 0 if age > 1 else rate * size, latest, counted
    )
    return SourceReport(address, traffic, jitter_ns)


REPORT = Report(
    NOW,
    42.0,
    1.0,
    (
        ChannelReport(
            "232.1.1.1", 5000, "eth1", SourceFilter.include(["192.0.2.10", "192.0.2.11"]),
            (source("192.0.2.10", 4012, 1316, 41e3), source("192.0.2.11", 3998, 1316, 57e3, lost=17, reordered=4)),
            Statistics(filtered=311),
        ),
        ChannelReport(
            "232.1.1.2", 5000, "eth1", SourceFilter.include(["192.0.2.10", "192.0.2.11"]),
            (source("192.0.2.10", 812, 1316, 118e3),),
            Statistics(),
        ),
        ChannelReport(
            "232.9.9.1", 5004, "eth1", SourceFilter.include(["10.0.7.9"]),
            (source("10.0.7.9", 25, 188, 2.4e6, age=9.3),),
            Statistics(kernel_drops=2),
        ),
    ),
    True,
)  # fmt: skip


def main() -> None:
    """Write the picture beside this file."""
    width = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text(f"$ {COMMAND}", "bold"), soft_wrap=False)
    console.print(View(REPORT, is_whole=True))
    console.save_svg(str(Path(__file__).with_name("live-view.svg")), title="aiomcast listen")


if __name__ == "__main__":
    main()
