"""What can be written after `aiomcast`: one parser, from which the help is made too. It runs nothing."""

from __future__ import annotations

import argparse
import inspect
from typing import Protocol

import aiomcast

from . import completion, demo, doctor, gaps, interfaces, listen, record, relay, replay, send
from .options import Parser

__all__ = ["COMMANDS", "parser"]


class Command(Protocol):
    """A command: a module."""

    def define(self, command: argparse.ArgumentParser) -> None:
        """Declare its arguments. The docstring is its help: a line, what there is to say, "Examples:"."""

    def perform(self, given: argparse.Namespace) -> int:
        """Do what was asked for, and return the exit status."""


COMMANDS: dict[str, Command] = {
    "listen": listen,
    "gaps": gaps,
    "record": record,
    "relay": relay,
    "send": send,
    "replay": replay,
    "doctor": doctor,
    "interfaces": interfaces,
    "demo": demo,
    "completion": completion,
}

ABOUT = """
    The exit status is 0 when it is done, also by Ctrl-C or a closed pipe, 1 when the system has refused
    something or what was asked for did not come, 2 for wrong usage. One line on standard error says what
    was wrong and what to do.

    It runs on uvloop where that is installed, else on asyncio's own loop. Nothing is coloured where
    NO_COLOR is set. `aiomcast COMMAND --help` has the options and examples of a command.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command. It raises WrongUsage; of --help and --version SystemExit.

    What it returns has the name of a command as `command`, and the arguments of that command.
    """
    whole = Parser(
        prog="aiomcast",
        description="Receive and send multicast, with the source filters of RFC 3678.",
        epilog=inspect.cleandoc(ABOUT),
    )
    whole.add_argument(
        "-V",
        "--version",
        action="version",
        version=f"aiomcast {aiomcast.__version__}",
        help="Show the version and exit.",
    )
    commands = whole.add_subparsers(metavar="COMMAND", dest="command", title="commands")
    for name, module in COMMANDS.items():
        described, examples, lines = inspect.cleandoc(module.define.__doc__ or "").partition("Examples:\n")
        one = commands.add_parser(
            name,
            help=described.partition("\n")[0],
            description=described,
            epilog=examples + lines,
        )
        module.define(one)
    commands.choices["completion"].set_defaults(parser=whole)
    return whole
