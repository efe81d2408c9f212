"""What is read elsewhere than here: the page of the package, and what runs at the repository's host."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/aiomcast/aiomcast"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
OUTSIDE = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")]


@pytest.mark.parametrize("page", OUTSIDE, ids=lambda page: page.name)
def test_links_lead_somewhere_from_everywhere(page: Path) -> None:
    """They are absolute, so they do so on the page of a package index too; those to a file here find it."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(
        r"\]\(([^)]*)\)|^\[[^\]]+\]: *(\S+)|(?:src|href)=\"([^\"]*)\"", text, re.MULTILINE
    ):
        (link,) = filter(None, target)
        assert link.startswith("https://"), link
        if found := re.match(rf"{REPOSITORY}/(?:blob|tree|raw)/main/([^#]*)", link):
            assert (ROOT / found[1]).exists(), link


def test_the_addresses_of_the_project_are_one() -> None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert {"Source", "Documentation", "Changelog", "Issues"} <= urls.keys()
    assert all(url.startswith(REPOSITORY) for url in urls.values())


def parsed(workflow: Path) -> dict[str, Any]:  # YAML of any form
    """Return the workflow; where nothing can read it that is told, or a failure if CI wants it."""
    try:
        import yaml
    except ModuleNotFoundError:
        if os.environ.get("AIOMCAST_REQUIRE_DOCS") == "1":
            raise
        pytest.skip("PyYAML is not installed (pip install '.[docs]')")
    found: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    return found


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    for job in parsed(workflow)["jobs"].values():
        yield from job["steps"]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> Path:
    path = request.param
    assert isinstance(path, Path)
    return path


def test_there_are_workflows() -> None:
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "wheels.yml"}


def test_actions_are_pinned_by_their_whole_hash(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    uses = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert uses
    for one in uses:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", one), one
    written = re.findall(r"uses: (\S+) # v\d+\.\d+\.\d+$", text, re.MULTILINE)
    assert written == uses, "each with its version beside it"
    hashes: dict[str, set[str]] = {}
    for other in WORKFLOWS:
        for name, pinned in re.findall(r"uses: (\S+)@(\w+)", other.read_text(encoding="utf-8")):
            hashes.setdefault(name, set()).add(pinned)
    assert [name for name, pinned in hashes.items() if len(pinned) > 1] == []


def test_what_is_installed_to_build_with_has_a_version() -> None:
    text = (ROOT / ".github/workflows/wheels.yml").read_text(encoding="utf-8")
    assert re.search(r"cibuildwheel==\d+\.\d+\.\d+$", text, re.MULTILINE)


def test_no_step_keeps_credentials(workflow: Path) -> None:
    checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    for step in checkouts:
        assert step["with"]["persist-credentials"] is False
    assert "secrets." not in workflow.read_text(encoding="utf-8")


def test_no_step_runs_what_strangers_write(workflow: Path) -> None:
    """Titles, names of branches and the like are not to be pasted into a shell."""
    for step in steps(workflow):
        assert "${{" not in step.get("run", "")


def test_permissions_are_the_least(workflow: Path) -> None:
    told = parsed(workflow)
    assert told["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in workflow.read_text(encoding="utf-8")
    for name, job in told["jobs"].items():
        assert job["timeout-minutes"] <= 90
        if name != "publish":
            assert "permissions" not in job
            assert "environment" not in job


def test_only_a_tag_publishes_and_all_has_to_be_built() -> None:
    jobs = parsed(ROOT / ".github/workflows/wheels.yml")["jobs"]
    publish = jobs["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"] == "release"
    assert "startsWith(github.ref, 'refs/tags/v')" in publish["if"]
    assert set(publish["needs"]) == set(jobs) - {"publish"}
    assert not any("run" in step for step in publish["steps"])


def test_there_are_wheels_for_every_python() -> None:
    (newest,) = re.findall(
        r"^NEWEST = 3, (\d+)", (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    linux = parsed(ROOT / ".github/workflows/wheels.yml")["jobs"]["linux"]["env"]
    built = set(linux["CIBW_BUILD"].split())
    assert {f"cp3{minor}-*" for minor in range(11, int(newest) + 1)} <= built
    assert f"cp3{newest}t-*" in built


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT))
)
def test_tests_that_pages_name_are_there(page: Path) -> None:
    for path, test in re.findall(r"`(tests/[\w/]+\.\w+)(?:::(\w+))?`", page.read_text(encoding="utf-8")):
        there = (ROOT / path).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in there, f"{path}::{test}"


def test_every_row_of_the_feature_matrix_names_what_shows_it() -> None:
    text = (ROOT / "docs/reference/platforms.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| \| Linux \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    for row in table.splitlines():
        assert re.search(r"`tests/[^`]+` \|$", row), row
