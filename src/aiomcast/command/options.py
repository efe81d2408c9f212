"""What the commands' parsers are made of: the parser, options that several have, and what reads a value."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
import textwrap
from collections.abc import Callable
from collections.abc import Sequence as Listed
from typing import TYPE_CHECKING, Literal, NoReturn

from aiomcast import ArgumentError
from aiomcast.feeds import Sequence

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

__all__ = [
    "Parser",
    "Words",
    "WrongUsage",
    "channel",
    "common",
    "listed",
    "number",
    "octets",
    "sequence",
    "speed",
]

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

# What argparse says, and how it is said here.
_WORDS = (
    (r"expected (?:at least )?one argument", "a value is missing"),
    (r"ignored explicit argument '?(.*?)'?", r"takes no value, and got '\1'"),
    (r"invalid choice: (.*) \(choose from (.*)\)", r"\1 is none of \2"),
    (r"not allowed with argument (?:.*/)?(--[^/]*)", r"cannot be given together with \1"),
    (r"one of the arguments (.*) is required", r"one of \1 has to be given"),
)


class WrongUsage(Exception):
    """The arguments are none of the command `prog`; the text says which and why."""

    def __init__(self, text: str, prog: str) -> None:
        super().__init__(text)
        self.prog = prog


class Parser(argparse.ArgumentParser):
    """Raises WrongUsage instead of ending the process, and takes no beginning of an option for the whole."""

    def __init__(self, **options: object) -> None:
        options |= {
            "allow_abbrev": False,
            "add_help": False,
            "exit_on_error": False,
            "formatter_class": _Help,
        }
        super().__init__(**options)  # type: ignore[arg-type]  # what it takes is its own affair
        self.suggest_on_error = False  # Python 3.15 would put it into the middle of the line
        self.add_argument("-h", "--help", action="help", help="Show this help and exit.")

    def error(self, message: str) -> NoReturn:
        """Raise WrongUsage. Later Pythons call it with what earlier ones raise."""
        missing = re.fullmatch(r"the following arguments are required: (.+)", message)
        if missing:
            *most, last = missing[1].split(", ")
            message = f"{', '.join(most)} and {last} are missing" if most else f"{last} is missing"
        raise WrongUsage(message, self.prog)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Write help and version: argparse's own passes over a full disk."""
        print(message, end="", file=file)

    def parse_known_args(  # type: ignore[override]  # of its overloads only the one that is called
        self, args: Listed[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what is wrong or unknown here, where it is known whose argument it is."""
        given = sys.argv[1:] if args is None else args
        self._refuse_unknown_options(given)
        try:
            found, unknown = super().parse_known_args(given, namespace)
        except argparse.ArgumentError as error:
            if error.argument_name is None:
                self.error(error.message)
            name = re.sub(r"^-.*/(?=--)", "", error.argument_name)  # of several the one that is a word
            self.error(f"{name}: {_in_our_words(error.message)}")
        for action in self._actions:
            if isinstance(action, Words):
                unknown = action.take_more(found, unknown)
        if unknown:
            self.error(f"{unknown[0]!r} is one argument too many")
        return found, unknown

    def _refuse_unknown_options(self, given: Listed[str]) -> None:
        """Do it first: the value of such an option would be taken for another argument."""
        known = self._option_string_actions
        for one in given:
            if one == "--" or (self._subparsers is not None and not one.startswith("-")):
                return  # the rest are no options, or another parser's
            name = one.partition("=")[0] if one.startswith("--") else one[:2]
            if (
                name.startswith("-")
                and name not in ("-", *known)
                and " " not in one
                and not one[1:2].isdigit()
            ):
                close = difflib.get_close_matches(name, known, 1)
                self.error(f"there is no option {name}" + (f"; did you mean {close[0]}?" if close else ""))


class Words(argparse.Action):
    """Any number of words, which may stand on both sides of options: argparse takes the first ones alone."""

    def __init__(self, **options: object) -> None:
        options["required"] = False
        super().__init__(nargs="*", **options)  # type: ignore[arg-type]  # what it takes is its own affair

    def __call__(
        self, parser: object, namespace: argparse.Namespace, words: object, _: object = None
    ) -> None:
        setattr(namespace, self.dest, words)

    def take_more(self, namespace: argparse.Namespace, words: list[str]) -> list[str]:
        """Take in the words that were left; return those that are none."""
        if any(one.startswith("-") for one in words):
            return words
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *words])
        return []


def _in_our_words(message: str) -> str:
    for pattern, ours in _WORDS:
        if found := re.fullmatch(pattern, message):
            return found.expand(ours)
    return message


class _Help(argparse.HelpFormatter):
    """Keeps the paragraphs of a description, and its indented lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = re.findall(r"(?:^ .*\n?)+|(?:^\S.*\n?)+|^\n", text, re.MULTILINE)
        return "".join(
            block if block[:1].isspace() else textwrap.fill(block, width) + "\n" for block in blocks
        ).rstrip()

    def add_usage(self, usage, actions, groups, prefix=None):  # type: ignore[no-untyped-def]  # its own types
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)


def channel(command: argparse.ArgumentParser) -> None:
    """Declare GROUP and PORT."""
    command.add_argument("group", metavar="GROUP", help="Multicast group, IPv4 or IPv6.")
    command.add_argument("port", metavar="PORT", type=number(int), help="UDP port.")


def common(command: argparse.ArgumentParser) -> None:
    """Declare --interface and --count."""
    add = command.add_argument
    add("-i", "--interface", metavar="I", help="Name, index or address; else by the route.")
    add("-c", "--count", metavar="N", type=number(int, 1), help="End after N packets.")


def sequence(command: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Declare --sequence."""
    command.add_argument(
        "--sequence",
        metavar="WHERE",
        type=_sequence,
        required=required,
        help="Where the sequence number is: rtp, ts (MPEG-TS), rtp+ts, or type and offset as u32@0, u16le@2.",
    )


def _sequence(text: str) -> Sequence:
    try:
        return Sequence.parse(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def number(
    kind: type[int] | type[float], least: float = -math.inf, most: float = math.inf
) -> Callable[[str], float]:
    """Return what reads a number of this kind, from `least` to `most`."""
    named = "whole number" if kind is int else "number"

    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise argparse.ArgumentTypeError(f"{text!r} is no {named}")
        if least <= number <= most:
            return number
        limit = f"less than {least:g}" if number < least else f"more than {most:g}"
        raise argparse.ArgumentTypeError(f"{text} is {limit}")

    return read


def listed(text: str) -> list[str]:
    """Read what commas part."""
    return text.split(",")


def octets(text: str) -> int:
    """Read a number of bytes, as 512K or 8M."""
    digits, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in _UNITS else (text, "")
    if not digits.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes: write 512K or 8M")
    return int(digits) * _UNITS.get(unit, 1)


def speed(text: str) -> float | Literal["fast"]:
    """Read how many times as fast as a capture was, or that it is to have no pace."""
    if text == "fast":
        return "fast"
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and found > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number above 0 nor fast")
    return found
