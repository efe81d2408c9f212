"""python -m benchmarks COMMAND: measure, print a table, and say which figures are reached.

Ratios within one run are the result: a time by itself is not, machines differ and drift.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console

from . import (
    blocked,
    coalesced,
    drain,
    environment,
    growth,
    join,
    lag,
    latency,
    live,
    memory,
    merge,
    relay,
    report,
    scrape,
    swap,
    threads,
)
from .worker import LOOPS

# Each module has HELP, add_arguments(parser) and run(options) -> Result; options.loops is given.
COMMANDS: dict[str, ModuleType] = {
    "drain": drain,
    "coalesced": coalesced,
    "live": live,
    "lag": lag,
    "blocked": blocked,
    "latency": latency,
    "growth": growth,
    "memory": memory,
    "join": join,
    "merge": merge,
    "relay": relay,
    "swap": swap,
    "scrape": scrape,
    "threads": threads,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    options.loops = LOOPS if options.loop == "both" else (options.loop,)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if not sys.platform.startswith("linux"):
        console.print("these benchmarks need Linux: recvmmsg, epoll, and multicast on 127.0.0.1")
        return 2
    try:
        result = COMMANDS[options.command].run(options)
    except RuntimeError as error:
        console.print(f"{error}", style="red", highlight=False)
        return 1
    report.show(result, console)
    if options.json:
        content = {"command": result.command, "environment": environment.describe(), **result.data}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if options.page:
        said = _said(sys.argv[1:] if arguments is None else arguments)
        options.page.write_text(report.markdown(result, said, environment.sentence()), encoding="utf-8")
    if options.plot:
        from . import plot  # matplotlib takes a while, and need not be there

        plot.draw(result, options.plot)
    return 0


def _said(arguments: Sequence[str]) -> str:
    """Return the command, without the files that it writes."""
    words = [word for before, word in zip(["", *arguments], arguments, strict=False)
             if not {before, word} & {"--json", "--plot", "--page"}]  # fmt: skip
    return " ".join(["python -m benchmarks", *words])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        command.add_argument("--loop", choices=[*LOOPS, "both"], default="both", help="event loop (both)")
        command.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
        command.add_argument("--plot", type=Path, metavar="FILE", help="draw to FILE, .png or .svg")
        command.add_argument("--page", type=Path, metavar="FILE", help="write the tables to FILE as Markdown")
        module.add_arguments(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
