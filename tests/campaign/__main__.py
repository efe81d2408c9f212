"""`python -m tests.campaign`: runs from one seed on, until the time is up or a rule is broken."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import world
from .draw import KINDS, Operation, Scenario, draw
from .report import keep, load, summary, told, violations
from .running import Way, perform, rules
from .shrink import fewest
from .worker import Outcome

_REPEATS = 3  # runs of a candidate before it counts as harmless
_REPLAYS = 20  # runs of a history that is replayed, at most


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 1 if a rule was broken."""
    options = _options(arguments)
    if not world.is_root():
        print("not root: IPv4 on lo, without a namespace, and without changes of sysctls", file=sys.stderr)
    if options.history is not None:
        return _replay(options)
    broken = False
    start = time.monotonic()
    for number, (family, way, threads) in enumerate(_combinations(options)):
        if options.seconds is not None:
            if time.monotonic() - start >= options.seconds:
                break
        elif number == options.runs:
            break
        scenario = draw(
            options.seed + number,
            world.place(family),
            threads=threads,
            length=options.length,
            without=options.without,
            is_root=world.is_root(),
        )
        outcome = perform(scenario, way)
        print(summary(scenario, way, outcome), flush=True)
        if _concerns(options, outcome):
            broken = True
            _explain(options, scenario, way, outcome)
            if not options.keep_going:
                break
    return 1 if broken else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the next has the next (0)")
    parser.add_argument("--seconds", type=float, help="go on for so long")
    parser.add_argument("--runs", type=int, default=1, help="how many, without --seconds (1)")
    parser.add_argument("--family", type=int, choices=(4, 6), help="else both in turn")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), help="else both in turn")
    parser.add_argument("--reader", choices=("native", "portable"), help="else those there are in turn")
    parser.add_argument("--threads", type=int, choices=(1, 2), help="else both in turn")
    parser.add_argument("--length", type=int, default=200, help="operations of a run (200)")
    parser.add_argument("--without", action="append", default=[], choices=KINDS, help="draw none of these")
    parser.add_argument("--rule", help="stop at, and shrink for, violations of this rule only")
    parser.add_argument("--shrink", type=float, default=120, help="seconds for that (120)")
    parser.add_argument(
        "--keep-going", action="store_true", help="do not stop at a violation, nor shrink: keep all histories"
    )
    parser.add_argument("--history", type=Path, help="replay this file instead, and shrink it further")
    parser.add_argument(
        "--save", type=Path, default=Path("build/campaign.json"), help="where to keep a history"
    )
    return parser.parse_args(arguments)


def _combinations(options: argparse.Namespace) -> Iterator[tuple[int, Way, int]]:
    families = (4, 6) if world.is_root() else (4,)
    every = itertools.product(
        families if options.family is None else (options.family,),
        ("asyncio", "uvloop") if options.loop is None else (options.loop,),
        readers() if options.reader is None else (options.reader,),
        (1, 2) if options.threads is None else (options.threads,),
    )
    for family, loop, reader, threads in itertools.cycle(list(every)):
        yield family, Way(loop, reader), threads


def readers() -> tuple[str, ...]:
    """Return the readers there are."""
    try:
        import aiomcast.reading._native  # noqa: F401
    except ImportError:
        return ("portable",)
    return ("native", "portable")


def _concerns(options: argparse.Namespace, outcome: Outcome) -> bool:
    return bool(rules(outcome)) if options.rule is None else options.rule in rules(outcome)


def _explain(options: argparse.Namespace, scenario: Scenario, way: Way, outcome: Outcome) -> None:
    if options.keep_going:
        path = options.save.with_stem(f"{options.save.stem}-{scenario['seed']}")
        keep(path, scenario, way)
        path.with_suffix(".txt").write_text(told(outcome))
        print(violations(outcome), flush=True)
        return
    first = next(one for one in outcome["violations"] if options.rule in (None, one["rule"]))
    rule, smallest = first["rule"], outcome

    def fails(operations: list[Operation]) -> bool:
        nonlocal smallest
        candidate: Scenario = {**scenario, "operations": operations}
        for again in pool.map(lambda _: perform(candidate, way), range(_REPEATS)):
            if rule in rules(again):
                smallest = again
                return True
        return False

    print(f"looking for the shortest history that is {rule}", file=sys.stderr)
    until = time.monotonic() + options.shrink
    with ThreadPoolExecutor(_REPEATS) as pool:
        operations = scenario["operations"]
        # What did nothing, or came later, is mostly not needed.
        earlier = {int(number) for number, ms in outcome["performed"].items() if ms <= first["ms"]}
        likely = [one for number, one in enumerate(operations) if number in earlier]
        if options.shrink and fails(likely):
            operations = likely
        operations = fewest(operations, fails, until=until)
    found: Scenario = {**scenario, "operations": operations}
    keep(options.save, found, way)
    print(f"{len(operations)} operations, kept in {options.save}:")
    print("\n".join(str(one) for one in operations))
    print(told(smallest), flush=True)


def _replay(options: argparse.Namespace) -> int:
    scenario, way = load(options.history)
    for _ in range(_REPLAYS):
        outcome = perform(scenario, way)
        print(summary(scenario, way, outcome), flush=True)
        if _concerns(options, outcome):
            _explain(options, scenario, way, outcome)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
