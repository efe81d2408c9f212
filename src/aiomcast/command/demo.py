"""`aiomcast demo`: source filters at work."""

from __future__ import annotations

import argparse

from . import demonstration
from .options import number
from .running import run

__all__ = ["define", "perform"]


def define(command: argparse.ArgumentParser) -> None:
    """Watch source filters at work, on loopback alone and without privileges.

    Three sources send to one group, and a receiver swaps its source list every second. The
    verdict is computed from the packets that came in; the status is 1 when it is not "ok".
    What is drawn is whole from 60 columns up; what is no terminal gets a line per swap.
    """
    command.add_argument(
        "-t",
        "--seconds",
        metavar="S",
        type=number(float, 0.3),
        default=6.0,
        help="How long (default: 6).",
    )


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    return run(demonstration.run(given.seconds))
