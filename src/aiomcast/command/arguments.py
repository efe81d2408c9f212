"""What can be written after `aiomcast`: one parser, from which the help is made too. It runs nothing."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

import aiomcast

from .formats import Format

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

__all__ = ["LONGEST", "WrongUsage", "parser"]

LONGEST = 65535  # bytes: no datagram is longer


class WrongUsage(Exception):
    """The arguments are none of the command `prog`; the text says which and why."""

    def __init__(self, text: str, prog: str) -> None:
        super().__init__(text)
        self.prog = prog


class _Parser(argparse.ArgumentParser):
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
        if unknown:
            first = unknown[0]
            if first.startswith("-") and first != "-":
                self.error(f"No such option: {first.partition('=')[0]}")
            self.error(f"Got unexpected extra argument {first}")
        return found, unknown


class _Help(argparse.RawDescriptionHelpFormatter):
    def add_usage(self, usage, actions, groups, prefix=None):  # type: ignore[no-untyped-def]  # its own types
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command. It raises WrongUsage; of --help and --version SystemExit.

    What it returns has the name of a command as `command`, and the arguments of that command.
    """
    whole = _Parser(
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
    for define in (_listen, _send, _interfaces, _demo):
        described = (define.__doc__ or "").rstrip()
        head, _, rest = described.partition("\n")
        one = commands.add_parser(
            define.__name__[1:],
            help=head,
            description=head + "\n" + "\n".join(line.strip() for line in rest.split("\n")),
        )
        define(one)
    return whole


def _listen(command: argparse.ArgumentParser) -> None:
    """Write the packets of a group to standard output, what is going on to standard error.

    text: a line per packet. json: an object per line with every tag, "data" is the payload in
    base64 and "size" its length. hex: a hex dump. raw: the payloads, nothing between them.

    Ends with Ctrl-C, SIGTERM, --count, --seconds or a closed pipe, each with status 0.
    """
    _channel(command)
    add = command.add_argument
    add("--source", metavar="A", action="append", help="Let source A in; repeat it for more.")
    add("--exclude", metavar="A", action="append", help="Let all in but A; repeat it for more.")
    _common(command)
    add("--seconds", metavar="S", type=_number(float, 0), help="End after S seconds.")
    add(
        "--format",
        dest="form",
        choices=list(Format),
        type=_format,
        default=Format.TEXT,
        help="What is written (default: text).",
    )


def _send(command: argparse.ArgumentParser) -> None:
    """Send numbered packets, "1", "2" and so on, or the lines of standard input.

    Numbers go out once per second unless --rate is given; lines as they come, without their
    line feed. Ends with Ctrl-C, SIGTERM, --count or the end of the input, and says on standard
    error what was sent.
    """
    _channel(command)
    add = command.add_argument
    add("--source", metavar="A", help="Local address to send from.")
    _common(command)
    add("--rate", metavar="N", type=_number(float, 0), help="Packets per second; 0: as fast as can be.")
    add("--size", metavar="BYTES", type=_number(int, 0, LONGEST), help="Pad the numbers with spaces.")
    add("--ttl", metavar="N", type=_number(int), default=1, help="TTL or hop limit; 1 stays on the link.")
    add("--stdin", action="store_true", help="Send the lines of standard input.")


def _interfaces(command: argparse.ArgumentParser) -> None:
    """List the interfaces: index, name, addresses, and whether they can multicast.

    A table on a terminal; elsewhere lines with tabs between the four, commas between addresses.
    """


def _demo(command: argparse.ArgumentParser) -> None:
    """Watch source filters at work, on loopback alone and without privileges.

    Three sources send to one group, and a receiver swaps its source list every second. The
    verdict is computed from the packets that came in; the status is 1 when it is not "ok".
    """
    command.add_argument(
        "--seconds", metavar="S", type=_number(float, 0.3), default=6.0, help="How long (default: 6)."
    )


def _channel(command: argparse.ArgumentParser) -> None:
    command.add_argument("group", metavar="GROUP", help="Multicast group, IPv4 or IPv6.")
    command.add_argument("port", metavar="PORT", type=_number(int), help="UDP port.")


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--interface", metavar="I", help="Name, index or address; else by the route.")
    command.add_argument("--count", metavar="N", type=_number(int, 1), help="End after N packets.")


def _number(
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


def _format(text: str) -> Format:
    try:
        return Format(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(Format)}") from None
