"""What nftables' rules have dropped: what `nft -j list ruleset` tells, taken apart. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .facts import RuleDrops

__all__ = ["dropped", "dropping"]


def dropping(told: str) -> dict[str, int]:
    """Return the packets that each rule which drops or rejects has counted, by where it stands.

    Rules without a counter are left out. ValueError for what is no such list.
    """
    found: dict[str, int] = {}
    whole = json.loads(told)
    listed = whole.get("nftables") if isinstance(whole, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no list of rules")
    for one in listed:
        rule = one.get("rule") if isinstance(one, dict) else None
        if not isinstance(rule, dict):
            continue
        parts = [part for part in rule.get("expr", ()) if isinstance(part, dict)]
        counters = [part["counter"] for part in parts if isinstance(part.get("counter"), dict)]
        if counters and any("drop" in part or "reject" in part for part in parts):
            where = " ".join(str(rule.get(name)) for name in ("family", "table", "chain"))
            found[f"{where} handle {rule.get('handle')}"] = int(counters[-1].get("packets", 0))
    return found


def dropped(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[RuleDrops, ...]:
    """Return what rules that were there both times have dropped in between, most first."""
    grown = [RuleDrops(where, count - before[where]) for where, count in after.items() if where in before]
    return tuple(sorted((one for one in grown if one.packets > 0), key=lambda one: -one.packets))
