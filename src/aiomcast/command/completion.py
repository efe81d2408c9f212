"""`aiomcast completion`: what has a shell complete the command."""

from __future__ import annotations

import argparse

__all__ = ["define", "perform"]

SHELLS = ("bash", "zsh", "fish")


def define(command: argparse.ArgumentParser) -> None:
    """Write what has a shell complete commands, options, formats, interfaces and files.

    It goes to standard output, and takes effect in the next shell that starts. For zsh the directory
    has to be in `fpath` before `compinit` is called: `fpath+=~/.zfunc` in .zshrc.

    Examples:
      aiomcast completion bash >~/.local/share/bash-completion/completions/aiomcast
      aiomcast completion zsh >~/.zfunc/_aiomcast
      aiomcast completion fish >~/.config/fish/completions/aiomcast.fish
    """
    command.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish.")


def perform(given: argparse.Namespace) -> int:
    """Do it for `given.parser`, the parser of the whole command, and return the status."""
    import shtab

    values = {
        "interface": shtab.cmd("aiomcast interfaces | cut -f 2"),
        "file": shtab.FILE,
        "files": shtab.FILE,
        "to": shtab.FILE,
        "credentials": shtab.FILE,
    }
    for parser in (given.parser, *_commands(given.parser)):
        for action in parser._actions:
            if action.dest in values:
                action.complete = values[action.dest]
    print(shtab.complete(given.parser, given.shell), flush=True)
    return 0


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    (commands,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return list(commands.choices.values())
