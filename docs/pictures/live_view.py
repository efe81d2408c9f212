"""Draws docs/pictures/live-view.svg: the live view of `aiomcast listen`, of a report made up here.

`python docs/pictures/live_view.py [COLUMNS]`, from anywhere.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from aiomcast import SourceFilter, Statistics
from aiomcast.command.report import Account, ChannelReport, Report, SourceReport, Traffic
from aiomcast.command.view import View
from aiomcast.feeds import SequenceStatistics

NOW = 1_700_000_000_000_000_000
COMMAND = "aiomcast listen --channels feeds.txt --sequence rtp"


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
    """Return what came of a source in 42 seconds at a steady rate, until `age` seconds ago."""
    counted = SequenceStatistics(received=rate * 42, lost=lost, reordered=reordered)
    total = Traffic(rate * 42, rate * 42 * size, counted)
    new = Traffic() if age > 1 else Traffic(rate, rate * size)
    return SourceReport(address, Account(total, new, NOW - round(age * 1e9), jitter_ns))


REPORT = Report(
    NOW,
    42.0,
    1.0,
    (
        ChannelReport(
            "232.1.1.1", 5000, "eth1", SourceFilter.include(["192.0.2.10", "192.0.2.11"]),
            (
                source("192.0.2.10", 4012, 1316, 41e3),
                source("192.0.2.11", 3998, 1316, 57e3, lost=17, reordered=4),
            ),
            Statistics(filtered=311), Statistics(),
        ),
        ChannelReport(
            "232.1.1.2", 5000, "eth1", SourceFilter.include(["192.0.2.10", "192.0.2.11"]),
            (source("192.0.2.10", 812, 1316, 118e3),),
            Statistics(), Statistics(),
        ),
        ChannelReport(
            "232.9.9.1", 5004, "eth1", SourceFilter.include(["10.0.7.9"]),
            (source("10.0.7.9", 25, 188, 2.4e6, age=9.3),),
            Statistics(kernel_drops=2), Statistics(),
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
    picture = console.export_svg(title="aiomcast listen")
    picture = re.sub(
        r"@font-face \{.*?\}", "", picture, flags=re.DOTALL
    )  # nothing from the network
    Path(__file__).with_name("live-view.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
