"""Filters change under traffic for seconds; `python -m benchmarks swap --soak` does it for long."""

import argparse
import sys

import pytest

pytest.importorskip("rich")
if not sys.platform.startswith("linux"):
    pytest.skip("three sources on lo, and the benchmarks, need Linux", allow_module_level=True)

from benchmarks import soak as command
from benchmarks import swap
from benchmarks.__main__ import main
from benchmarks.results import Result
from tests.support import soak


async def test_nothing_leaks_or_is_lost_or_comes_twice_while_filters_change() -> None:
    outcome = await soak.exercise(4, 2, rate=4000)
    assert soak.faults(outcome) == {}, outcome
    assert outcome["kernel_drops"] == 0
    assert outcome["packets"] > outcome["sent"] > 0  # all of one source, and some of the others
    assert outcome["list_swaps"] > 0
    assert outcome["mode_switches"] > 0
    assert outcome["read_back"] > 0
    assert outcome["most_sockets"] > 1, "no list went over several sockets"


@pytest.mark.parametrize(
    "name", ["leaked", "lost", "doubled", "out_of_order", "unlike_kernel", "unaccounted"]
)
def test_each_fault_counts(name: str) -> None:
    clean = dict.fromkeys(soak.Outcome.__annotations__, 0)
    assert soak.faults(clean) == {}  # type: ignore[arg-type]  # made of the names
    assert soak.faults({**clean, name: 2}) == {name: 2}  # type: ignore[typeddict-item]  # made of the names


async def test_the_cost_of_swaps_is_measured() -> None:
    found = await swap.measure(sources=20, half_kept=True, memberships=2, version=4, rounds=2)
    assert found["calls"] == 4  # two sockets each
    for way in ("bare", "text", "sets", "addresses", "filter"):
        assert len(found[way]) == 2
        assert all(spent > 0 for spent in found[way])


def test_a_soak_that_found_a_fault_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(options: argparse.Namespace) -> Result:
        outcome = dict.fromkeys(soak.Outcome.__annotations__, 0) | {"leaked": options.seed}
        return Result("swap", data={"soak": [outcome], "complete": True})

    monkeypatch.setattr(command, "run", found)
    assert main(["swap", "--soak", "1", "--seed", "0"]) == 0
    assert main(["swap", "--soak", "1", "--seed", "3"]) == 1
    assert "failed" in capsys.readouterr().out
