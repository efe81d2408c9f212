"""The command `aiomcast`: arguments in, lines out. It uses the public names of the package only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import warnings
from collections.abc import Sequence

import aiomcast

from .arguments import COMMANDS, parser
from .options import WrongUsage
from .output import STDERR, STDIN, STDOUT, drop_the_rest, is_closed_pipe, say

__all__ = ["main"]

EXTRA = {"rich": "drawing on a terminal", "shtab": "completion"}  # what each module is for


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: the process's) and return its exit status.

    0: done, also when ended by Ctrl-C or a closed pipe. 1: the system refused. 2: wrong usage, or
    something that takes an extra which is not there. For 1 and 2 there is one line on standard
    error that says what to do; without any argument it is 2, and the help on standard output.
    """
    for number in (STDIN, STDOUT, STDERR):  # one that is closed would soon be another file's number
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: say(f"aiomcast: {message}")
            return _run(arguments)
    except aiomcast.MulticastError as error:
        is_usage = isinstance(error, aiomcast.ArgumentError | aiomcast.MissingExtraError)
        line, status = str(error), 2 if is_usage else 1
    except WrongUsage as error:
        line, status = f"{error} (see {error.prog} --help)", 2
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        line, status = f"{EXTRA[error.name]} takes {error.name}: pip install 'aiomcast[cli]'", 2
    except SystemExit:  # rich's answer to a closed pipe
        drop_the_rest()
        return 0
    except OSError as error:
        drop_the_rest()
        if is_closed_pipe(error):
            return 0
        line, status = error.strerror or str(error), 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130
    say("aiomcast: " + " ".join(line.split()))
    return status


def _run(arguments: Sequence[str] | None) -> int:
    whole = parser()
    try:
        given = whole.parse_args(arguments)
    except SystemExit:  # --help and --version have been answered
        sys.stdout.flush()
        return 0
    if given.command is None:
        whole.print_help()
        sys.stdout.flush()
        return 2
    return COMMANDS[given.command].perform(given)
