"""Writes aiomcast.1, the man page, from the parser of the command: `make man`. See man(7)."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import aiomcast
from aiomcast.command.arguments import parser

PAGE = Path(__file__).with_name("aiomcast.1")


def page() -> str:
    """Return the man page."""
    whole = parser()
    (commands,) = [one for one in whole._actions if isinstance(one, argparse._SubParsersAction)]
    about = (whole.description or "").removesuffix(".")
    lines = [
        f'.TH AIOMCAST 1 "" "aiomcast {aiomcast.__version__}" "User Commands"',
        ".SH NAME",
        rf"aiomcast \- {about[:1].lower()}{about[1:]}",
        ".SH SYNOPSIS",
        r"\fBaiomcast\fR [\fB\-\-help\fR | \fB\-\-version\fR]",
    ]
    for name, command in commands.choices.items():
        lines += [".br", synopsis(name, command._actions)]
    lines += [".SH DESCRIPTION", *text(whole.epilog or ""), ".SH OPTIONS", *options(whole._actions)]
    lines += [".SH COMMANDS"]
    for name, command in commands.choices.items():
        lines += [f".SS {name}", *text(command.description or ""), *options(command._actions)]
        lines += [".PP", *text(command.epilog)] if command.epilog else []
    return "\n".join(lines) + "\n"


def synopsis(name: str, actions: list[argparse.Action]) -> str:
    """Return how a command is written."""
    operands = [rf"\fI{one.metavar}\fR" for one in actions if not one.option_strings]
    return " ".join([rf"\fBaiomcast {name}\fR", r"[\fIOPTION\fR]...", *operands])


def options(actions: list[argparse.Action]) -> Iterator[str]:
    """Yield the arguments of a command and what is said of each."""
    for action in sorted(actions, key=lambda one: bool(one.option_strings)):
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        value = (
            ""
            if action.nargs == 0
            else rf" \fI{action.metavar or '|'.join(action.choices or ())}\fR"
        )
        names = [rf"\fB{escaped(one)}\fR" for one in action.option_strings]
        yield ".TP"
        yield ", ".join(names) + value if names else value.strip()
        yield escaped((action.help or "") % {**vars(action), "prog": "aiomcast"})


def text(given: str) -> Iterator[str]:
    """Yield paragraphs; indented lines are examples."""
    indented = False
    for line in given.strip().split("\n"):
        if line.startswith(" ") is not indented:
            indented = not indented
            yield ".RS 4\n.EX" if indented else ".EE\n.RE"
        yield escaped(line.strip()) if line else ".PP"
    if indented:
        yield ".EE\n.RE"


def escaped(line: str) -> str:
    """Return it with what roff would take for its own, and quotes that would be typeset, as characters."""
    line = line.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("~", r"\(ti")
    return re.sub(r"^\.", r"\&.", line)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
