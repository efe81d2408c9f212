"""What is printed of a run: violations, the operations that led to them, and where they are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict, cast

from .draw import Scenario
from .running import Way
from .worker import Outcome

__all__ = ["Kept", "keep", "load", "summary", "told", "violations"]


class Kept(TypedDict):
    """A history that can be replayed."""

    loop: str
    reader: str
    scenario: Scenario


def keep(path: Path, scenario: Scenario, way: Way) -> None:
    """Write a scenario, one operation a line."""
    head = json.dumps(Kept(loop=way.loop, reader=way.reader, scenario={**scenario, "operations": []}))
    lines = ",\n".join(json.dumps(one) for one in scenario["operations"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head.removesuffix("[]}}") + "[\n" + lines + "\n]}}\n")


def load(path: Path) -> tuple[Scenario, Way]:
    """Read what `keep` wrote."""
    kept = cast(Kept, json.loads(path.read_text()))
    return kept["scenario"], Way(kept["loop"], kept["reader"])


def summary(scenario: Scenario, way: Way, outcome: Outcome) -> str:
    """Return one line on a run."""
    counts = outcome["counts"]
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if name != "ms")
    broken: dict[str, int] = {}
    for violation in outcome["violations"]:
        broken[violation["rule"]] = broken.get(violation["rule"], 0) + 1
    verdict = ", ".join(f"{name} x{count}" for name, count in broken.items()) or "clean"
    if outcome["excuses"]:
        verdict += f" (losses not judged: {', '.join(outcome['excuses'])})"
    return (
        f"seed {scenario['seed']}: IPv{scenario['family']}, {way.loop}, {way.reader}, "
        f"threads {len(scenario['threads'])}, trouble {scenario['trouble']}: "
        f"{told} in {counts.get('ms', 0) / 1000:.1f} s: {verdict}"
    )


def violations(outcome: Outcome) -> str:
    """Return what is wrong with a run."""
    lines = []
    for violation in outcome["violations"]:
        lines.append(f"{violation['rule'].upper()} at {violation['ms']:.3f} ms: {violation['text']}")
        where = [
            f"{name} {violation[name]}" for name in ("stream", "membership") if violation[name] is not None
        ]
        if where:
            lines.append(f"    {', '.join(where)}")
        lines += [f"    {packet}" for packet in violation["packets"]]
    return "\n".join(lines)


def told(outcome: Outcome) -> str:
    """Return the history of a run and what is wrong with it."""
    return "\n".join((*outcome["lines"], violations(outcome)))
