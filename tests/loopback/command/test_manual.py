"""The man page is the parser's, and has everything that can be given."""

import runpy
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "aiomcast.1"


def test_it_is_what_the_parser_says() -> None:
    made = runpy.run_path(str(PAGE.with_name("manual.py")))["page"]()
    assert PAGE.read_text(encoding="utf-8") == made, "make man"
