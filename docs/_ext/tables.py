"""Sphinx: tables that can be read on a telephone.

Where the screen is narrow, the rows of a table with sentences in it stand one below the other, each cell
under the name of its column. A table of figures stays a table, which scrolls.
"""

import statistics
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxTranslator
from sphinx.writers.html5 import HTML5Translator

WORDS, LINE = (
    11,
    36,
)  # characters: of a cell in the mean, of a row, from which on they are sentences
LONG = 25  # characters of code in one piece, which two columns have no room for


class MarkTables(SphinxTransform):
    """Tell tables of sentences by the class `sentences`, and give their cells the names of the columns."""

    default_priority = 990

    def apply(self, **kwargs: Any) -> None:  # Any: as the base class has it
        """Look at each table."""
        for table in self.document.findall(nodes.table):
            names, *rows = [[*row.findall(nodes.entry)] for row in table.findall(nodes.row)]
            if _has_sentences(table, rows):
                table["classes"].append("sentences")
            for row in rows:
                for entry, name in zip(row, names, strict=True):
                    entry["column"] = name.astext()


def _has_sentences(table: nodes.table, rows: list[list[nodes.entry]]) -> bool:
    columns = len(rows[0])
    line = statistics.median(sum(len(entry.astext()) for entry in row) for row in rows)
    fits = columns == 2 and all(len(code.astext()) < LONG for code in table.findall(nodes.literal))
    return line >= max(LINE, WORDS * columns) and not fits


def _visit_entry(self: SphinxTranslator, node: nodes.entry) -> None:
    assert isinstance(self, HTML5Translator)
    at = len(self.body)
    HTML5Translator.visit_entry(self, node)
    if name := node.get("column"):
        self.body[at] = self.body[at].replace("<td", f'<td data-column="{self.attval(name)}"', 1)


def _depart_entry(self: SphinxTranslator, node: nodes.entry) -> None:
    HTML5Translator.depart_entry(self, node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.add_transform(MarkTables)
    app.add_node(nodes.entry, override=True, html=(_visit_entry, _depart_entry))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
