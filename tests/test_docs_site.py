"""The pages as a browser gets them: they build, links lead somewhere, nothing is left raw."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

DOCS = Path(__file__).parents[1] / "docs"

pytestmark = pytest.mark.timeout(120)


class Page(HTMLParser):
    """What one page has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.bare_tables = 0
        self.text: list[str] = []  # of the article, without code
        self.signatures: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note anchors, links and tables."""
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[key] for key in ("id", "name") if key in given)
        self.links += [given[key] for key in ("href", "src") if key in given]
        inside = any("table-wrapper" in classes for _, classes in self._open)
        self.bare_tables += tag == "table" and "docutils" in given.get("class", "") and not inside
        if tag == "dt" and "sig" in given.get("class", "").split():
            self.signatures.append("")
        if tag not in ("img", "br", "hr", "input", "link", "meta", "path", "line", "circle", "col"):
            self._open.append((tag, given.get("class", "")))

    def handle_endtag(self, tag: str) -> None:
        """Close what was open, and what was not closed in it."""
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Note text where a reader sees it."""
        tags = {tag for tag, _ in self._open}
        if "article" not in tags:
            return
        if any(tag == "dt" and "sig" in classes.split() for tag, classes in self._open):
            self.signatures[-1] += data
        elif not tags & {"pre", "code", "script", "style"}:
            self.text.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the pages, once."""
    needed = ("sphinx", "myst_parser", "furo", "sphinx_copybutton")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        said = f"not installed: {', '.join(missing)} (pip install '.[docs]')"
        if os.environ.get("AIOMCAST_REQUIRE_DOCS") == "1":
            pytest.fail(said)
        pytest.skip(said)
    folder = tmp_path_factory.mktemp("site")
    arguments = ("-W", "--keep-going", "-q", "-d", folder / "doctrees", DOCS, folder / "html")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


def pages(site: Path) -> Iterator[Page]:
    """Yield the pages, but for the source code."""
    for path in sorted(site.rglob("*.html")):
        if "_modules" not in path.parts:
            yield Page(path)


def test_what_is_made_by_extensions_is_there(site: Path) -> None:
    for page, found in {
        "reference/api": "aiomcast.SourceFilter",
        "reference/command": 'id="command-listen"',  # from the parser
        "reference/joining": "<dl",  # of the options
        "explanation/healing": "rfc3376#section-8.2",
        "troubleshooting": 'data-column="cure"',  # the name of the column, for narrow screens
    }.items():
        assert found in (site / f"{page}.html").read_text(encoding="utf-8"), page


def test_every_link_leads_somewhere(site: Path) -> None:
    all_pages = {page.path: page for page in pages(site)}
    broken = []
    for path, page in all_pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / parts.path).resolve() if parts.path else path
            anchors = all_pages[target].anchors if target in all_pages else {parts.fragment}
            if not target.exists() or (parts.fragment and parts.fragment not in anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_no_markup_is_left_raw(site: Path) -> None:
    raw = re.compile(r"``|(?<!\w)\*\*\w|\]\(|:(?:ref|py|doc|meth|class|func):|\n: \w|^\s*:::|\{[\w-]+\}`")
    for page in pages(site):
        left = [text for text in page.text if raw.search(text)]
        assert left == [], page.path.relative_to(site)


def test_every_table_scrolls_in_a_box_of_its_own(site: Path) -> None:
    assert [page.path.name for page in pages(site) if page.bare_tables] == []


def test_signatures_show_nothing_private(site: Path) -> None:
    signatures = [signature for page in pages(site) for signature in page.signatures]
    assert len(signatures) > 100
    assert [one for one in signatures if re.search(r"= _|Unpack|ForwardRef|<object", one)] == []
