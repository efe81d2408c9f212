"""Sphinx: the pages are Markdown (MyST), the reference comes from the docstrings."""

import aiomcast

project = "aiomcast"
author = copyright = "The aiomcast authors"
version = release = aiomcast.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "myst_parser"]
exclude_patterns = ["_build", "measured-*.md"]
default_role = "code"
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"aiomcast {release}"


def _mark_code(app, what, name, obj, options, lines):
    """Indented paragraphs of a docstring are code."""
    for number in range(len(lines) - 1, 0, -1):
        begins = lines[number].startswith("    ") and not lines[number - 1]
        if begins and number > 1 and not lines[number - 2].startswith(" "):
            lines[number:number] = [".. code-block:: python", ""]


def setup(app):
    app.connect("autodoc-process-docstring", _mark_code)
