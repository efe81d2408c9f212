"""What can be written after `aiomcast`: one parser, from which the help is made too. It runs nothing."""

from __future__ import annotations

import argparse
from typing import Protocol

import aiomcast

from . import demo, doctor, interfaces, listen, send
from .options import Parser

__all__ = ["COMMANDS", "parser"]


class Command(Protocol):
    """A command: a module."""

    def define(self, command: argparse.ArgumentParser) -> None:
        """Declare its arguments. The docstring is its help."""

    def perform(self, given: argparse.Namespace) -> int:
        """Do what was asked for, and return the exit status."""


COMMANDS: dict[str, Command] = {
    "listen": listen,
    "send": send,
    "doctor": doctor,
    "interfaces": interfaces,
    "demo": demo,
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command. It raises WrongUsage; of --help and --version SystemExit.

    What it returns has the name of a command as `command`, and the arguments of that command.
    """
    whole = Parser(
        prog="aiomcast",
        description="Receive and send multicast, with the source filters of RFC 3678.",
        epilog="It runs on uvloop where that is installed, else on asyncio's own loop.",
    )
    whole.add_argument(
        "--version",
        action="version",
        version=f"aiomcast {aiomcast.__version__}",
        help="Show the version and exit.",
    )
    commands = whole.add_subparsers(metavar="COMMAND", dest="command", title="commands")
    for name, module in COMMANDS.items():
        described = (module.define.__doc__ or "").rstrip()
        head, _, rest = described.partition("\n")
        one = commands.add_parser(
            name,
            help=head,
            description=head + "\n" + "\n".join(line.strip() for line in rest.split("\n")),
        )
        module.define(one)
    return whole
