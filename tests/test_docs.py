"""What the README and the pages say is so: their Python runs, what they name is there."""

import ast
import asyncio
import contextlib
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import aiomcast
from aiomcast import feeds, relay
from aiomcast.command.arguments import parser
from aiomcast.values import bounds

from .loopback.conftest import any_group, group, group6, no_leaked_sockets  # noqa: F401  fixtures

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATIENCE = 20  # seconds
# What asyncio's debug mode says of a step that took long on a busy machine.
SLOW_STEP = re.compile(rb"^Executing <.*> took [0-9.]+ seconds\n", re.MULTILINE)
SOURCES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the snippets use Linux's loopback interface"
)


def name_of(page: Path) -> str:
    """Return where it lies."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, code) of each fenced Python block, but for those that are files."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if not re.match(r"# \w+\.py\n", found[1]):  # tests/test_docs_programs.py runs those
            yield text.count("\n", 0, found.start(1)) + 1, found[1]


@contextlib.asynccontextmanager
async def sending(*groups: str) -> AsyncIterator[None]:
    """Send from every source to every group all the time."""
    async with AsyncExitStack() as stack:
        senders = [
            await stack.enter_async_context(aiomcast.Sender(group, 5000, source=source, interface="lo"))
            for group in groups
            for source in SOURCES
        ]

        async def send() -> None:
            while True:
                for sender in senders:
                    await sender.send(b"packet")
                await asyncio.sleep(0.01)

        task = asyncio.create_task(send())
        yield
        assert not task.done()
        task.cancel()


async def run_program(code: str, name: str) -> None:
    """Run a whole program, as a user would: status 0, nothing on standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-c", code), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    err = SLOW_STEP.sub(b"", err)
    assert (process.returncode, err) == (0, b""), f"{name}:\n{err.decode()}"
    assert out, f"{name} printed nothing"


async def run_snippet(code: str, name: str, names: dict[str, object]) -> None:
    """Run a snippet as the inside of a coroutine."""
    compiled = compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)
    if inspect.isawaitable(result):
        async with asyncio.timeout(PATIENCE):
            await result


@linux
@pytest.mark.parametrize("page", PAGES, ids=name_of)
async def test_every_python_block_runs(page: Path, group: str, any_group: str, group6: str) -> None:  # noqa: F811
    """The groups in the text stand for groups that nobody else uses."""
    names: dict[str, object] = {"__name__": "__main__"}
    async with sending(group, any_group):
        for line, code in blocks(page):
            for written, used in (("232.1.1.1", group), ("239.1.1.1", any_group), ("ff3e::8000:1", group6)):
                code = code.replace(written, used)
            if "asyncio.run(" in code:
                await run_program(code, f"{name_of(page)}:{line}")
            else:  # line numbers as in the page
                await run_snippet("\n" * (line - 1) + code, name_of(page), names)


def test_the_readme_has_an_example_that_needs_nothing_beside_it() -> None:
    programs = [code for _, code in blocks(ROOT / "README.md") if "asyncio.run(" in code]
    assert any("aiomcast.Sender" in program for program in programs)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_command_takes_every_line_that_is_written(page: Path) -> None:
    written = re.findall(
        r"^(?:\$ )?(aiomcast [^|>&\n]*)|`(aiomcast \w+ [\w.:]+ [^`]*)`", page.read_text("utf-8"), re.MULTILINE
    )
    for line in map("".join, written):
        parser().parse_args(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_tests_and_files_it_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{name_of(page)}: {path}::{name}"
    for path in re.findall(r"`((?:tests|examples|docs|benchmarks)/[\w/.]*)`", text):
        assert (ROOT / path).exists(), f"{name_of(page)}: {path}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([\w./-]+)(?:#[\w-]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{name_of(page)}: {target}"


def test_the_reference_has_every_public_name() -> None:
    reference = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. auto\w+:: (\w+)", reference, re.MULTILINE)
    assert sorted(documented) == sorted([*aiomcast.__all__, *feeds.__all__, *relay.__all__])


def test_every_call_of_rfc3678_is_in_its_table() -> None:
    from aiomcast.rfc3678 import calls

    page = (ROOT / "docs/reference/rfc3678.md").read_text(encoding="utf-8")
    assert [name for name in calls.__all__ if f"| `{name}` |" not in page] == []


def test_the_layers_of_the_design_are_those_of_the_package() -> None:
    page = (ROOT / "docs/explanation/design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)(?:\.py)?` \| (.*?) \|", page.partition("## Layers")[2], re.MULTILINE)
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract = next(one for one in checked["contracts"] if one.get("containers") == ["aiomcast"])
    assert [name for name, _ in rows] == contract["layers"][::-1]
    package = ROOT / "src" / "aiomcast"
    for name, listed in rows:
        if (package / name).is_dir():
            there = {one.name.partition(".")[0] for one in (package / name).iterdir()}
            assert set(re.findall(r"`(\w+)`", listed)) == there - {"__init__", "__pycache__"}


def test_the_limits_are_those_of_the_code() -> None:
    page = (ROOT / "docs/explanation/guarantees.md").read_text(encoding="utf-8")
    section = page.partition("\n## 6.")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .*? \| (.*?) \| .* \| (`.*`) \|$", section, re.MULTILINE)
    known = {name: value for name, value in vars(bounds).items() if isinstance(value, int)}
    listed = set()
    for said, names in rows:
        written = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\b", said)}
        named = re.findall(r"`(\w+)`", names)
        assert written == {known[name] for name in named}, f"{said}: {names}"
        listed.update(named)
    assert listed == set(known)


@pytest.mark.parametrize("page", PAGES[1:], ids=name_of)
def test_code_fits_the_page(page: Path) -> None:
    """A hundred columns; what programs have written (`text`) may be wider, and scrolls."""
    text = page.read_text(encoding="utf-8")
    for kind, code in re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if kind not in ("text", "{eval-rst}"):
            assert [line for line in code.splitlines() if len(line) > 100] == [], name_of(page)
