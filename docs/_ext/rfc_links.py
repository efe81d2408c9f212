"""Sphinx: "RFC 3376, 8.2" in a text leads to that section of the standard."""

import re
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_RFC = re.compile(r"RFC (\d+)(?:, (\d{1,2}(?:\.\d+)*)\b)?")


class LinkStandards(SphinxTransform):
    """Runs once a page has been read, docstrings and all."""

    default_priority = 990
    kept: ClassVar = (nodes.reference, nodes.literal, nodes.literal_block, nodes.title)

    def apply(self, **kwargs: Any) -> None:  # Any: as the base class has it
        """Put links into the place of the names."""
        for text in list(self.document.findall(nodes.Text)):
            above = text.parent
            while above is not None and not isinstance(above, self.kept):
                above = above.parent
            if above is None and _RFC.search(text):
                text.parent.replace(text, list(_linked(str(text))))


def _linked(text: str) -> "list[nodes.Node]":
    found: list[nodes.Node] = []
    end = 0
    for match in _RFC.finditer(text):
        found.append(nodes.Text(text[end : match.start()]))
        anchor = f"#section-{match[2]}" if match[2] else ""
        address = f"https://datatracker.ietf.org/doc/html/rfc{match[1]}{anchor}"
        found.append(nodes.reference("", match[0], refuri=address, internal=False))
        end = match.end()
    return [*found, nodes.Text(text[end:])]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.add_transform(LinkStandards)
    return {"parallel_read_safe": True}
