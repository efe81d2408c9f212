"""Sphinx: the directive `command`, a page of what an argparse parser takes. It is made anew at each build."""

import argparse
import os
import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from aiomcast.command.arguments import parser


class Command(Directive):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        """Return what stands in the place of the directive."""
        os.environ["COLUMNS"] = "72"  # the usage fits where code is shown
        whole = parser()
        found = [*_described(whole)]
        for action in whole._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, one in action.choices.items():
                    section = nodes.section(
                        "", nodes.title("", name), ids=[f"command-{name}"], names=[name]
                    )
                    section.extend(_described(one))
                    found.append(section)
        return found


def _described(one: argparse.ArgumentParser) -> list[nodes.Node]:
    formatter = one._get_formatter()
    found: list[nodes.Node] = [
        *_paragraphs(one.description or ""),
        _code(one.format_usage().rstrip()),
    ]
    for group in one._action_groups:
        listed = nodes.definition_list()
        for action in group._group_actions:
            subparsers = isinstance(action, argparse._SubParsersAction)
            if action.help is argparse.SUPPRESS or subparsers:
                continue
            term = nodes.term(
                "", "", nodes.literal("", formatter._format_action_invocation(action))
            )
            said = _paragraph(formatter._expand_help(action) if action.help else "")
            listed += nodes.definition_list_item("", term, nodes.definition("", said))
        if listed.children:
            found += [nodes.rubric("", (group.title or "").capitalize()), listed]
    return [*found, *_paragraphs(one.epilog or "")]


def _paragraphs(text: str) -> list[nodes.Node]:
    """Return paragraphs, and as code those that are indented or have indented lines."""
    parts = [part for part in text.strip("\n").split("\n\n") if part.strip()]
    return [_code(part) if "\n " in f"\n{part}" else _paragraph(part) for part in parts]


def _paragraph(text: str) -> nodes.Node:
    """Return a paragraph, with what stands between backticks as code."""
    parts = re.split(r"`([^`]*)`", text)
    made = [
        nodes.literal("", part) if at % 2 else nodes.Text(part) for at, part in enumerate(parts)
    ]
    return nodes.paragraph("", "", *made)


def _code(text: str) -> nodes.Node:
    return nodes.literal_block(text, text, language="text")


def setup(app: Sphinx) -> dict[str, Any]:  # Any: as Sphinx has it
    """Register it."""
    app.add_directive("command", Command)
    return {"parallel_read_safe": True}
