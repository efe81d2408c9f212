"""Some seeds of the campaign, on every loop and reader; `python -m tests.campaign` does it for hours."""

from __future__ import annotations

import itertools
import resource
import sys
import time
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the campaign needs Linux: several sources on lo, namespaces", allow_module_level=True)

from tests.support.loops import LOOPS

from . import __main__ as command
from . import world
from .draw import KINDS, Operation, Scenario, draw
from .report import keep, load, summary, told
from .running import Way, perform, rules
from .shrink import fewest

FAMILIES = (4, 6) if world.is_root() else (4,)
WAYS = [Way(loop, reader) for loop in LOOPS for reader in command.readers()]
RUNS = 2  # of each combination


@pytest.mark.timeout(300)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("family", FAMILIES, ids="IPv{}".format)
def test_no_rule_is_broken(family: int, way: Way, threads: int) -> None:
    place = world.place(family)
    for number in range(RUNS):
        seed = 1000 * family + 100 * WAYS.index(way) + 10 * threads + number
        scenario = draw(seed, place, threads=threads, length=150, is_root=world.is_root())
        outcome = perform(scenario, way)
        assert not rules(outcome), f"{summary(scenario, way, outcome)}\n{told(outcome)}"
        assert outcome["counts"]["packets"] > 0


def test_a_seed_draws_the_same_again() -> None:
    place = world.place(4)
    for seed, threads in itertools.product(range(20), (1, 2)):
        assert draw(seed, place, threads=threads) == draw(seed, place, threads=threads)
    assert draw(1, place) != draw(2, place)


@pytest.mark.parametrize("without", KINDS)
def test_what_is_not_to_be_drawn_is_not(without: str) -> None:
    drawn: list[Operation] = []
    for seed in range(30):
        scenario = draw(seed, world.place(4), threads=2, without=[without])
        drawn += scenario["operations"]
        if without == "drops":
            assert {one["policy"] for shapes in scenario["threads"] for one in shapes} == {"PAUSE"}
    filters = [one["filter"] for one in drawn if "filter" in one]
    for one in drawn:
        filters += one.get("filters", {}).values()
    present = {
        "deliver": any(one.get("pending") == "deliver" for one in drawn),
        "modes": not all(include for include, *_ in filters),
        "shards": any(strangers for *_, strangers in filters),
        "limits": any(one["do"] == "msf" for one in drawn),
        "files": any(one["do"] == "few files" for one in drawn),
        "faults": any("fault" in one for one in drawn),
        "drops": False,
    }
    if without not in present:
        present[without] = any(one["do"] == without for one in drawn)
    assert not present.pop(without)


def test_a_kept_history_is_the_same_when_it_is_loaded(tmp_path: Path) -> None:
    scenario = draw(3, world.place(4), threads=2)
    keep(tmp_path / "new" / "history.json", scenario, WAYS[0])
    assert load(tmp_path / "new" / "history.json") == (scenario, WAYS[0])


def test_an_empty_history_runs_and_is_clean(tmp_path: Path) -> None:
    scenario: Scenario = {**draw(3, world.place(4)), "operations": []}
    keep(tmp_path / "history.json", scenario, WAYS[0])
    assert rules(perform(*load(tmp_path / "history.json"))) == set()


def test_the_fewest_operations_that_fail() -> None:
    tried = []

    def fails(listed: list[int]) -> bool:
        tried.append(listed)
        return {3, 17, 18} <= {*listed}

    assert fewest(range(40), fails, until=1, clock=lambda: 0) == [3, 17, 18]
    assert all(listed == sorted(listed) for listed in tried)


def test_shrinking_ends_in_time() -> None:
    clock = itertools.count()
    listed = fewest(range(1000), lambda candidate: 500 in candidate, until=10, clock=lambda: next(clock))
    assert 500 in listed
    assert next(clock) < 30


def test_a_broken_rule_ends_with_status_1_and_its_history(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def performed(scenario: Scenario, way: Way) -> dict[str, object]:
        joins = [one for one in scenario["operations"] if one["do"] == "leave"]
        violation = {"rule": "lost", "ms": 5.0, "text": "one", "stream": 0, "membership": None, "packets": []}
        found = [violation] if joins else []
        return {"violations": found, "performed": {}, "lines": ["line"], "counts": {}, "excuses": []}

    monkeypatch.setattr(command, "perform", performed)
    saved = tmp_path / "history.json"
    assert command.main(["--seed", "1", "--family", "4", "--save", str(saved)]) == 1
    printed = capsys.readouterr().out
    assert "LOST at 5.000 ms: one" in printed
    scenario, _ = load(saved)
    assert [one["do"] for one in scenario["operations"]] == ["leave"]
    assert command.main(["--history", str(saved)]) == 1
    assert command.main(["--seed", "1", "--family", "4", "--without", "leave", "--runs", "3"]) == 0


def test_a_change_of_a_limit_is_known_before_it_can_be_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other thread may swap while it is being made, and compare with what the tool knows."""
    known: list[tuple[int, bool]] = []

    class Setting:
        def read_text(self) -> str:
            return "10"

        def write_text(self, text: str) -> None:
            known.append((limits.lowest_msf, limits.did_msf_change(time.monotonic_ns())))

    monkeypatch.setattr(world, "_MSF", Setting())
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        limits = world.Limits(files=soft[0])
        limits.set_msf(7)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, soft)
    assert known == [(7, True)]
