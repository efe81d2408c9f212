"""Sphinx: the pages are Markdown (MyST), the reference comes from the docstrings."""

import re
import sys
from pathlib import Path

import aiomcast

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "aiomcast"
author = copyright = "The aiomcast authors"
version = release = aiomcast.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "myst_parser",
    "sphinx_copybutton",
    "command_page",
    "rfc_links",
    "tables",
]
exclude_patterns = ["_build", "explanation/measured-*.md"]
default_role = "py:obj"  # a name of the package becomes a link, anything else stays code
highlight_language = "none"  # where a block names none
pygments_dark_style = "github-dark"
smartquotes = False  # an option of the command keeps its two hyphens
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    name: f"aiomcast.{name}"
    for name in ("Sources", "Pending", "InterfaceLike", "InterfacesLike", "Address")
}
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
# What signatures name of Python's own; a list in the repository, as pages are also built without a network.
intersphinx_mapping = {"python": ("https://docs.python.org/3", "python.inv")}

html_theme = "furo"
html_title = f"aiomcast {release}"
html_static_path = ["_static"]
html_css_files = ["aiomcast.css"]


def _mark_code(app, what, name, obj, options, lines):
    """Indented paragraphs of a docstring are code."""
    for number in range(len(lines) - 1, 0, -1):
        begins = lines[number].startswith("    ") and not lines[number - 1]
        if begins and number > 1 and not lines[number - 2].startswith(" "):
            lines[number:number] = [".. code-block:: python", ""]


def _show_values(app, what, name, obj, options, signature, returned):
    """In a signature stand values and aliases, not the code's words for them."""
    if not signature:
        return None
    names = vars(sys.modules[obj.__module__])
    signature = re.sub(r": [\w.~]*Unpack\[[^]]+\]", "", signature)
    signature = re.sub(r"= (_?[A-Z][A-Z_]+)\b", lambda found: f"= {names[found[1]]!r}", signature)
    return tuple(
        text and re.sub(r"TypeAliasForwardRef\('([\w.]+)'\)", r"\1", text)
        for text in (signature, returned)
    )


def setup(app):
    app.connect("autodoc-process-docstring", _mark_code)
    app.connect("autodoc-process-signature", _show_values)
