"""What the commands' parsers are made of: the parser, options that several have, and what reads a value."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

__all__ = ["Parser", "Words", "WrongUsage", "channel", "common", "number"]


class WrongUsage(Exception):
    """The arguments are none of the command `prog`; the text says which and why."""

    def __init__(self, text: str, prog: str) -> None:
        super().__init__(text)
        self.prog = prog


class Parser(argparse.ArgumentParser):
    """Raises WrongUsage instead of ending the process, and takes no beginning of an option for the whole."""

    def __init__(self, **options: object) -> None:
        options |= {"allow_abbrev": False, "add_help": False, "formatter_class": _Help}
        super().__init__(**options)  # type: ignore[arg-type]  # what it takes is its own affair
        self.add_argument("-h", "--help", action="help", help="Show this help and exit.")

    def error(self, message: str) -> NoReturn:
        raise WrongUsage(message, self.prog)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Write help and version: argparse's own passes over a full disk."""
        print(message, end="", file=file)

    def parse_known_args(  # type: ignore[override]  # of its overloads only the one that is called
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what is unknown here, where it is known whose argument it is."""
        found, unknown = super().parse_known_args(args, namespace)
        for action in self._actions:
            if isinstance(action, Words):
                unknown = action.take_more(found, unknown)
        if unknown:
            first = unknown[0]
            if first.startswith("-") and first != "-":
                self.error(f"No such option: {first.partition('=')[0]}")
            self.error(f"Got unexpected extra argument {first}")
        return found, unknown


class Words(argparse.Action):
    """Any number of words, which may stand on both sides of options: argparse takes the first ones alone."""

    def __init__(self, **options: object) -> None:
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


class _Help(argparse.RawDescriptionHelpFormatter):
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


def number(
    kind: type[int] | type[float], least: float = -math.inf, most: float = math.inf
) -> Callable[[str], float]:
    """Return what reads a number of this kind, from `least` to `most`."""
    named = "an integer" if kind is int else "a number"

    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {named}") from None
        if least <= number <= most:
            return number
        limits = f"{least:g} or more" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise argparse.ArgumentTypeError(f"{text} is not {limits}")

    return read
