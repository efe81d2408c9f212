"""`aiomcast interfaces`: what this host has."""

from __future__ import annotations

import argparse
import os

import aiomcast

from .output import STDOUT

__all__ = ["define", "perform"]


def define(command: argparse.ArgumentParser) -> None:
    """List the interfaces: index, name, addresses, and whether they can multicast.

    A table on a terminal; elsewhere lines with tabs between the four, commas between addresses.
    """


def perform(given: argparse.Namespace) -> int:
    """Do it, and return the status."""
    capable = {True: "yes", False: "no", None: "unknown"}
    rows = [(str(i.index), i.name, i.addresses, capable[i.multicast]) for i in aiomcast.list_interfaces()]
    if not os.isatty(STDOUT):
        lines = ("\t".join((index, name, ",".join(held), can)) for index, name, held, can in rows)
        print("\n".join(lines), flush=True)
        return 0
    import rich  # as late as can be: it takes longer than the rest of what most commands do
    from rich.table import Table

    table = Table("index", "name", "addresses", "multicast", header_style="bold")
    table.columns[0].justify = "right"
    for index, name, held, can in rows:
        table.add_row(index, name, "\n".join(held), can, style="dim" if can == "no" else None)
    rich.print(table)
    return 0
