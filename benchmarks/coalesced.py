"""coalesced: like drain, with many datagrams per send, which the kernel may keep together (UDP_GRO)."""

from __future__ import annotations

import argparse

from . import drain
from .results import Result

__all__ = ["HELP", "add_arguments", "run"]

HELP = "like drain, with 20 datagrams per send (UDP_SEGMENT); the C loop goes without UDP_GRO"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add drain's, and how many datagrams each send holds."""
    drain.add_arguments(parser)
    parser.add_argument("--per-send", type=int, default=20, help="datagrams per send (%(default)s)")


def run(options: argparse.Namespace) -> Result:
    """Measure with several datagrams per send."""
    return drain.run_with(options, "coalesced", per_send=options.per_send)
